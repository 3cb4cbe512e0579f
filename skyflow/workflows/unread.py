"""Ends of jobs that nobody has read: their nodes were stopped first. A cluster reads them when these run again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import NodeUnreachableError, SkyflowError
    from skyflow.models.calls import ClusterCalls, NodeCalls, RecordCall, UnitRequest
    from skyflow.models.cluster import ClusterState
    from skyflow.models.job import LOST, JobEnd, JobRecord, RankEnd, run_unit
    from skyflow.models.name import job_workflow_id
    from skyflow.models.operation import Action
    from skyflow.workflows.call import call, is_being_cancelled, pauses, wait_for

READ_CHECKS = 10
"""Check intervals for which nodes are asked how one job ended. So long that keeps the cluster from being idle."""


async def read_ends(state: ClusterState, do: Callable[[list[Action]], None], now: Callable[[], float]) -> None:
    """Reads the ends of jobs whenever there are some to be read, for as long as it takes. Nobody waits for it.

    Args:
        state: of the cluster.
        do: takes what follows from an event.
        now: epoch seconds.
    """
    waits = pauses(state.check_seconds)
    while True:
        await workflow.wait_condition(lambda: bool(state.readable()))
        life = state.uid
        for job in state.readable():
            if life != state.uid or job not in state.readable():
                continue  # they have been stopped again, or are gone
            try:
                end, ended_at = await _read(state, job)
                row = job.model_copy(update={"ended_at": ended_at})
                record = RecordCall(cluster=state.name, uid=life, job=row, end=end)
                await _record(record, READ_CHECKS * state.check_seconds)
            except (SkyflowError, ActivityError, asyncio.CancelledError) as error:
                if is_being_cancelled():
                    return
                workflow.logger.warning("how job %d ended could not be read: %s", job.id, error)
                continue
            if life == state.uid:
                do(state.end_read(end, ended_at, now()))
        if life != state.uid or not state.readable():
            waits = pauses(state.check_seconds)
            continue
        do(state.ends_unreadable(now()))
        await wait_for(lambda: not state.unreadable, next(waits), "until the nodes are asked again how jobs ended")


async def _read(state: ClusterState, job: JobRecord) -> tuple[JobEnd, float | None]:
    """How a job ended, and when.

    Raises:
        NodeUnreachableError: a node could not say it, or the job runs there still.
    """
    assert job.unread is not None
    unread = job.unread.unread()
    ends = [RankEnd(rank=rank, code=LOST) for rank in unread if rank in state.lost]
    gang = state.gang([rank for rank in unread if rank not in state.lost])
    if gang.nodes:
        ends += await call(
            NodeCalls.read_ends,
            UnitRequest(gang=gang, unit=run_unit(job.id)),
            f"how did job {job.id} end, before its nodes were stopped?",
            kind="sync",
            host=gang.host,
            seconds=READ_CHECKS * state.check_seconds,
        )
    read = job.unread.read(ends)
    if read.unread():
        raise NodeUnreachableError("it has not ended there")
    times = [end.at for end in ends if end.at is not None]
    # The clocks of nodes are their own; and a rank that was read in time may have been the last.
    if len(times) < len(read.ranks) or job.started_at is None or job.ended_at is None:
        return read.outcome(job.id), job.ended_at
    return read.outcome(job.id), min(max(job.started_at, *times), job.ended_at)


async def _record(record: RecordCall, seconds: float) -> None:
    """Corrects the job's record in the store, after the job's own workflow has written the first.

    Raises:
        NodeUnreachableError: it has not.
    """
    job = record.job.id
    own = job_workflow_id(record.cluster, record.uid, job)
    statuses = await call(ClusterCalls.describe_workflows, [own], f"has job {job} written its record?")
    if statuses[own] == "RUNNING":
        raise NodeUnreachableError("its own workflow has not recorded it yet")
    await call(NodeCalls.record_job, record, f"record how job {job} ended", seconds=seconds)
