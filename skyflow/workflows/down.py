"""DownWorkflow: reserve the cluster, delete its nodes, report."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import CloudCalls
    from skyflow.workflows.operation import Operation, OperationRequest


@workflow.defn(failure_exception_types=[SkyflowError])
class DownWorkflow(Operation):
    """Takes a cluster down: cancels what runs on it, deletes its nodes."""

    kind = "down"

    @workflow.run
    async def run(self, request: Any) -> dict[str, Any]:
        asked = OperationRequest.parse(request)
        await self.reserve(asked)
        deleted, left = await self.change(CloudCalls.delete_nodes, asked, "delete")
        await self.release(asked.cluster, nodes_deleted=True, purged=bool(left))
        return {"cluster": asked.cluster, "deleted": deleted, "left": left}
