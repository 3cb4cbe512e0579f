"""Whether the laboratory gives a node: its stockouts, capacities and quotas as pure data and a pure decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from skyflow.clouds.local.folder import NodeSpec


@dataclass(frozen=True)
class Limit:
    """One reason to refuse nodes. The host is told which limits concern the place that was asked for."""

    kind: Literal["stockout", "capacity", "quota"]
    key: str
    """Names a stockout in the record of how often each has struck."""
    scope: str
    """What a refusal rules out (`skyflow.errors.Scope`)."""
    count: int | None
    """How many nodes there may be; for a stockout how often it strikes, None for always."""
    match: Mapping[str, Any] = field(default_factory=dict)
    """Which nodes count: fields of NodeSpec and their values."""

    def covers(self, node: NodeSpec) -> bool:
        return all(getattr(node, name) == value for name, value in self.match.items())


@dataclass(frozen=True)
class Refusal:
    """The answer to who cannot have a node."""

    message: str
    scope: str
    code: str
    struck: str = ""
    """The key of the limited stockout that has now struck once more."""


def refusal(
    spec: NodeSpec, limits: Iterable[Limit], existing: Iterable[NodeSpec], struck: Mapping[str, int]
) -> Refusal | None:
    """Why this node cannot be had now, or None if it can.

    Args:
        spec: the node.
        limits: those that concern its place and instance type.
        existing: all nodes that there are.
        struck: how often each limited stockout has struck already.
    """
    nodes = list(existing)
    where = f"{spec.zone} ({spec.instance_type})"
    for limit in limits:
        if limit.kind == "stockout":
            if limit.count is None or struck.get(limit.key, 0) < limit.count:
                counted = "" if limit.count is None else limit.key
                return Refusal(f"There is no capacity in {where} now.", limit.scope, "Stockout", counted)
            continue
        used = sum(1 for node in nodes if limit.covers(node))
        if limit.count is not None and used >= limit.count:
            if limit.kind == "quota":
                message = f"The quota of {limit.count} nodes in region {spec.region} is used up."
                return Refusal(message, limit.scope, "QuotaExceeded")
            message = f"The capacity of {limit.count} nodes in {where} is used up."
            return Refusal(message, limit.scope, "InsufficientCapacity")
    return None
