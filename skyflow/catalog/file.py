"""The file of a catalog: JSON with one listing a line, so that what a refresh changed can be read as a diff."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from skyflow.catalog.table import LACKS, Attachment, Catalog, InstanceType, Listing

FORMAT = 1
"""Raised when an older skyflow could not read the file any more."""

_NODE = ("cpus", "memory", "arch", "accelerator", "accelerator_count", "accelerator_memory")
_KIND = ("accelerator", "count", "accelerator_memory", "hosts", "max_cpus", "max_memory")
_LEFT_OUT = {"arch": "x86_64", "accelerator": None, "accelerator_count": 0, "accelerator_memory": None}
"""What a node has if its entry does not say."""


class NewerFormatError(ValueError):
    """The file was written by a newer skyflow."""


def read(text: str | bytes) -> Catalog:
    """The catalog that a file holds.

    Raises:
        NewerFormatError: it has to be read by a newer skyflow.
        ValueError: it is damaged.
    """
    data = json.loads(text)
    try:
        if data["format"] > FORMAT:
            raise NewerFormatError(f"it has format {data['format']}, and this version reads {FORMAT}")
        zones: dict[str, tuple[str, ...]] = {}
        listings: list[Listing] = []
        for name, entry in data["types"].items():
            places = entry.pop("listings")
            node = InstanceType(name=name, **entry)
            listings += [Listing(node, **_place(place, zones)) for place in places]
        attachments: list[Attachment] = []
        for entry in data["attachments"]:
            places = entry.pop("listings")
            kind = {field: entry[field] for field in _KIND}
            attachments += [Attachment(**kind, **_place(place, zones)) for place in places]
        return Catalog(
            cloud=data["cloud"],
            listings=listings,
            zone_names=data["zone_names"],
            date=data["date"],
            attachments=tuple(attachments),
            source=data["source"],
            notes=tuple(data["notes"]),
            lacks=LACKS.get(data["cloud"], frozenset()),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def write(catalog: Catalog) -> str:
    """The text of a catalog's file; `read` makes an equal catalog of it if listings of one type follow each other."""
    head = {
        "format": FORMAT,
        "cloud": catalog.cloud,
        "date": catalog.date,
        "source": catalog.source,
        "notes": catalog.notes,
        "zone_names": dict(catalog.zone_names),
    }
    types: dict[str, tuple[InstanceType, list[str]]] = {}
    for listing in catalog.listings:
        types.setdefault(listing.type.name, (listing.type, []))[1].append(_line(listing))
    kinds: dict[tuple[Any, ...], list[str]] = {}
    for one in catalog.attachments:
        kinds.setdefault(tuple(getattr(one, field) for field in _KIND), []).append(_line(one))
    nodes = [f"{_json(name)}: {_entry(_node(node), lines)}" for name, (node, lines) in types.items()]
    return "\n".join(
        [
            "{",
            *(f"{_json(key)}: {_json(value)}," for key, value in head.items()),
            '"types": {\n' + ",\n".join(nodes) + "\n},",
            '"attachments": [',
            ",\n".join(_entry(dict(zip(_KIND, kind, strict=True)), lines) for kind, lines in kinds.items()),
            "]",
            "}\n",
        ]
    )


def _place(written: Sequence[Any], zones: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Region, zones and prices as they are written. `zones` has what was split before: there are few sets of zones."""
    region, names, price, spot_price = written
    if names not in zones:
        zones[names] = tuple(names.split())
    if (price is not None and not price >= 0) or (spot_price is not None and not spot_price >= 0):
        raise ValueError(f"{written} has no price")
    return {"region": region, "zones": zones[names], "price": price, "spot_price": spot_price}


def _line(one: Listing | Attachment) -> str:
    return _json([one.region, " ".join(one.zones), one.price, one.spot_price])


def _node(node: InstanceType) -> dict[str, Any]:
    values = {field: getattr(node, field) for field in _NODE}
    return {field: value for field, value in values.items() if field not in _LEFT_OUT or value != _LEFT_OUT[field]}


def _entry(values: dict[str, Any], lines: Iterable[str]) -> str:
    return f'{_json(values)[:-1]}, "listings": [\n' + ",\n".join(lines) + "\n]}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
