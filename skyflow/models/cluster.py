"""A cluster's state, and what follows from what happens to it.

Every method of `ClusterState` takes one event, changes the state, and returns the actions that follow. No clock, no
input or output: the ClusterWorkflow calls them and carries the actions out, the tests call them without Temporal.

Making nodes and deleting them is exclusive; everything else shares the cluster. Operations are granted in the order in
which they came.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any

from pydantic import Field

from skyflow.errors import ClusterDoesNotExist, ClusterNotUpError, LaunchCancelledError
from skyflow.models.job import STOPPED_WITH_GANG, Gang, JobEnd, JobRecord, JobStatus, as_row
from skyflow.models.node import Node, Offer
from skyflow.models.operation import (
    AbandonJob,
    Action,
    ArmIdle,
    AutostopSetting,
    Busy,
    CancelJob,
    CancelOperation,
    Expect,
    Grant,
    Guard,
    IdleDue,
    IdleRule,
    LifeEnded,
    NodesReport,
    NotifyLaunch,
    Operation,
    Place,
    Release,
    Reservation,
    Reserve,
    StartDown,
    StartJob,
    Submission,
)
from skyflow.models.wire import Wire

MAX_REASON = 300
"""Characters that are kept of why a job ended as it did."""


class ClusterStatus(StrEnum):
    INIT = "INIT"
    UP = "UP"


class ClusterState(Wire):
    """Everything a cluster knows. It is the ClusterWorkflow's whole memory, and travels through continue-as-new."""

    name: str
    uid: str
    deployment: str = ""
    check_seconds: float = 60
    safety_minutes: int = 60
    search_attributes: bool = False
    nodes: list[Node] = Field(default_factory=list)
    offer: Offer | None = None
    ports: list[str] = Field(default_factory=list)
    """Ports that are open: numbers and ranges."""
    cursors: dict[str, int] = Field(default_factory=dict)
    """Node id → how far its event stream was read, in bytes."""
    jobs: dict[int, JobRecord] = Field(default_factory=dict)
    next_job: int = 1
    operations: list[Operation] = Field(default_factory=list)
    rule: IdleRule | None = None
    epoch: int = 0
    idle_since: float | None = None
    launched_at: float | None = None
    places: list[Place] = Field(default_factory=list)
    """Where nodes of this life may be."""
    notify_end: list[str] = Field(default_factory=list)
    served: int = 0
    """How many operations there were. A cluster that never had one is waiting for its first."""
    made_by: str = ""
    """Workflow id of the launch that made the nodes."""
    leftover: bool = False
    """Whether there may be nodes of this life that a launch made and could not delete."""
    lost: list[int] = Field(default_factory=list)
    """Ranks whose nodes are gone, by what their cloud says."""
    guarded: bool = False
    """Whether this life's AutostopWorkflow was started."""

    # Facts

    @property
    def status(self) -> ClusterStatus:
        return ClusterStatus.UP if self.nodes and not self.lost else ClusterStatus.INIT

    def active_jobs(self) -> list[JobRecord]:
        return [job for job in self.jobs.values() if not job.status.is_terminal()]

    def is_active(self) -> bool:
        return bool(self.operations) or bool(self.active_jobs())

    def is_over(self) -> bool:
        """Nothing exists and nobody wants anything."""
        return not self.nodes and not self.operations and self.served > 0

    def going_down(self) -> bool:
        return any(op.kind == "down" for op in self.operations)

    def gang(self, ranks: list[int] | None = None) -> Gang:
        """The nodes of these ranks (all of them if None), ready to be reached."""
        assert self.offer is not None
        nodes = [node for node in self.nodes if ranks is None or node.rank in ranks]
        where = self.offer
        return Gang(
            cluster=self.name,
            uid=self.uid,
            cloud=where.cloud,
            region=where.region,
            zone=where.zone,
            host=where.host,
            nodes=nodes,
        )

    def view(self) -> dict[str, Any]:
        """The cluster as `status` shows it: plain JSON under 2 KB (it is the workflow's memo)."""
        offer = self.offer
        return {
            "name": self.name,
            "uid": self.uid,
            "status": self.status.value,
            "launched_at": self.launched_at,
            "num_nodes": len(self.nodes),
            "place": offer.place if offer else "",
            "instance_type": offer.instance_type if offer else "",
            "cpus": offer.cpus if offer else None,
            "memory": offer.memory if offer else None,
            "price": offer.price if offer else None,
            "host": offer.host if offer else None,
            "head_ip": self.nodes[0].address if self.nodes else "",
            "ways": self._ways(),
            "made_by": self.made_by,
            "autostop": self.rule.minutes if self.rule else -1,
            "to_down": self.rule is not None,
            "safety": bool(self.rule and self.rule.safety),
            "idle_since": self.idle_since,
            "lost": self.lost,
            "places": [place.model_dump() for place in self.places],
            "active_jobs": len(self.active_jobs()),
            "next_job": self.next_job,
        }

    def access(self) -> dict[str, Any]:
        """How its nodes are reached: plain JSON. Not in the view, because there may be many nodes."""
        nodes = sorted(self.nodes, key=lambda node: node.rank)
        return {
            "uid": self.uid,
            "ways": self._ways(),
            "nodes": [node.model_dump() for node in nodes],
            "ports": self.ports,
        }

    def _ways(self) -> str:
        """Another text whenever its nodes are reached otherwise than before."""
        ways = [(self.uid, node.rank, node.address, node.port, node.user, node.host_key) for node in self.nodes]
        return hashlib.sha256(repr(sorted(ways)).encode()).hexdigest()[:12] if ways else ""

    # Events

    def reserve(self, request: Reserve, now: float) -> tuple[Reservation, list[Action]]:
        """A workflow asks for the cluster.

        Raises:
            ClusterDoesNotExist: exec or down of a cluster that has nothing.
            ClusterNotUpError: exec on a cluster that is not up.
        """
        op = self._operation(request.workflow_id)
        actions: list[Action] = []
        if op is None:
            self._admit(request)
            op = Operation(workflow_id=request.workflow_id, kind=request.kind)
            op.exclusive = request.kind == "down" or (request.kind == "launch" and not self.nodes)
            self.operations.append(op)
            self.served += 1
            if request.job is not None:
                self._add_job(op, request.job, now)
            if request.kind == "down":
                actions += self._clear_the_way(op, now)
        if request.force and not any(o.granted for o in self.operations):
            op.granted = True
        actions += self._settle(now)
        # The answer itself carries the grant, so that no signal has to.
        actions = [a for a in actions if not (isinstance(a, Grant) and a.workflow_id == op.workflow_id)]
        return self._reservation(op), actions

    def expect(self, expect: Expect) -> list[Action]:
        """A launch is about to make nodes.

        Raises:
            ClusterDoesNotExist: the launch reserved another life of the cluster; nobody would own its nodes.
        """
        if expect.uid != self.uid:
            raise ClusterDoesNotExist(f"Cluster {self.name!r} has no reservation for this launch any more.")
        if expect.place in self.places:
            return []
        self.places.append(expect.place)
        return [Guard(tuple(self.places))]

    def report_nodes(self, report: NodesReport, now: float) -> list[Action]:
        """The nodes exist. From here on the cluster owns them, and the operation shares it."""
        op = self._operation(report.workflow_id)
        if op is None or report.uid != self.uid:
            raise ClusterDoesNotExist(f"Cluster {self.name!r} has no reservation for this launch any more.")
        self.nodes = report.nodes
        self.offer = report.offer
        self.ports = report.ports
        self.made_by = report.workflow_id
        self.launched_at = self.launched_at or now
        op.exclusive = False
        job = self.jobs.get(op.job_id) if op.job_id is not None else None
        if job is not None and job.has_setup and not job.status.is_terminal():
            job.status = JobStatus.SETTING_UP
        return self._settle(now)

    def submit(self, submission: Submission, now: float) -> list[Action]:
        """A launch hands its job over to the queue."""
        job = self.jobs.get(submission.job_id)
        if job is None or job.launch != submission.workflow_id:
            raise ClusterDoesNotExist(f"Cluster {self.name!r} does not know job {submission.job_id} of this launch.")
        if job.spec:
            return []
        if job.status.is_terminal():
            raise LaunchCancelledError(f"Job {job.id} of cluster {self.name!r} was cancelled before it was submitted.")
        job.spec = submission.spec
        job.status = JobStatus.PENDING
        return self._settle(now)

    def job_started(self, job_id: int, now: float) -> list[Action]:
        """The job's workflow has started. If the job was cancelled meanwhile, that can be told now."""
        job = self.jobs.get(job_id)
        if job is None or job.status.is_terminal():
            return []
        job.status, job.started_at = JobStatus.RUNNING, now
        return [CancelJob(job.id)] if job.cancelling else []

    def job_ended(self, end: JobEnd, now: float, notify: bool = False) -> list[Action]:
        """A job is over. With `notify`, its launch hears of it from here (the job's own workflow could not tell it)."""
        job = self.jobs.get(end.job_id)
        if job is None or job.status.is_terminal():
            return []
        job.status, job.returncode, job.ended_at = end.status, end.returncode, now
        job.reason = end.reason[:MAX_REASON]
        actions: list[Action] = [NotifyLaunch(job.launch, end)] if notify else []
        return actions + self._settle(now)

    def cancel_jobs(self, job_ids: list[int] | None, now: float) -> list[Action]:
        """Cancels these jobs (all of them if None). Ended and unknown ones are left alone."""
        actions: list[Action] = []
        for job in self.active_jobs():
            if job_ids is None or job.id in job_ids:
                actions += self._cancel(job, now)
        return actions

    def release(self, release: Release, now: float, next_uid: str) -> list[Action]:
        """An operation is over. `next_uid` names the cluster's next life, if this ends the present one."""
        op = self._operation(release.workflow_id)
        if op is None:
            return []
        self.operations.remove(op)
        actions: list[Action] = []
        job = self.jobs.get(op.job_id) if op.job_id is not None else None
        if job is not None and not job.spec and not job.status.is_terminal():
            end = release.job or JobEnd(job_id=job.id, status=JobStatus.FAILED_DRIVER, reason="Its launch ended.")
            actions += self.job_ended(end.model_copy(update={"job_id": job.id}), now)
        self.leftover = self.leftover or release.nodes_left
        if release.nodes_deleted and (op.kind == "down" or (op.exclusive and not self.leftover)):
            actions += self._end_life(next_uid)
        elif release.discard and not self.operations and not any(other is not job for other in self.active_jobs()):
            # As soon as its job is gone too. A launch that comes first replaces this rule, as it does the safety rule.
            self.rule, self.idle_since = IdleRule(minutes=0, safety=True), None
        return actions + self._settle(now)

    def nodes_gone(self, ranks: list[int]) -> None:
        """The cloud says that these nodes are gone. What is left of the cluster can only be taken down."""
        self.lost = sorted({*self.lost, *ranks})

    def set_autostop(self, setting: AutostopSetting, now: float) -> list[Action]:
        """Sets the user's idle rule. The last setting wins, and the clock starts anew."""
        if setting.notify and setting.notify not in self.notify_end:
            self.notify_end.append(setting.notify)
        if setting.only_replace_safety and not (self.rule and self.rule.safety):
            return []
        minutes = setting.minutes
        self.rule = IdleRule(minutes=minutes) if minutes is not None and minutes >= 0 else None
        self.idle_since = None
        return self._settle(now)

    def idle_due(self, due: IdleDue) -> list[Action]:
        """The idle clock has run out. Counts only if nothing has happened since it was started."""
        if due.uid != self.uid or due.epoch != self.epoch or self.is_active() or not self.nodes:
            return []
        return [StartDown(f"idle-{self.uid}-{self.epoch}", self.epoch)]

    def overdue(self, now: float) -> list[Action]:
        """The cluster should have been taken down long ago, and nobody is at it: the clock is started once more."""
        if self.is_active() or self.idle_since is None or self.rule is None or not self.nodes:
            return []
        due = self.idle_since + self.rule.minutes * 60
        return [ArmIdle(self.epoch, self.rule)] if now > due else []

    # What follows from every event

    def _settle(self, now: float) -> list[Action]:
        actions = self._grants() + self._starts()
        if self.is_active():
            if self.idle_since is not None:
                self.idle_since = None
                actions.append(Busy())
        elif self.nodes and self.idle_since is None:
            self.idle_since = now
            self.epoch += 1
            actions.append(ArmIdle(self.epoch, self.rule))
        return actions

    def _grants(self) -> list[Action]:
        actions: list[Action] = []
        for index, op in enumerate(self.operations):
            others = [o for o in self.operations if o.granted]
            if op.granted:
                continue
            if op.kind == "down":
                waiting = {o.job_id for o in self.operations if not o.granted}
                free = not others and all(job.id in waiting for job in self.active_jobs())
            else:
                behind_down = any(o.kind == "down" for o in self.operations[:index])
                op.exclusive = not self.nodes
                free = not behind_down and not any(o.exclusive for o in others) and not (op.exclusive and others)
            if free:
                op.granted = True
                actions.append(Grant(op.workflow_id, self._reservation(op)))
        return actions

    def _starts(self) -> list[Action]:
        """Jobs whose turn has come: in order, each on the nodes with the fewest jobs."""
        actions: list[Action] = []
        for job in self.jobs.values():
            if job.status is JobStatus.PENDING and not job.ranks and not self.going_down():
                load = {node.rank: 0 for node in self.nodes}
                for other in self.active_jobs():
                    for rank in other.ranks:
                        load[rank] += 1
                job.ranks = sorted(sorted(load, key=lambda rank: (load[rank], rank))[: job.num_nodes])
                actions.append(StartJob(job.id))
        return actions

    def _admit(self, request: Reserve) -> None:
        if request.kind == "exec" and not self.nodes:
            if self.operations:
                raise ClusterNotUpError(f"Cluster {self.name!r} is not up yet: wait for its launch, then try again.")
            raise ClusterDoesNotExist(f"Cluster {self.name!r} does not exist. See: skyflow status")
        if request.kind != "down" and self.lost and not self.going_down():
            gone = ", ".join(map(str, self.lost))
            raise ClusterNotUpError(
                f"Cluster {self.name!r} has lost its node(s) {gone}. Take it down, then launch again: "
                f"skyflow down {self.name}"
            )
        if request.kind == "exec" and self.going_down():
            raise ClusterNotUpError(f"Cluster {self.name!r} is being taken down.")
        if request.kind == "down" and not self.nodes and not self.operations:
            raise ClusterDoesNotExist(f"Cluster {self.name!r} does not exist. See: skyflow status")
        if request.epoch is not None and (request.epoch != self.epoch or self.is_active()):
            raise ClusterNotUpError(f"Cluster {self.name!r} is in use again, so it is not taken down.")

    def _cancel(self, job: JobRecord, now: float) -> list[Action]:
        if job.status is JobStatus.RUNNING:
            return [CancelJob(job.id)]
        if job.status is JobStatus.PENDING and job.ranks:  # its workflow is being started
            job.cancelling = True
            return []
        actions: list[Action] = []
        if job.status is not JobStatus.PENDING:  # its launch has not submitted it yet, and must not do it any more
            actions.append(CancelOperation(job.launch, keep_nodes=True))
        end = JobEnd(job_id=job.id, status=JobStatus.CANCELLED, returncode=STOPPED_WITH_GANG, reason="Cancelled.")
        return actions + self.job_ended(end, now, notify=True)

    def _clear_the_way(self, down: Operation, now: float) -> list[Action]:
        """Before a down: everything that came earlier is cancelled."""
        launches = [op for op in self.operations if op is not down and op.kind != "down"]
        actions: list[Action] = [CancelOperation(op.workflow_id, keep_nodes=True) for op in launches]
        with_launch = {op.job_id for op in launches}
        for job in self.active_jobs():
            if job.id not in with_launch:
                actions += self._cancel(job, now)
        return actions

    def _add_job(self, op: Operation, job: JobRecord, now: float) -> None:
        op.job_id = self.next_job
        self.next_job += 1
        update = {"id": op.job_id, "launch": op.workflow_id, "submitted_at": now, "status": JobStatus.INIT}
        self.jobs[op.job_id] = job.model_copy(update=update)

    def _end_life(self, next_uid: str) -> list[Action]:
        ended = LifeEnded(self.uid, tuple(self.notify_end))
        waiting = {op.job_id for op in self.operations}
        actions: list[Action] = [ended]
        actions += [AbandonJob(job.id, self.uid) for job in self.active_jobs() if job.id not in waiting and job.ranks]
        self.nodes, self.offer, self.cursors, self.notify_end, self.places, self.lost = [], None, {}, [], [], []
        self.ports = []
        self.jobs = {job_id: job for job_id, job in self.jobs.items() if job_id in waiting}
        self.rule = IdleRule(minutes=self.safety_minutes, safety=True)
        self.launched_at = self.idle_since = None
        self.made_by, self.leftover = "", False
        self.guarded = False
        self.uid = next_uid
        return actions

    def _operation(self, workflow_id: str) -> Operation | None:
        return next((op for op in self.operations if op.workflow_id == workflow_id), None)

    def _reservation(self, op: Operation) -> Reservation:
        waiting = ""
        if not op.granted:
            ahead = [o for o in self.operations if o is not op and o.granted]
            waiting = ", ".join(o.workflow_id for o in ahead) or "the jobs of the cluster"
        return Reservation(
            granted=op.granted,
            uid=self.uid,
            job_id=op.job_id,
            nodes=self.nodes if op.granted else [],
            offer=self.offer if op.granted else None,
            waiting_for=waiting,
            places=self.places,
            ports=self.ports,
            deployment=self.deployment,
            search_attributes=self.search_attributes,
            check_seconds=self.check_seconds,
            safety_minutes=self.safety_minutes,
        )

    def rows(self) -> list[dict[str, Any]]:
        """The jobs as `queue` shows them, newest first."""
        return [as_row(job) for job in sorted(self.jobs.values(), key=lambda job: -job.id)]
