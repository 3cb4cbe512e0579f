"""AutostopWorkflow: the idle clock of a cluster, and the guardian of its nodes.

While the cluster's workflow lives, this one only says when the clock has run out; the cluster decides. If the cluster's
workflow is gone without having taken its nodes down (somebody terminated it), this one waits for what runs and deletes
them.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import CloudCalls, ClusterCalls, NodeCalls
    from skyflow.models.name import cluster_workflow_id
    from skyflow.models.node import GangRef
    from skyflow.models.operation import IdleDue, IdleRule, Place
    from skyflow.models.wire import Wire
    from skyflow.workflows.call import call, signal, wait_for

CHECKS_APART = 10
"""While nothing happens, the guardian looks every so many check intervals."""


class Clock(Wire):
    """The idle clock: when it was started, and with which rule."""

    epoch: int
    rule: IdleRule | None = None
    since: float = 0


class AutostopState(Wire):
    """Input of an AutostopWorkflow, and all it knows."""

    cluster: str
    uid: str
    deployment: str
    check_seconds: float = 60
    places: list[Place] = Field(default_factory=list)
    clock: Clock | None = None


@workflow.defn(failure_exception_types=[SkyflowError])
class AutostopWorkflow:
    """Counts idle minutes for one life of a cluster, and outlives the cluster's workflow if that is terminated."""

    @workflow.init
    def __init__(self, state: AutostopState) -> None:
        self.state = state
        self.changed = False
        self.over = False

    @workflow.run
    async def run(self, state: AutostopState) -> None:
        while not self.over:
            self.changed = False
            due = self._seconds_left()
            check = self.state.check_seconds * CHECKS_APART
            if await wait_for(lambda: self.changed or self.over, min(check, due) if due is not None else check):
                continue
            left = self._seconds_left()
            if left is not None and left <= 0:
                alive = await self._tell()
            else:
                alive = await self._cluster_is_alive()
            if not alive:
                await self._clean_up()
                return
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(self.state)

    def _seconds_left(self) -> float | None:
        clock = self.state.clock
        if clock is None or clock.rule is None:
            return None
        return max(0.0, clock.since + clock.rule.minutes * 60 - workflow.now().timestamp())

    async def _tell(self) -> bool:
        assert self.state.clock is not None
        due = IdleDue(uid=self.state.uid, epoch=self.state.clock.epoch)
        self.state.clock = None
        return await signal(cluster_workflow_id(self.state.cluster), "idle_due", due)

    async def _cluster_is_alive(self) -> bool:
        life = await call(ClusterCalls.find_life, self.state.cluster, "is the cluster's workflow there?")
        return life == self.state.uid

    async def _clean_up(self) -> None:
        """Nobody owns the nodes any more: let what runs end, then delete them."""
        for place in self.state.places:
            gang = GangRef(
                deployment=self.state.deployment,
                cluster=self.state.cluster,
                uid=self.state.uid,
                cloud=place.cloud,
                host=place.host,
            )
            while await call(NodeCalls.count_running, gang, "does anything run?", kind="sync", host=place.host):
                await workflow.sleep(timedelta(seconds=self.state.check_seconds))
            await call(
                CloudCalls.delete_nodes,
                gang,
                f"delete the nodes in {place.cloud}: their cluster's workflow is gone",
                kind="cloud",
                host=place.host,
            )

    @workflow.signal
    async def guard(self, places: list[Place]) -> None:
        """Nodes may be at these places."""
        self.state.places = places

    @workflow.signal
    async def idle(self, clock: Clock) -> None:
        """The cluster is idle: start the clock."""
        self.state.clock, self.changed = clock, True

    @workflow.signal
    async def busy(self) -> None:
        """The cluster is in use: stop the clock."""
        self.state.clock, self.changed = None, True

    @workflow.signal
    async def cancel(self) -> None:
        """The cluster has taken its nodes down itself."""
        self.over = True

    @workflow.query
    def clock(self) -> Clock | None:
        """The clock, if it runs."""
        return self.state.clock
