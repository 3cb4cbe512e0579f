"""AutostopWorkflow: the idle clock of a cluster, and the guardian of its nodes.

While the cluster's workflow lives, this one only says when the clock has run out; the cluster decides. If the cluster's
workflow is gone without having taken its nodes down (somebody terminated it), this one waits for what runs and deletes
them. A cluster that nobody uses says now and then that it is there; for any other one it is looked. Nodes that a purge
could not delete it goes on deleting too, ever more rarely, for as long as it takes.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field
from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import ClosingCall, CloudCalls, ClusterCalls, LedgerCalls, NodeCalls
    from skyflow.models.name import cluster_workflow_id
    from skyflow.models.node import GangRef
    from skyflow.models.operation import IdleDue, IdleRule, Place
    from skyflow.models.wire import Wire
    from skyflow.workflows.call import (
        CHECKS_APART,
        FIRST_WORD,
        call,
        history_is_long,
        pauses,
        signal,
        wait_for,
    )

ASK_SECONDS = 600.0
"""How long the nodes of a cluster whose workflow is gone are asked, or their deletion is tried, at a time."""

SILENT_SECONDS = 24 * 3600.0
"""Nodes that belong to nobody, and could not be asked for so long whether anything runs on them, are deleted."""


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
    heard_until: float = 0
    """Until when, in epoch seconds, the cluster is known to be there, or says so again: nobody has to look for it."""
    cleaning: bool = False
    """Whether the cluster's workflow is gone, or has given up these nodes."""
    answered: float = 0
    """When, in epoch seconds, nodes that belong to nobody last said what runs there, or were first asked."""
    purged: bool = False
    """Whether it has given them up: they are deleted whatever runs there."""


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
        while not self.over and not self.state.cleaning:
            self.changed = False
            due = self._seconds_left()
            pause, summary = self._seconds_to_look(), "until the next look at the cluster"
            if due is not None and due <= pause:
                pause, summary = due, "until it was idle for long enough"
            if await wait_for(lambda: self.changed or self.over, pause, summary):
                await self._begin_anew_if_long()
                continue
            left = self._seconds_left()
            if left is not None and left <= 0:
                alive = await self._tell()
            else:
                alive = await self._cluster_is_alive()
            self.state.cleaning = self.state.cleaning or not alive
            await self._begin_anew_if_long()
        if self.state.cleaning:
            await self._clean_up()

    async def _begin_anew_if_long(self) -> None:
        # Not while it cleans up: it tries ever more rarely, and would begin anew with that.
        is_long = workflow.info().is_continue_as_new_suggested() or (not self.state.cleaning and history_is_long())
        if is_long and not self.over:
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(self.state)

    def _seconds_left(self) -> float | None:
        clock = self.state.clock
        if clock is None or clock.rule is None:
            return None
        return max(0.0, clock.since + clock.rule.minutes * 60 - self._now())

    def _seconds_to_look(self) -> float:
        heard = self.state.heard_until - self._now()
        return heard if heard > 0 else self.state.check_seconds * CHECKS_APART

    def _now(self) -> float:
        return workflow.now().timestamp()

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
        waits = pauses(self.state.check_seconds)
        while self.state.places:
            place = self.state.places[0]
            gang = GangRef(
                deployment=self.state.deployment,
                cluster=self.state.cluster,
                uid=self.state.uid,
                cloud=place.cloud,
                host=place.host,
            )
            why = "their cluster was purged" if self.state.purged else "their cluster's workflow is gone"
            if not self.state.purged:
                await self._until_nothing_runs(gang)
            try:
                await call(
                    CloudCalls.delete_nodes,
                    gang,
                    f"delete the nodes in {place.cloud}: {why}",
                    kind="cloud",
                    host=place.host,
                    seconds=ASK_SECONDS,
                )
            except (SkyflowError, ActivityError) as error:  # there is nobody else who could
                workflow.logger.warning("the nodes of %s could not be deleted: %s", gang.cluster, error)
                self.state.places = [*self.state.places[1:], place]
                await workflow.sleep(timedelta(seconds=next(waits)), summary="until their deletion is tried again")
                await self._begin_anew_if_long()
            else:
                self.state.places.remove(place)
        closing = ClosingCall(cluster=self.state.cluster, uid=self.state.uid, ended=self._now())
        await call(LedgerCalls.close_intervals, closing, "ledger: nothing is up any more")

    async def _until_nothing_runs(self, gang: GangRef) -> None:
        """Waits for what runs on these nodes. That they cannot be asked says nothing, until it has for very long."""
        self.state.answered = self.state.answered or self._now()
        for pause in pauses(self.state.check_seconds):
            try:
                running = await call(
                    NodeCalls.count_running,
                    gang,
                    "does anything run?",
                    kind="sync",
                    host=gang.host,
                    seconds=ASK_SECONDS,
                )
                self.state.answered = self._now()
            except (SkyflowError, ActivityError) as error:
                workflow.logger.warning("the nodes of %s could not be asked: %s", gang.cluster, error)
                running = 1 if self._now() - self.state.answered < SILENT_SECONDS else 0
            if not running:
                self.state.answered = 0
                return
            await workflow.sleep(timedelta(seconds=pause), summary="until they are asked again")
            await self._begin_anew_if_long()

    @workflow.signal
    async def guard(self, places: list[Place]) -> None:
        """Nodes may be at these places."""
        self.state.places = places

    @workflow.signal
    async def idle(self, clock: Clock) -> None:
        """The cluster is idle: start the clock. Before its first check, it does not say that it is there."""
        self.state.clock, self.changed = clock, True
        self.state.heard_until = self._now() + FIRST_WORD * self.state.check_seconds

    @workflow.signal
    async def alive(self, until: float) -> None:
        """The cluster, which nobody uses, is there. It says so again before this time (epoch seconds)."""
        self.state.heard_until, self.changed = until, True

    @workflow.signal
    async def busy(self) -> None:
        """The cluster is in use: stop the clock."""
        self.state.clock, self.state.heard_until, self.changed = None, 0, True

    @workflow.signal
    async def cancel(self) -> None:
        """The cluster has taken its nodes down itself."""
        self.over = True

    @workflow.signal
    async def clean_up(self, places: list[Place]) -> None:
        """The cluster has given up its nodes, and those at these places could not be deleted: go on with that."""
        self.state.places, self.state.cleaning, self.state.purged = places, True, True
        self.changed = True

    @workflow.query
    def clock(self) -> Clock | None:
        """The clock, if it runs."""
        return self.state.clock
