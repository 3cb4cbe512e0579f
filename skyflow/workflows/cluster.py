"""ClusterWorkflow: the entity behind one cluster name. Registry, lock, job queue.

Its memory is one `ClusterState`; the handlers give it events, the run loop carries out the actions that follow. Beside
the loop there are tasks that may wait for long: the watch of the nodes, the ledger, and the check that everybody is
still there. No error of theirs may end this workflow: it is what owns the nodes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, assert_never

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import (
        CloudCalls,
        ClusterCalls,
        NodeCalls,
        UnitRequest,
    )
    from skyflow.models.change import note
    from skyflow.models.cluster import ClusterState
    from skyflow.models.job import LOST, STOPPED_WITH_GANG, UNREAD, JobEnd, JobRecord, RankEnd, run_unit
    from skyflow.models.life import kept
    from skyflow.models.name import autostop_workflow_id, job_workflow_id, operation_workflow_id
    from skyflow.models.operation import (
        AbandonJob,
        Action,
        ArmIdle,
        AskSessions,
        AutostopSetting,
        Busy,
        CancelJob,
        CancelJobs,
        CancelOperation,
        CancelRequest,
        EndOperation,
        Expect,
        Grant,
        Guard,
        Hardware,
        IdleDue,
        IdleRule,
        LifeEnded,
        NodesReport,
        NotifyLaunch,
        Operation,
        Place,
        RanksLost,
        Release,
        Reservation,
        Reserve,
        StartDown,
        StartJob,
        StartStop,
        Submission,
    )
    from skyflow.models.status import JobStatus
    from skyflow.workflows.autostop import AutostopState, AutostopWorkflow, Clock
    from skyflow.workflows.call import (
        call,
        calm_pause,
        cancel_workflow,
        history_is_long,
        is_being_cancelled,
        signal,
        start_child,
        wait_for,
    )
    from skyflow.workflows.down import DownWorkflow
    from skyflow.workflows.job import HEAD_START_SECONDS, JobWorkflow, start_gang
    from skyflow.workflows.keep import ask_units, book, keep
    from skyflow.workflows.lease import keep_leases, last_session
    from skyflow.workflows.operation import OperationRequest
    from skyflow.workflows.stop import StopWorkflow
    from skyflow.workflows.telling import Telling
    from skyflow.workflows.unread import read_ends
    from skyflow.workflows.watching import look_at_nodes, watch

CLUSTER = SearchAttributeKey.for_keyword("SkyflowCluster")
STATUS = SearchAttributeKey.for_keyword("SkyflowStatus")

MAX_UPDATES = 1500
"""Updates one run may answer. The server refuses the 2,001st."""

KEPT_JOBS = 100
"""Ended jobs that a cluster remembers. Older ones are in the store."""

STOP_SECONDS = 120.0
"""How long the units of a job whose workflow is gone are tried to be stopped."""

DELETE_SECONDS = 900.0
"""How long one check tries to delete what a terminated launch made. The next one goes on with that."""


@workflow.defn(failure_exception_types=[SkyflowError])
class ClusterWorkflow:
    """One cluster: who uses it, what runs on it, when it goes."""

    @workflow.init
    def __init__(self, state: ClusterState) -> None:
        self.state = state
        if not state.uid:
            started = workflow.info().start_time
            # The end of a run's id is random; its beginning is the time.
            state.uid = f"{started:%Y%m%dT%H%M%S}-{workflow.info().run_id[-8:]}"
            state.rule = IdleRule(minutes=state.safety_minutes, safety=True)
        self.telling = Telling(state, self._now)
        self.actions: list[Action] = []
        self.check: asyncio.Task[None] | None = None
        self.asking: int | None = None
        """The epoch for which the nodes shall be asked who is logged in."""
        self.starts: list[asyncio.Task[None]] = []
        """The starts of jobs that are under way."""
        self.updates = 0
        self.shown: dict[str, Any] = {}
        self.known = state.essentials() if state.edition else None

    @workflow.run
    async def run(self, state: ClusterState) -> None:
        if self.state.adopted:
            await self._take_up()
            self.check = asyncio.create_task(self._check())  # of those who held the cluster, nobody is there
        parts = [
            watch(self.state, self._do, self._now),
            book(self.state),
            self._ask(),
            keep(self.state),
            keep_leases(self.state),
        ]
        parts.append(read_ends(self.state, self._do, self._now))
        beside = [*(asyncio.create_task(part) for part in parts), *self.telling.tasks()]
        while True:
            self._show()
            await self._guard()
            pause = await self._pause()
            if await wait_for(self._has_work, pause, "until the next check that everybody is there"):
                if self.actions:
                    self.state.looks, self.state.look_at = 0, 0
            else:
                if self.state.served == 0 and workflow.all_handlers_finished():
                    return
                self.state.looks += not self.state.is_active()
                if self.check is None or self.check.done():
                    self.check = asyncio.create_task(self._check())
            await self._act()
            # Nothing may come between this last look and the end, or an accepted request would vanish.
            if self._may_close() or self._may_continue():
                for task in [*beside, *self.starts, *([] if self.check is None else [self.check])]:
                    task.cancel()
                if self._may_close():
                    return
                # With its memo: who reads it in between must not think that there is no cluster.
                workflow.continue_as_new(self.state, memo={"cluster": self.state.view()})

    async def _take_up(self) -> None:
        """Its workflow was lost, and begins anew with what was kept: the cloud and the nodes are asked for the rest."""
        await self._guard()
        await look_at_nodes(self.state, self._do, self._now)
        self._do(self.state.take_up(await ask_units(self.state), self._now()))
        await self._act()

    async def _pause(self) -> float:
        """Seconds until the next check. While nobody uses the cluster they are ever more, of which its guardian hears:
        it need not look for the cluster before that check."""
        state = self.state
        if state.is_active():
            state.looks, state.look_at = 0, 0
            return state.check_seconds
        if state.look_at <= self._now():
            pause = min(calm_pause(state.check_seconds, state.looks), state.seconds_to_overdue(self._now()))
            state.look_at = self._now() + pause
            if state.looks and state.guarded:
                state.calmed = True
                if not await self._tell_guard("alive", state.look_at + state.check_seconds):
                    self._start_clock()
        return max(0, state.look_at - self._now())

    async def _act(self) -> None:
        while self.actions:
            await self._carry_out(self.actions[0])
            self.actions.pop(0)  # only now: whoever waits for no actions to be left waits for the last one, too

    def _has_work(self) -> bool:
        return bool(self.actions) or self._may_close() or self._may_continue()

    def _may_close(self) -> bool:
        told = not self.state.unbooked and not self.state.ended and self.telling.is_done()
        return self.state.is_over() and told and self._is_quiet()

    def _may_continue(self) -> bool:
        """Whether the history is long, and this is a good moment to begin a new one."""
        is_long = workflow.info().is_continue_as_new_suggested() or self.updates >= MAX_UPDATES
        is_long = is_long or (history_is_long() and self._is_calm())
        return is_long and self._is_quiet() and not self.starts and not self.telling.is_at_work()

    def _is_calm(self) -> bool:
        """Whether nobody has used the cluster since the last check, and nothing is left to be done: also no logs to be
        watched, and nothing that failed and is tried ever more rarely, which a new run would not know."""
        checked = self.check is None or self.check.done()
        told = self.telling.is_done() and not self.state.is_lease_due() and not self.state.readable()
        return self.state.looks > 0 and checked and told and not self.state.is_active()

    def _is_quiet(self) -> bool:
        return not self.actions and workflow.all_handlers_finished()

    def _now(self) -> float:
        return workflow.now().timestamp()

    def _do(self, actions: list[Action]) -> None:
        self.actions += actions
        note(self.state, self._now())
        self._show()

    # The actions

    async def _carry_out(self, action: Action) -> None:
        name = self.state.name
        match action:
            case Grant(workflow_id, reservation):
                await signal(workflow_id, "granted", reservation)
            case CancelOperation(workflow_id, keep_nodes, grace, reason):
                await signal(workflow_id, "cancel", CancelRequest(keep_nodes=keep_nodes, grace=grace, reason=reason))
            case EndOperation(workflow_id):
                await cancel_workflow(workflow_id)
            case StartJob(job_id):
                if job_id in self.state.jobs:  # it may have gone with its nodes meanwhile
                    await self._start_job(self.state.jobs[job_id])
            case CancelJob(job_id, grace, reason):
                await signal(job_workflow_id(name, self.state.uid, job_id), "cancel", grace, reason)
            case AbandonJob(job_id, uid, stopped):
                await signal(job_workflow_id(name, uid, job_id), "abandon", stopped)
            case RanksLost(job_id, ranks, stopped):
                ends = [RankEnd(rank=rank, code=UNREAD if rank in stopped else LOST) for rank in ranks]
                await signal(job_workflow_id(name, self.state.uid, job_id), "rank_ended", ends)
            case NotifyLaunch(workflow_id, end):
                await signal(workflow_id, "job_ended", end)
            case ArmIdle(epoch, rule):
                clock = Clock(epoch=epoch, rule=rule, since=self.state.idle_since or self._now())
                await self._tell_guard("idle", clock)
            case AskSessions(epoch):
                self.asking = epoch
            case Busy():
                await self._tell_guard("busy")
            case Guard(places):
                await self._guard()
                await self._tell_guard("guard", list(places))
            case StartDown(request_id, epoch):
                await self._close("down", request_id, epoch)
            case StartStop(request_id, epoch):
                await self._close("stop", request_id, epoch)
            case LifeEnded(uid, notify, left, deployment):
                if left:
                    await self._leave(uid, list(left), deployment)
                else:
                    await signal(autostop_workflow_id(name, uid), "cancel")
                for workflow_id in notify:
                    await signal(workflow_id, "cluster_ended", uid)
            case _:
                assert_never(action)

    async def _start_job(self, job: JobRecord) -> None:
        state = self.state
        request = state.job_request(job)
        summary = f"job {job.id} {job.name} on {len(job.ranks)} node(s) of {state.name}"
        workflow_id = job_workflow_id(state.name, state.uid, job.id)
        starting = None if job.cancelling else asyncio.create_task(start_gang(request, HEAD_START_SECONDS))
        await start_child(JobWorkflow.run, request, workflow_id, summary)
        if starting is not None:
            telling = asyncio.create_task(self._tell_start(workflow_id, starting))
            self.starts.append(telling)
            telling.add_done_callback(self.starts.remove)
        self._do(self.state.job_started(job.id, self._now()))

    async def _tell_start(self, workflow_id: str, starting: asyncio.Task[None]) -> None:
        failure = ""
        try:
            await starting
        except SkyflowError as error:
            failure = str(error)
        except ActivityError as error:  # its workflow hears nothing, and starts it
            workflow.logger.warning("%s could not be started yet: %s", workflow_id, error)
            return
        await signal(workflow_id, "started", failure)

    async def _close(self, kind: Literal["stop", "down"], request_id: str, epoch: int | None) -> None:
        name, why = self.state.name, request_id.split("-")[0]
        request = OperationRequest(cluster=name, epoch=epoch).model_dump()
        run = DownWorkflow.run if kind == "down" else StopWorkflow.run
        summary = f"take {name} down: {why}" if kind == "down" else f"stop {name}: {why}"
        await start_child(run, request, operation_workflow_id(kind, name, request_id), summary)

    async def _guard(self) -> None:
        """From the first reservation on, this life has its guardian."""
        state = self.state
        if state.guarded or state.is_over() or state.served == 0:
            return
        child = AutostopState(
            cluster=state.name,
            uid=state.uid,
            deployment=state.deployment,
            check_seconds=state.check_seconds,
            places=state.places,
        )
        summary = f"idle clock and guardian of {state.name}"
        await start_child(AutostopWorkflow.run, child, autostop_workflow_id(state.name, state.uid), summary)
        state.guarded = True

    async def _leave(self, uid: str, places: list[Place], deployment: str) -> None:
        """Nodes of a life that has ended may be there still: its guardian goes on deleting them, or a new one does."""
        guard = autostop_workflow_id(self.state.name, uid)
        if await signal(guard, "clean_up", places):
            return
        left = AutostopState(
            cluster=self.state.name,
            uid=uid,
            deployment=deployment,
            check_seconds=self.state.check_seconds,
            places=places,
            cleaning=True,
            purged=True,
        )
        await start_child(AutostopWorkflow.run, left, guard, f"delete what is left of {self.state.name}")

    async def _tell_guard(self, message: str, *args: Any) -> bool:
        """Says whether the guardian of this life was there. If not, somebody ended it, and now there is another."""
        life = self.state.uid
        guard = autostop_workflow_id(self.state.name, life)
        if await signal(guard, message, *args):
            return True
        if life == self.state.uid:
            self.state.guarded = False
            await self._guard()
            await signal(guard, message, *args)
        return False

    def _start_clock(self) -> None:
        """A new guardian learns it when somebody uses the cluster again, or from here."""
        if self.state.idle_since is not None:
            self._do([ArmIdle(self.state.epoch, self.state.clock_rule())])

    # Who is logged in

    async def _ask(self) -> None:
        """Before an idle cluster goes: a user who is logged in keeps it."""
        while True:
            await workflow.wait_condition(lambda: self.asking is not None)
            epoch, self.asking = self.asking or 0, None
            if epoch != self.state.epoch or not self.state.runs():
                continue
            ago = await last_session(self.state.gang())
            self._do(self.state.sessions_seen(epoch, ago, self._now()))

    # Nobody waits for ever

    async def _check(self) -> None:
        """Looks after those that have not been heard from: a workflow that was terminated cannot report.

        While nobody watches the nodes, or some may be nobody's, the cloud is asked.
        """
        try:
            await self._look_after_all()
            if self.state.untidy or not self.state.is_watched():
                await look_at_nodes(self.state, self._do, self._now)
        except (SkyflowError, ActivityError) as error:
            workflow.logger.warning("the check failed, and is tried again: %s", error)
        self._do(self.state.overdue(self._now()))

    async def _look_after_all(self) -> None:
        state = self.state
        jobs = {job_workflow_id(state.name, state.uid, job.id): job for job in state.active_jobs() if job.started_at}
        operations = {op.workflow_id: op for op in state.operations}
        guard = autostop_workflow_id(state.name, state.uid)
        asked = [*jobs, *operations]
        if state.is_active() and state.guarded:  # otherwise it is told, and so found out
            asked.append(guard)
        if not asked:
            return
        statuses = await call(ClusterCalls.describe_workflows, asked, "is everybody there?")
        gone = [workflow_id for workflow_id, status in statuses.items() if status != "RUNNING"]
        for workflow_id in gone:
            # A job that completed has told its end; an operation that completed has released, unless a late retry of
            # its reservation came after that.
            completed = statuses[workflow_id] == "COMPLETED"
            try:
                if workflow_id in jobs and not completed:
                    await self._bury_job(jobs[workflow_id])
                elif workflow_id in operations:
                    await self._bury_operation(operations[workflow_id], completed)
            except (SkyflowError, ActivityError) as error:
                if is_being_cancelled():
                    raise
                workflow.logger.warning("%s could not be buried, and is tried again: %s", workflow_id, error)
        if guard in gone and guard == autostop_workflow_id(state.name, state.uid):
            state.guarded = False
            await self._guard()
            self._start_clock()

    async def _bury_job(self, job: JobRecord) -> None:
        life = self.state.uid
        reason = "The job's workflow was terminated."
        if self.state.nodes:
            gang = self.state.gang(job.ranks)
            try:
                await call(
                    NodeCalls.cancel_units,
                    UnitRequest(gang=gang, unit=run_unit(job.id), code=STOPPED_WITH_GANG),
                    f"stop job {job.id}: its workflow is gone",
                    kind="quick",
                    host=gang.host,
                    seconds=STOP_SECONDS,
                )
            except (SkyflowError, ActivityError):
                if is_being_cancelled():
                    raise
                reason += " Its nodes could not be told to stop it."
        if life == self.state.uid:
            end = JobEnd(job_id=job.id, status=JobStatus.FAILED_DRIVER, reason=reason)
            self._do(self.state.job_ended(end, self._now(), notify=True))

    async def _bury_operation(self, op: Operation, completed: bool) -> None:
        """An operation whose workflow has ended without a word, if it still holds the cluster. What it was about to do
        to nodes that exist, another goes on with."""
        state, life = self.state, self.state.uid
        if not any(held is op for held in state.operations):
            return
        if op.kind in ("stop", "down") and op.granted and state.nodes and not completed:
            kind: Literal["stop", "down"] = "down" if op.kind == "down" else "stop"
            request_id = f"again-{life}"
            state.take_over(op.workflow_id, operation_workflow_id(kind, state.name, request_id))
            await self._close(kind, request_id, None)
            return
        making = op.kind == "launch" and op.exclusive and op.granted and not state.nodes
        if making:
            for place in state.places:
                await call(
                    CloudCalls.delete_nodes,
                    state.tag(place, op.workflow_id),
                    "delete what a terminated launch made",
                    kind="cloud",
                    host=place.host,
                    seconds=DELETE_SECONDS,
                )
        if life == state.uid:
            release = Release(workflow_id=op.workflow_id, nodes_deleted=making)
            self._do(state.release(release, self._now(), self._next_uid()))
            if state.untidy:  # what it was making is nobody's now
                await look_at_nodes(self.state, self._do, self._now)

    def _next_uid(self) -> str:
        return f"{workflow.now():%Y%m%dT%H%M%S}-{workflow.uuid4().hex[:8]}"

    def _show(self) -> None:
        """Keeps memo, search attributes and current details true."""
        self._count_edition()
        view = self.state.view()
        if view == self.shown:
            return
        self.shown = view
        workflow.upsert_memo({"cluster": view})
        if self.state.search_attributes:
            workflow.upsert_search_attributes(
                [CLUSTER.value_set(self.state.name), STATUS.value_set(self.state.status.value)]
            )
        workflow.set_current_details(self.state.details())
        finished = [job.id for job in self.state.jobs.values() if job.status.is_terminal() and not job.unread]
        for job_id in sorted(finished)[:-KEPT_JOBS]:
            del self.state.jobs[job_id]

    def _count_edition(self) -> None:
        essentials = self.state.essentials()
        self.state.edition += essentials != self.known
        self.known = essentials

    # Messages

    @workflow.update
    async def reserve(self, request: Reserve) -> Reservation:
        """A workflow asks for the cluster. Idempotent by its id."""
        self.updates += 1
        if self.state.adopted:  # which numbers its jobs have is not known yet
            await workflow.wait_condition(lambda: not self.state.adopted)
        reservation, actions = self.state.reserve(request, self._now())
        self._do(actions)
        return reservation

    @workflow.update
    async def report(self, report: NodesReport) -> None:
        """A launch has made the nodes. Answers once they are guarded."""
        self.updates += 1
        self._do(self.state.report_nodes(report, self._now()))
        await workflow.wait_condition(lambda: self.state.guarded)

    @workflow.signal
    async def release(self, release: Release) -> None:
        """An operation is over."""
        self._do(self.state.release(release, self._now(), self._next_uid()))

    @workflow.update
    async def submit_job(self, submission: Submission) -> None:
        """A launch hands its job over. Idempotent by the job's id."""
        self.updates += 1
        self._do(self.state.submit(submission, self._now()))

    @workflow.update
    async def set_autostop(self, setting: AutostopSetting) -> None:
        """Sets the idle rule. The last one wins."""
        self.updates += 1
        self._do(self.state.set_autostop(setting, self._now()))

    @workflow.update
    async def expect(self, expect: Expect) -> None:
        """A launch is about to make nodes at this place. Answers once somebody guards it."""
        self.updates += 1
        self._do(self.state.expect(expect))
        life = self.state.uid
        await workflow.wait_condition(lambda: (self.state.guarded and not self.actions) or self.state.uid != life)

    @workflow.update
    async def refresh(self) -> dict[str, Any]:
        """Asks the cloud how the nodes are; answers with what `status` says then."""
        self.updates += 1
        await look_at_nodes(self.state, self._do, self._now)
        return self.state.view()

    @workflow.signal
    async def job_ended(self, end: JobEnd) -> None:
        """A job's workflow reports its end."""
        self._do(self.state.job_ended(end, self._now()))

    @workflow.signal
    async def idle_due(self, due: IdleDue) -> None:
        """The idle clock has run out."""
        self._do(self.state.idle_due(due))

    @workflow.signal
    async def cancel(self, request: CancelJobs) -> None:
        """Cancels jobs, for whoever needs no answer."""
        self._do(self.state.cancel_jobs(request.jobs, self._now()))

    @workflow.signal
    async def autostop(self, setting: AutostopSetting) -> None:
        """Sets the idle rule, for whoever needs no answer."""
        try:
            self._do(self.state.set_autostop(setting, self._now()))
        except SkyflowError as error:
            workflow.logger.warning("the idle rule stays as it was: %s", error)

    @workflow.query
    def status(self) -> dict[str, Any]:
        """The cluster as `skyflow status` shows it."""
        return self.state.view()

    @workflow.query
    def hardware(self) -> Hardware:
        """What there is, for a dry run."""
        return self.state.hardware()

    @workflow.query
    def queue(self) -> list[dict[str, Any]]:
        """The jobs, newest first."""
        return self.state.rows()

    @workflow.query
    def life(self) -> ClusterState:
        """What is kept of it in the store."""
        return kept(self.state)

    @workflow.query
    def access(self) -> dict[str, Any]:
        """How its nodes are reached, and which ports are open."""
        return self.state.access()
