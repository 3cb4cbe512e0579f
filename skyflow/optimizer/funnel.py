"""The funnel: everything that the clouds have, narrowed wish by wish to what will do, with what each wish ruled out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from skyflow.catalog.table import Catalog, InstanceType, Listing
from skyflow.errors import InvalidTaskError
from skyflow.models.accelerator import canonical, show_accelerators
from skyflow.models.feature import CloudFeature
from skyflow.models.node import Offer
from skyflow.models.plan import PlanRequest, ResourcesRequest

DEFAULT_CPUS = 8
"""CPUs of a node without accelerators of which nothing is said (PARITY K11)."""
DEFAULT_CPUS_PER_ACCELERATOR = 4

NO_PRICE = -1.0
"""Of a candidate that is not to be had; until the funnel hears what is wanted of the market."""


class Candidate(NamedTuple):
    """An instance type in one zone, on demand or spot."""

    catalog: Catalog
    listing: Listing
    zone: str
    use_spot: bool
    price: float

    def offer(self, choice: int = 0) -> Offer:
        """The same as it travels."""
        node = self.listing.type
        return Offer(
            cloud=self.catalog.cloud,
            region=self.listing.region,
            zone=self.zone,
            instance_type=node.name,
            cpus=node.cpus,
            memory=node.memory,
            price=self.price,
            use_spot=self.use_spot,
            host=self.catalog.host,
            accelerators={node.accelerator: node.accelerator_count} if node.accelerator else {},
            arch=node.arch,
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

    def run(self) -> Narrowed:
        """Wish after wish, until all are heard or nothing is left."""
        listings = self._listings(self._clouds())
        for step in (self._types, self._regions):
            listings = step(listings)
        candidates = self._zones(listings)
        candidates = self._markets(candidates)
        for words, has, kind in self._last_wishes():
            candidates = self._keep(words, [one for one in candidates if has(one)], candidates, kind)
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
        if (disk := wanted.disk_size) is not None:
            words = f"a disk of {disk} GB"
            wishes.append((words, lambda catalog: catalog.largest_disk is None or disk <= catalog.largest_disk))
        for words, has in wishes:
            kept = [catalog for catalog in left if has(catalog)]
            self._note(words, [*_everything(left)], [*_everything(kept)], "cloud")
            left = kept
        return left

    def _listings(self, catalogs: list[Catalog]) -> list[tuple[Catalog, Listing]]:
        """Those of the instance type, or else with the accelerators that are wanted."""
        wanted, everything = self.wanted, [*_everything(catalogs)]
        if (name := wanted.instance_type) is not None:
            kinds = [canonical(kind) for kind in wanted.accelerators]
            found = [
                (catalog, listing)
                for catalog in catalogs
                for listing in [*catalog.listings, *(more for kind in kinds for more in catalog.find(kind))]
                if listing.type.name == name
            ]
            found = list({id(listing): (catalog, listing) for catalog, listing in found}.values())
            self._note(f"instance type {name}", everything, found, "instance_type")
            everything = found
        if not wanted.accelerators:
            if wanted.instance_type is not None:
                return everything
            found = [(catalog, listing) for catalog in catalogs for listing in catalog.find(None)]
            self._note("no accelerator", everything, found, "accelerators")
            return found
        counts = {canonical(kind): count for kind, count in wanted.accelerators.items()}
        if wanted.instance_type is None:
            found = [(catalog, one) for catalog in catalogs for kind in counts for one in catalog.find(kind)]
        else:
            found = everything
        found = [(catalog, one) for catalog, one in found if _has_accelerators(one.type, counts)]
        self._note(show_accelerators(counts), everything, found, "accelerators")
        return found

    def _types(self, listings: list[tuple[Catalog, Listing]]) -> list[tuple[Catalog, Listing]]:
        for words, has, kind in self._type_wishes():
            fine = {
                id(node): has(catalog, node)
                for catalog, node in {id(o[1].type): (o[0], o[1].type) for o in listings}.values()
            }
            kept = [one for one in listings if fine[id(one[1].type)]]
            self._note(words, listings, kept, kind)
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
        if wanted.memory is not None:
            wishes.append((f"{wanted.memory} GiB", _amount(wanted.memory, "memory"), "memory"))
        if wanted.cpus is wanted.memory is wanted.instance_type is None:
            wishes.append(("enough CPUs by default", _enough_by_default, "cpus"))
        return wishes

    def _regions(self, listings: list[tuple[Catalog, Listing]]) -> list[tuple[Catalog, Listing]]:
        if (region := self.wanted.region) is None:
            return listings
        kept = [(catalog, listing) for catalog, listing in listings if listing.region == region]
        self._note(f"region {region}", listings, kept, "region")
        return kept

    def _zones(self, listings: list[tuple[Catalog, Listing]]) -> list[Candidate]:
        spot, zone = self.wanted.use_spot, self.wanted.zone
        everywhere = [
            Candidate(catalog, one, name, spot, NO_PRICE if price is None else price)
            for catalog, one in listings
            for price in [one.spot_price if spot else one.price]
            for name in one.zones
        ]
        if zone is None:
            return everywhere
        kept = [one for one in everywhere if zone in (one.zone, one.catalog.zone_names.get(one.zone))]
        return self._keep(f"zone {zone}", kept, everywhere, "zone")

    def _markets(self, candidates: list[Candidate]) -> list[Candidate]:
        market = "spot nodes" if self.wanted.use_spot else "on-demand nodes"
        return self._keep(market, [one for one in candidates if one.price != NO_PRICE], candidates, "market")

    def _last_wishes(self) -> list[tuple[str, Callable[[Candidate], bool], str]]:
        wishes: list[tuple[str, Callable[[Candidate], bool], str]] = []
        if (cost := self.wanted.max_hourly_cost) is not None:
            nodes = self.request.num_nodes
            wishes.append((f"${cost:g} an hour at most", lambda one: one.price * nodes <= cost, "cost"))
        if blocked := self.request.blocked:
            words = "a place that is not blocked"
            wishes.append((words, lambda one: not any(rule.covers(one.offer()) for rule in blocked), "blocked"))
        return wishes

    # What is ruled out

    def _keep(self, words: str, kept: list[Candidate], candidates: list[Candidate], kind: str) -> list[Candidate]:
        if len(kept) < len(candidates):
            self.found.ruled_out.append((words, len(candidates) - len(kept)))
        if candidates and not kept and not self.found.kind:
            self.found.before, self.found.kind = [one for one in candidates if one.price != NO_PRICE], kind
        return kept

    def _note(
        self,
        words: str,
        before: list[tuple[Catalog, Listing]],
        after: list[tuple[Catalog, Listing]],
        kind: str,
    ) -> None:
        lost = _count(before) - _count(after)
        if lost:
            self.found.ruled_out.append((words, lost))
        if before and not after and not self.found.kind:
            self.found.kind = kind
            self.found.before = [
                Candidate(catalog, one, zone, spot, price)
                for catalog, one in before
                for spot, price in ((False, one.price), (True, one.spot_price))
                if price is not None and spot == self.wanted.use_spot
                for zone in one.zones
            ]


def _everything(catalogs: Iterable[Catalog]) -> Iterable[tuple[Catalog, Listing]]:
    return ((catalog, listing) for catalog in catalogs for listing in catalog.listings)


def _count(listings: list[tuple[Catalog, Listing]]) -> int:
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
