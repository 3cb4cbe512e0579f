"""StartWorkflow: reserve the cluster, start its nodes where they are, make anew those that are gone, report."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import LaunchCancelledError, SkyflowError
    from skyflow.models.calls import AutostopCall, ClusterCalls
    from skyflow.models.operation import AutostopSetting, CancelRequest
    from skyflow.workflows.call import call
    from skyflow.workflows.operation import FAILURES, Operation, OperationRequest
    from skyflow.workflows.repair import Repair


@workflow.defn(failure_exception_types=[SkyflowError])
class StartWorkflow(Operation):
    """Starts a stopped cluster, and repairs one that has lost nodes. One that runs stays as it is."""

    kind = "start"

    @workflow.init
    def __init__(self, request: Any) -> None:
        super().__init__()
        self.body: asyncio.Task[dict[str, Any]] | None = None
        self.cancelled = False

    @workflow.run
    async def run(self, request: Any) -> dict[str, Any]:
        asked = OperationRequest.parse(request)
        self.body = asyncio.create_task(self._start(asked))
        if self.cancelled:
            self.body.cancel()
        try:
            return await self.body
        except FAILURES:
            if not self.cancelled:
                raise
            raise LaunchCancelledError(f"The start of cluster {asked.cluster!r} was cancelled.") from None

    async def _start(self, asked: OperationRequest) -> dict[str, Any]:
        started = 0
        try:
            held = await self.reserve(asked)
            if held.stopped or held.lost or asked.force:
                started = len(await Repair(asked.cluster, held, asked.force).run(asked.retry_until_up))
            if asked.idle_minutes_to_autostop is not None:
                setting = AutostopSetting(
                    minutes=asked.idle_minutes_to_autostop, down=asked.down, wait_for=asked.wait_for
                )
                setting_call = AutostopCall(cluster=asked.cluster, setting=setting)
                await call(ClusterCalls.set_autostop, setting_call, "START · set the idle rule")
        except FAILURES:
            await self.release(asked.cluster)
            raise
        await self.release(asked.cluster)
        return {"cluster": asked.cluster, "started": started}

    @workflow.signal
    async def cancel(self, request: CancelRequest | None = None) -> None:
        """Gives the start up: what it has started is stopped again."""
        self.cancelled = True
        if self.body is not None and not self.body.cancelling():
            self.body.cancel()
