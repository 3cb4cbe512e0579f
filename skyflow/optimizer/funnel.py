"""The funnel: everything that the clouds have, narrowed wish by wish to what will do, with what each wish ruled out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from skyflow.catalog.table import Catalog, InstanceType, Listing
from skyflow.errors import InvalidTaskError
from skyflow.models.accelerator import canonical, show_accelerators
from skyflow.models.feature import CloudFeature
from skyflow.models.node import Offer
from skyflow.models.plan import PlanRequest, ResourcesRequest, RuledOut

DEFAULT_CPUS = 8
"""CPUs of a node without accelerators of which nothing is said (PARITY K11)."""
DEFAULT_CPUS_PER_ACCELERATOR = 4

NO_PRICE = -1.0
"""Of a candidate that is not to be had; until the funnel hears what is wanted of the market."""


Found = tuple[Catalog, Listing]


class Candidate(NamedTuple):
    """An instance type in zones of one region, on demand or spot."""

    catalog: Catalog
    listing: Listing
    zones: tuple[str, ...]
    use_spot: bool
    price: float

    @property
    def accelerators(self) -> dict[str, float]:
        node = self.listing.type
        return {node.accelerator: node.accelerator_count} if node.accelerator else {}

    @property
    def can_stop(self) -> bool:
        """Whether its nodes can be stopped: those that are spot not on every cloud (PARITY C04)."""
        needed = {"STOP", "STOP_SPOT"} if self.use_spot else {"STOP"}
        return not needed & self.catalog.lacks

    def offer(self, zone: str, choice: int = 0) -> Offer:
        """The one in this zone, as it travels."""
        node = self.listing.type
        return Offer(
            cloud=self.catalog.cloud,
            region=self.listing.region,
            zone=zone,
            instance_type=node.name,
            cpus=node.cpus,
            memory=node.memory,
            price=self.price,
            use_spot=self.use_spot,
            host=self.catalog.host,
            accelerators=self.accelerators,
            arch=node.arch,
            can_stop=self.can_stop,
            choice=choice,
        )


@dataclass
class Narrowed:
    """What one set of resources leaves, and why the rest is out."""

    candidates: list[Candidate]
    ruled_out: list[tuple[str, int]] = field(default_factory=list)
    """What was wanted, and how many offers do not have it."""
    before: list[Candidate] = field(default_factory=list)
    """If nothing is left: what there was before the last wish."""
    kind: str = ""
    """What the last wish was about, if nothing is left."""


class Funnel:
    """Narrows the offers for one set of resources."""

    def __init__(self, wanted: ResourcesRequest, request: PlanRequest, catalogs: Sequence[Catalog]) -> None:
        self.wanted = wanted
        self.request = request
        self.catalogs = list(catalogs)
        self.found = Narrowed([])
        self._left = sum(catalog.size for catalog in catalogs)

    def run(self) -> Narrowed:
        """Wish after wish, until all are heard or nothing is left."""
        listings = self._listings(self._clouds())
        for step in (self._types, self._regions):
            listings = step(listings)
        candidates = self._zones(listings)
        for last in (self._markets, self._affordable, self._allowed):
            candidates = last(candidates)
        self.found.candidates = candidates
        return self.found

    # Wishes, in the order in which they are heard

    def _clouds(self) -> list[Catalog]:
        wanted, left = self.wanted, self.catalogs
        wishes: list[tuple[str, Callable[[Catalog], bool]]] = []
        if wanted.cloud is not None:
            wishes.append((f"cloud {wanted.cloud}", lambda catalog: catalog.cloud == wanted.cloud))
        elif any(catalog.host is None for catalog in left):
            wishes.append(("a cloud that is not bound to a host", lambda catalog: catalog.host is None))
        for name in wanted.features:
            words = CloudFeature[name].value if name in CloudFeature.__members__ else name
            wishes.append((words, lambda catalog, name=name: name not in catalog.lacks))  # type: ignore[misc]
        for words, has in wishes:
            kept = [catalog for catalog in left if has(catalog)]
            self._note(words, "cloud", sum(catalog.size for catalog in kept), _everything, left)
            left = kept
        return left

    def _listings(self, catalogs: list[Catalog]) -> list[Found]:
        """Those of the instance type, or else with the accelerators that are wanted."""
        wanted = self.wanted
        counts = {canonical(kind): count for kind, count in wanted.accelerators.items()}
        if (name := wanted.instance_type) is None and not counts:
            found = [(catalog, one) for catalog in catalogs for one in catalog.find(None)]
            self._note("no accelerator", "accelerators", _count(found), _everything, catalogs)
            return found
        if name is None:
            found = [(catalog, one) for catalog in catalogs for kind in counts for one in catalog.find(kind)]
        else:
            # With attached accelerators, a listing can be found twice.
            found = [(catalog, one) for catalog, one in _everything(catalogs) if one.type.name == name]
            attached = [(catalog, one) for catalog in catalogs for kind in counts for one in catalog.find(kind)]
            found += [pair for pair in attached if pair[1].type.name == name and pair not in found]
            self._note(f"instance type {name}", "instance_type", _count(found), _everything, catalogs)
        if not counts:
            return found
        kept = [(catalog, one) for catalog, one in found if _has_accelerators(one.type, counts)]
        before = (_everything, catalogs) if name is None else (list, found)
        self._note(show_accelerators(counts), "accelerators", _count(kept), *before)
        return kept

    def _types(self, listings: list[Found]) -> list[Found]:
        nodes = {id(one.type): (catalog, one.type) for catalog, one in listings}
        for words, has, kind in self._type_wishes():
            fine = {key for key, (catalog, node) in nodes.items() if has(catalog, node)}
            kept = [pair for pair in listings if id(pair[1].type) in fine]
            self._note(words, kind, _count(kept), list, listings)
            listings = kept
        return listings

    def _type_wishes(self) -> list[tuple[str, Callable[[Catalog, InstanceType], bool], str]]:
        wanted = self.wanted
        wishes: list[tuple[str, Callable[[Catalog, InstanceType], bool], str]] = []
        if wanted.arch is not None or wanted.instance_type is None:
            arch = wanted.arch or "x86_64"
            wishes.append((f"{arch} processors", lambda catalog, node: node.arch == arch, "arch"))
        if wanted.cpus is not None:
            wishes.append((f"{wanted.cpus} CPUs", _amount(wanted.cpus, "cpus"), "cpus"))
        if (memory := wanted.memory) is not None:
            words = f"{memory.replace('x', '')} GiB a CPU" if "x" in memory else f"{memory} GiB"
            wishes.append((words, _amount(memory, "memory"), "memory"))
        if wanted.cpus is wanted.memory is wanted.instance_type is None:
            wishes.append(("enough CPUs by default", _enough_by_default, "cpus"))
        return wishes

    def _regions(self, listings: list[Found]) -> list[Found]:
        if (region := self.wanted.region) is None:
            return listings
        kept = [(catalog, one) for catalog, one in listings if one.region == region]
        self._note(f"region {region}", "region", _count(kept), list, listings)
        return kept

    def _zones(self, listings: list[Found]) -> list[Candidate]:
        spot, zone = self.wanted.use_spot, self.wanted.zone
        everywhere = [
            Candidate(catalog, one, one.zones, spot, NO_PRICE if price is None else price)
            for catalog, one in listings
            for price in [one.spot_price if spot else one.price]
        ]
        if zone is None:
            return everywhere
        kept = [
            one._replace(zones=zones)
            for one in everywhere
            if (zones := tuple(own for own in one.zones if zone in (own, one.catalog.zone_names.get(own))))
        ]
        return self._keep(f"zone {zone}", kept, everywhere, "zone")

    def _markets(self, candidates: list[Candidate]) -> list[Candidate]:
        market = "spot nodes" if self.wanted.use_spot else "on-demand nodes"
        return self._keep(market, [one for one in candidates if one.price != NO_PRICE], candidates, "market")

    def _affordable(self, candidates: list[Candidate]) -> list[Candidate]:
        if (cost := self.wanted.max_hourly_cost) is None:
            return candidates
        nodes = self.request.num_nodes
        kept = [one for one in candidates if round(one.price * nodes, 6) <= cost]
        return self._keep(f"${cost:g} an hour at most", kept, candidates, "cost")

    def _allowed(self, candidates: list[Candidate]) -> list[Candidate]:
        if not self.request.blocked:
            return candidates
        kept = [
            one._replace(zones=zones)
            for one in candidates
            if (zones := tuple(zone for zone in one.zones if not _is_blocked(one, zone, self.request.blocked)))
        ]
        return self._keep("a place that is not blocked", kept, candidates, "blocked")

    # What is ruled out

    def _keep(self, words: str, kept: list[Candidate], candidates: list[Candidate], kind: str) -> list[Candidate]:
        if self._lose(words, sum(len(one.zones) for one in kept), kind):
            self.found.before = [one for one in candidates if one.price != NO_PRICE]
        return kept

    def _note(self, words: str, kind: str, left: int, listings: Callable[[Any], Iterable[Found]], given: Any) -> None:
        """Takes note of a wish. What there was before is only listed if nothing is left."""
        if self._lose(words, left, kind):
            spot = self.wanted.use_spot
            self.found.before = [
                Candidate(catalog, one, one.zones, spot, price)
                for catalog, one in listings(given)
                if (price := one.spot_price if spot else one.price) is not None
            ]

    def _lose(self, words: str, left: int, kind: str) -> bool:
        """Counts what a wish has ruled out. True if that was the last."""
        lost, self._left = self._left - left, left
        if lost > 0:
            self.found.ruled_out.append((words, lost))
        if left or self.found.kind or lost <= 0:
            return False
        self.found.kind = kind
        return True


def _is_blocked(one: Candidate, zone: str, rules: list[RuledOut]) -> bool:
    offer, name = one.offer(zone), one.catalog.zone_names.get(zone)
    return any(rule.covers(offer, name) for rule in rules)


def _everything(catalogs: Iterable[Catalog]) -> Iterable[Found]:
    return ((catalog, listing) for catalog in catalogs for listing in catalog.listings)


def _count(listings: list[Found]) -> int:
    return sum(len(listing.zones) for _, listing in listings)


def _has_accelerators(node: InstanceType, counts: dict[str, float]) -> bool:
    """A fraction of an accelerator needs a whole one."""
    count = counts.get(node.accelerator or "")
    return count is not None and node.accelerator_count in (count, -(-count // 1))


def _amount(text: str, name: str) -> Callable[[Catalog, InstanceType], bool]:
    """Whether a node has so many CPUs, or so much memory: `4`, `4+`, and of memory `4x`, `4x+`."""
    number, least = text.removesuffix("+"), text.endswith("+")
    per_cpu = number.endswith("x") and name == "memory"
    try:
        amount = float(number.removesuffix("x") if per_cpu else number)
    except ValueError:
        raise InvalidTaskError(f"resources.{name}: {text!r} is not an amount such as 4 or '4+'.") from None

    def has(catalog: Catalog, node: InstanceType) -> bool:
        wanted = amount * node.cpus if per_cpu else amount
        given: float = getattr(node, name)
        return given >= wanted if least else given == wanted

    return has


def _enough_by_default(catalog: Catalog, node: InstanceType) -> bool:
    """Nobody wants to train on one CPU only because that is cheapest. A host that is there anyway gives what it has."""
    if catalog.host is not None:
        return True
    if node.accelerator is None:
        return node.cpus >= DEFAULT_CPUS
    return node.cpus >= DEFAULT_CPUS_PER_ACCELERATOR * node.accelerator_count
