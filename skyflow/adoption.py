"""What a client asks when Temporal's database was lost: which clusters the store knows, and to take them over."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from skyflow.models.name import adopt_workflow_id, safe_name, task_queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    import temporalio.client as temporal

    from skyflow.store.store import Store

LIVES = "lives"
"""Folder of the store; see `skyflow.store.life`, which a client does not import for a glance."""


async def start(client: temporal.Client, *, dryrun: bool, deployment: str | None, lives: Sequence[str] | None) -> str:
    """Starts an AdoptWorkflow. Returns its id."""
    handle = await client.start_workflow(
        "AdoptWorkflow",
        {"dryrun": dryrun, "deployment": deployment, "lives": None if lives is None else list(lives)},
        id=adopt_workflow_id(uuid.uuid4().hex[:12]),
        task_queue=task_queue("quick"),
        static_summary="which clusters are lost?" if dryrun else "adopt clusters",
    )
    return handle.id


async def count_lost(client: temporal.Client, store: Store) -> int:
    """How many clusters the store knows that nobody in this namespace looks after."""
    lives = {tuple(key.split("/")[-3:-1]) for key, _ in await store.list(LIVES)}
    if lives:
        query = "WorkflowType = 'AutostopWorkflow' AND ExecutionStatus = 'Running'"
        guarded = [execution.id.split("/") async for execution in client.list_workflows(query)]
        lives -= {(safe_name(cluster), uid) for _, cluster, uid in guarded}
    return len(lives)


def nothing(adoption: dict[str, Any], deployment: str | None) -> str:
    """Why there is nothing to adopt."""
    if adoption["left"]:
        return "Nothing to adopt."
    owners: list[str] = adoption.get("owners", [])
    if deployment is None or not owners:
        return "Nothing to adopt: the store knows of no cluster that Temporal does not have."
    return (
        f"Nothing to adopt: the store knows no lost cluster of deployment {deployment!r}, but of {', '.join(owners)}. "
        f"See: skyflow adopt --deployment {owners[0]}"
    )


def describe(adoption: dict[str, Any]) -> list[str]:
    """What an Adoption leaves to be said beside the clusters that were adopted, a line each."""
    lines = [f"Cluster {one['cluster']} is left alone: {one['reason']}." for one in adoption["left"]]
    lines += [f"Cluster {one['cluster']} has no nodes any more: nothing of it is adopted." for one in adoption["over"]]
    lines += [f"{name} could not be asked: nodes may be there. Is a worker up there?" for name in adoption["silent"]]
    lines += [
        f"Node {one['id']} in {one['place']} ({one['state']}) was made for a cluster {one['cluster']!r} that the store "
        f"does not know. Delete it: {one['removal']}"
        for one in adoption["strangers"]
    ]
    return lines
