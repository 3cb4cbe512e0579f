"""What stop, start and down have in common: they reserve the cluster, act on its nodes, and report."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import ClusterDoesNotExist, SkyflowError, UsageError
    from skyflow.models.calls import ClusterCalls, ReserveCall
    from skyflow.models.idle import check_wait_for
    from skyflow.models.name import cluster_workflow_id
    from skyflow.models.node import GangRef
    from skyflow.models.operation import OperationKind, Release, Reservation, Reserve
    from skyflow.models.wire import Wire
    from skyflow.workflows.call import call, signal, wait_for

PATIENCE = 30.0
"""Seconds that running jobs get to stop before their nodes are stopped or deleted under them."""


FAILURES = (SkyflowError, ActivityError, asyncio.CancelledError)
"""What an operation ends with, if not well. (Not `finally`: a workflow that is put aside must not go on in there.)"""


class OperationRequest(Wire):
    """Input of a StopWorkflow, a StartWorkflow or a DownWorkflow. Only `cluster` is needed."""

    cluster: str
    epoch: int | None = None
    """Only if the cluster has been idle since this epoch."""
    retry_until_up: bool = False
    """Of a start: when the place cannot give the nodes, wait and try again."""
    idle_minutes_to_autostop: int | None = None
    """Of a start: the idle rule from then on; the one from before the stop, if absent."""
    down: bool = False
    """Of a start with an idle rule: whether the cluster is then taken down instead of stopped."""
    wait_for: str | None = None
    """Of a start with an idle rule: what keeps the cluster from being idle."""

    @classmethod
    def parse(cls, value: Any) -> OperationRequest:
        """Reads a start input. A bad one raises UsageError: the workflow fails instead of retrying for ever."""
        try:
            request = cls.model_validate(value)
            check_wait_for(request.wait_for)
            return request
        except ValidationError as error:
            raise UsageError(f"Invalid request: {error.errors()[0]['msg']}") from None


class Operation:
    """One operation on one cluster."""

    kind: OperationKind

    def __init__(self) -> None:
        self.reservation = Reservation()

    async def reserve(self, request: OperationRequest) -> Reservation:
        """Asks until granted.

        What runs on the cluster has PATIENCE to end; then a stop or a down goes ahead.

        Raises:
            ClusterDoesNotExist: there is nothing to stop or to start any more.
        """
        me = workflow.info().workflow_id
        force = False
        while not self.reservation.granted:
            reserve = Reserve(workflow_id=me, kind=self.kind, force=force, epoch=request.epoch)
            answer = await call(
                ClusterCalls.reserve_cluster,
                ReserveCall(cluster=request.cluster, reserve=reserve),
                "reserve the cluster",
            )
            if not self.reservation.granted:
                self.reservation = answer
            force = not self.reservation.granted and not await wait_for(
                lambda: self.reservation.granted, PATIENCE, "for running jobs to stop"
            )
        if self.kind != "down" and not self.reservation.nodes:  # a down was ahead of it
            await self.release(request.cluster)
            raise ClusterDoesNotExist(f"Cluster {request.cluster!r} was taken down. See: skyflow status")
        return self.reservation

    def gangs(self, cluster: str) -> list[GangRef]:
        """All nodes of the cluster, by the places where they may be."""
        held = self.reservation
        return [
            GangRef(deployment=held.deployment, cluster=cluster, uid=held.uid, cloud=place.cloud, host=place.host)
            for place in held.places
        ]

    async def release(self, cluster: str, **done: bool) -> None:
        """Gives the cluster back, and says what was done."""
        release = Release(workflow_id=workflow.info().workflow_id, **done)
        await signal(cluster_workflow_id(cluster), "release", release)

    @workflow.signal
    async def granted(self, reservation: Reservation) -> None:
        """It is this operation's turn."""
        self.reservation = reservation
