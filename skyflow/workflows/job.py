"""JobWorkflow: one job on the nodes, from the start of the gang to its end. Its result is the job's result."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import NodeLostError, SkyflowError
    from skyflow.models.calls import GangStart, NodeCalls, RecordCall, UnitRequest
    from skyflow.models.job import (
        STOPPED_WITH_GANG,
        Gang,
        GangState,
        JobEnd,
        JobRecord,
        JobRequest,
        JobStatus,
        RankEnd,
        run_unit,
    )
    from skyflow.models.name import cluster_workflow_id
    from skyflow.workflows.call import call, signal, wait_for


@workflow.defn(failure_exception_types=[SkyflowError])
class JobWorkflow:
    """Starts a job on all its nodes or on none, hears of the end of each rank, and stops the gang when one fails."""

    @workflow.init
    def __init__(self, request: JobRequest) -> None:
        self.request = request
        self.unit = run_unit(request.job_id)
        self.state = GangState(ranks=[node.rank for node in request.gang.nodes])
        self.to_stop: list[int] = []
        self.abandoned = False

    @workflow.run
    async def run(self, request: JobRequest) -> JobEnd:
        body = asyncio.create_task(self._run())
        await workflow.wait_condition(lambda: body.done() or self.abandoned)
        if self.abandoned and not body.done():
            body.cancel()
            end = JobEnd(job_id=request.job_id, status=JobStatus.CANCELLED, reason="The cluster was taken down.")
        else:
            end = await body
        await signal(cluster_workflow_id(request.gang.cluster), "job_ended", end)
        if request.launch:
            await signal(request.launch, "job_ended", end)
        await self._record(end)
        return end

    async def _run(self) -> JobEnd:
        try:
            await self._start()
        except SkyflowError as error:
            reason = f"The job could not be started: {error}"
            return JobEnd(job_id=self.request.job_id, status=JobStatus.FAILED_DRIVER, reason=reason)
        while self.state.running():
            # Ends come as signals from the cluster's watch; asking is for the case that nobody watches any more.
            if not await wait_for(lambda: bool(self.to_stop) or not self.state.running(), self.request.check_seconds):
                await self._ask()
            ranks, self.to_stop = self.to_stop, []
            if ranks:
                await self._stop(ranks)
        return self.state.outcome(self.request.job_id)

    async def _start(self) -> None:
        request = self.request
        await call(
            NodeCalls.start_gang,
            GangStart(gang=request.gang, job_id=request.job_id, spec=request.spec),
            f"EXEC · start job {request.job_id} on {len(request.gang.nodes)} node(s)",
            kind="quick",
            host=request.gang.host,
        )

    async def _stop(self, ranks: list[int]) -> None:
        gang = self._part(ranks)
        try:
            await call(
                NodeCalls.cancel_units,
                UnitRequest(gang=gang, unit=self.unit, code=STOPPED_WITH_GANG),
                f"stop rank(s) {', '.join(map(str, ranks))}",
                kind="quick",
                host=gang.host,
            )
        except NodeLostError:
            for rank in ranks:
                self._take(RankEnd(rank=rank, code=STOPPED_WITH_GANG))

    async def _ask(self) -> None:
        gang = self._part(self.state.running())
        ends = await call(
            NodeCalls.list_ended, UnitRequest(gang=gang, unit=self.unit), "ask the nodes", kind="sync", host=gang.host
        )
        for end in ends:
            self._take(end)

    async def _record(self, end: JobEnd) -> None:
        request = self.request
        job = JobRecord(id=request.job_id, name=request.name, num_nodes=len(self.state.ranks), ranks=self.state.ranks)
        job.started_at, job.ended_at = workflow.info().start_time.timestamp(), workflow.now().timestamp()
        record = RecordCall(cluster=request.gang.cluster, uid=request.gang.uid, job=job, end=end)
        await call(NodeCalls.record_job, record, "record the job in the store")

    def _part(self, ranks: list[int]) -> Gang:
        nodes = [node for node in self.request.gang.nodes if node.rank in ranks]
        return self.request.gang.model_copy(update={"nodes": nodes})

    def _take(self, end: RankEnd) -> None:
        self.to_stop += self.state.ended(end)

    @workflow.signal
    async def rank_ended(self, ends: list[RankEnd]) -> None:
        """The watch saw ranks end."""
        for end in ends:
            self._take(end)

    @workflow.signal
    async def cancel(self) -> None:
        """Stops all ranks."""
        if not self.state.cancelled:
            self.to_stop += self.state.cancel()

    @workflow.signal
    async def abandon(self) -> None:
        """The nodes are gone; there is nothing left to wait for."""
        self.abandoned = True

    @workflow.query
    def status(self) -> dict[str, Any]:
        """Which ranks have ended, and how."""
        return self.state.model_dump(mode="json")
