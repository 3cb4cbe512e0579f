"""Failover: which offers are ruled out by the failures so far, and how the story is told."""

from __future__ import annotations

from collections.abc import Iterator

from skyflow.errors import ProvisionError, ResourcesUnavailableError
from skyflow.models.launch import Attempt
from skyflow.models.node import Offer
from skyflow.models.wire import Wire

TRIES_PER_OFFER = 3
"""How often one offer is tried while its cloud says «try again»."""


class RuledOut(Wire):
    """A set of offers that a failure rules out. None matches everything."""

    cloud: str
    region: str | None = None
    zone: str | None = None
    instance_type: str | None = None
    use_spot: bool | None = None

    def covers(self, offer: Offer) -> bool:
        own = self.model_dump(exclude_none=True)
        return all(getattr(offer, field) == value for field, value in own.items())


class Failover:
    """Walks a plan in its order, past what the failures have ruled out."""

    def __init__(self, offers: list[Offer]) -> None:
        self.offers = offers
        self.ruled_out: list[RuledOut] = []

    def candidates(self) -> Iterator[tuple[int, Offer]]:
        """Offers with their index in the plan. Looks again after each, so a failure takes effect at once."""
        for index, offer in enumerate(self.offers):
            if not any(rule.covers(offer) for rule in self.ruled_out):
                yield index, offer

    def failed(self, offer: Offer, error: ProvisionError) -> None:
        """Takes note of a failure. A stockout or quota says nothing about other instance types, or the other market."""
        kind = {"instance_type": offer.instance_type, "use_spot": offer.use_spot}
        match error.scope:
            case "zone" | "retry":
                rule = RuledOut(cloud=offer.cloud, region=offer.region, zone=offer.zone, **kind)
            case "region":
                rule = RuledOut(cloud=offer.cloud, region=offer.region, **kind)
            case "cloud":
                rule = RuledOut(cloud=offer.cloud)
            case "request":
                self.ruled_out += [RuledOut(cloud=other.cloud) for other in self.offers]
                return
        self.ruled_out.append(rule)


def exhausted(cluster: str, attempts: list[Attempt]) -> ResourcesUnavailableError:
    """The error after the last offer: what was tried, what each place answered, what to do."""
    answers = list(dict.fromkeys(f"{a.place} ({a.instance_type}): {a.error.rstrip('.')}" for a in attempts))
    message = (
        f"No place could give the nodes for cluster {cluster!r}. Tried {len(answers)}: {'; '.join(answers)}. "
        "Wait for them with --retry-until-up, or allow other places or sizes (--infra, --cpus, --memory)."
    )
    return ResourcesUnavailableError(message, [attempt.model_dump() for attempt in attempts])


def waiting(attempts: list[Attempt], pause: float) -> str:
    """What a launch says while it waits to try all places again."""
    places = len({(a.place, a.instance_type) for a in attempts})
    last = f"; the last said: {attempts[-1].error}" if attempts else ""
    return f"nodes: none of {places} offer(s) can give them now, next try in {pause:.0f} s{last}"


def infeasible(ruled_out: list[str]) -> ResourcesUnavailableError:
    """The error when no offer fits in the first place; its history is empty (PARITY C02)."""
    reasons = "; ".join(ruled_out) or "no cloud is enabled"
    return ResourcesUnavailableError(f"No offer fits the task's resources: {reasons}.")
