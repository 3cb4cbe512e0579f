"""JobWorkflow: one job on the nodes, from the start of the gang to its end. Its result is the job's result."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import GangStart, NodeCalls, RecordCall, UnitRequest
    from skyflow.models.job import (
        STOPPED_WITH_GANG,
        UNREAD,
        Gang,
        GangState,
        JobEnd,
        JobProgress,
        JobRecord,
        JobRequest,
        RankEnd,
        cancelled,
        run_unit,
    )
    from skyflow.models.name import cluster_workflow_id
    from skyflow.models.status import JobStatus
    from skyflow.workflows.call import call, pauses, signal, wait_for

HEAD_START_SECONDS = 25.0
"""How long the cluster tries to start a job."""

SILENT_SECONDS = 30.0
"""After so long without a word of the cluster, the job's workflow starts it."""


async def start_gang(request: JobRequest, seconds: float | None = None) -> None:
    """Starts a job on all its nodes or on none; what runs already goes on.

    Args:
        request: the job.
        seconds: give up after so long; without it, it is tried for ever.

    Raises:
        SkyflowError: it cannot be started.
    """
    start = GangStart(
        gang=request.gang,
        job_id=request.job_id,
        spec=request.spec,
        accelerator=request.accelerator,
        devices=request.devices,
    )
    summary = f"EXEC · start job {request.job_id} on {len(request.gang.nodes)} node(s)"
    await call(NodeCalls.start_gang, start, summary, host=request.gang.host, seconds=seconds)


