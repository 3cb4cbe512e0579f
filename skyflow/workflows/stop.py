"""StopWorkflow: reserve the cluster, stop its nodes, report."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import CloudCalls
    from skyflow.workflows.call import call
    from skyflow.workflows.operation import FAILURES, Operation, OperationRequest


@workflow.defn(failure_exception_types=[SkyflowError])
class StopWorkflow(Operation):
    """Stops a cluster: cancels what runs on it, stops its nodes; their disks and the jobs that wait are kept."""

    kind = "stop"

    @workflow.run
    async def run(self, request: Any) -> dict[str, Any]:
        asked = OperationRequest.parse(request)
        await self.reserve(asked)
        stopped = 0
        try:
            for gang in self.gangs(asked.cluster):
                summary = f"STOP · stop the nodes in {gang.cloud}"
                stopped += await call(CloudCalls.stop_nodes, gang, summary, kind="cloud", host=gang.host)
        except FAILURES:
            await self.release(asked.cluster)
            raise
        await self.release(asked.cluster, nodes_stopped=True)
        return {"cluster": asked.cluster, "stopped": stopped}
