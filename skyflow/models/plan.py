"""What is asked of the optimizer, and its answer."""

from __future__ import annotations

from pydantic import Field

from skyflow.errors import ResourcesUnavailableError
from skyflow.models.node import Offer
from skyflow.models.wire import Wire


class ResourcesRequest(Wire):
    """One set of resources that would do. None is no constraint."""

    cloud: str | None = None
    region: str | None = None
    zone: str | None = None
    instance_type: str | None = None
    cpus: str | None = None
    """CPUs a node: `2` exactly, `2+` at least."""
    memory: str | None = None
    """GiB a node, in the same form; `4x` is so many GiB a CPU."""
    accelerators: dict[str, float] = Field(default_factory=dict)
    """Any one of these: canonical name → count a node. Empty: a node without, unless `instance_type` has some."""
    use_spot: bool = False
    max_hourly_cost: float | None = None
    """US dollars an hour for all nodes together."""
    arch: str | None = None
    """Of the processors; None is x86_64, unless `instance_type` says otherwise."""
    features: list[str] = Field(default_factory=list)
    """Names of the `CloudFeature`s that the cloud must have."""


class RuledOut(Wire):
    """A set of offers that is out of the question. None matches everything."""

    cloud: str | None = None
    region: str | None = None
    zone: str | None = None
    instance_type: str | None = None
    use_spot: bool | None = None
    accelerators: dict[str, float] | None = None

    def covers(self, offer: Offer, zone_name: str | None = None) -> bool:
        """Whether an offer is one of them. `zone_name` is what users call its zone, if they call it otherwise."""
        fields = ("cloud", "region", "instance_type", "use_spot", "accelerators")
        return self.zone in (None, offer.zone, zone_name) and all(
            getattr(self, field) in (None, getattr(offer, field)) for field in fields
        )


class Read(Wire):
    """Data that a task reads from a bucket."""

    cloud: str
    """That the bucket is in."""
    gib: float


class PlanRequest(Wire):
    """What a task asks for."""

    resources: list[ResourcesRequest] = Field(default_factory=lambda: [ResourcesRequest()])
    """Any of these will do."""
    ordered: bool = False
    """Whether an earlier one is better, whatever it costs."""
    num_nodes: int = 1
    read: Read | None = None
    """What moving it costs, and how long that takes, counts."""
    blocked: list[RuledOut] = Field(default_factory=list)
    clouds: list[str] | None = None
    """Only these clouds; None: every one that is enabled."""
    limit: int = 100
    """How many offers are told at most. An answer travels through Temporal."""
    after: Offer | None = None
    """Tell those that come after this one in the order: the last offer of the answer before."""


class Explanation(Wire):
    """Why a plan is as it is, in words."""

    chosen: str = ""
    """Why the first offer is the first."""
    next: list[Offer] = Field(default_factory=list)
    """The best of the next three kinds: another instance type, accelerator, cloud or market."""
    ruled_out: list[str] = Field(default_factory=list)
    """What was wanted, and how many offers that ruled out: `A100:8: 28,521`. If nothing is feasible: for each set of
    resources, what left none."""
    nearest: list[Offer] = Field(default_factory=list)
    """If nothing is feasible: the offers that come nearest."""
    elsewhere: list[Offer] = Field(default_factory=list)
    """If nothing is feasible: the best offers of clouds that are not enabled."""


class Plan(Wire):
    """Feasible offers, best first: at most `PlanRequest.limit` of them."""

    offers: list[Offer] = Field(default_factory=list)
    num_offers: int = 0
    """How many feasible offers there are."""
    explanation: Explanation = Field(default_factory=Explanation)


def infeasible(why: Explanation, task: str = "the task") -> ResourcesUnavailableError:
    """The error when no offer fits in the first place; its history is empty (PARITY C02)."""
    reasons = "; ".join(why.ruled_out) or "no cloud is both enabled and allowed by the settings (skyflow check)"
    elsewhere = ""
    if why.elsewhere:
        best = why.elsewhere[0]
        elsewhere = (
            f" {best.cloud} has it from ${best.price:.4g} an hour ({best.instance_type} in {best.region}), but is not "
            "enabled: skyflow check"
        )
    return ResourcesUnavailableError(f"No offer fits {task}'s resources: {reasons}.{elsewhere}")
