"""A cluster's state, and what follows from what happens to it.

Every method of `ClusterState` takes one event, changes the state, and returns the actions that follow. No clock, no
input or output: the ClusterWorkflow calls them and carries the actions out, the tests call them without Temporal.

Making nodes, stopping, starting and deleting them is exclusive; everything else shares the cluster. Operations are
granted in the order in which they came.
"""

from __future__ import annotations

from skyflow.errors import (
    ClusterDoesNotExist,
    ClusterNotUpError,
    LaunchCancelledError,
    UsageError,
)
from skyflow.models.admission import admit, check_can_stop
from skyflow.models.adoption import take_in, take_up_job
from skyflow.models.change import Seen, note, why
from skyflow.models.cluster_facts import RETRY_CHECKS, TIDY_LOOKS, ClusterFacts
from skyflow.models.entry_point import cut
from skyflow.models.idle import UNREAD_MINUTES, WAIT_FOR, check_wait_for
from skyflow.models.job import STOPPED_WITH_GANG, JobEnd, JobRecord, Units, cancelled
from skyflow.models.node import Node, NodeStatus
from skyflow.models.operation import (
    AbandonJob,
    Action,
    ArmIdle,
    AskSessions,
    AutostopSetting,
    Busy,
    CancelJob,
    CancelOperation,
    EndOperation,
    Expect,
    Grant,
    Guard,
    IdleDue,
    IdleRule,
    LifeEnded,
    NodesReport,
    NotifyLaunch,
    Operation,
    RanksLost,
    Release,
    Reservation,
    Reserve,
    StartDown,
    StartJob,
    StartStop,
    Submission,
)
from skyflow.models.schedule import Room, Waiting, schedule
from skyflow.models.status import JobStatus
from skyflow.models.usage import UpInterval

HEADROOM = 100
"""Job numbers that an adopted cluster skips if its nodes cannot say which they have seen: none may be given twice."""

MAX_REASON = 300
"""Characters that are kept of why a job ended as it did."""


