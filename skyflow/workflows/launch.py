"""LaunchWorkflow: one launch, stage by stage. `exec` is the same with two of the stages."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import (
        ClusterNotUpError,
        CommandError,
        InvalidTaskError,
        LaunchCancelledError,
        ResourcesMismatchError,
        SkyflowError,
    )
    from skyflow.models.calls import (
        AutostopCall,
        ClusterCalls,
        JobSubmission,
        NodeCalls,
        RecordCall,
        ReserveCall,
        SetupRequest,
        SyncCalls,
        SyncRequest,
        UnitRequest,
        WatchCalls,
    )
    from skyflow.models.failover import exhausted, waiting
    from skyflow.models.job import STOPPED_WITH_GANG, Gang, JobEnd, JobRecord, JobSpec, setup_unit
    from skyflow.models.launch import LaunchProgress, LaunchRequest, LaunchResult, Resumed, StageProgress, describe
    from skyflow.models.name import check_cluster_name, cluster_workflow_id, job_workflow_id
    from skyflow.models.node import Node, Offer
    from skyflow.models.operation import (
        AutostopSetting,
        CancelJobs,
        CancelRequest,
        Release,
        Reservation,
        Reserve,
        Submission,
    )
    from skyflow.models.port import missing
    from skyflow.models.schedule import Demand, demand_of
    from skyflow.models.stage import Stage
    from skyflow.models.status import JobStatus
    from skyflow.models.support import check_idle_rule, check_launchable
    from skyflow.models.task import Task
    from skyflow.workflows.call import call, pauses, raise_if_cancelled, signal, wait_for
    from skyflow.workflows.provision import Provision, make_plan
    from skyflow.workflows.repair import Repair
    from skyflow.workflows.telling import keep_callback, run_name

STOP_PATIENCE = 30.0
"""Seconds that a cancelled launch waits for its commands on the nodes to stop."""


@workflow.defn(failure_exception_types=[SkyflowError])
class LaunchWorkflow:
    """OPTIMIZE → PROVISION → SYNC_WORKDIR → SYNC_FILE_MOUNTS → SETUP → PRE_EXEC → EXEC → DOWN."""

    @workflow.init
    def __init__(self, request: Any) -> None:
        self.progressed = LaunchProgress()
        self.reservation = Reservation()
        self.cancelling: CancelRequest | None = None
        self.job_end: JobEnd | None = None
        self.ended_life = ""
        self.body: asyncio.Task[LaunchResult] | None = None
        self.asked = False
        self.submitted = False
        self.provision: Provision | None = None
        self.nodes: list[Node] = []
        self.offer: Offer | None = None
        self.demand = Demand()
        self.has_started = False
        self.was_up = False

    @workflow.run
    async def run(self, request: Any) -> LaunchResult:
        self.me = workflow.info().workflow_id
        self.request = LaunchRequest.parse(request)
        self.task = self._with_idle_rule(Task.from_yaml_config(self.request.task))
        if not self.request.dryrun:
            check_launchable(self.task)
        self.stages = self._stages()
        self.cluster = check_cluster_name(self.request.cluster or f"sky-{workflow.uuid4().hex[:4]}")
        self.progressed.cluster = self.cluster
        if self.request.resumed is not None:
            self.asked = True
            self.reservation, self.progressed = self.request.resumed.reservation, self.request.resumed.progress
        self._check_snapshots()
        self.body = asyncio.create_task(self._launch())
        if self.cancelling:  # the signal came first
            self._cancel_body()
        try:
            return await self._end_of_body()
        except (SkyflowError, ActivityError, asyncio.CancelledError) as error:
            cause = await self._give_up(error)
            if cause is error:
                raise
            raise cause from error

    async def _end_of_body(self) -> LaunchResult:
        """Waits for the body, through a cancel of this workflow: that is passed on as any other."""
        body = self.body
        assert body is not None
        try:
            await workflow.wait_condition(body.done)
        except asyncio.CancelledError:
            self._cancel_body()
            await workflow.wait_condition(body.done)
        return body.result()

    def _cancel_body(self) -> None:
        """Cancels it once, so that it can clean up in peace."""
        if self.body is not None and not self.body.cancelling():
            self.body.cancel()

    # The stages

    async def _launch(self) -> LaunchResult:
        if self.request.dryrun:
            return await self._dryrun()
        if self.request.resumed is None:
            await self._reserve()
        if not self.reservation.nodes:
            await self._provision()
        else:
            self._fit(len(self.nodes))
        if self.reservation.stopped or self.reservation.lost:
            with self._stage(Stage.PROVISION):
                self.has_started = self.reservation.stopped
                self.nodes = await Repair(self.cluster, self.reservation).run(self.request.retry_until_up)
        if self.request.workdir and Stage.SYNC_WORKDIR in self.stages:
            await self._sync(Stage.SYNC_WORKDIR, {"~/sky_workdir": self.request.workdir})
        if self.request.file_mounts and Stage.SYNC_FILE_MOUNTS in self.stages:
            await self._sync(Stage.SYNC_FILE_MOUNTS, self.request.file_mounts)
        if self._runs_setup():
            await self._setup()
        if Stage.PRE_EXEC in self.stages:
            await self._pre_exec()
        result = LaunchResult(
            cluster=self.cluster,
            uid=self.reservation.uid,
            job_id=self.reservation.job_id,
            num_nodes=len(self.nodes),
            offer=self.offer,
        )
        if self.reservation.job_id is not None:
            await self._exec(result)
        await self._down(result)
        return result

    async def _dryrun(self) -> LaunchResult:
        """What would be used: the cluster that there is, if the task fits on it; else the best places."""
        found = await call(ClusterCalls.find_hardware, self.cluster, "is the cluster there?")
        if found.offer is None and Stage.PROVISION in self.stages:
            plan = await make_plan(self.task, self.progressed, self.request.clouds)
            return LaunchResult(
                cluster=self.cluster,
                plan=plan.offers,
                num_offers=self.progressed.num_offers,
                explanation=plan.explanation,
            )
        would_start = found.is_stopped and Stage.PROVISION in self.stages
        if not found.is_up and not would_start:
            raise ClusterNotUpError(f"Cluster {self.cluster!r} is not up. See: skyflow status {self.cluster}")
        self.offer = found.offer
        self._fit(found.num_nodes)
        return LaunchResult(cluster=self.cluster, uid=found.uid, num_nodes=found.num_nodes, offer=found.offer)

    async def _reserve(self) -> None:
        """Asks until granted. The answer or a signal brings the grant; asking again is for a signal that was lost."""
        launch = Stage.PROVISION in self.stages
        job = None
        if Stage.EXEC in self.stages and (self.task.run or self._runs_setup()):
            job = JobRecord(
                id=0,
                name=self.task.name or "",
                user=self.request.user,
                num_nodes=self.task.num_nodes,
                has_setup=self._runs_setup(),
                priority=self.task.resources[0].priority or 0,
                callback=bool(self.task.event_callback),
            )
        entry = self.request.entry_point
        reserve = Reserve(workflow_id=self.me, kind="launch" if launch else "exec", job=job, entry_point=entry)
        if job is not None and job.callback:
            await keep_callback(self.task, self.cluster, self.me)
        self.asked = True
        waits = pauses(self.reservation.check_seconds)
        while not self.reservation.granted:
            answer = await call(
                ClusterCalls.reserve_cluster,
                ReserveCall(cluster=self.cluster, reserve=reserve, create=launch, store=self.request.store),
                f"reserve cluster {self.cluster}",
            )
            if not self.reservation.granted:
                self.reservation = answer
                self.progressed.waiting_for = answer.waiting_for
            if not self.reservation.granted:
                await wait_for(lambda: self.reservation.granted, next(waits), "for the cluster")
        held = self.reservation
        self.progressed.waiting_for = ""
        self.progressed.uid, self.progressed.job_id = held.uid, held.job_id
        self.nodes, self.offer = held.nodes, held.offer
        self.was_up = bool(held.nodes) and not held.stopped and not held.lost

    async def _provision(self) -> None:
        """Until there are nodes. Between two rounds, this may begin a new history."""
        plan = await make_plan(self.task, self.progressed, self.request.clouds)
        self.provision = Provision(self.cluster, self.me, self.reservation, self.task, self.request, self.progressed)
        if resumed := self.request.resumed:
            self.provision.tried, self.provision.pause = resumed.tried, resumed.pause
        with self._stage(Stage.PROVISION):
            while (found := await self.provision.run(plan)) is None:
                if not self.request.retry_until_up:
                    raise exhausted(self.cluster, self.progressed.attempts, self.progressed.num_tried)
                pause = self.provision.next_pause()
                self.progressed.waiting_for = waiting(self.progressed.attempts, pause)
                workflow.set_current_details(describe(self.progressed))
                await workflow.sleep(timedelta(seconds=pause), summary="until all places are tried again")
                self.progressed.waiting_for = ""
                self._begin_anew_if_long()
                plan = await make_plan(self.task, self.progressed, self.request.clouds)
            self.nodes, self.offer = found
        self.demand = demand_of(self.task.resources, self.offer) or Demand()

    def _begin_anew_if_long(self) -> None:
        assert self.provision is not None
        if workflow.info().is_continue_as_new_suggested() and workflow.all_handlers_finished():
            resumed = Resumed(
                reservation=self.reservation,
                progress=self.progressed,
                tried=self.provision.tried,
                pause=self.provision.pause,
            )
            resumed.progress.stages.pop()  # it begins PROVISION again
            request = self.request.model_copy(update={"resumed": resumed, "cluster": self.cluster})
            workflow.continue_as_new(request)

    def _fit(self, num_nodes: int) -> None:
        """An existing cluster is used as it is, if the task fits (PARITY E16, C01)."""
        if self.task.num_nodes > num_nodes:
            raise ResourcesMismatchError(
                f"The task wants {self.task.num_nodes} nodes; cluster {self.cluster!r} has {num_nodes}. "
                "Use another cluster name, or take this one down first."
            )
        assert self.offer is not None
        has = self.offer.model_dump()
        demand = demand_of(self.task.resources, self.offer)
        fits = Stage.PROVISION not in self.stages or any(one.less_demanding_than(has) for one in self.task.resources)
        if demand is None or not fits:
            kinds = "".join(f", {name}:{count:g}" for name, count in self.offer.accelerators.items())
            size = f"{self.offer.cpus:g} CPUs, {self.offer.memory:g} GiB{kinds}"
            have = f"{self.offer.place} {self.offer.instance_type} ({size})"
            raise ResourcesMismatchError(
                f"The task's resources do not fit on cluster {self.cluster!r}, which has {have}. "
                "Use another cluster name, or take this one down first."
            )
        if Stage.PROVISION in self.stages and (opened := self.reservation.ports) is not None:
            lacking = [missing(one.ports or (), opened) for one in self.task.resources]
            if all(lacking):
                raise ResourcesMismatchError(
                    f"The task wants port(s) {', '.join(lacking[0])}, which cluster {self.cluster!r} was not launched "
                    "with. Use another cluster name, or take this one down first."
                )
        self.demand = demand

    async def _sync(self, stage: Stage, snapshots: dict[str, str]) -> None:
        method = SyncCalls.sync_workdir if stage is Stage.SYNC_WORKDIR else SyncCalls.sync_file_mounts
        with self._stage(stage):
            calls = [
                call(
                    method,
                    SyncRequest(gang=self._gang(self.nodes), ref=ref, target=target, store=self.request.store),
                    f"{stage.name} · {target} → {len(self.nodes)} node(s)",
                    kind="sync",
                    host=self._host(),
                )
                for target, ref in snapshots.items()
            ]
            await asyncio.gather(*calls)

    async def _setup(self) -> None:
        """Runs on all nodes of the cluster, not only on those of the job (PARITY §4.1)."""
        assert self.reservation.job_id is not None
        with self._stage(Stage.SETUP):
            calls = [
                call(
                    WatchCalls.run_setup,
                    SetupRequest(
                        gang=self._gang(self.nodes),
                        rank=node.rank,
                        job_id=self.reservation.job_id,
                        setup=self.task.setup or "",
                        envs=self.task.envs,
                        task_id=self._task_id(),
                        user=self.request.user,
                        num_gpus=self._num_gpus(),
                    ),
                    f"SETUP · node {node.rank}",
                    kind="watch",
                    host=self._host(),
                )
                for node in self.nodes
            ]
            await asyncio.gather(*calls)

    async def _pre_exec(self) -> None:
        """The user's idle rule takes the place of the safety rule."""
        autostop = self.task.resources[0].autostop
        minutes, down, later, waits = None, self.request.down, None, self.request.wait_for
        if autostop is not None:
            minutes, down = (autostop.idle_minutes if autostop.enabled else -1), autostop.down
            later, waits = (autostop.down_after if autostop.enabled else None), autostop.wait_for
        elif down:
            minutes = 0  # from now on, so that it holds whatever becomes of this workflow
        with self._stage(Stage.PRE_EXEC):
            setting = AutostopSetting(
                minutes=minutes, down=down, down_after=later, wait_for=waits, only_replace_safety=minutes is None
            )
            what = "down" if down else "stop"
            rule = "no idle rule" if minutes is None or minutes < 0 else f"{what} after {minutes} idle minutes"
            await self._set_autostop(setting, f"PRE_EXEC · {rule}")

    async def _exec(self, result: LaunchResult) -> None:
        job_id = result.job_id
        assert job_id is not None
        with self._stage(Stage.EXEC):
            await self._submit(job_id)
            if self.request.detach_run:
                result.status = JobStatus.PENDING.value
                return
            end = await self._job_end(job_id)
            result.status, result.returncode, result.reason = end.status.value, end.returncode, end.reason
            self.progressed.job_status = end.status.value

    async def _submit(self, job_id: int) -> None:
        spec = JobSpec(
            name=self.task.name or "",
            run=self.task.run or "",
            envs=self.task.envs,
            task_id=self._task_id(),
            user=self.request.user,
            num_gpus=self._num_gpus(),
        )
        submission = Submission(workflow_id=self.me, job_id=job_id, spec="", demand=self.demand)
        await call(
            ClusterCalls.submit_job,
            JobSubmission(cluster=self.cluster, uid=self.reservation.uid, submission=submission, spec=spec),
            f"EXEC · submit job {job_id}",
        )
        self.submitted = True

    async def _job_end(self, job_id: int) -> JobEnd:
        """Waits for the job. Its workflow or the cluster tells; if neither is left, the job has failed."""
        job = job_workflow_id(self.cluster, self.reservation.uid, job_id)
        cluster = cluster_workflow_id(self.cluster)
        waits = pauses(self.reservation.check_seconds)
        while not await wait_for(lambda: self.job_end is not None, next(waits), "for the end of the job"):
            statuses = await self._describe([job, cluster])
            dead = statuses[job] not in ("RUNNING", "COMPLETED", "ABSENT")
            if self.job_end is None and (dead or (statuses[job] == "ABSENT" and statuses[cluster] != "RUNNING")):
                reason = "The workflow of the job, or of its cluster, was terminated."
                return JobEnd(job_id=job_id, status=JobStatus.FAILED_DRIVER, reason=reason)
        assert self.job_end is not None
        return self.job_end

    async def _down(self, result: LaunchResult) -> None:
        """Gives the cluster back. With `down`, it goes as soon as it is idle, and the launch waits for that."""
        if not self.request.down or self.task.resources[0].autostop is not None:
            await self._release(Release(workflow_id=self.me))
            return
        with self._stage(Stage.DOWN):
            setting = AutostopSetting(minutes=0, down=True, notify=self.me, wait_for=self.request.wait_for)
            await self._set_autostop(setting, "DOWN · take down when idle")
            await self._release(Release(workflow_id=self.me))
            if self.request.detach_run:
                return
            life = self.reservation.uid
            waits = pauses(self.reservation.check_seconds)
            while not await wait_for(lambda: self.ended_life == life, next(waits), "until the nodes are gone"):
                if await self._life() != life:
                    break
            result.down = True

    # The end of a launch that did not go through

    async def _give_up(self, error: BaseException) -> BaseException:
        """Gives back what the launch holds and returns the error that it ends with."""
        cancelled = isinstance(error, asyncio.CancelledError) or is_cancelled_exception(error)
        because = (self.cancelling or CancelRequest()).because
        cause: BaseException = LaunchCancelledError(f"The launch on {self.cluster!r} was cancelled{because}.")
        if not cancelled:
            cause = self._explain(error)
        if not self.asked:
            return cause
        release = Release(workflow_id=self.me)
        if self.reservation.job_id is not None:
            release.job = await self._end_job(self.reservation.job_id, cause)
            await self._record(release.job)
        keep = self.cancelling is not None and self.cancelling.keep_nodes
        release.discard = cancelled and (self.provision is not None or self.has_started) and not keep
        left = self.provision is not None and self.provision.may_have_left_nodes
        release.nodes_left = left
        # The nodes that a late grant brings are somebody else's.
        nothing = self.reservation.granted and not self.nodes and not self.reservation.nodes
        release.nodes_deleted = nothing and not left
        await self._release(release)
        return error if cancelled and self.cancelling is None else cause

    async def _end_job(self, job_id: int, cause: BaseException) -> JobEnd:
        """Stops what runs of the job, and says what became of it if it was never submitted."""
        at = self.progressed.stages[-1].name if self.progressed.stages else ""
        if at == Stage.SETUP.name:
            await self._stop_setup(job_id)
        if isinstance(cause, CommandError):
            return JobEnd(job_id=job_id, status=JobStatus.FAILED_SETUP, returncode=cause.returncode, reason=str(cause))
        if not isinstance(cause, LaunchCancelledError):
            return JobEnd(job_id=job_id, status=JobStatus.FAILED_DRIVER, reason=str(cause))
        if at == Stage.EXEC.name and self.job_end is None:
            await signal(cluster_workflow_id(self.cluster), "cancel", CancelJobs(jobs=[job_id]))
            patience = STOP_PATIENCE + (self._grace() or 0)
            await wait_for(lambda: self.job_end is not None, patience, "for the job to stop")
        return JobEnd(job_id=job_id, status=JobStatus.CANCELLED, returncode=STOPPED_WITH_GANG, reason=str(cause))

    async def _record(self, end: JobEnd) -> None:
        """A job that was never submitted has no workflow that would do it."""
        if self.submitted:
            return
        job = JobRecord(id=end.job_id, name=self.task.name or "", num_nodes=self.task.num_nodes)
        job.submitted_at, job.ended_at = workflow.info().start_time.timestamp(), workflow.now().timestamp()
        record = RecordCall(cluster=self.cluster, uid=self.reservation.uid, job=job, end=end)
        try:
            await call(NodeCalls.record_job, record, "record the job in the store", seconds=STOP_PATIENCE)
        except (ActivityError, SkyflowError) as error:
            workflow.logger.warning("the job could not be recorded: %s", error)

    async def _stop_setup(self, job_id: int) -> None:
        try:
            await call(
                NodeCalls.cancel_units,
                UnitRequest(gang=self._gang(self.nodes), unit=setup_unit(job_id), grace=self._grace()),
                "SETUP · stop it on all nodes",
                seconds=STOP_PATIENCE + (self._grace() or 0),
                kind="quick" if self._grace() is None else "watch",
                host=self._host(),
            )
        except (ActivityError, SkyflowError) as error:
            workflow.logger.warning("setup could not be stopped: %s", error)

    def _grace(self) -> float | None:
        return None if self.cancelling is None else self.cancelling.grace

    def _explain(self, error: BaseException) -> BaseException:
        if not isinstance(error, CommandError) or self.provision is None:
            return error
        minutes = self.reservation.safety_minutes
        message = (
            f"{error} The nodes stay up for debugging and are taken down after {minutes} idle minutes. "
            f"See: skyflow logs {self.cluster} {error.job_id}"
        )
        return CommandError(message, error.returncode, error.job_id)

    # Small things

    def _stages(self) -> list[Stage]:
        try:
            return [Stage[name] for name in self.request.stages] if self.request.stages else list(Stage)
        except KeyError as error:
            names = ", ".join(stage.name for stage in Stage)
            raise InvalidTaskError(f"Unknown stage {error}; there are: {names}") from None

    def _check_snapshots(self) -> None:
        missing = [dst for dst in self.task.file_mounts or {} if dst not in self.request.file_mounts]
        if not self.request.workdir and self.task.workdir and not self.request.dryrun:
            raise InvalidTaskError(
                f"The task's workdir {self.task.workdir!r} is a path on the client: the request must carry its "
                "snapshot in `workdir` (skyflow's clients take it by themselves)."
            )
        if missing and not self.request.dryrun and Stage.SYNC_FILE_MOUNTS in self.stages:
            raise InvalidTaskError(
                f"The task mounts local paths at {', '.join(missing)}: the request must carry their snapshots "
                "in `file_mounts` (skyflow's clients take them by themselves)."
            )

    def _with_idle_rule(self, task: Task) -> Task:
        """What the request says counts more than what the task says."""
        minutes, own = self.request.idle_minutes_to_autostop, task.resources[0].autostop
        down, waits = self.request.down, self.request.wait_for
        check_idle_rule(task, down, minutes, waits)
        if minutes is None and (own is None or not (down or waits)):
            return task
        rule: dict[str, Any] | bool | None = None  # down without idle minutes: as soon as the job has ended
        if own is not None and own.enabled:
            waits = waits or own.wait_for
            if minutes is None:
                minutes, down = own.idle_minutes, down or own.down
        if minutes is not None:
            rule = {"idle_minutes": minutes, "down": down} if minutes >= 0 else False
            if rule and own is not None and own.down_after is not None and not down:
                rule = {"idle_minutes": minutes, "down_after": own.down_after}
        if isinstance(rule, dict) and waits:
            rule["wait_for"] = waits
        return task.set_resources_override({"autostop": rule})

    def _runs_setup(self) -> bool:
        skipped = self.request.no_setup or (self.request.fast and self.was_up)
        return bool(self.task.setup) and Stage.SETUP in self.stages and not skipped

    def _host(self) -> str | None:
        return self.offer.host if self.offer else None

    def _num_gpus(self) -> int:
        """Of the task, not of the node, which may have more; a part of one is one (PARITY §4.1)."""
        return math.ceil(self.demand.accelerators)

    def _task_id(self) -> str:
        return f"{run_name(self.cluster)}_{self.reservation.job_id}"

    def _gang(self, nodes: list[Node]) -> Gang:
        assert self.offer is not None
        return Gang(
            cluster=self.cluster,
            uid=self.reservation.uid,
            cloud=self.offer.cloud,
            region=self.offer.region,
            zone=self.offer.zone,
            host=self.offer.host,
            deployment=self.reservation.deployment,
            nodes=nodes,
        )

    async def _set_autostop(self, setting: AutostopSetting, summary: str) -> None:
        request = AutostopCall(cluster=self.cluster, setting=setting)
        await call(ClusterCalls.set_autostop, request, summary)

    async def _release(self, release: Release) -> None:
        await signal(cluster_workflow_id(self.cluster), "release", release)

    async def _describe(self, ids: list[str]) -> dict[str, str]:
        return await call(ClusterCalls.describe_workflows, ids, "is everybody there?")

    async def _life(self) -> str:
        return await call(ClusterCalls.find_life, self.cluster, "is the cluster there?")

    @contextmanager
    def _stage(self, stage: Stage) -> Iterator[None]:
        raise_if_cancelled()
        progress = StageProgress(name=stage.name, started=workflow.now().timestamp())
        self.progressed.stages.append(progress)
        workflow.set_current_details(describe(self.progressed))
        yield
        progress.ended = workflow.now().timestamp()

    # Messages

    @workflow.signal
    async def granted(self, reservation: Reservation) -> None:
        """The cluster is this launch's turn to use."""
        self.reservation = reservation

    @workflow.signal
    async def cancel(self, request: CancelRequest | None = None) -> None:
        """Cancels the launch: its job is stopped, the nodes that it made are deleted (unless `keep_nodes`).

        Of several such signals the first one counts; they are kept only if all of them say so.
        """
        request = request or CancelRequest()
        if self.cancelling is not None:
            self.cancelling.keep_nodes &= request.keep_nodes
            return
        self.cancelling = request
        self._cancel_body()

    @workflow.signal
    async def job_ended(self, end: JobEnd) -> None:
        """The job is over."""
        if end.job_id == self.reservation.job_id:
            self.job_end = end

    @workflow.signal
    async def cluster_ended(self, uid: str) -> None:
        """The nodes are gone."""
        self.ended_life = uid

    @workflow.query
    def progress(self) -> LaunchProgress:
        """How far it is."""
        return self.progressed
