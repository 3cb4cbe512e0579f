"""What a task asks of the optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from skyflow.models.plan import PlanRequest, ResourcesRequest, RuledOut
from skyflow.models.resources import Resources
from skyflow.models.task import Task


def plan_request(task: Task, clouds: list[str] | None = None, blocked: Iterable[Resources] = ()) -> PlanRequest:
    """Every set of resources of a task, as the optimizer is asked.

    Args:
        task: of which the resources, the number of nodes and what is blocked count.
        clouds: only these; None: every one that is enabled.
        blocked: what may not be used besides what the task blocks.
    """
    return PlanRequest(
        resources=[ResourcesRequest.model_validate(_with_features(task, one)) for one in task.resources],
        ordered=task.resources.ordered,
        num_nodes=task.num_nodes,
        blocked=[_blocked(one) for one in dict.fromkeys([*task.blocked_resources, *blocked])],
        clouds=clouds,
    )


def _with_features(task: Task, resources: Resources) -> dict[str, Any]:
    """Those of one set of resources, and those that the task has in any case."""
    request = resources.to_request()
    features = {feature.name for feature in task.get_required_cloud_features()} | set(request["features"])
    return {**request, "features": sorted(features)}


def _blocked(resources: Resources) -> RuledOut:
    spot = resources.use_spot if resources.use_spot_specified else None
    fields = ("cloud", "region", "zone", "instance_type", "accelerators")
    return RuledOut(use_spot=spot, **{field: getattr(resources, field) for field in fields})