@workflow.defn(failure_exception_types=[SkyflowError])
class JobWorkflow:
    """Sees to it that a job starts on all its nodes or on none, hears of the end of each rank, and stops the gang when
    one fails.

    The cluster starts the job while this workflow is still being made: a job that waited begins so much earlier. If
    nothing is heard of that, this workflow starts it.
    """

    @workflow.init
    def __init__(self, request: JobRequest) -> None:
        self.request = request
        self.unit = run_unit(request.job_id)
        self.is_new = request.progress is None
        self.job = request.progress or JobProgress(
            gang=GangState(ranks=[node.rank for node in request.gang.nodes]),
            began=request.began or workflow.info().start_time.timestamp(),
        )
        self.abandoned = False
        self.start_failure: str | None = None
        """Why the cluster could not start it; empty if it could, None if that is not known."""
        self.stopped = False

    @workflow.run
    async def run(self, request: JobRequest) -> JobEnd:
        body = asyncio.create_task(self._run())
        await workflow.wait_condition(lambda: body.done() or self.abandoned)
        if self.abandoned and not body.done():
            body.cancel()
            end = self._end_without_nodes()
        else:
            end = await body
        if end.status is JobStatus.CANCELLED and self.job.reason:
            end.reason = cancelled(self.job.reason)
        await signal(cluster_workflow_id(request.gang.cluster), "job_ended", end)
        if request.launch:
            await signal(request.launch, "job_ended", end)
        await self._record(end)
        return end

    def _end_without_nodes(self) -> JobEnd:
        gang = self.job.gang
        if not self.stopped:
            return JobEnd(job_id=self.request.job_id, status=JobStatus.CANCELLED, reason="Its nodes were taken down.")
        for rank in gang.running():
            gang.ended(RankEnd(rank=rank, code=UNREAD))
        return gang.outcome(self.request.job_id)

    async def _run(self) -> JobEnd:
        if self.is_new:
            try:
                await self._start()
            except SkyflowError as error:
                reason = f"The job could not be started: {error}"
                return JobEnd(job_id=self.request.job_id, status=JobStatus.FAILED_DRIVER, reason=reason)
        gang = self.job.gang
        waits = pauses(self.request.check_seconds)
        while gang.running():
            if self.job.to_stop:
                waits = pauses(self.request.check_seconds)
            held = [] if await self._stop() else list(self.job.to_stop)
            # Ends come as signals from the cluster's watch; asking is for the case that nobody watches any more.
            if await wait_for(partial(self._has_news, held), next(waits), "for the end of the job"):
                continue
            await self._ask()
            is_long = workflow.info().is_continue_as_new_suggested() and workflow.all_handlers_finished()
            if is_long and not self.abandoned:
                workflow.continue_as_new(self.request.model_copy(update={"progress": self.job}))
        return gang.outcome(self.request.job_id)

    def _has_news(self, known: list[int]) -> bool:
        return self.job.to_stop != known or not self.job.gang.running()

    async def _start(self) -> None:
        """Returns when it has started or shall not; a node that cannot be reached does not hold up a cancel."""
        if await wait_for(self._need_not_start, SILENT_SECONDS, "for the cluster, which starts it"):
            if self.start_failure:
                raise SkyflowError(self.start_failure)
            return
        starting = asyncio.create_task(start_gang(self.request))
        await workflow.wait_condition(lambda: starting.done() or bool(self.job.to_stop))
        if starting.done():
            await starting
        else:
            starting.cancel()  # where it has started nevertheless, it is stopped
            starting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    def _need_not_start(self) -> bool:
        return self.start_failure is not None or bool(self.job.to_stop)

    async def _stop(self) -> bool:
        """Stops the ranks that have to be. False if that could not be done now."""
        ranks, self.job.to_stop = self.job.to_stop, []
        if not ranks:
            return True
        gang = self._part(ranks)
        try:
            await call(
                NodeCalls.cancel_units,
                UnitRequest(gang=gang, unit=self.unit, code=STOPPED_WITH_GANG, grace=self.job.grace),
                f"stop rank(s) {', '.join(map(str, ranks))}",
                kind="quick" if self.job.grace is None else "watch",  # it takes as long as they have
                host=gang.host,
            )
        except SkyflowError as error:  # whatever is wrong with a node, this workflow is who has to know
            workflow.logger.warning("job %s could not be stopped: %s", self.unit, error)
            self.job.to_stop = [*ranks, *self.job.to_stop]
            return False
        return True

    async def _ask(self) -> None:
        gang = self._part(self.job.gang.running())
        request = UnitRequest(gang=gang, unit=self.unit)
        try:
            ends = await call(NodeCalls.list_ended, request, "ask the nodes", kind="sync", host=gang.host)
        except SkyflowError as error:
            workflow.logger.warning("the nodes of job %s could not say how it is: %s", self.unit, error)
            return
        for end in ends:
            self._take(end)

    async def _record(self, end: JobEnd) -> None:
        request = self.request
        job = JobRecord(
            id=request.job_id, name=request.name, num_nodes=len(self.job.gang.ranks), ranks=self.job.gang.ranks
        )
        job.started_at, job.ended_at = self.job.began, workflow.now().timestamp()
        record = RecordCall(cluster=request.gang.cluster, uid=request.gang.uid, job=job, end=end)
        await call(NodeCalls.record_job, record, "record the job in the store")

    def _part(self, ranks: list[int]) -> Gang:
        nodes = [node for node in self.request.gang.nodes if node.rank in ranks]
        return self.request.gang.model_copy(update={"nodes": nodes})

    def _take(self, end: RankEnd) -> None:
        self.job.to_stop += self.job.gang.ended(end)

    @workflow.signal
    async def started(self, failure: str) -> None:
        """The cluster has started it, or could not."""
        self.start_failure = failure

    @workflow.signal
    async def rank_ended(self, ends: list[RankEnd]) -> None:
        """The watch saw ranks end."""
        for end in ends:
            self._take(end)

    @workflow.signal
    async def cancel(self, grace: float | None = None, reason: str = "") -> None:
        """Stops all ranks; they have so many seconds to end by themselves (the usual if not given)."""
        if not self.job.gang.cancelled:
            self.job.grace, self.job.reason = grace, reason
            self.job.to_stop += self.job.gang.cancel()

    @workflow.signal
    async def abandon(self, stopped: bool = False) -> None:
        """The nodes are gone, or stopped; there is nothing left to wait for."""
        self.abandoned, self.stopped = True, stopped

    @workflow.query
    def status(self) -> dict[str, Any]:
        """Which ranks have ended, and how."""
        return self.job.gang.model_dump(mode="json")
