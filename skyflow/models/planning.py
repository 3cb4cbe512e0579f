"""What a task asks of the optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from skyflow.models.block import check_block
from skyflow.models.plan import PlanRequest, Read, ResourcesRequest, RuledOut
from skyflow.models.resources import Resources
from skyflow.models.task import Task

BUCKET_CLOUDS = {"s3": "aws", "gs": "gcp"}
"""Scheme of a bucket's URI → the cloud that it is in."""


def plan_request(task: Task, clouds: list[str] | None = None, blocked: Iterable[Resources] = ()) -> PlanRequest:
    """Every set of resources of a task, as the optimizer is asked.

    Args:
        task: of which the resources, the number of nodes, what it reads and what is blocked count.
        clouds: only these; None: every one that is enabled.
        blocked: what may not be used besides what the task blocks.
    """
    return PlanRequest(
        resources=[ResourcesRequest.model_validate(_with_features(task, one)) for one in task.resources],
        ordered=task.resources.ordered,
        num_nodes=task.num_nodes,
        read=_read(task),
        blocked=[rule for one in dict.fromkeys([*task.blocked_resources, *blocked]) for rule in _blocked(one)],
        clouds=clouds,
    )


def _with_features(task: Task, resources: Resources) -> dict[str, Any]:
    """Those of one set of resources, and those that the task has in any case."""
    request = resources.to_request()
    features = {feature.name for feature in task.get_required_cloud_features()} | set(request["features"])
    return {**request, "features": sorted(features)}


def _read(task: Task) -> Read | None:
    """What it reads, if it is known where that is."""
    if (inputs := task.inputs) is None:
        return None
    cloud = BUCKET_CLOUDS.get(inputs.uri.partition("://")[0])
    return None if cloud is None else Read(cloud=cloud, gib=inputs.gigabytes)


def _blocked(resources: Resources) -> list[RuledOut]:
    """One rule for each accelerator of a block. A fraction of one needs a whole one, so that is what is blocked."""
    check_block(resources)
    rule = RuledOut(
        cloud=resources.cloud,
        region=resources.region,
        zone=resources.zone,
        instance_type=resources.instance_type,
        use_spot=resources.use_spot if resources.use_spot_specified else None,
    )
    kinds = [{name: float(math.ceil(count))} for name, count in (resources.accelerators or {}).items()]
    return [rule.model_copy(update={"accelerators": kind}) for kind in kinds] or [rule]
