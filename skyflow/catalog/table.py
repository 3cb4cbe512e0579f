"""What a catalog is made of: instance types, and listings of them by region, with prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property


@dataclass(frozen=True, slots=True)
class InstanceType:
    """A size of node, the same wherever it is to be had."""

    name: str
    cpus: float
    memory: float
    """GiB a node."""
    arch: str = "x86_64"
    accelerator: str | None = None
    """Canonical name (`models/accelerator.py`), or None for a node without."""
    accelerator_count: float = 0
    accelerator_memory: float | None = None
    """GiB of one accelerator."""


@dataclass(frozen=True, slots=True)
class Listing:
    """An instance type in zones of one region that have the same price."""

    type: InstanceType
    region: str
    zones: tuple[str, ...]
    """By the name that the cloud itself uses everywhere: on AWS that is the zone's id (`use1-az1`)."""
    price: float | None
    """US dollars an hour on demand, accelerators included; None if it is not to be had so."""
    spot_price: float | None
    """The same for a node that may be taken away; None if that is not to be had, or not known."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """Accelerators that can be added to nodes of some instance types, in zones of one region that have the same price.

    On Google, that is how the older GPUs come: a node costs what its host costs, and its GPUs.
    """

    accelerator: str
    count: float
    accelerator_memory: float | None
    """GiB of one."""
    hosts: str
    """How the names of the instance types begin that can have them."""
    max_cpus: float
    """A node with so many of these accelerators has at most so many CPUs."""
    max_memory: float
    """The same for its memory, in GiB."""
    region: str
    zones: tuple[str, ...]
    price: float | None
    """US dollars an hour for all `count` of them, without the node; None if they are not to be had on demand."""
    spot_price: float | None


LACKS = {"aws": frozenset({"STOP_SPOT"})}
"""Cloud → names of the `CloudFeature`s that its nodes do not have."""


@dataclass(frozen=True)
class Catalog:
    """Everything that one cloud has."""

    cloud: str
    listings: Sequence[Listing] = field(repr=False)  # asyncio.run makes the repr of what it returns
    """Without those that `attachments` make possible."""
    host: str | None = None
    """Of a cloud whose nodes are bound to one host."""
    zone_names: Mapping[str, str] = field(default_factory=dict)
    """Zone → the other name by which users know it (on AWS: `use1-az1` → `us-east-1a`, which differs per account)."""
    date: str = ""
    """When the prices were read, as YYYY-MM-DD; empty if they are not read from anywhere."""
    attachments: Sequence[Attachment] = field(default=(), repr=False)
    source: str = ""
    """Where the prices were read, in a few words."""
    notes: tuple[str, ...] = ()
    """What a reader of the prices should know, a sentence each."""
    lacks: frozenset[str] = frozenset()
    """Names of the `CloudFeature`s that its nodes do not have."""

    @cached_property
    def size(self) -> int:
        """How many zones its listings are in, all of them together. Attachments do not count."""
        return sum(len(listing.zones) for listing in self.listings)

    @property
    def accelerators(self) -> list[str]:
        """Canonical names of all that this cloud has, sorted."""
        return sorted({*(name for name in self._own if name), *(one.accelerator for one in self.attachments)})

    def find(self, accelerator: str | None = None) -> Iterator[Listing]:
        """The listings whose nodes have this accelerator; with None, those whose nodes have none."""
        if accelerator not in self._found:
            own = self._own.get(accelerator, [])
            added = [] if accelerator is None else self._attached(accelerator)
            self._found[accelerator] = [*own, *added]
        return iter(self._found[accelerator])

    @cached_property
    def _own(self) -> dict[str | None, list[Listing]]:
        """Accelerator → listings."""
        found: dict[str | None, list[Listing]] = {}
        for listing in self.listings:
            found.setdefault(listing.type.accelerator, []).append(listing)
        return found

    @cached_property
    def _found(self) -> dict[str | None, list[Listing]]:
        """What `find` answered. Attachments are many when multiplied by their hosts, so each is when it is wanted."""
        return {}

    def _attached(self, accelerator: str) -> list[Listing]:
        """Every node that can have these accelerators added, with them."""
        wanted = [one for one in self.attachments if one.accelerator == accelerator]
        hosts = tuple({one.hosts for one in wanted})
        nodes: dict[str, list[Listing]] = {}
        for node in self._own.get(None, []) if wanted else []:
            if node.type.name.startswith(hosts):
                nodes.setdefault(node.region, []).append(node)
        types: dict[tuple[str, float], InstanceType] = {}
        pairs = ((node, one) for one in wanted for node in nodes.get(one.region, []))
        return [both for node, one in pairs if (both := _together(node, one, types))]


def _together(node: Listing, one: Attachment, types: dict[tuple[str, float], InstanceType]) -> Listing | None:
    """A node with accelerators added, or None if the cloud does not do that. `types` has what was made before."""
    host = node.type
    zones = tuple(zone for zone in node.zones if zone in one.zones)
    if not (zones and host.name.startswith(one.hosts) and host.cpus <= one.max_cpus and host.memory <= one.max_memory):
        return None
    key = (host.name, one.count)
    if key not in types:
        types[key] = replace(
            host,
            accelerator=one.accelerator,
            accelerator_count=one.count,
            accelerator_memory=one.accelerator_memory,
        )
    price, spot_price = _sum(node.price, one.price), _sum(node.spot_price, one.spot_price)
    return Listing(types[key], node.region, zones, price, spot_price)


def _sum(node: float | None, accelerators: float | None) -> float | None:
    return None if node is None or accelerators is None else round(node + accelerators, 6)
