"""The laboratory: which places, sizes and shortages the `local` cloud has, from its `config.yaml`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from skyflow import catalog
from skyflow.catalog import table
from skyflow.catalog.table import Listing
from skyflow.clouds.local.admission import Limit
from skyflow.clouds.local.folder import NodeSpec, write_atomically
from skyflow.errors import InvalidTaskError, Scope, UsageError
from skyflow.models import accelerator
from skyflow.models.node import Offer
from skyflow.models.place import check_place_name

SMALLEST_HOST = 8
"""CPUs. A host with fewer still offers sizes up to this: sizes are labels, not limits."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


P = TypeVar("P", bound=_Part)


class InstanceType(_Part):
    """A size of node. A label, not a limit."""

    name: str
    cpus: float = Field(gt=0)
    memory: float = Field(gt=0)
    """GiB."""
    price: float = Field(default=0, ge=0)
    """US dollars an hour, for the ranking; nobody is billed."""
    spot_price: float | None = Field(default=0, ge=0)
    """None: not to be had as spot."""
    accelerators: str | None = None
    """`A100:8`: a label too. There is nothing behind it, but a task that wants it is placed and told so."""

    @field_validator("accelerators")
    @classmethod
    def _one_kind(cls, value: str | None) -> str | None:
        if value is not None and len(accelerator.parse(value)) != 1:
            raise ValueError("one kind of accelerator, such as A100:8")
        return value

    def node(self) -> table.InstanceType:
        """The same as catalogs have it."""
        [(name, count)] = accelerator.parse(self.accelerators)[0].items() if self.accelerators else [(None, 0)]
        return table.InstanceType(self.name, self.cpus, self.memory, accelerator=name, accelerator_count=count)


class Rule(_Part):
    """Which offers a rule is about. What is not given matches everything."""

    region: str | None = None
    zone: str | None = None
    instance_type: str | None = None
    use_spot: bool | None = None

    def match(self) -> dict[str, Any]:
        """The fields that are given."""
        return {name: getattr(self, name) for name in Rule.model_fields if getattr(self, name) is not None}

    def covers(self, offer: Offer | NodeSpec) -> bool:
        return all(getattr(offer, name) == value for name, value in self.match().items())


class Capacity(Rule):
    """So many nodes can exist there at the same time."""

    nodes: int = Field(ge=0)


class Quota(_Part):
    """So many nodes can exist in a region at the same time."""

    region: str
    nodes: int = Field(ge=0)


class Stockout(Rule):
    """Nothing is to be had there."""

    count: int | None = Field(default=None, ge=1)
    """How often it strikes; None: always. Another `id` begins the count anew."""
    scope: Scope | None = None
    """What the refusal rules out; by default the region if only that is given, else the zone."""
    id: str = ""

    def limit(self) -> Limit:
        scope = self.scope or ("region" if self.region and not self.zone else "zone")
        key = "/".join([self.id, *(f"{name}={value}" for name, value in self.match().items()), str(self.count)])
        return Limit("stockout", key, scope, self.count)


class SlowStart(Rule):
    """Nodes there take this long to start."""

    seconds: float = Field(ge=0)


class LabConfig(_Part):
    """The laboratory. Without a file: one region, two zones, sizes like this host's, and no shortages."""

    regions: dict[str, list[str]] = Field(default_factory=dict)
    """Region → its zones; none: those of the catalog."""
    instance_types: list[InstanceType] = Field(default_factory=list)
    """In every zone; none: those of the catalog, up to the size of this host."""
    capacity: list[Capacity] = Field(default_factory=list)
    stockouts: list[Stockout] = Field(default_factory=list)
    quotas: list[Quota] = Field(default_factory=list)
    slow_starts: list[SlowStart] = Field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> LabConfig:
        """Reads the file; an absent one is the default.

        Raises:
            UsageError: it cannot be read, or what it says is wrong.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_bytes()) or {})
        except FileNotFoundError:
            return cls()
        except (OSError, yaml.YAMLError) as error:
            raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole file"
            raise UsageError(f"{path}: {where}: {first['msg']}; correct it, or remove the file.") from None

    def save(self, path: Path) -> None:
        """Replaces the file. Takes effect with the next request."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, yaml.safe_dump(self.model_dump(exclude_defaults=True), sort_keys=False))

    def listings(self) -> list[Listing]:
        """Every instance type in every region."""
        nodes = [(one.node(), one) for one in self.effective_types()]
        return [
            Listing(node, region, tuple(zones), one.price, one.spot_price)
            for region, zones in self.effective_regions().items()
            for node, one in nodes
        ]

    def effective_regions(self) -> dict[str, list[str]]:
        """Region → its zones."""
        return self.regions or _catalog_regions()

    def effective_types(self) -> list[InstanceType]:
        """The sizes, which are to be had in every zone."""
        return self.instance_types or _catalog_types()

    def check(self) -> None:
        """Raises UsageError if a rule names what there is not, a zone is in two regions, or no task can say a name."""
        regions = self.effective_regions()
        zones = [zone for found in regions.values() for zone in found]
        there = {"region": list(regions), "zone": zones, "instance_type": [one.name for one in self.effective_types()]}
        for field, names in there.items():
            if strange := [one for one in names if not _can_be_said(field, one)]:
                what = f"{field.replace('_', ' ')} {strange[0]!r}"
                raise UsageError(f"No task could name the {what}: it may have no /, no * and no spaces at its ends.")
        for zone in zones:
            if zones.count(zone) > 1:
                raise UsageError(f"Zone {zone!r} is there twice; a zone is in one region.")
        for rule in [*self.capacity, *self.stockouts, *self.slow_starts, *self.quotas]:
            for field, names in there.items():
                if (name := getattr(rule, field, None)) is not None and name not in names:
                    what = field.replace("_", " ")
                    raise UsageError(f"There is no {what} {name!r}; there are: {', '.join(names)}.")

    def limits(self, offer: Offer | NodeSpec) -> list[Limit]:
        """What may refuse a node of this offer, or the start of this node, in the order in which it is asked."""
        quotas = [
            Limit("quota", "", "region", quota.nodes, {"region": quota.region})
            for quota in self.quotas
            if quota.region == offer.region
        ]
        capacities = [
            Limit("capacity", "", "zone", rule.nodes, rule.match()) for rule in self.capacity if rule.covers(offer)
        ]
        return [rule.limit() for rule in self.stockouts if rule.covers(offer)] + quotas + capacities

    def delay(self, offer: Offer | NodeSpec) -> float:
        """How long a node of this offer, or this node, takes to start, in seconds."""
        return max([rule.seconds for rule in self.slow_starts if rule.covers(offer)], default=0)


def checked(part: type[P], values: dict[str, Any]) -> P:
    """A part of the laboratory. Raises UsageError if a value is wrong."""
    try:
        return part.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{first['loc'][0]}: {first['msg']} (it is {first['input']!r}).") from None


def _can_be_said(field: str, name: str) -> bool:
    try:
        return check_place_name(field, name) is not None
    except InvalidTaskError:
        return False


def _catalog_regions() -> dict[str, list[str]]:
    return {one.region: list(one.zones) for one in catalog.load("local").listings}


def _catalog_types() -> list[InstanceType]:
    largest = max(SMALLEST_HOST, os.cpu_count() or 1)
    return [
        InstanceType(
            name=one.type.name,
            cpus=one.type.cpus,
            memory=one.type.memory,
            price=one.price or 0,
            spot_price=one.spot_price,
        )
        for one in catalog.load("local").listings
        if one.type.cpus <= largest
    ]
