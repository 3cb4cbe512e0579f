"""Which accelerators there are, how many of them a node has, and what such nodes cost: selections from catalogs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skyflow.catalog.order import natural
from skyflow.catalog.table import Catalog, Listing
from skyflow.errors import UsageError
from skyflow.models.accelerator import parse

COMMON = ("A10G", "A100", "A100-80GB", "B200", "H100", "H200", "L4", "L40S", "T4", "V100", "V100-32GB")
"""What most people look for: a list of accelerators without a name has these."""

NAMES = 8
"""How many names an error lists."""


@dataclass(frozen=True)
class Accelerator:
    """A kind of accelerator, wherever it is to be had."""

    name: str
    counts: tuple[float, ...]
    """How many of them nodes have."""
    memory: float | None
    """GiB of one; the largest, if clouds disagree."""
    clouds: tuple[str, ...]
    regions: tuple[str, ...]
    """Of all these clouds, as `aws/us-east-1`."""
    price: float | None
    """US dollars an hour of the cheapest node that has any."""
    spot_price: float | None


@dataclass(frozen=True)
class Node:
    """An instance type with its accelerators, where it is cheapest."""

    accelerator: str
    count: float
    cloud: str
    instance_type: str
    accelerator_memory: float | None
    """GiB of one."""
    cpus: float
    memory: float
    arch: str
    price: float | None
    """US dollars an hour on demand."""
    region: str
    """Where it has that price; where spot is cheapest, if it is not to be had on demand."""
    zones: tuple[str, ...]
    """Those of that region."""
    spot_price: float | None
    spot_region: str | None
    """Where spot is cheapest."""


def accelerators(catalogs: Sequence[Catalog], region: str | None = None) -> list[Accelerator]:
    """All kinds there are, sorted by name; those of one region, if one is given.

    Raises:
        UsageError: no catalog has such a region.
    """
    _check_region(catalogs, region)
    names = sorted({name for catalog in catalogs for name in catalog.accelerators}, key=natural)
    found = []
    for name in names:
        by_cloud = {catalog.cloud: _find(catalog, name, region) for catalog in catalogs}
        listings = [listing for one in by_cloud.values() for listing in one]
        if listings:
            found.append(
                Accelerator(
                    name=name,
                    counts=tuple(sorted({listing.type.accelerator_count for listing in listings})),
                    memory=max(listing.type.accelerator_memory or 0 for listing in listings) or None,
                    clouds=tuple(cloud for cloud, one in by_cloud.items() if one),
                    regions=tuple(sorted({f"{cloud}/{o.region}" for cloud, one in by_cloud.items() for o in one})),
                    price=min((one.price for one in listings if one.price is not None), default=None),
                    spot_price=min((one.spot_price for one in listings if one.spot_price is not None), default=None),
                )
            )
    return found


def nodes(
    catalogs: Sequence[Catalog], wanted: str, region: str | None = None, *, by_region: bool = False
) -> list[Node]:
    """The instance types that have an accelerator, fewest first, then cheapest.

    Args:
        catalogs: where to look.
        wanted: `NAME` or `NAME:COUNT` in any of the forms that `resources.accelerators` has. A fraction is shared: it
            needs a whole one.
        region: only this one.
        by_region: one for each region, not only for the cheapest.

    Raises:
        InvalidTaskError: it is not of that form.
        UsageError: no catalog has that, or such a region.
    """
    _check_region(catalogs, region)
    choices = parse(wanted)
    names = {name for catalog in catalogs for name in catalog.accelerators}
    known = {name: count for choice in choices for name, count in choice.items() if name in names}
    if not known:
        raise UsageError(_unknown(wanted, names))
    with_count = re.search(r":\s*[0-9.]+\s*$", wanted) is not None
    groups: dict[tuple[str, ...], list[Listing]] = {}
    for catalog in catalogs:
        for name, count in known.items():
            for listing in _find(catalog, name, region):
                if not with_count or listing.type.accelerator_count == math.ceil(count):
                    place = (listing.region,) if by_region else ()
                    kind = (catalog.cloud, listing.type.name, name, str(listing.type.accelerator_count), *place)
                    groups.setdefault(kind, []).append(listing)
    if not groups:
        raise UsageError(_no_such_count(catalogs, wanted, list(known), region))
    found = [_node(cloud, listings) for (cloud, *_), listings in groups.items()]
    return sorted(found, key=lambda one: (natural(one.accelerator), one.count, *_cheapest(one.price, one.spot_price)))


def _find(catalog: Catalog, name: str, region: str | None) -> list[Listing]:
    return [listing for listing in catalog.find(name) if region in (None, listing.region)]


def _node(cloud: str, listings: list[Listing]) -> Node:
    """One instance type with one count of accelerators, of what is listed of it."""
    best = min(listings, key=lambda one: (*_cheapest(one.price, one.spot_price), one.region))
    spot = min((one for one in listings if one.spot_price is not None), key=_spot_order, default=None)
    same_region = [zone for one in listings if one.region == best.region for zone in one.zones]
    kind = best.type
    return Node(
        accelerator=kind.accelerator or "",
        count=kind.accelerator_count,
        cloud=cloud,
        instance_type=kind.name,
        accelerator_memory=kind.accelerator_memory,
        cpus=kind.cpus,
        memory=kind.memory,
        arch=kind.arch,
        price=best.price,
        region=best.region,
        zones=tuple(dict.fromkeys(same_region)),
        spot_price=spot.spot_price if spot else None,
        spot_region=spot.region if spot else None,
    )


def _cheapest(price: float | None, spot_price: float | None) -> tuple[float, float]:
    """On demand first: what has no such price comes last, however cheap its spot is."""
    return (math.inf if price is None else price, math.inf if spot_price is None else spot_price)


def _spot_order(one: Listing) -> tuple[float, str]:
    return (math.inf if one.spot_price is None else one.spot_price, one.region)


def _check_region(catalogs: Sequence[Catalog], region: str | None) -> None:
    regions = {listing.region for catalog in catalogs for listing in catalog.listings} if region else set()
    if region and region not in regions:
        clouds = ", ".join(catalog.cloud for catalog in catalogs)
        raise UsageError(f"There is no region {region!r} in the catalog of {clouds}{_instead(region, regions)}")


def _unknown(wanted: str, names: set[str]) -> str:
    return f"No catalog has an accelerator {wanted.split(':')[0]!r}{_instead(wanted, names)}"


def _no_such_count(catalogs: Sequence[Catalog], wanted: str, names: list[str], region: str | None) -> str:
    listings = [one for catalog in catalogs for name in names for one in _find(catalog, name, region)]
    if not listings:
        return (
            f"There is no {' or '.join(names)} in {region}; see all regions: skyflow gpus list {names[0]} --all-regions"
        )
    counts = sorted({listing.type.accelerator_count for listing in listings})
    return f"No node has {wanted}; {' or '.join(names)} comes in: {', '.join(f'{count:g}' for count in counts)}."


def _instead(wanted: str, names: Iterable[str]) -> str:
    import difflib  # only for somebody who has mistyped

    by_plain = {name.lower(): name for name in names}
    close = difflib.get_close_matches(wanted.split(":")[0].lower(), by_plain, 3, 0.5)
    if close:
        return f"; did you mean {' or '.join(by_plain[name] for name in close)}?"
    listed = sorted(by_plain.values(), key=natural)
    return f"; there is {', '.join(listed[:NAMES])}{', …' if len(listed) > NAMES else ''}."
