"""What happened to a cluster, in order, for as long as Temporal remembers it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from skyflow.errors import SkyflowError

if TYPE_CHECKING:
    from temporalio.client import WorkflowExecution

    from skyflow.cluster_client import ClusterClient

KINDS = ("launch", "job", "stop", "start", "down")
"""First parts of the ids of the workflows that a cluster has, beside itself."""

BEGINS = {"launch": "Launch", "stop": "Stop", "start": "Start", "down": "Down"}
ENDS = {"TERMINATED": "was terminated", "CANCELED": "was cancelled", "TIMED_OUT": "timed out"}


async def events(client: ClusterClient, cluster: str) -> list[dict[str, Any]]:
    """See Client."""
    runs = [one for kind in KINDS for one in await client.executions(kind, cluster)]
    begins: dict[str, float] = {}
    for one in runs:  # a workflow that began a new history has several
        begins[one.id] = min(one.start_time.timestamp(), begins.get(one.id, math.inf))
    last = [one for one in runs if one.status is None or one.status.name != "CONTINUED_AS_NEW"]
    own = [_events_of(client, one, begins[one.id]) for one in last]
    told = await asyncio.gather(*own, *(_adoption(client, one, cluster) for one in await client.adoptions()))
    return sorted((event for events in told for event in events), key=lambda event: event["time"])


async def _events_of(client: ClusterClient, one: WorkflowExecution, began: float) -> list[dict[str, Any]]:
    kind, number = one.id.partition("/")[0], one.id.rpartition("/")[2]
    name = f"Job {number}" if kind == "job" else BEGINS[kind]
    if number.startswith("idle-"):
        name = f"{name}, because it was idle,"
    lines = [(began, f"{name} began.")]
    if kind == "launch":
        with suppress(SkyflowError):  # no worker: the rest can be told without it
            lines += _attempts(await client.workflow_query(one.id, "progress"))
    if one.close_time is not None:
        lines.append((one.close_time.timestamp(), await _end(client, one, name, kind)))
    return [{"time": time, "what": what, "id": one.id} for time, what in lines]


async def _adoption(client: ClusterClient, one: WorkflowExecution, cluster: str) -> list[dict[str, Any]]:
    """What an adoption that has ended did with the cluster, if anything."""
    result = await client.workflow_result(one.id)
    if result["dryrun"]:
        return []
    taken = [life for life in result["adopted"] if life["cluster"] == cluster]
    lines = [f"Adopted: {life['num_nodes']} node(s), {life['jobs']} job(s) that had not ended." for life in taken]
    lines += ["Not adopted: it had no nodes any more." for life in result["over"] if life["cluster"] == cluster]
    # It began before whatever an adopted cluster did; it may end later, with other clusters.
    return [{"time": one.start_time.timestamp(), "what": what, "id": one.id} for what in lines]


def _attempts(progress: dict[str, Any]) -> Iterator[tuple[float, str]]:
    for attempt in progress["attempts"]:
        where = f"{attempt['place']} {attempt['instance_type']}"
        what = attempt["error"] or "ok" if attempt["seconds"] else "tried"
        yield attempt["started"] + attempt["seconds"], f"{where}: {what}"


async def _read_late(client: ClusterClient, job: str) -> str:
    """What a job's nodes said of its end when they had been started again; empty if nobody has asked them yet."""
    from skyflow.store.log import record

    _, cluster, uid, number = job.split("/")
    row = await record(client.store, cluster, uid, int(number))
    if row is None or row.get("unread"):
        return ""
    return f" Then it was read: {row['status']}. {row['reason']}".rstrip()


async def _end(client: ClusterClient, one: WorkflowExecution, name: str, kind: str) -> str:
    status = one.status.name if one.status is not None else ""
    if status in ENDS:
        return f"{name} {ENDS[status]}."
    try:
        result = await client.workflow_result(one.id)
    except SkyflowError as error:
        return f"{name} failed: {error}"
    match kind:
        case "launch" if result["status"] == "PENDING":
            return f"{name} ended: job {result['job_id']} submitted."
        case "launch" if result["job_id"] is not None:
            return f"{name} ended: job {result['job_id']} {result['status']}."
        case "launch":
            return f"{name} ended."
        case "job":
            late = await _read_late(client, one.id) if result.get("unread") else ""
            return f"{name} {result['status']}. {result['reason'].removeprefix('Cancelled.')}".strip() + late
        case "start" if result["started"] == 0:
            return f"{name} ended: the nodes ran already."
    count = next(value for field, value in result.items() if field in ("stopped", "started", "deleted"))
    return f"{name} ended: {count} node(s)."
