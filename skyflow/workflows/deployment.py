"""DeploymentWorkflow: the namespace's one identity. Its memo is the record; the workflow only keeps it alive."""

from __future__ import annotations

from typing import Any

from temporalio import workflow


@workflow.defn
class DeploymentWorkflow:
    """A singleton (`skyflow-deployment`), started by the first worker of a namespace.

    Its memo holds `deployment`, a UUID that is part of the name or tag of everything made from here.
    """

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def deployment(self) -> dict[str, Any]:
        """The record."""
        return dict(workflow.memo())
