"""What it costs, and how long it takes, to move data from one place to another."""

from __future__ import annotations

import json
import math
import os
from functools import cache
from typing import Any, NamedTuple

BITS_A_SECOND = 10e9
"""Assumed between regions and clouds: an estimate, for the comparison of plans and not of clocks."""

_FILE = os.path.join(os.path.dirname(__file__), "data", "egress.json")


class Place(NamedTuple):
    """Where data is: a cloud, and if that is known a region of it."""

    cloud: str
    region: str | None = None
    """None for a bucket of which only the cloud is known."""


@cache
def egress(source: Place, target: Place, gib: float) -> tuple[float, float]:
    """US dollars and seconds of moving so many GiB: see `egress_cost` and `egress_seconds`."""
    return egress_cost(source, target, gib), egress_seconds(source, target, gib)


def egress_cost(source: Place, target: Place, gib: float) -> float:
    """US dollars that moving so many GiB costs, as if nothing else had been moved this month.

    Nothing inside a region, or out of a cloud that has no prices (`local`). Where a region is not known, data is taken
    to be near: nothing inside the same cloud. Into another cloud, what the source's region charges for the internet; if
    the source's region is unknown, that of the region whose price is the commonest (`typical` in the data: us-east-1
    and us-central1).
    """
    cost, below = 0.0, 0.0
    for limit, price in _tiers(source, target):
        cost += max(min(gib, limit) - below, 0.0) * price
        below = limit
    return cost


def egress_seconds(source: Place, target: Place, gib: float) -> float:
    """Seconds that it takes: 0 inside a region, else an estimate at 10 Gbit/s."""
    return 0.0 if _is_near(source, target) else gib * 2**30 * 8 / BITS_A_SECOND


def _is_near(source: Place, target: Place) -> bool:
    """Whether both are in one region, as far as anybody knows."""
    return source.cloud == target.cloud and (None in (source.region, target.region) or source.region == target.region)


@cache
def _tiers(source: Place, target: Place) -> tuple[tuple[float, float], ...]:
    """Dollars a GiB, each up to so many GiB."""
    known = _prices().get(source.cloud)
    if known is None:
        return ()
    typical = known["regions"][known["typical"]]
    region = known["regions"].get(source.region, typical)
    if source.cloud != target.cloud:
        return tuple((math.inf if limit is None else limit, price) for limit, price in region["internet"])
    if _is_near(source, target):
        return ()
    if "continents" in region:
        price = region["continents"][known["regions"].get(target.region, typical)["continent"]]
    else:
        price = region.get("regions", {}).get(target.region, region["other_region"])
    return ((math.inf, price),)


@cache
def _prices() -> dict[str, Any]:
    with open(_FILE, encoding="utf-8") as file:
        prices: dict[str, Any] = json.load(file)
        return prices
