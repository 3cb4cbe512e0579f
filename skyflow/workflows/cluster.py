"""ClusterWorkflow: the entity behind one cluster name. Registry, lock, job queue.

Its memory is one `ClusterState`; the handlers give it events, the run loop carries out the actions that follow.
Handlers answer at once; only the run loop waits for anything.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, assert_never

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import (
        CloudCalls,
        ClusterCalls,
        NodeCalls,
        UnitRequest,
        WatchCalls,
        WatchReport,
        WatchRequest,
    )
    from skyflow.models.cluster import ClusterState
    from skyflow.models.job import LOST, STOPPED_WITH_GANG, JobEnd, JobRecord, JobRequest, JobStatus, RankEnd, run_unit
    from skyflow.models.name import autostop_workflow_id, down_workflow_id, job_workflow_id
    from skyflow.models.node import GangRef
    from skyflow.models.operation import (
        AbandonJob,
        Action,
        ArmIdle,
        AutostopSetting,
        Busy,
        CancelJob,
        CancelJobs,
        CancelOperation,
        CancelRequest,
        Expect,
        Grant,
        Guard,
        IdleDue,
        IdleRule,
        LifeEnded,
        NodesReport,
        NotifyLaunch,
        Operation,
        Release,
        Reservation,
        Reserve,
        StartDown,
        StartJob,
        Submission,
    )
    from skyflow.workflows.autostop import CHECKS_APART, AutostopState, AutostopWorkflow, Clock
    from skyflow.workflows.call import call, signal, start_child, wait_for
    from skyflow.workflows.down import DownRequest, DownWorkflow
    from skyflow.workflows.job import JobWorkflow

CLUSTER = SearchAttributeKey.for_keyword("SkyflowCluster")
STATUS = SearchAttributeKey.for_keyword("SkyflowStatus")

MAX_UPDATES = 1500
"""Updates one run may answer. The server refuses the 2,001st."""

KEPT_JOBS = 500
"""Ended jobs that a cluster remembers. Older ones are in the store."""


@workflow.defn(failure_exception_types=[SkyflowError])
class ClusterWorkflow:
    """One cluster: who uses it, what runs on it, when it goes."""

    @workflow.init
    def __init__(self, state: ClusterState) -> None:
        self.state = state
        if not state.uid:
            started = workflow.info().start_time
            state.uid = f"{started:%Y%m%dT%H%M%S}-{workflow.info().run_id[:8]}"
            state.rule = IdleRule(minutes=state.safety_minutes, safety=True)
        self.actions: list[Action] = []
        self.updates = 0
        self.shown: dict[str, Any] = {}

    @workflow.run
    async def run(self, state: ClusterState) -> None:
        watch = asyncio.create_task(self._watch())
        while True:
            await self._show()
            await self._guard()
            active = self.state.is_active()
            pause = self.state.check_seconds * (1 if active else CHECKS_APART)
            if not await wait_for(lambda: bool(self.actions) or self._ready_to_close() or self._is_long(), pause):
                if self.state.served == 0:
                    return
                await self._check()
            while self.actions:
                await self._carry_out(self.actions.pop(0))
            if self._ready_to_close():
                await workflow.wait_condition(workflow.all_handlers_finished)
                # The last look: nothing may come between it and the return, or an accepted request would vanish.
                if self._ready_to_close():
                    watch.cancel()
                    return
            elif self._is_long():
                await workflow.wait_condition(workflow.all_handlers_finished)
                if not self.actions:
                    watch.cancel()
                    workflow.continue_as_new(self.state)

    def _ready_to_close(self) -> bool:
        return self.state.is_over() and not self.actions

    def _is_long(self) -> bool:
        return workflow.info().is_continue_as_new_suggested() or self.updates >= MAX_UPDATES

    def _now(self) -> float:
        return workflow.now().timestamp()

    def _do(self, actions: list[Action]) -> None:
        self.actions += actions

    # The actions

    async def _carry_out(self, action: Action) -> None:
        name = self.state.name
        match action:
            case Grant(workflow_id, reservation):
                await signal(workflow_id, "granted", reservation)
            case CancelOperation(workflow_id, keep_nodes):
                await signal(workflow_id, "cancel", CancelRequest(keep_nodes=keep_nodes))
            case StartJob(job_id):
                await self._start_job(self.state.jobs[job_id])
            case CancelJob(job_id):
                await signal(job_workflow_id(name, self.state.uid, job_id), "cancel")
            case AbandonJob(job_id, uid):
                await signal(job_workflow_id(name, uid, job_id), "abandon")
            case NotifyLaunch(workflow_id, end):
                await signal(workflow_id, "job_ended", end)
            case ArmIdle(epoch, rule):
                clock = Clock(epoch=epoch, rule=rule, since=self.state.idle_since or self._now())
                await self._tell_guard("idle", clock)
            case Busy():
                await self._tell_guard("busy")
            case Guard(places):
                await self._guard()
                await self._tell_guard("guard", list(places))
            case StartDown(request_id, epoch):
                await self._start_down(request_id, epoch)
            case LifeEnded(uid, notify):
                await signal(autostop_workflow_id(name, uid), "cancel")
                for workflow_id in notify:
                    await signal(workflow_id, "cluster_ended", uid)
            case _:
                assert_never(action)

    async def _start_job(self, job: JobRecord) -> None:
        state = self.state
        request = JobRequest(
            job_id=job.id,
            gang=state.gang(job.ranks),
            spec=job.spec,
            launch=job.launch,
            name=job.name,
            check_seconds=state.check_seconds,
        )
        summary = f"job {job.id} {job.name} on {len(job.ranks)} node(s) of {state.name}"
        await start_child(JobWorkflow.run, request, job_workflow_id(state.name, state.uid, job.id), summary)
        self._do(self.state.job_started(job.id, self._now()))

    async def _start_down(self, request_id: str, epoch: int | None) -> None:
        request = DownRequest(cluster=self.state.name, epoch=epoch).model_dump()
        summary = f"take {self.state.name} down: {request_id.split('-')[0]}"
        await start_child(DownWorkflow.run, request, down_workflow_id(self.state.name, request_id), summary)

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

    async def _tell_guard(self, message: str, *args: Any) -> None:
        if not await signal(autostop_workflow_id(self.state.name, self.state.uid), message, *args):
            self.state.guarded = False  # somebody ended it: the run loop starts another, which learns what it must
            await self._guard()
            await signal(autostop_workflow_id(self.state.name, self.state.uid), message, *args)

    # The watch

    async def _watch(self) -> None:
        """One long activity at a time, as long as something may happen on the nodes."""
        while True:
            await workflow.wait_condition(lambda: bool(self.state.nodes) and self.state.is_active())
            request = WatchRequest(gang=self.state.gang(), cursors=self.state.cursors)
            life = self.state.uid
            try:
                report = await call(
                    WatchCalls.watch_nodes,
                    request,
                    f"watch {len(request.gang.nodes)} node(s)",
                    kind="watch",
                    host=request.gang.host,
                )
            except (SkyflowError, ActivityError) as error:
                if is_cancelled_exception(error):
                    return  # the cluster closes, or continues as new
                workflow.logger.warning("the watch failed: %s", error)
                await workflow.sleep(timedelta(seconds=self.state.check_seconds))
                continue
            if life == self.state.uid:
                await self._take(report)

    async def _take(self, report: WatchReport) -> None:
        self.state.cursors = report.cursors
        for job in self.state.active_jobs():
            ends = [RankEnd(rank=e.rank, code=e.code) for e in report.ended if e.unit == run_unit(job.id)]
            ends += [RankEnd(rank=rank, code=LOST) for rank in report.gone if rank in job.ranks]
            if ends and job.ranks:
                await signal(job_workflow_id(self.state.name, self.state.uid, job.id), "rank_ended", ends)

    # Nobody waits for ever

    async def _check(self) -> None:
        """Looks after those that have not been heard from: a workflow that was terminated cannot report."""
        state = self.state
        jobs = {job_workflow_id(state.name, state.uid, job.id): job for job in state.active_jobs() if job.started_at}
        operations = {op.workflow_id: op for op in state.operations}
        guard = autostop_workflow_id(state.name, state.uid)
        statuses = await call(
            ClusterCalls.describe_workflows,
            [*jobs, *operations, *([guard] if state.guarded else [])],
            "is everybody there?",
        )
        gone = [workflow_id for workflow_id, status in statuses.items() if status != "RUNNING"]
        for workflow_id in gone:
            # A job that completed has told its end; an operation that completed has released, unless a late retry of
            # its reservation came after that.
            if workflow_id in jobs and statuses[workflow_id] != "COMPLETED":
                await self._bury_job(jobs[workflow_id])
            elif workflow_id in operations:
                await self._bury_operation(operations[workflow_id])
        if guard in gone:
            state.guarded = False
            await self._guard()
            if state.idle_since is not None:
                self._do([ArmIdle(state.epoch, state.rule)])

    async def _bury_job(self, job: JobRecord) -> None:
        gang = self.state.gang(job.ranks)
        await call(
            NodeCalls.cancel_units,
            UnitRequest(gang=gang, unit=run_unit(job.id), code=STOPPED_WITH_GANG),
            f"stop job {job.id}: its workflow is gone",
            kind="quick",
            host=gang.host,
        )
        end = JobEnd(job_id=job.id, status=JobStatus.FAILED_DRIVER, reason="The job's workflow was terminated.")
        self._do(self.state.job_ended(end, self._now(), notify=True))

    async def _bury_operation(self, op: Operation) -> None:
        state = self.state
        making = op.kind == "launch" and op.exclusive and op.granted
        if making:
            for place in state.places:
                await call(
                    CloudCalls.delete_nodes,
                    GangRef(
                        deployment=state.deployment,
                        cluster=state.name,
                        uid=state.uid,
                        cloud=place.cloud,
                        host=place.host,
                        launch_id=op.workflow_id,
                    ),
                    "delete what a terminated launch made",
                    kind="cloud",
                    host=place.host,
                )
        release = Release(workflow_id=op.workflow_id, nodes_deleted=making)
        self._do(state.release(release, self._now(), self._next_uid()))
        if op.kind == "down" and state.nodes:
            self._do([StartDown(f"again-{state.uid}")])

    def _next_uid(self) -> str:
        return f"{workflow.now():%Y%m%dT%H%M%S}-{workflow.uuid4().hex[:8]}"

    async def _show(self) -> None:
        """Keeps memo, search attributes and current details true."""
        view = self.state.view()
        if view == self.shown:
            return
        self.shown = view
        workflow.upsert_memo({"cluster": view})
        if self.state.search_attributes:
            workflow.upsert_search_attributes(
                [CLUSTER.value_set(self.state.name), STATUS.value_set(self.state.status.value)]
            )
        workflow.set_current_details(details(self.state))
        finished = [job.id for job in self.state.jobs.values() if job.status.is_terminal()]
        for job_id in sorted(finished)[:-KEPT_JOBS]:
            del self.state.jobs[job_id]

    # Messages

    @workflow.update
    async def reserve(self, request: Reserve) -> Reservation:
        """A workflow asks for the cluster. Idempotent by its id."""
        self.updates += 1
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

    @workflow.signal
    async def expect(self, expect: Expect) -> None:
        """A launch is about to make nodes at this place."""
        self._do(self.state.expect(expect))

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
        self._do(self.state.set_autostop(setting, self._now()))

    @workflow.query
    def status(self) -> dict[str, Any]:
        """The cluster as `skyflow status` shows it."""
        return self.state.view()

    @workflow.query
    def queue(self) -> list[dict[str, Any]]:
        """The jobs, newest first."""
        return self.state.rows()


def details(state: ClusterState) -> str:
    """The cluster in Markdown, for the Web UI."""
    lines = [f"**{state.name}** is {state.status.value} with {len(state.nodes)} node(s)"]
    if state.offer is not None:
        lines[0] += f" in {state.offer.place} ({state.offer.instance_type})"
    if state.rule is not None:
        why = "safety rule" if state.rule.safety else "autostop"
        lines.append(f"Taken down after {state.rule.minutes} idle minutes ({why}).")
    lines += [f"- in use by `{op.workflow_id}`" + ("" if op.granted else " (waiting)") for op in state.operations]
    lines += [f"- job `{job_workflow_id(state.name, state.uid, job.id)}`" for job in state.active_jobs() if job.ranks]
    return "\n\n".join(lines[:2]) + "\n" + "\n".join(lines[2:20])
