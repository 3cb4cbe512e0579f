"""What stop, start and down have in common: they reserve the cluster, act on its nodes, and report."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import repeat
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import (
        ClusterChangeError,
        ClusterDoesNotExist,
        NotSupportedError,
        SkyflowError,
        UsageError,
    )
    from skyflow.models.argument import check_idle_minutes
    from skyflow.models.calls import CloudCalls, ClusterCalls, ReserveCall
    from skyflow.models.idle import check_wait_for
    from skyflow.models.name import cluster_workflow_id
    from skyflow.models.node import GangRef
    from skyflow.models.operation import OperationKind, Release, Reservation, Reserve
    from skyflow.models.wire import Wire
    from skyflow.workflows.call import call, pauses, raise_if_cancelled, signal, wait_for

PATIENCE = 30.0
"""Seconds that running jobs get to stop, beside their grace, before their nodes are stopped or deleted under them."""

ASK_SECONDS = 10.0
"""How long the cloud has to say what a purge has left."""

GRACEFUL_SECONDS = 600
"""What a graceful stop or down leaves to jobs between SIGTERM and SIGKILL, if nothing else is said."""


FAILURES = (SkyflowError, ActivityError, asyncio.CancelledError)
"""What an operation ends with, if not well. (Not `finally`: a workflow that is put aside must not go on in there.)"""


class OperationRequest(Wire):
    """Input of a StopWorkflow, a StartWorkflow or a DownWorkflow. Only `cluster` is needed."""

    cluster: str
    entry_point: str = ""
    """Of a start: the command, or the program, that asks for it: shown as the cluster's `last_use`."""
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
    force: bool = False
    """Of a start: also if the cluster seems to be up, so that what does not run is started."""
    purge: bool = False
    """Of a stop or a down: the cluster counts as stopped, or as gone, also if its cloud does not do it."""
    graceful: bool = False
    """Of a stop or a down: jobs have longer to end by themselves."""
    graceful_timeout: int | None = None
    """How long, in seconds."""

    @classmethod
    def parse(cls, value: Any) -> OperationRequest:
        """Reads a start input. A bad one raises UsageError: the workflow fails instead of retrying for ever."""
        try:
            request = cls.model_validate(value)
            check_wait_for(request.wait_for)
            check_idle_minutes(request.idle_minutes_to_autostop)
            return request
        except ValidationError as error:
            raise UsageError(f"Invalid request: {error.errors()[0]['msg']}") from None

    @property
    def grace(self) -> float | None:
        """Seconds that jobs have from SIGTERM to SIGKILL; None: the usual."""
        if not self.graceful:
            return None
        return GRACEFUL_SECONDS if self.graceful_timeout is None else max(0, self.graceful_timeout)


class Operation:
    """One operation on one cluster."""

    kind: OperationKind

    def __init__(self) -> None:
        self.reservation = Reservation()

    async def reserve(self, request: OperationRequest) -> Reservation:
        """Asks until granted.

        What runs on the cluster has its grace and PATIENCE to end; then a stop or a down goes ahead.

        Raises:
            ClusterDoesNotExist: there is nothing to stop or to start any more.
        """
        me = workflow.info().workflow_id
        force = False
        # A start may wait for days for one that is tried until there is room.
        waits = pauses(PATIENCE) if self.kind == "start" else repeat(PATIENCE)
        while not self.reservation.granted:
            reserve = Reserve(
                workflow_id=me,
                kind=self.kind,
                force=force,
                purge=request.purge,
                grace=request.grace,
                epoch=request.epoch,
                entry_point=request.entry_point,
            )
            answer = await call(
                ClusterCalls.reserve_cluster,
                ReserveCall(cluster=request.cluster, reserve=reserve),
                "reserve the cluster",
            )
            if not self.reservation.granted:
                self.reservation = answer
            force = not self.reservation.granted and not await wait_for(
                lambda: self.reservation.granted, next(waits) + (request.grace or 0), "for running jobs to stop"
            )
        if self.kind != "down" and not self.reservation.nodes:  # a down was ahead of it
            await self.release(request.cluster)
            raise ClusterDoesNotExist(f"Cluster {request.cluster!r} was taken down. See: skyflow status")
        return self.reservation

    async def change(
        self, method: Callable[[Any, GangRef], Awaitable[int]], request: OperationRequest, what: str
    ) -> tuple[int, list[str]]:
        """Does something to the nodes at each place where they may be. A purge tries it for one check interval.

        Returns:
            How many nodes there were, and of a purge what may be left: a line a place.

        Raises:
            ClusterChangeError: the cloud did not do it, and this is no purge.
        """
        count, left = 0, []
        for gang in self.gangs(request.cluster):
            summary = f"{self.kind.upper()} · {what} the nodes in {gang.cloud}"
            seconds = self.reservation.check_seconds if request.purge else None
            try:
                count += await call(method, gang, summary, kind="cloud", host=gang.host, seconds=seconds)
            except (SkyflowError, ActivityError) as error:
                raise_if_cancelled()
                if request.purge and not is_cancelled_exception(error):
                    left += await self._describe(gang, error)
                elif isinstance(error, ActivityError | NotSupportedError):
                    raise
                else:
                    raise ClusterChangeError(
                        f"The {self.kind} of {request.cluster!r} failed: {error} {self._advice(request.cluster)}"
                    ) from error
        return count, left

    def _advice(self, cluster: str) -> str:
        if self.kind == "down":
            return f"It is tried again now and then; to forget the cluster all the same: skyflow down --purge {cluster}"
        return f"The cluster stays as it is: skyflow status --refresh {cluster}"

    async def _describe(self, gang: GangRef, error: Exception) -> list[str]:
        """What a purge may leave in one place, in a line; none, if nodes that should stop have stopped all the same."""
        held = self.reservation
        why = str(error)
        if isinstance(error, ActivityError):  # out of time: what the cloud answered last is behind that
            last = error.cause.__cause__ if error.cause is not None else None
            silence = f"{gang.cloud} did not do it in {held.check_seconds:g} s"
            why = last.message if isinstance(last, ApplicationError) else silence
        is_known = held.offer is not None and held.offer.cloud == gang.cloud and bool(held.nodes)
        where = held.offer.place if held.offer is not None and is_known else gang.cloud
        found = await self._ask(gang)
        if found is None:
            found = [node.id for node in held.nodes] if is_known else []
            if not found:
                return [f"{where}: nodes of which none is known ({why})"]
        elif not found:
            return [] if self.kind == "stop" else [f"{where}: no nodes any more, but not all is deleted ({why})"]
        return [f"{where}: {len(found)} node(s), {', '.join(found)} ({why})"]

    async def _ask(self, gang: GangRef) -> list[str] | None:
        """The nodes that are not yet what they should be, by what the cloud says; None if it says nothing."""
        away = ("stopped", "gone") if self.kind == "stop" else ("gone",)
        try:
            found = await call(
                CloudCalls.describe_nodes,
                gang,
                f"{self.kind.upper()} · what is left in {gang.cloud}?",
                kind="cloud",
                host=gang.host,
                seconds=ASK_SECONDS,
            )
        except (SkyflowError, ActivityError):
            raise_if_cancelled()
            return None
        return [status.node.id for status in found if status.state not in away]

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