class ClusterState(ClusterFacts):
    """The ClusterWorkflow's whole memory, which travels through continue-as-new, and what follows from each event."""

    # Events

    def reserve(self, request: Reserve, now: float) -> tuple[Reservation, list[Action]]:
        """A workflow asks for the cluster.

        Raises:
            ClusterDoesNotExist: the cluster has nothing to run on, to stop, to start or to delete.
            ClusterNotUpError: exec on a cluster that is not up, stop of one that is being made.
            NotSupportedError: its nodes cannot be stopped.
            UsageError: it has too many jobs.
        """
        op = self._operation(request.workflow_id)
        actions: list[Action] = []
        if op is None:
            admit(self, request)
            if not self.is_heard():
                self.seen = Seen.of(self)  # whoever listens from now on is told what changes from now on
            self.webhook = request.webhook
            self.unwanted = self.unwanted and request.kind in ("stop", "down")
            op = Operation(workflow_id=request.workflow_id, kind=request.kind, grace=request.grace, purge=request.purge)
            op.idle = request.epoch is not None
            op.exclusive = self._is_exclusive(op)
            self.operations.append(op)
            self.served += 1
            if request.kind not in ("stop", "down"):
                self.last_use = cut(request.entry_point or request.workflow_id)
            if request.job is not None:
                self._add_job(op, request.job, now)
            if request.kind in ("stop", "down"):
                actions += self._clear_the_way(op, now)
        kept = self._kept_by(op)
        free = request.purge or not any(o.granted and o.job_id not in kept for o in self.operations)
        op.granted = op.granted or (request.force and request.kind in ("stop", "down") and free)
        actions += self._settle(now)
        # The answer itself carries the grant, so that no signal has to.
        actions = [a for a in actions if not (isinstance(a, Grant) and a.workflow_id == op.workflow_id)]
        return self.reservation(op), actions

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
        """The nodes exist and run. From here on the cluster owns them, and the operation shares it. A report that was
        heard before, or is older than one that was, says nothing.

        Of nodes that were started again, those that are not among them are gone, and others have taken the place of
        those that were.
        """
        op = self._operation(report.workflow_id)
        if op is None or report.uid != self.uid:
            raise ClusterDoesNotExist(f"Cluster {self.name!r} has no reservation for this launch any more.")
        if report.at and report.at <= op.heard:
            return []  # from a worker that was frozen while another did the same
        op.heard = max(op.heard, report.at)
        self.offer = report.offer
        self.stopped, self.stopped_unseen, self.switched_off = False, None, None
        self.halted = [] if report.started else self.halted
        self.changes += 1
        op.exclusive = op.exclusive and report.partial
        actions: list[Action] = []
        if self.nodes:  # they were started
            actions += self._renew(report.nodes)
        else:
            self.nodes = report.nodes
        if self.rule is not None and not self.rule.down and not self.offer.can_stop:
            self.rule = IdleRule(minutes=self.safety_minutes, safety=True)
        self.made_by = self.made_by or report.workflow_id
        self.ports = report.ports
        self.launched_at = self.launched_at or now
        self._count_up(now)
        job = self.jobs.get(op.job_id) if op.job_id is not None else None
        if job is not None and job.has_setup and not report.partial and not job.status.is_terminal():
            job.status = JobStatus.SETTING_UP
        return actions + self._give_up_pending(now) + self._settle(now)

    def submit(self, submission: Submission, now: float) -> list[Action]:
        """A launch hands its job over to the queue."""
        job = self.jobs.get(submission.job_id)
        if job is None or job.launch != submission.workflow_id:
            raise ClusterDoesNotExist(f"Cluster {self.name!r} does not know job {submission.job_id} of this launch.")
        if job.spec:
            return []
        if job.status.is_terminal():
            raise LaunchCancelledError(f"Job {job.id} of cluster {self.name!r} was cancelled before it was submitted.")
        job.spec, job.demand = submission.spec, submission.demand
        job.status = JobStatus.PENDING
        return self._give_up_pending(now) + self._settle(now)

    def job_started(self, job_id: int, now: float) -> list[Action]:
        """The job's workflow has started. If the job was cancelled meanwhile, that can be told now."""
        job = self.jobs.get(job_id)
        if job is None or job.status.is_terminal():
            return []
        job.status, job.started_at = JobStatus.RUNNING, job.started_at or now
        return [CancelJob(job.id, self._grace(), self.idle_reason())] if job.cancelling else []

    def ranks_ended(self, job_id: int, ranks: list[int], now: float) -> list[Action]:
        """A job has ended on these nodes, as the watch saw. What becomes of the job is its own workflow's to say."""
        job = self.jobs.get(job_id)
        if job is None or job.status.is_terminal():
            return []
        job.done = sorted({*job.done, *ranks})
        return self._settle(now)

    def job_ended(self, end: JobEnd, now: float, notify: bool = False) -> list[Action]:
        """A job is over. With `notify`, its launch hears of it from here (the job's own workflow could not tell it)."""
        job = self.jobs.get(end.job_id)
        if job is None or job.status.is_terminal():
            return []
        job.status, job.returncode, job.ended_at = end.status, end.returncode, now
        job.reason, job.unread = end.reason[:MAX_REASON], end.unread
        self.unreadable = self.unreadable and not end.unread
        actions: list[Action] = [NotifyLaunch(job.launch, end)] if notify else []
        return actions + self._settle(now)

    def end_read(self, end: JobEnd, ended_at: float | None, now: float) -> list[Action]:
        """How a job ended whose end was unread is known, and when, if its nodes know that."""
        job = self.jobs.get(end.job_id)
        if job is None or job.unread is None:
            return []
        job.status, job.returncode, job.reason = end.status, end.returncode, end.reason[:MAX_REASON]
        job.unread, job.ended_at = end.unread, ended_at
        return self._settle(now)

    def ends_unreadable(self, now: float) -> list[Action]:
        """The nodes run, and could not say how jobs had ended. It is tried again, but nothing waits for it."""
        self.unreadable = True
        return self._settle(now)

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
        if self._is_repair(op):
            self.untidy = TIDY_LOOKS
            self._lose([])
        actions: list[Action] = []
        stop_again = False
        job = self.jobs.get(op.job_id) if op.job_id is not None else None
        if job is not None and not job.spec and not job.status.is_terminal():
            end = release.job or JobEnd(job_id=job.id, status=JobStatus.FAILED_DRIVER, reason="Its launch ended.")
            actions += self.job_ended(end.model_copy(update={"job_id": job.id}), now)
        self.leftover = self.leftover or release.nodes_left
        unmade = op.exclusive and not self.nodes and not self.leftover
        if release.nodes_deleted and (op.kind == "down" or unmade):
            making = op.purge and any(other.granted and other.exclusive for other in self.operations)
            actions += self._drop_overridden(op, now)
            actions += self._end_life(next_uid, now, why(op.workflow_id), left=release.purged or making)
        elif release.nodes_stopped and self.nodes:
            actions += self._drop_overridden(op, now)
            actions += self._stopped(now, unseen=release.purged)
        elif op.kind in ("launch", "start") and op.granted and op.exclusive and self.stopped and not self.is_active():
            stop_again = True  # some of its nodes may have been started, and nobody wants them
        elif release.discard and not self.operations and not any(other is not job for other in self.active_jobs()):
            # As soon as its job is gone too, unless a launch comes first.
            if self.made_by == op.workflow_id:
                self.rule = IdleRule(minutes=0, safety=True, wait_for="jobs")
            else:
                self.unwanted = True
            self.idle_since = None
        failed = op.kind in ("stop", "down") and op.granted and not (release.nodes_stopped or release.nodes_deleted)
        note(self, now, why(op.workflow_id))
        if failed:
            self.idle_since = None  # also of a rule that counts whatever happens: not at once again
        actions += self._settle(now, RETRY_CHECKS * self.check_seconds if failed else 0)
        if stop_again:
            self.unwanted = True  # also should they be seen to run before that stop begins
            actions.append(self._stop_again())
        return actions

    def take_over(self, workflow_id: str, successor: str) -> None:
        """Another workflow goes on with an operation whose own was terminated; the cluster stays reserved for it."""
        op = self._operation(workflow_id)
        if op is not None:
            op.workflow_id = successor

    def observe(self, found: list[NodeStatus], now: float) -> list[Action]:
        """What the cloud says of the nodes: whatever was done to them behind our back."""
        if not self.nodes or self.closing() or any(op.exclusive and op.granted for op in self.operations):
            return []  # who changes them at this moment tells what became of them
        seen = {status.node.id: status for status in found if status.state != "gone"}
        if self.adopted:
            take_in(self, seen.values())
        self.nodes = [seen[node.id].node if node.id in seen else node for node in self.nodes]
        stopped = [node.rank for node in self.nodes if node.id in seen and seen[node.id].state == "stopped"]
        gone = [node.rank for node in self.nodes if node.id not in seen]
        self.halted = []
        unseen, self.stopped_unseen = self.stopped_unseen, None
        if self.stopped and len(stopped) < len(seen):
            self.stopped, self.idle_since = False, None
            if unseen is not None:  # they never were stopped: that goes on, or others start beside what runs
                return [StartStop(f"again-{self.uid}-{self.epoch}")]
        elif unseen is not None and stopped:
            self._count_up(unseen)  # since then, as far as anybody can tell
        return self.nodes_away(gone, stopped, now)

    def nodes_away(self, gone: list[int], stopped: list[int], now: float) -> list[Action]:
        """The cloud says that these nodes are gone, and those are stopped. What ran on them is lost.

        A cluster that has lost a node can be repaired; one that has lost all of them is taken down.
        """
        if self.closing():
            return []
        self.changes += 1
        self._lose(gone)
        away = {*self.lost, *stopped}
        hit = {job.id: tuple(rank for rank in job.ranks if rank in away) for job in self.active_jobs()}
        unread = any(hit.values()) or any(job.unread for job in self.jobs.values())
        on_disk = set(stopped)
        actions: list[Action] = [
            RanksLost(job_id, ranks, tuple(rank for rank in ranks if rank in on_disk))
            for job_id, ranks in hit.items()
            if ranks
        ]
        if len(away) == len(self.nodes) and stopped and not self.stopped:
            self.halted = []
            actions += self._stopped(now)
            self.switched_off = UNREAD_MINUTES if unread else 0
        elif not self.stopped:
            self.halted = sorted({*self.halted, *stopped})
        self._count_up(now)
        return actions + self._give_up_pending(now) + self._settle(now)

    def set_autostop(self, setting: AutostopSetting, now: float) -> list[Action]:
        """Sets the user's idle rule. The last setting wins, and the clock starts anew.

        A stopped cluster takes what can matter to it: an end of the rule, or one that takes it down later.

        Raises:
            ClusterNotUpError: nothing runs, and nobody is about to change that.
            NotSupportedError: its nodes cannot be stopped.
            UsageError: it says two things, or waits for something that there is not.
        """
        wait_for = check_wait_for(setting.wait_for) or WAIT_FOR[0]
        off = setting.minutes is None or setting.minutes < 0
        if (off or setting.down) and setting.down_after is not None:
            raise UsageError("down_after is for a rule that stops: it goes with idle minutes, and without down.")
        if setting.down_after is not None and setting.down_after < 0:
            raise UsageError(f"down_after must be minutes, found {setting.down_after}.")
        matters = self.stopped and (off or setting.down_after is not None)
        if not self.runs() and not self.operations and not matters:
            raise ClusterNotUpError(
                f"Cluster {self.name!r} is {self.status.value}: an idle rule is for nodes that run. Start them: "
                f"skyflow start {self.name}"
            )
        if setting.notify and setting.notify not in self.notify_end:
            self.notify_end.append(setting.notify)
        if setting.only_replace_safety and not (self.rule and self.rule.safety):
            return []
        actions: list[Action] = []
        if setting.minutes is None or setting.minutes < 0:
            self.rule = None
        else:
            check_can_stop(self, setting.down)
            self.rule = IdleRule(
                minutes=setting.minutes, down=setting.down, down_after=setting.down_after, wait_for=wait_for
            )
        if self.stopped and self.idle_since is not None:
            actions = [Busy()]  # its clock may not be started again
        self.idle_since, self.leased = None, ""
        return actions + self._settle(now)

    def idle_due(self, due: IdleDue) -> list[Action]:
        """The idle clock has run out. Counts only if nothing has happened since it was started."""
        if due.uid != self.uid or due.epoch != self.epoch or self.is_kept() or self.idle_since is None:
            return []
        if self.runs() and self.rule is not None and self.rule.wait_for == "jobs_and_ssh":
            return [AskSessions(self.epoch)]
        return [self._close()]

    def sessions_seen(self, epoch: int, ago: float | None, now: float) -> list[Action]:
        """A user was last seen on the nodes so many seconds ago: 0 is now; None is never, or nobody could tell.

        From the end of the last session on, the cluster is idle.
        """
        if epoch != self.epoch or self.is_kept() or self.rule is None or not self.runs():
            return []
        if ago is None or (ago > 0 and ago >= self.rule.minutes * 60):
            return [self._close()]
        self.idle_since = now - ago
        if ago == 0:  # a rule of no minutes would be due at once, again and again
            self.idle_since = max(now, now + self.check_seconds - self.rule.minutes * 60)
        self.epoch += 1
        return [ArmIdle(self.epoch, self.rule)]

    def overdue(self, now: float) -> list[Action]:
        """Its idle rule was due long ago, and nobody is at it: the clock is started once more."""
        if self.unwanted and self.runs() and not self.is_active() and now > (self.idle_since or now):
            return [self._stop_again()]
        if self.is_kept() or not self._is_due(now):
            return []
        return [ArmIdle(self.epoch, self.clock_rule())]

    def take_up(self, units: Units | None, now: float) -> list[Action]:
        """Its workflow was lost; what the store had of it is known again, and now also what the nodes know.

        Jobs on the nodes are started once more: a node starts a unit only once, so that finds them as they are. Those
        who held the cluster are gone, which is found out as always.

        Args:
            units: None if the nodes could not be asked.
            now: the time.
        """
        self.adopted = False
        self.next_job = max(self.next_job, units.highest + 1) if units else self.next_job + HEADROOM
        away = {node.rank for node in self.nodes if self.stopped} | {*self.lost, *self.halted}
        for job_id, ranks in (units.runs if units else {}).items():
            take_up_job(self, job_id, ranks, units is not None and job_id in units.running, now)
        actions: list[Action] = []
        for job in self.active_jobs():
            reason = "" if job.spec else "Its launch was lost, with Temporal's database, before it was submitted."
            reason = "Its nodes were stopped or lost." if away.intersection(job.ranks) else reason
            if reason:
                job.status, job.reason, job.ended_at = JobStatus.FAILED_DRIVER, reason, now
                if job.spec:
                    job.unread = self._unread_of(job, away)
            elif job.ranks:
                actions.append(StartJob(job.id))
        self.idle_since = None
        return actions + self._settle(now)

    # What follows from every event

    def _settle(self, now: float, delay: float = 0) -> list[Action]:
        """What can go on now does. An idle clock that starts now starts so many seconds late."""
        if self.adopted:
            return []  # not before it is known what runs
        actions = self._grants() + self._starts()
        rule = self.clock_rule()
        if (self.is_active() and not self._is_timed()) or self.awaits_start():
            if self.idle_since is not None or (self.calmed and self.is_active()):
                self.idle_since, self.calmed = None, False
                actions.append(Busy())
        elif (self.runs() or (self.stopped and rule is not None)) and self.idle_since is None:
            self.idle_since = now + delay
            self.epoch += 1
            actions.append(ArmIdle(self.epoch, rule))
            if self.unwanted and not delay:
                actions.append(self._stop_again())
        return actions

    def _close(self) -> Action:
        stop = self.runs() and self.rule is not None and not self.rule.down
        return StartStop(self._idle_request(), self.epoch) if stop else StartDown(self._idle_request(), self.epoch)

    def _stop_again(self) -> Action:
        return StartStop(f"again-{self.uid}-{self.epoch}", self.epoch)

    def _renew(self, nodes: list[Node]) -> list[Action]:
        """These are its nodes now. What ran on those that are not, or not any more, is lost."""
        known = {node.rank: node.id for node in self.nodes}
        found = {node.rank: node for node in sorted(nodes, key=lambda node: node.id == known.get(node.rank))}
        anew = {rank for rank, node in found.items() if node.id != known.get(rank)}
        gone = known.keys() - found.keys()
        news = {*gone, *anew}.difference(self.lost)
        hit = {job.id: tuple(rank for rank in job.ranks if rank in news) for job in self.active_jobs()}
        self.lost = [rank for rank in self.lost if rank not in anew]
        self._lose(sorted(gone))
        self.halted = [rank for rank in self.halted if rank not in anew]
        self.nodes = [found.get(node.rank, node) for node in self.nodes]
        return [RanksLost(job_id, ranks) for job_id, ranks in hit.items() if ranks]

    def _lose(self, gone: list[int]) -> None:
        """These nodes are gone. Of a cluster that has none left, and gets none, whatever there may be is taken down."""
        self.lost = sorted({*self.lost, *gone})
        if self.nodes and len(self.lost) == len(self.nodes) and not any(self._is_repair(op) for op in self.operations):
            self.stopped, self.idle_since = False, None
            self.rule = IdleRule(minutes=0, safety=True, wait_for="jobs")

    def _grants(self) -> list[Action]:
        actions: list[Action] = []
        for index, op in enumerate(self.operations):
            if op.granted:
                continue
            op.exclusive = self._is_exclusive(op)
            if self._may_go_on(op, self.operations[:index]):
                op.granted = True
                self.changes += op.exclusive
                actions.append(Grant(op.workflow_id, self.reservation(op)))
        return actions

    def _starts(self) -> list[Action]:
        """Jobs whose turn has come."""
        stuck = self._stuck()
        pending = [job for job in self._pending() if job.id not in stuck]
        if not pending or self.offer is None or self.stopped or self.closing():
            return []
        rooms = self._rooms(self.offer)
        waiting = [Waiting(job.id, job.demand, job.num_nodes) for job in pending]
        turns = schedule(waiting, Room.of(self.offer), rooms)
        for turn in turns:
            self.jobs[turn.id].ranks, self.jobs[turn.id].devices = list(turn.devices), turn.devices
        return [StartJob(turn.id) for turn in turns]

    def _give_up_pending(self, now: float) -> list[Action]:
        """A job whose turn cannot come any more would keep what is left of the cluster for ever."""
        actions: list[Action] = []
        for job in self._pending() if self.lost else []:
            if job.num_nodes > len(self.nodes) - len(self.lost):
                reason = "The cluster has lost nodes that it would need."
                end = JobEnd(job_id=job.id, status=JobStatus.FAILED_DRIVER, reason=reason)
                actions += self.job_ended(end, now, notify=True)
        return actions

    def _cancel(self, job: JobRecord, now: float) -> list[Action]:
        if job.status is JobStatus.RUNNING:
            return [CancelJob(job.id, self._grace(), self.idle_reason())]
        if job.status is JobStatus.PENDING and job.ranks:  # its workflow is being started
            job.cancelling = True
            return []
        actions: list[Action] = []
        if job.status is not JobStatus.PENDING:  # its launch has not submitted it yet, and must not do it any more
            actions.append(CancelOperation(job.launch, True, self._grace(), self.idle_reason()))
        reason = cancelled(self.idle_reason())
        end = JobEnd(job_id=job.id, status=JobStatus.CANCELLED, returncode=STOPPED_WITH_GANG, reason=reason)
        return actions + self.job_ended(end, now, notify=True)

    def _clear_the_way(self, closing: Operation, now: float) -> list[Action]:
        """Before a stop or a down: everything that came earlier is cancelled."""
        kept = self._kept_by(closing)
        starting = ("launch", "exec", "start")
        launches = [op for op in self.operations if op.kind in starting and op.job_id not in kept]
        actions: list[Action] = [
            CancelOperation(op.workflow_id, True, closing.grace, self.idle_reason()) for op in launches
        ]
        with_launch = {op.job_id for op in launches}
        for job in self.active_jobs():
            if job.id not in with_launch | kept:
                actions += self._cancel(job, now)
        return actions

    def _add_job(self, op: Operation, job: JobRecord, now: float) -> None:
        op.job_id = self.next_job
        self.next_job += 1
        update = {"id": op.job_id, "launch": op.workflow_id, "submitted_at": now, "status": JobStatus.INIT}
        self.jobs[op.job_id] = job.model_copy(update=update)

    def _stopped(self, now: float, unseen: bool = False) -> list[Action]:
        self.stopped, self.switched_off, self.halted, self.idle_since = True, None, [], None
        self.stopped_unseen, self.unreadable = now if unseen else None, False
        self.changes += 1
        self.unwanted = self.calmed = False
        self._count_up(now)
        running = [job for job in self.active_jobs() if job.ranks]
        return [Busy(), *(AbandonJob(job.id, self.uid, stopped=True) for job in running)]

    def _count_up(self, now: float) -> None:
        """Begins and ends the intervals of the nodes: from here on the ledger has something to learn.

        Nodes that count as stopped, though nobody has seen that, may cost: their intervals go on.
        """
        away = {*self.lost, *self.halted}
        count = self.runs() or self.stopped_unseen is not None
        ups = {node.rank: node for node in self.nodes if count and node.rank not in away}
        for rank in [rank for rank, since in self.up.items() if rank not in ups or ups[rank].id != since.node]:
            self.unbooked.append(self.up.pop(rank).model_copy(update={"ended": now}))
        for rank, node in ups.items():
            if rank not in self.up and self.offer is not None:
                self.up[rank] = UpInterval.begin(self.name, self.uid, node, self.offer, now)
                self.unbooked.append(self.up[rank])
                self.leased = ""

    def _drop_overridden(self, op: Operation, now: float) -> list[Action]:
        """A purge did not wait for those that held the cluster; what they report later is not heard any more."""
        kept = self._kept_by(op)
        dropped = [o for o in self.operations if op.purge and o.granted and o.job_id not in kept]
        self.untidy = TIDY_LOOKS if any(self._is_repair(o) for o in dropped) else self.untidy
        self.operations = [o for o in self.operations if o not in dropped]
        actions: list[Action] = []
        for other in dropped:
            actions.append(EndOperation(other.workflow_id))
            job = self.jobs.get(other.job_id) if other.job_id is not None else None
            if job is not None and not job.spec and not job.status.is_terminal():
                job.status, job.ended_at, job.reason = JobStatus.CANCELLED, now, "Its cluster was purged."
        return actions

    def _end_life(self, next_uid: str, now: float, reason: str, left: bool = False) -> list[Action]:
        ended = LifeEnded(self.uid, tuple(self.notify_end), tuple(self.places) if left else (), self.deployment)
        waiting = {op.job_id for op in self.operations}
        actions: list[Action] = [ended]
        undone = [job for job in self.active_jobs() if job.id not in waiting]
        actions += [AbandonJob(job.id, self.uid) for job in undone if job.ranks]
        for job in undone:
            job.status, job.reason = JobStatus.CANCELLED, "Its nodes were taken down."
        note(self, now, reason, over=True)
        if left:  # they cost until the guardian has deleted them: it ends what is open in the ledger, and what is kept
            self.up = {}
        else:
            self.ended[self.uid] = now
        if self.nodes:
            self.nodes = []
            self._count_up(now)
        self.nodes, self.offer, self.cursors, self.notify_end, self.places, self.lost = [], None, {}, [], [], []
        self.ports = []
        self.jobs = {job_id: job for job_id, job in self.jobs.items() if job_id in waiting}
        self.seen = Seen(jobs={job_id: status for job_id, status in self.seen.jobs.items() if job_id in waiting})
        self.rule = IdleRule(minutes=self.safety_minutes, safety=True)
        self.launched_at = self.idle_since = None
        self.made_by, self.leftover = "", False
        self.stopped, self.stopped_unseen, self.switched_off, self.unreadable = False, None, None, False
        self.halted, self.unreachable_since, self.unwanted, self.untidy = [], None, False, 0
        self.changes += 1
        self.guarded = self.calmed = False
        self.deployment, self.next_deployment = self.next_deployment or self.deployment, ""
        self.uid = next_uid
        return actions
