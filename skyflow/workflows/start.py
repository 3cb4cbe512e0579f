"""StartWorkflow: reserve the cluster, start its nodes where they are, report."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import (
        ClusterNotUpError,
        LaunchCancelledError,
        ProvisionError,
        ResourcesUnavailableError,
        SkyflowError,
    )
    from skyflow.models.calls import AutostopCall, CloudCalls, ClusterCalls, NodesCall
    from skyflow.models.node import GangRef, Node
    from skyflow.models.operation import AutostopSetting, CancelRequest, NodesReport, Reservation
    from skyflow.workflows.call import call, pauses
    from skyflow.workflows.operation import FAILURES, Operation, OperationRequest


async def start_nodes(cluster: str, held: Reservation, retry_until_up: bool) -> list[Node]:
    """Starts the nodes of a stopped cluster, at the place where their disks are, and hands them to the cluster.

    Raises:
        ResourcesUnavailableError: that place cannot give them now. There is no other (PARITY C05).
        ClusterNotUpError: some of them are gone.
    """
    assert held.offer is not None
    offer = held.offer
    gang = GangRef(deployment=held.deployment, cluster=cluster, uid=held.uid, cloud=offer.cloud, host=offer.host)
    for pause in pauses(held.check_seconds):
        try:
            nodes = await call(
                CloudCalls.start_nodes, gang, f"START · the nodes in {offer.place}", kind="cloud", host=offer.host
            )
            break
        except ProvisionError as error:
            if not retry_until_up:
                raise ResourcesUnavailableError(
                    f"Cluster {cluster!r} cannot be started: {error} "
                    "Its disks are there, so it can start nowhere else. Wait with --retry-until-up."
                ) from error
        await workflow.sleep(timedelta(seconds=pause), summary="until the start is tried again")
    report = NodesReport(
        workflow_id=workflow.info().workflow_id, uid=held.uid, nodes=nodes, offer=offer, ports=held.ports or []
    )
    call_report = NodesCall(cluster=cluster, report=report)
    await call(ClusterCalls.report_nodes, call_report, "START · hand the nodes to the cluster")
    if gone := len(held.nodes) - len({node.id for node in nodes} & {node.id for node in held.nodes}):
        raise ClusterNotUpError(
            f"Cluster {cluster!r} has lost {gone} of its nodes while it was stopped. Take it down, then launch again: "
            f"skyflow down {cluster}"
        )
    return nodes


@workflow.defn(failure_exception_types=[SkyflowError])
class StartWorkflow(Operation):
    """Starts a stopped cluster. One that runs stays as it is."""

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
        held = await self.reserve(asked)
        started = 0
        try:
            if held.stopped or asked.force:
                started = len(await start_nodes(asked.cluster, held, asked.retry_until_up))
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
        if self.body is not None:
            self.body.cancel()
