"""DownWorkflow: reserve the cluster, delete its nodes, report."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError, UsageError
    from skyflow.models.calls import CloudCalls, ClusterCalls, ReserveCall
    from skyflow.models.name import cluster_workflow_id
    from skyflow.models.node import GangRef
    from skyflow.models.operation import Release, Reservation, Reserve
    from skyflow.models.wire import Wire
    from skyflow.workflows.call import call, signal, wait_for

PATIENCE = 30.0
"""Seconds that running jobs get to stop before their nodes are deleted under them."""


class DownRequest(Wire):
    """Input of a DownWorkflow."""

    cluster: str
    epoch: int | None = None
    """Only if the cluster has been idle since this epoch."""


@workflow.defn(failure_exception_types=[SkyflowError])
class DownWorkflow:
    """Takes a cluster down: cancels what runs on it, deletes its nodes."""

    @workflow.init
    def __init__(self, request: Any) -> None:
        self.reservation = Reservation()

    @workflow.run
    async def run(self, request: Any) -> dict[str, Any]:
        try:
            down = DownRequest.model_validate(request)
        except ValidationError as error:
            raise UsageError(f"Invalid down request: {error.errors()[0]['msg']}") from None
        return {"cluster": down.cluster, "deleted": await self._down(down)}

    async def _down(self, down: DownRequest) -> int:
        cluster = down.cluster
        me = workflow.info().workflow_id
        force = False
        while not self.reservation.granted:
            reserve = Reserve(workflow_id=me, kind="down", force=force, epoch=down.epoch)
            request = ReserveCall(cluster=cluster, reserve=reserve)
            answer = await call(ClusterCalls.reserve_cluster, request, "reserve the cluster")
            if not self.reservation.granted:
                self.reservation = answer
            force = not self.reservation.granted and not await wait_for(
                lambda: self.reservation.granted, PATIENCE, "for running jobs to stop"
            )
        held = self.reservation
        deleted = 0
        for place in held.places:
            gang = GangRef(
                deployment=held.deployment, cluster=cluster, uid=held.uid, cloud=place.cloud, host=place.host
            )
            deleted += await call(
                CloudCalls.delete_nodes,
                gang,
                f"DOWN · delete the nodes in {place.cloud}",
                kind="cloud",
                host=place.host,
            )
        await signal(cluster_workflow_id(cluster), "release", Release(workflow_id=me, nodes_deleted=True))
        return deleted

    @workflow.signal
    async def granted(self, reservation: Reservation) -> None:
        """It is this operation's turn."""
        self.reservation = reservation
