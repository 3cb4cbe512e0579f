"""What a cluster knows, and what can be read from it: its memory as one serialisable object, without any decision."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from pydantic import Field

from skyflow.models.change import Change, Listener, Seen
from skyflow.models.job import LOST, UNREAD, Gang, GangState, JobRecord, JobRequest, RankEnd, as_row
from skyflow.models.name import job_workflow_id
from skyflow.models.node import GangRef, Node, NodeStatus, Offer
from skyflow.models.operation import Hardware, IdleRule, Operation, Place, Reservation
from skyflow.models.schedule import Room
from skyflow.models.status import ClusterStatus, JobStatus
from skyflow.models.usage import UpInterval
from skyflow.models.wire import Wire

RETRY_CHECKS = 5
"""So many check intervals after a stop or a down that failed, an idle rule is due again at the earliest."""

TIDY_LOOKS = 30
"""So many looks in a row have to find nobody's nodes before it is believed that there are none: a cloud may still make
what somebody asked for who has gone since."""

NAMED = 3
"""Of what a stop or a down waits for, in words."""


class ClusterFacts(Wire):
    """Everything a cluster knows. Only `ClusterState` changes it."""

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
    last_use: str = ""
    """The command, or the program, that used it last; or the id of a workflow that did not say so."""
    served: int = 0
    """How many operations there were. A cluster that never had one is waiting for its first."""
    made_by: str = ""
    """Workflow id of the launch that made the nodes."""
    leftover: bool = False
    """Whether there may be nodes of this life that a launch made and could not delete."""
    stopped: bool = False
    """Whether the nodes were stopped. Jobs that wait go on waiting."""
    up: dict[int, UpInterval] = Field(default_factory=dict)
    """Rank → since when its node is up."""
    unbooked: list[UpInterval] = Field(default_factory=list)
    """What the ledger does not have yet."""
    switched_off: int | None = None
    """If it was not stopped from here (its nodes did that, or somebody behind our back): for how many minutes
    it is kept at least."""
    lost: list[int] = Field(default_factory=list)
    """Ranks whose nodes are gone, by what their cloud says."""
    stopped_unseen: float | None = None
    """Since when the nodes count as stopped, though their cloud did not say so (`stop --purge`)."""
    unreadable: bool = False
    """Whether the nodes were asked in vain how their last jobs had ended: that keeps nothing up any more."""
    halted: list[int] = Field(default_factory=list)
    """Ranks whose nodes are stopped, by what their cloud says, while others run: nobody here did that."""
    changes: int = 0
    """Counts what was done to the nodes, so that an answer of the cloud from before it is known to be old."""
    untidy: int = 0
    """So many looks for nodes that nobody has reported are still due, also while the cluster is in use."""
    unwanted: bool = False
    """Whether the nodes were started for a launch that was cancelled: they are stopped as soon as they are idle."""
    unreachable_since: float | None = None
    """Since when the cloud could not be asked. Says nothing about the nodes."""
    guarded: bool = False
    """Whether this life's AutostopWorkflow was started."""
    calmed: bool = False
    """Whether it was told, since the cluster was last in use, that it need not look for it."""
    looks: int = 0
    """How often it was looked whether everybody is there, since something last happened."""
    look_at: float = 0
    """When that is done next, in epoch seconds, if nobody uses the cluster until then."""
    edition: int = 0
    """Counts what has changed that the store should know, also across adoptions."""
    kept: int = 0
    """The edition that the store has."""
    ended: dict[str, float] = Field(default_factory=dict)
    """Former lives that the store has not forgotten yet, and when each ended."""
    adopted: bool = False
    """Whether its workflow was lost, and what runs on the nodes has not been taken up yet."""
    next_deployment: str = ""
    """In the tags of its next life's nodes, if other than in this one's: it was adopted by another namespace."""
    leased: str = ""
    """What its nodes were last told about their lease; something else if any of them must be told."""
    webhook: bool = False
    """Whether changes of state are told to a webhook."""
    noted: int = 0
    """How many changes there were while somebody listened."""
    seen: Seen = Field(default_factory=Seen)
    """How the cluster looked after the last of them."""
    unposted: list[Change] = Field(default_factory=list)
    """Changes that the webhooks have not been told yet."""
    uncalled: list[Change] = Field(default_factory=list)
    """Changes of jobs whose callbacks have not run yet."""
    forgotten: int = 0
    """How many of both were too many to be kept."""

    # Facts

    @property
    def status(self) -> ClusterStatus:
        if not self.nodes or self.lost or self.halted:
            return ClusterStatus.INIT
        if any(op.idle and op.granted for op in self.operations):
            return ClusterStatus.AUTOSTOPPING
        return ClusterStatus.STOPPED if self.stopped else ClusterStatus.UP

    def active_jobs(self) -> list[JobRecord]:
        return [job for job in self.jobs.values() if not job.status.is_terminal()]

    def open_jobs(self) -> list[JobRecord]:
        """Jobs that have not ended, or whose end is still to be read."""
        return [job for job in self.jobs.values() if job.unread or not job.status.is_terminal()]

    def is_active(self) -> bool:
        """Whether somebody uses the cluster. A job that is stuck does not, nor does the launch that waits for it."""
        stuck = self._stuck()
        if any(op.job_id not in stuck for op in self.operations) or self.is_being_read():
            return True
        return not self.stopped and any(job.id not in stuck for job in self.active_jobs())

    def is_kept(self) -> bool:
        """Whether its idle rule has to wait. For one that waits for nothing: while somebody changes the cluster."""
        if not self._is_timed():
            return self.is_active()
        stuck = self._stuck()
        handed_over = {job.id for job in self.jobs.values() if job.spec}
        return self.is_being_read() or any(
            op.job_id not in stuck and op.job_id not in handed_over for op in self.operations
        )

    def readable(self) -> list[JobRecord]:
        """Jobs whose end nobody has read, because their nodes were stopped, and whose nodes run again."""
        away = self.halted if self.runs() else range(len(self.nodes))
        return [job for job in self.jobs.values() if job.unread and not {*job.unread.unread()}.intersection(away)]

    def is_being_read(self) -> bool:
        """Whether the cluster stays until that is done: with its disks, it would be lost."""
        return not self.unreadable and bool(self.readable())

    def lease(self) -> str:
        """What its nodes should know of their lease: seconds, or `none`."""
        return "none" if self.rule is None else str(self.rule.lease)

    def is_lease_due(self) -> bool:
        """Whether they have to be told."""
        return self.runs() and bool(self.up) and self.leased != self.lease()

    def _is_timed(self) -> bool:
        """Whether its rule counts from the moment it was set, whatever happens."""
        return self.runs() and self.rule is not None and self.rule.wait_for == "none" and not self.unwanted

    def is_over(self) -> bool:
        """Nothing exists and nobody wants anything."""
        return not self.nodes and not self.operations and self.served > 0

    def is_heard(self) -> bool:
        """Whether anybody listens to its changes of state. If not, nothing is kept of them."""
        return self.webhook or any(job.callback for job in self.jobs.values())

    def untold(self, listener: Listener) -> list[Change]:
        """What this listener has not been told yet, in order."""
        return self.unposted if listener == "webhook" else self.uncalled

    def runs(self) -> bool:
        """Whether there are nodes that run."""
        return bool(self.nodes) and not self.stopped

    def is_watched(self) -> bool:
        """Whether something may happen on nodes that can be reached."""
        return self.runs() and self.is_active() and bool(self.gang().nodes)

    def may_have_strays(self) -> bool:
        """Whether nodes that have this life's tags and that nobody reported are nobody's: whoever made them is gone,
        and nobody else will use them."""
        making = any(self._is_repair(op) for op in self.operations)
        return bool(self.nodes) and not (self.adopted or self.closing() or making)

    def strays(self, found: list[NodeStatus]) -> list[str]:
        """These nodes. Those that were lost are not among them: a user may want what is on their disks."""
        known = {node.id for node in self.nodes}
        strays = [status.node.id for status in found if status.state != "gone" and status.node.id not in known]
        return strays if self.may_have_strays() else []

    def seconds_to_overdue(self, now: float) -> float:
        """How long until its idle rule is overdue, so that whoever forgot it is reminded; infinite without one."""
        rule = self.clock_rule()
        if self.idle_since is None or rule is None:
            return math.inf
        left = self.idle_since + rule.minutes * 60 - now
        return max(left, 0) + RETRY_CHECKS * self.check_seconds

    def clock_rule(self) -> IdleRule | None:
        """What the idle clock counts for: the rule while nodes run; while they are stopped, when they are taken down.

        A rule that takes the cluster down holds also when the nodes have stopped without us: their lease was over, and
        nobody was there to carry it out.
        """
        if self.rule is None or not self.nodes or self.runs():
            return self.rule
        later = self.rule.down_after
        if self.rule.down and self.switched_off is not None:
            later = max(self.rule.minutes, self.switched_off)
        return None if later is None else IdleRule(minutes=later, down=True, wait_for="jobs")

    def awaits_start(self) -> bool:
        """Whether jobs wait on the stopped nodes that would run after a start."""
        there = len(self.nodes) - len(self.lost)
        return self.stopped and any(job.num_nodes <= there for job in self._pending())

    def closing(self) -> str:
        """What its nodes are about to be: `taken down`, `stopped`, or nothing."""
        kinds = {op.kind for op in self.operations}
        return "taken down" if "down" in kinds else "stopped" if "stop" in kinds else ""

    def reason(self) -> str:
        """Why its status is what it is, if that needs words: what became of nodes, what is being done, what waits."""
        closings = [op for op in self.operations if op.kind in ("stop", "down")]
        closings = sorted(closings, key=lambda op: not op.granted)
        parts = [self._away(), *dict.fromkeys(self._closing(op) for op in closings)]
        return "; ".join(part for part in parts if part)

    def idle_reason(self) -> str:
        """Why what runs is cancelled, if that is the idle rule's doing; nothing, if somebody asked for it."""
        op = next((op for op in self.operations if op.kind in ("stop", "down")), None)
        if op is None or not op.idle or self.rule is None:
            return ""
        what = "took its nodes down" if op.kind == "down" else "stopped its nodes"
        return f"the idle rule (wait_for: {self.rule.wait_for}) {what}"

    def _away(self) -> str:
        count, lost = len(self.nodes), len(self.lost)
        off = count - lost if self.stopped else len({*self.halted} - {*self.lost})
        if not lost:
            return f"{off} of {count} nodes stopped" if self.halted else ""
        others = "the other" if count - lost == 1 else "the others"
        stopped = f", {others if lost + off == count else off} stopped" if off else ""
        return f"{lost} of {count} nodes lost{stopped}"

    def _closing(self, op: Operation) -> str:
        """What a stop or a down is about, and what it waits for."""
        what = "taken down" if op.kind == "down" else "stopped"
        if op.granted:
            return f"being {what}"
        passed = self._kept_by(op) | {other.job_id for other in self.operations if not other.granted}
        jobs = [job.id for job in self.active_jobs() if job.id not in passed]
        others = [o.kind for o in self.operations if o.granted and o.job_id not in passed - {None} | {*jobs}]
        ahead = [f"job {job_id}" for job_id in jobs] + [f"a{'n' * (kind == 'exec')} {kind}" for kind in others]
        ahead = list(dict.fromkeys(ahead))
        if not ahead:
            return f"to be {what}"
        more = len(ahead) - NAMED
        named = ", ".join(ahead[:NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"to be {what} once {named} {'has' if len(ahead) == 1 else 'have'} ended"

    def gang(self, ranks: list[int] | None = None) -> Gang:
        """The nodes of these ranks (all that run if None), ready to be reached."""
        assert self.offer is not None
        away = {*self.lost, *self.halted}
        nodes = [node for node in self.nodes if (node.rank not in away if ranks is None else node.rank in ranks)]
        where = self.offer
        return Gang(
            cluster=self.name,
            uid=self.uid,
            cloud=where.cloud,
            region=where.region,
            zone=where.zone,
            host=where.host,
            deployment=self.deployment,
            nodes=nodes,
        )

    def reached(self) -> list[tuple[str, str, int]]:
        """The nodes that run, and where: another list whenever those who watch them must begin anew."""
        away = {*self.lost, *self.halted}
        return [(node.id, node.address, node.port) for node in self.nodes if node.rank not in away and self.runs()]

    def job_request(self, job: JobRecord) -> JobRequest:
        """What the workflow of a job is told of it."""
        return JobRequest(
            job_id=job.id,
            gang=self.gang(job.ranks),
            spec=job.spec,
            launch=job.launch,
            name=job.name,
            accelerator=next(iter(self.offer.accelerators), "") if self.offer else "",
            devices=job.devices,
            check_seconds=self.check_seconds,
            began=job.started_at,
        )

    def hardware(self) -> Hardware:
        """What there is, for a dry run."""
        status = self.status.value
        return Hardware(
            uid=self.uid,
            num_nodes=len(self.nodes),
            is_up=status in ("UP", "AUTOSTOPPING"),
            is_stopped=bool(self.nodes) and status in ("STOPPED", "INIT") and len(self.lost) < len(self.nodes),
            offer=self.offer,
        )

    def tag(self, place: Place, launch_id: str | None = None) -> GangRef:
        """What names its nodes at a place (only those that this launch made, if one is given)."""
        return GangRef(
            deployment=self.deployment,
            cluster=self.name,
            uid=self.uid,
            cloud=place.cloud,
            host=place.host,
            launch_id=launch_id,
        )

    def essentials(self) -> tuple[object, ...]:
        """Another one whenever something has changed from which the cluster would have to be rebuilt."""
        jobs = [(job.id, job.status, job.spec, job.cancelling, *job.ranks) for job in self.open_jobs()]
        operations = [(op.workflow_id, op.granted, op.exclusive) for op in self.operations]
        rule = self.rule and tuple(self.rule.model_dump().values())
        state = (self.stopped, self.leftover, *self.lost, None, *self.halted)
        return (self.uid, self._ways(), state, rule, self.next_job, self.ports, len(self.places), jobs, operations)

    def view(self) -> dict[str, Any]:
        """The cluster as `status` shows it: plain JSON under 2 KB (it is the workflow's memo)."""
        offer = self.offer
        return {
            "name": self.name,
            "uid": self.uid,
            "status": self.status.value,
            "reason": self.reason(),
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
            "to_down": self.rule is not None and self.rule.down,
            "down_after": self.rule.down_after if self.rule else None,
            "safety": bool(self.rule and self.rule.safety),
            "wait_for": self.rule.wait_for if self.rule else None,
            "idle_since": self.idle_since,
            "lost": self.lost,
            "halted": self.halted,
            "unreachable_since": self.unreachable_since,
            "places": [place.model_dump() for place in self.places],
            "active_jobs": len(self.active_jobs()),
            "next_job": self.next_job,
            "last_use": self.last_use,
            **({"over": True} if self.is_over() else {}),
        }

    def details(self) -> str:
        """The cluster in Markdown, for the Web UI."""
        reason = self.reason()
        lines = [f"**{self.name}** is {self.status.value}{reason and f' ({reason})'} with {len(self.nodes)} node(s)"]
        if self.offer is not None:
            lines[0] += f" in {self.offer.place} ({self.offer.instance_type})"
        if self.rule is not None:
            why = "safety rule" if self.rule.safety else "autostop"
            what = "Taken down" if self.rule.down else "Stopped"
            later = "" if self.rule.down_after is None else f", taken down {self.rule.down_after} minutes after that"
            lines.append(f"{what} after {self.rule.minutes} idle minutes{later} ({why}).")
        lines += [f"- in use by `{op.workflow_id}`" + ("" if op.granted else " (waiting)") for op in self.operations]
        running = [job for job in self.active_jobs() if job.ranks]
        lines += [f"- job `{job_workflow_id(self.name, self.uid, job.id)}`" for job in running]
        return "\n\n".join(lines[:2]) + "\n" + "\n".join(lines[2:20])

    def access(self) -> dict[str, Any]:
        """How its nodes are reached: plain JSON. Not in the view, because there may be many nodes."""
        nodes = sorted(self.nodes if self.runs() else [], key=lambda node: node.rank)
        return {
            "uid": self.uid,
            "ways": self._ways(),
            "nodes": [node.model_dump() for node in nodes],
            "ports": self.ports,
        }

    def _ways(self) -> str:
        """Another text whenever its nodes are reached otherwise than before."""
        ways = [(self.uid, node.rank, node.address, node.port, node.user, node.host_key) for node in self.nodes]
        ways = ways if self.runs() else []
        return hashlib.sha256(repr(sorted(ways)).encode()).hexdigest()[:12] if ways else ""

    def rows(self) -> list[dict[str, Any]]:
        """The jobs as `queue` shows them, newest first. What waits says what for."""
        accelerator = next(iter(self.offer.accelerators), "") if self.offer else ""
        rows = {job.id: as_row(job, accelerator) for job in self.jobs.values()}
        for place, job in enumerate(self._pending(), 1):
            what = job.resources(accelerator)
            reason = f"Waits for {what}." if place == 1 else f"Number {place} in line for {what}."
            rows[job.id]["reason"] = f"Waits for a start: skyflow start {self.name}" if self.stopped else reason
        return [rows[job_id] for job_id in sorted(rows, reverse=True)]

    def _kept_by(self, op: Operation) -> set[int | None]:
        """Jobs that are not in its way: all that wait go on waiting while nodes stop and start, and what runs goes on
        beside nodes that are started or made anew."""
        if op.kind in ("stop", "down"):
            return set() if op.kind == "down" else {job.id for job in self._pending()}
        return {job.id for job in self.jobs.values() if job.spec}

    def _is_due(self, now: float) -> bool:
        rule = self.clock_rule()
        return rule is not None and self.idle_since is not None and now > self.idle_since + rule.minutes * 60

    def _may_go_on(self, op: Operation, ahead: list[Operation]) -> bool:
        """Whether it is the turn of an operation that waits, behind these."""
        kept = self._kept_by(op)
        others = [o for o in self.operations if o.granted and o.job_id not in kept]
        if op.kind in ("stop", "down"):
            waiting = {o.job_id for o in self.operations if not o.granted}
            return not others and all(job.id in waiting | kept for job in self.active_jobs())
        behind = any(o.kind in ("stop", "start", "down") for o in ahead)
        return not behind and not any(o.exclusive for o in others) and not (op.exclusive and others)

    def _is_repair(self, op: Operation) -> bool:
        """Whether it is at nodes that the cluster has, or makes some anew, and has not told yet what became of that."""
        return bool(self.nodes) and op.exclusive and op.granted and op.kind not in ("stop", "down")

    def _is_exclusive(self, op: Operation) -> bool:
        away = bool(self.halted or self.lost)
        return op.kind in ("stop", "down") or not self.runs() or (away and op.kind != "exec")

    def _unread_of(self, job: JobRecord, away: set[int]) -> GangState | None:
        """What is known of a job some of whose nodes are stopped or gone."""
        gang = GangState(ranks=job.ranks)
        for rank in away.intersection(job.ranks):
            gang.ended(RankEnd(rank=rank, code=LOST if rank in self.lost else UNREAD))
        return gang if gang.unread() else None

    def _grace(self) -> float | None:
        """What a stop or a down that waits leaves to those that it cancels."""
        return next((op.grace for op in self.operations if op.kind in ("stop", "down")), None)

    def _operation(self, workflow_id: str) -> Operation | None:
        return next((op for op in self.operations if op.workflow_id == workflow_id), None)

    def _idle_request(self) -> str:
        return f"idle-{self.uid}-{self.epoch}"

    def _pending(self) -> list[JobRecord]:
        """The jobs that wait for their turn, in the order in which they shall have it."""
        pending = [job for job in self.jobs.values() if job.status is JobStatus.PENDING and not job.ranks]
        return sorted(pending, key=lambda job: (-job.priority, job.id))

    def _stuck(self) -> set[int | None]:
        """The jobs that wait and cannot start as the nodes are now: these are stopped, or too few of them run."""
        if not self.nodes:
            return set()
        running = len(self.nodes) - len({*self.lost, *self.halted}) if self.runs() else 0
        return {job.id for job in self._pending() if job.num_nodes > running}

    def _rooms(self, offer: Offer) -> dict[int, Room]:
        """Rank → what the jobs that run leave of its node, of those that run."""
        away = {*self.lost, *self.halted}
        rooms = {node.rank: Room.of(offer) for node in self.nodes if node.rank not in away}
        for job in self.active_jobs():
            for rank in job.ranks:
                if rank in rooms and rank not in job.done:
                    rooms[rank].take(job.demand, job.devices.get(rank, []))
        return rooms

    def reservation(self, op: Operation) -> Reservation:
        """What an operation is told of its reservation. What is to be done to nodes, only if it has them for itself."""
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
            stopped=op.exclusive and (self.stopped or bool(self.halted)),
            lost=self.lost if op.exclusive else [],
            up=self.runs(),
            places=self.places,
            ports=self.ports,
            deployment=self.deployment,
            search_attributes=self.search_attributes,
            check_seconds=self.check_seconds,
            safety_minutes=self.safety_minutes,
        )
