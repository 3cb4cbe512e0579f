"""What is asked of the optimizer, and its answer."""

from __future__ import annotations

from pydantic import Field

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
    """GiB a node, in the same form."""
    use_spot: bool = False


class PlanRequest(Wire):
    """What a task asks for."""

    resources: list[ResourcesRequest] = Field(default_factory=lambda: [ResourcesRequest()])
    """Any of these will do."""
    num_nodes: int = 1
    blocked: list[tuple[str, str | None, str | None]] = Field(default_factory=list)
    """Places that are out of the question: cloud, region and zone, None for all of them."""


class Plan(Wire):
    """Every feasible offer, best first."""

    offers: list[Offer] = Field(default_factory=list)
    ruled_out: list[str] = Field(default_factory=list)
    """If there is no offer: for each set of resources, what left none, and what comes nearest."""
