"""The plain ranking: every feasible offer, cheapest first; and if there is none, what ruled them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from skyflow.errors import InvalidTaskError
from skyflow.models.node import Offer
from skyflow.models.plan import Plan, PlanRequest, ResourcesRequest

NEAREST = 3
"""How many offers are named when nothing fits."""

SHOWN = 6
"""How many names are listed."""


def rank(request: PlanRequest, offers: list[Offer]) -> Plan:
    """Ranks all offers that one of the sets of resources accepts, by price, then fit, then name.

    Offers that are bound to a host count only for who asks for their cloud by name, or if there are no others: a laptop
    is free, but not what a task means that leaves the choice open.

    Args:
        request: what is wanted.
        offers: what there is, in any order.

    Raises:
        InvalidTaskError: an amount is not `<number>` or `<number>+`.
    """
    wishes = [_steps(wanted, request, offers) for wanted in request.resources]
    feasible = [offer for offer in offers if any(_accepts(steps, offer) for steps in wishes)]
    if feasible:
        return Plan(offers=sorted(feasible, key=_order))
    return Plan(ruled_out=[_explain(steps, offers) for steps in wishes] if offers else [])


@dataclass(frozen=True)
class _Step:
    """One thing that is wanted."""

    words: str
    has: Callable[[Offer], bool]
    field: str = ""
    """The field of an offer that it is about."""
    amount: float | None = None


def _steps(wanted: ResourcesRequest, request: PlanRequest, offers: list[Offer]) -> list[_Step]:
    """Everything that an offer must pass, places first."""
    steps = []
    if wanted.cloud is None and any(offer.host is None for offer in offers):
        steps.append(_Step("a cloud that is not bound to a host", lambda offer: offer.host is None))
    for field in ("cloud", "region", "zone", "instance_type"):
        if (value := getattr(wanted, field)) is not None:
            steps.append(_Step(f"{field} {value}", _equals(field, value), field))
    market = "spot nodes" if wanted.use_spot else "on-demand nodes"
    steps.append(_Step(market, _equals("use_spot", wanted.use_spot)))
    for field in ("cpus", "memory"):
        if (value := getattr(wanted, field)) is not None:
            steps.append(_amount_step(field, value))
    if request.blocked:
        steps.append(_Step("a place that is not blocked", lambda offer: not _is_blocked(offer, request)))
    return steps


def _amount_step(field: str, text: str) -> _Step:
    try:
        amount = float(text.removesuffix("+"))
    except ValueError:
        raise InvalidTaskError(f"resources.{field}: {text!r} is not an amount such as 4 or '4+'.") from None
    if text.endswith("+"):
        return _Step(f"{field} {text}", lambda offer: bool(getattr(offer, field) >= amount), field, amount)
    return _Step(f"{field} {text}", _equals(field, amount), field, amount)


def _equals(field: str, value: object) -> Callable[[Offer], bool]:
    return lambda offer: bool(getattr(offer, field) == value)


def _accepts(steps: Iterable[_Step], offer: Offer) -> bool:
    return all(step.has(offer) for step in steps)


def _is_blocked(offer: Offer, request: PlanRequest) -> bool:
    return any(
        offer.cloud == cloud and region in (None, offer.region) and zone in (None, offer.zone)
        for cloud, region, zone in request.blocked
    )


def _order(offer: Offer) -> tuple[float | str | bool, ...]:
    """Cheapest, then smallest, then by name: the order of the failover."""
    names = (offer.cloud, offer.region, offer.zone, offer.instance_type, offer.host or "")
    return (offer.price, offer.cpus, offer.memory, *names, offer.use_spot)


def _explain(steps: list[_Step], offers: list[Offer]) -> str:
    """Which wish leaves no offer, and what there is instead."""
    left = offers
    for index, step in enumerate(steps):
        passing = [offer for offer in left if step.has(offer)]
        if not passing:
            before = ", ".join(earlier.words for earlier in steps[:index])
            return f"nothing has {step.words}{f' ({before})' if before else ''}{_instead(step, left)}"
        left = passing
    raise AssertionError("only called when there is no feasible offer")


def _instead(step: _Step, offers: list[Offer]) -> str:
    if step.amount is not None:
        wanted = step.amount
        nearest = sorted(offers, key=lambda offer: (abs(getattr(offer, step.field) - wanted), _order(offer)))
        sizes = dict.fromkeys(f"{o.instance_type} ({o.cpus:g} CPUs, {o.memory:g} GiB)" for o in nearest)
        return f", nearest: {_list(sizes, NEAREST)}"
    if step.field:
        return f", there is: {_list(dict.fromkeys(sorted(getattr(offer, step.field) for offer in offers)), SHOWN)}"
    return ""


def _list(names: Iterable[str], most: int) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
