"""Offers by zone with their prices, as data in the package: one CSV a cloud, read without any cloud's library."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

from skyflow.models.node import Offer


@dataclass(frozen=True)
class Row:
    """One instance type in one zone."""

    region: str
    zone: str
    instance_type: str
    cpus: float
    memory: float
    """GiB."""
    price: float
    """US dollars an hour."""
    spot_price: float | None
    """The same for a node that may be taken away, or None if there are none."""


@cache
def load(cloud: str) -> tuple[Row, ...]:
    """The catalog of a cloud, in the order of its file."""
    text = resources.files(__name__).joinpath(f"{cloud}.csv").read_text()
    return tuple(
        Row(
            region=row["region"],
            zone=row["zone"],
            instance_type=row["instance_type"],
            cpus=float(row["cpus"]),
            memory=float(row["memory"]),
            price=float(row["price"]),
            spot_price=float(row["spot_price"]) if row["spot_price"] else None,
        )
        for row in csv.DictReader(text.splitlines())
    )


def offers(cloud: str, rows: Iterable[Row], host: str | None = None) -> list[Offer]:
    """Rows as offers of a cloud, on demand and spot. `host` is that of a cloud whose nodes are bound to one."""
    found = []
    for row in rows:
        for use_spot, price in ((False, row.price), (True, row.spot_price)):
            if price is not None:
                found.append(
                    Offer(
                        cloud=cloud,
                        region=row.region,
                        zone=row.zone,
                        instance_type=row.instance_type,
                        cpus=row.cpus,
                        memory=row.memory,
                        price=price,
                        use_spot=use_spot,
                        host=host,
                    )
                )
    return found
