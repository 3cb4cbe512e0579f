"""Failover: which offers are ruled out by the failures so far, and how the story is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skyflow.errors import ProvisionError, ResourcesUnavailableError
from skyflow.models.launch import Attempt
from skyflow.models.node import Offer
from skyflow.models.plan import RuledOut

TOLD = 8
"""How many answers an error has in its one line. All that are kept are in its failover history."""

TRIES_PER_OFFER = 3
"""How often one offer is tried while its cloud says «try again»."""


class Failover:
    """Walks a plan in its order, past what the failures have ruled out.

    Attributes:
        offers: those that are known. A long plan is told in pages, so more may be appended.
    """

    def __init__(self, offers: list[Offer]) -> None:
        self.offers = list(offers)
        self.ruled_out: list[RuledOut] = []

    def candidates(self) -> Iterator[tuple[int, Offer]]:
        """Offers with their index in the plan. Looks again after each, so a failure takes effect at once."""
        for index, offer in enumerate(self.offers):
            if not any(rule.covers(offer) for rule in self.ruled_out):
                yield index, offer

    def failed(self, offer: Offer, error: ProvisionError) -> None:
        """Takes note of a failure. A stockout or quota says nothing about other instance types, or the other market."""
        kind: dict[str, Any] = {"instance_type": offer.instance_type, "use_spot": offer.use_spot}
        kind["accelerators"] = offer.accelerators
        match error.scope:
            case "zone" | "retry":
                rule = RuledOut(cloud=offer.cloud, region=offer.region, zone=offer.zone, **kind)
            case "region":
                rule = RuledOut(cloud=offer.cloud, region=offer.region, **kind)
            case "cloud":
                rule = RuledOut(cloud=offer.cloud)
            case "request":
                rule = RuledOut()
        self.ruled_out.append(rule)


def exhausted(cluster: str, attempts: list[Attempt], tried: int) -> ResourcesUnavailableError:
    """The error after the last offer: what was tried, what each place answered, what to do.

    Args:
        cluster: that gets no nodes.
        attempts: the last of them.
        tried: how many offers were tried.
    """
    answers = list(dict.fromkeys(f"{a.place} ({a.instance_type}): {a.error.rstrip('.')}" for a in attempts))
    more = f"; and {tried - TOLD} before them" if tried > TOLD else ""
    message = (
        f"No place could give the nodes for cluster {cluster!r}. Tried {tried}: {'; '.join(answers[-TOLD:])}{more}. "
        "Wait for them with --retry-until-up, or allow other places or sizes (--infra, --cpus, --memory)."
    )
    return ResourcesUnavailableError(message, [attempt.model_dump() for attempt in attempts])


def waiting(attempts: list[Attempt], pause: float) -> str:
    """What a launch says while it waits to try all places again."""
    places = len({(a.place, a.instance_type) for a in attempts})
    last = f"; the last said: {attempts[-1].error}" if attempts else ""
    return f"nodes: none of {places} offer(s) can give them now, next try in {pause:.0f} s{last}"
