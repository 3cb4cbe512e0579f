"""DownWorkflow: reserve the cluster, delete its nodes, report."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import CloudCalls
    from skyflow.workflows.call import call
    from skyflow.workflows.operation import Operation, OperationRequest


@workflow.defn(failure_exception_types=[SkyflowError])
class DownWorkflow(Operation):
    """Takes a cluster down: cancels what runs on it, deletes its nodes."""

    kind = "down"

    @workflow.run
    async def run(self, request: Any) -> dict[str, Any]:
        asked = OperationRequest.parse(request)
        await self.reserve(asked)
        deleted = 0
        for gang in self.gangs(asked.cluster):
            summary = f"DOWN · delete the nodes in {gang.cloud}"
            deleted += await call(CloudCalls.delete_nodes, gang, summary, kind="cloud", host=gang.host)
        await self.release(asked.cluster, nodes_deleted=True)
        return {"cluster": asked.cluster, "deleted": deleted}
