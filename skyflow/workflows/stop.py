"""StopWorkflow: reserve the cluster, stop its nodes, report."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import CloudCalls
    from skyflow.workflows.operation import FAILURES, Operation, OperationRequest


@workflow.defn(failure_exception_types=[SkyflowError])
class StopWorkflow(Operation):
    """Stops a cluster: cancels what runs on it, stops its nodes; their disks and the jobs that wait are kept."""

    kind = "stop"

    @workflow.run
    async def run(self, request: Any) -> dict[str, Any]:
        asked = OperationRequest.parse(request)
        await self.reserve(asked)
        try:
            stopped, left = await self.change(CloudCalls.stop_nodes, asked, "stop")
        except FAILURES:
            await self.release(asked.cluster)
            raise
        await self.release(asked.cluster, nodes_stopped=True, purged=bool(left))
        return {"cluster": asked.cluster, "stopped": stopped, "left": left}
