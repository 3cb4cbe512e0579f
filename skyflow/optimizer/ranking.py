"""The plan of one task: every feasible offer in the order in which it is tried, and why that order."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

from skyflow.catalog.egress import Place, egress
from skyflow.catalog.table import Catalog
from skyflow.models.accelerator import show_accelerators
from skyflow.models.node import Offer
from skyflow.models.plan import Explanation, Plan, PlanRequest
from skyflow.optimizer.funnel import Candidate, Funnel, Narrowed

NEXT = 3
"""How many alternatives are named."""

SHOWN = 6
"""How many names are listed."""

Key = tuple[Any, ...]
Target = Literal["cost", "time"]
Hours = Callable[[Candidate], float]


def one_hour(candidate: Candidate) -> float:
    """How long a task runs if nobody knows (PARITY §4.6)."""
    return 1.0


def rank(request: PlanRequest, catalogs: Sequence[Catalog], target: Target = "cost", hours: Hours = one_hour) -> Plan:
    """Ranks all offers that one of the sets of resources accepts, by price, then fit, then name.

    Offers that are bound to a host count only for who asks for their cloud by name, or if there are no others: a laptop
    is free, but not what a task means that leaves the choice open. What a task reads from a bucket is moved to it.

    Args:
        request: what is wanted.
        catalogs: what there is.
        target: what the best offer is: the cheapest, or the fastest.
        hours: how long the task runs on a candidate.

    Raises:
        InvalidTaskError: an amount is not `<number>` or `<number>+`.
    """
    allowed = [catalog for catalog in catalogs if request.clouds is None or catalog.cloud in request.clouds]
    narrowed = [Funnel(wanted, request, allowed).run() for wanted in request.resources]
    ranked = _ranked(request, narrowed, target, hours)
    if not ranked:
        return Plan(explanation=_infeasible(request, narrowed, allowed))
    why = _explain(request, narrowed, ranked, target)
    return Plan(offers=_page(ranked, request), num_offers=_count(ranked), explanation=why)


def best_by_region(
    request: PlanRequest, catalogs: Sequence[Catalog], target: Target = "cost", hours: Hours = one_hour
) -> Plan:
    """The same, but of each region only the best offer: data moves between regions, so the others cannot matter.

    For the fastest graph that is not enough, since nobody pays for speed that nobody waits for: then it is also each
    offer that is slower, but cheaper than all that are faster. Of an ordered choice, only the first set of resources
    that can be had.
    """
    allowed = [catalog for catalog in catalogs if request.clouds is None or catalog.cloud in request.clouds]
    narrowed = [Funnel(wanted, request, allowed).run() for wanted in request.resources]
    ranked = _ranked(request, narrowed, target, hours)
    if not ranked:
        return Plan(explanation=_infeasible(request, narrowed, allowed))
    offers: list[Offer] = []
    least: dict[tuple[str, str], float] = {}
    for key, choice, candidate in ranked:
        if key[0] != ranked[0][0][0]:
            break
        place = (candidate.catalog.cloud, candidate.listing.region)
        if place not in least or (target == "time" and key[2] < least[place]):  # there, costs come third
            least[place] = key[2]
            offers.append(candidate.offer(min(candidate.zones), choice))
    return Plan(offers=offers, num_offers=_count(ranked))


def _ranked(
    request: PlanRequest, narrowed: list[Narrowed], target: Target, hours: Hours
) -> list[tuple[Key, int, Candidate]]:
    """The candidates with their place in the order and the first set of resources that they satisfy.

    A zone is in the list once, however many sets of resources want it.
    """
    found: list[tuple[Key, int, Candidate]] = []
    seen: dict[tuple[int, bool], set[str]] = {}
    for choice, one in enumerate(narrowed):
        for candidate in one.candidates:
            new = candidate
            if len(narrowed) > 1:
                before = seen.setdefault((id(candidate.listing), candidate.use_spot), set())
                if before:
                    new = candidate._replace(zones=tuple(zone for zone in candidate.zones if zone not in before))
                before.update(new.zones)
            if new.zones:
                key = _key(new, choice if request.ordered else 0, request, target, hours(new))
                found.append((key, choice, new))
    found.sort(key=itemgetter(0))
    return found


def _count(ranked: list[tuple[Key, int, Candidate]]) -> int:
    return sum(len(candidate.zones) for _, _, candidate in ranked)


def _key(candidate: Candidate, choice: int, request: PlanRequest, target: Target = "cost", hours: float = 1.0) -> Key:
    """Cheapest (or fastest), then smallest, then by name: the order of the failover. Zones come in the end."""
    node = candidate.listing.type
    cost, hours = _amounts(request, candidate.catalog.cloud, candidate.listing.region, candidate.price, hours)
    best = (hours, cost) if target == "time" else (cost, hours)
    names = (candidate.catalog.cloud, candidate.listing.region, node.name, candidate.catalog.host or "")
    size = (node.cpus, node.memory, *names, node.accelerator or "", node.accelerator_count)
    return (choice, *best, *size, candidate.use_spot, min(candidate.zones))


def _offer_key(offer: Offer, request: PlanRequest) -> Key:
    """The same of an offer that was told before, of a task that takes an hour; without the zone."""
    names = (offer.cloud, offer.region, offer.instance_type, offer.host or "")
    accelerator, count = next(iter(offer.accelerators.items()), ("", 0.0))
    size = (offer.cpus, offer.memory, *names, accelerator, count)
    cost, hours = _amounts(request, offer.cloud, offer.region, offer.price, 1.0)
    return (offer.choice if request.ordered else 0, cost, hours, *size, offer.use_spot)


def _amounts(request: PlanRequest, cloud: str, region: str, price: float, hours: float) -> tuple[float, float]:
    """US dollars and hours of a task, with those of what it reads."""
    cost = price * request.num_nodes * hours
    if (read := request.read) is None:
        return cost, hours
    dollars, seconds = egress(Place(read.cloud), Place(cloud, region), read.gib)
    return cost + dollars, hours + seconds / 3600


def _page(ranked: list[tuple[Key, int, Candidate]], request: PlanRequest) -> list[Offer]:
    """The offers that are told: those after the last one, if there was one, and no more than were asked for.

    The zones of candidates that differ in nothing else are in one order, whichever sets of resources they are from.
    """
    last = None if request.after is None else (_offer_key(request.after, request), request.after.zone)
    page: list[Offer] = []
    for key, equals in groupby(ranked, key=lambda entry: entry[0][:-1]):
        if last is not None and key < last[0]:
            continue
        zones = [(zone, choice, candidate) for _, choice, candidate in equals for zone in candidate.zones]
        for zone, choice, candidate in sorted(zones, key=itemgetter(0)):
            if len(page) == request.limit:
                return page
            if last is None or (key, zone) > last:
                page.append(candidate.offer(zone, choice))
    return page


# Why


def _explain(
    request: PlanRequest, narrowed: list[Narrowed], ranked: list[tuple[Key, int, Candidate]], target: Target
) -> Explanation:
    _, choice, best = ranked[0]
    superlative = "fastest" if target == "time" else "cheapest"
    offers = _count(ranked)
    chosen = f"the {superlative} of {offers:,} feasible offers"
    if request.ordered:
        chosen = f"the {superlative} offer for choice {choice + 1} of {len(narrowed)}, which come in that order"
    if offers == 1:
        chosen = "the only feasible offer"
    if request.read is not None:
        dollars, _ = _amounts(request, best.catalog.cloud, best.listing.region, 0.0, 0.0)
        chosen += f", with ${dollars:.4g} for moving what it reads"
    kinds = {_kind(best)}
    others: list[Offer] = []
    for _, other, candidate in ranked:
        if len(others) == NEXT:
            break
        if _kind(candidate) not in kinds:
            kinds.add(_kind(candidate))
            others.append(candidate.offer(candidate.zones[0], other))
    ruled_out = [f"{words}: {count:,}" for words, count in _together(narrowed)]
    return Explanation(chosen=chosen, next=others, ruled_out=ruled_out)


def _kind(candidate: Candidate) -> tuple[object, ...]:
    node = candidate.listing.type
    return (candidate.catalog.cloud, node.name, node.accelerator, node.accelerator_count, candidate.use_spot)


def _together(narrowed: list[Narrowed]) -> list[tuple[str, int]]:
    """What ruled out how many, of the first set of resources that left something, or of the only one."""
    return next((one.ruled_out for one in narrowed if one.candidates), [])


# Why not


def _infeasible(request: PlanRequest, narrowed: list[Narrowed], catalogs: Sequence[Catalog]) -> Explanation:
    if not any(catalog.listings for catalog in catalogs):
        return Explanation()
    nearest: dict[tuple[object, ...], Offer] = {}
    for index, one in enumerate(narrowed):
        for candidate in _nearest(request, index, one):
            nearest.setdefault(_kind(candidate), candidate.offer(candidate.zones[0], index))
    offers = sorted(nearest.values(), key=lambda offer: offer.choice)[:NEXT]
    return Explanation(ruled_out=[_reason(request, i, one) for i, one in enumerate(narrowed)], nearest=offers)


def _reason(request: PlanRequest, index: int, one: Narrowed) -> str:
    """Which wish leaves no offer, and what there is instead."""
    if not one.ruled_out:
        return "there is nothing"
    *earlier, (words, _) = one.ruled_out
    before = ", ".join(words for words, _ in earlier)
    return f"nothing has {words}{f' ({before})' if before else ''}{_instead(request, index, one)}"


def _instead(request: PlanRequest, index: int, one: Narrowed) -> str:
    wanted, there = request.resources[index], one.before
    match one.kind:
        case "cloud" if wanted.cloud is not None:
            return _there_is(candidate.catalog.cloud for candidate in there)
        case "region":
            return _there_is(candidate.listing.region for candidate in there)
        case "zone":
            return _there_is(zone for candidate in there for zone in candidate.zones)
        case "accelerators" if wanted.accelerators:
            return _other_accelerators(wanted.accelerators, there)
        case "arch":
            return _there_is(candidate.listing.type.arch for candidate in there)
        case "cpus" | "memory" | "instance_type":
            names = dict.fromkeys(_size(candidate) for candidate in _nearest(request, index, one))
            return f", nearest: {_list(names, NEXT)}" if names else ""
        case "cost" if there:
            cheapest = min(there, key=lambda candidate: candidate.price)
            return f", cheapest: ${cheapest.price * request.num_nodes:g} ({_size(cheapest)})"
        case _:
            return ""


def _other_accelerators(wanted: dict[str, float], there: list[Candidate]) -> str:
    """The same in other counts; or else what there is."""
    nodes = {candidate.listing.type for candidate in there if candidate.listing.type.accelerator}
    if counts := sorted({(str(n.accelerator), n.accelerator_count) for n in nodes if n.accelerator in wanted}):
        return f", there is: {_list((f'{name}:{count:g}' for name, count in counts), SHOWN)}"
    if not nodes:
        return ""
    names = sorted({str(node.accelerator) for node in nodes})
    close = [name for kind in wanted for name in difflib.get_close_matches(kind, names, 2)]
    return f", there is: {_list(close or names, SHOWN)}"


def _nearest(request: PlanRequest, index: int, one: Narrowed) -> list[Candidate]:
    """What comes nearest, the nearest first, one of a kind."""
    wanted = request.resources[index]

    def distance(candidate: Candidate) -> tuple[object, ...]:
        node = candidate.listing.type
        count = wanted.accelerators.get(node.accelerator or "", 0)
        amounts = [(wanted.cpus, node.cpus), (wanted.memory, node.memory)]
        lacking = sum(
            abs(float(text.rstrip("+x")) - has) for text, has in amounts if text is not None and "x" not in text
        )
        return (_unlike(node.accelerator), abs(node.accelerator_count - count), lacking, *_key(candidate, 0, request))

    @cache
    def _unlike(name: str | None) -> int:
        if not wanted.accelerators or name in wanted.accelerators:
            return 0
        return 3 if name is None else 1 if difflib.get_close_matches(name, wanted.accelerators, 1) else 2

    kinds: dict[tuple[object, ...], Candidate] = {}
    family = wanted.instance_type
    there = [o for o in one.before if family is not None and _alike(family, o.listing.type.name)] or one.before
    for candidate in sorted(there, key=distance):
        kinds.setdefault(_kind(candidate), candidate)
        if len(kinds) == NEXT:
            break
    return list(kinds.values())


def _alike(wanted: str, name: str) -> bool:
    """Of one family: `p4d.2xlarge` and `p4d.24xlarge`."""
    return wanted.replace(".", "-").split("-")[0] == name.replace(".", "-").split("-")[0]


def _size(candidate: Candidate) -> str:
    node = candidate.listing.type
    accelerators = f"{show_accelerators({node.accelerator: node.accelerator_count})}, " if node.accelerator else ""
    return f"{node.name} ({accelerators}{node.cpus:g} CPUs, {node.memory:g} GiB)"


def _there_is(names: Iterable[str]) -> str:
    return f", there is: {_list(sorted(set(names)), SHOWN)}"


def _list(names: Iterable[str], most: int) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
