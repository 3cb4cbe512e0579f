"""Changes of state of a cluster, its nodes and its jobs: what those who listen are told, each once and in order.

*Seen* is what was told of a cluster so far. What differs from it after an event are the changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from skyflow.models.status import JobStatus
from skyflow.models.wire import Wire

if TYPE_CHECKING:
    from skyflow.models.cluster_facts import ClusterFacts

DOWN = "DOWN"
"""The end of one life of a cluster: its nodes are gone."""
LOST = "LOST"
"""A node that is gone, by what its cloud says."""

Listener = Literal["webhook", "callback"]
"""Who is told: the webhooks of the worker, or the callback of a job's task."""

MAX_UNTOLD = 200
"""Changes that a cluster keeps for a listener that is away. Of more, the oldest are forgotten."""

KEEP_SECONDS = 24 * 3600.0
"""How long it keeps them."""


class Change(Wire):
    """One change of state."""

    number: int = 0
    """Counts the changes of a cluster. A listener that misses one has missed a change."""
    time: float = 0
    """Epoch seconds."""
    cluster: str = ""
    uid: str = ""
    """Of the life of the cluster."""
    kind: Literal["cluster", "node", "job"]
    before: str = ""
    after: str
    reason: str = ""
    place: str = ""
    instance_type: str = ""
    num_nodes: int = 0
    rank: int | None = None
    """Of a node."""
    job_id: int | None = None
    job_name: str = ""
    user: str = ""
    """Who launched the job."""
    returncode: int | None = None
    workflow_id: str = ""
    """Where the story is: of a job its launch, else the cluster's workflow."""

    @property
    def id(self) -> str:
        """The same on every try to tell it, and no other change's."""
        return f"{self.cluster}/{self.uid}/{self.number}"

    def body(self) -> dict[str, Any]:
        """What a webhook is sent: flat JSON (docs/hooks.md). What a change of this kind does not have is null."""
        fields = self.model_dump(exclude={"before", "after"})
        fields = {name: None if value == "" else value for name, value in fields.items()}
        return {"event": self.id, **fields, "from": self.before or None, "to": self.after}


class Told(Wire):
    """How far those who listen have come."""

    number: int
    """Every change up to this one is told, or need not be."""
    trouble: str = ""
    """Why the next one could not be."""


class CallbackSpec(Wire):
    """The script that a task wants to be run when its job's state changes. Kept in the store."""

    cluster: str
    launch: str
    """Workflow id of the launch that brings the job."""
    script: str
    task_name: str = ""
    task_id: str = ""
    """Of the run of the task, without the number of its job, which is not known yet."""
    envs: dict[str, str] = Field(default_factory=dict)


class Seen(Wire):
    """What a cluster looks like to those who listen."""

    status: str = ""
    """Empty if there is none."""
    nodes: dict[int, str] = Field(default_factory=dict)
    """Rank → LOST or STOPPED, of those that are away, by what their cloud says."""
    jobs: dict[int, str] = Field(default_factory=dict)
    """Job → its status. A job that is still being prepared is not there."""

    @classmethod
    def of(cls, cluster: ClusterFacts) -> Seen:
        """How it looks now."""
        exists = bool(cluster.nodes or cluster.operations)
        jobs = {job.id: job.status.value for job in cluster.jobs.values() if job.status is not JobStatus.INIT}
        away = dict.fromkeys(cluster.halted, "STOPPED") | dict.fromkeys(cluster.lost, LOST)
        return cls(status=cluster.status.value if exists else "", nodes=away, jobs=jobs)


def differences(before: Seen, cluster: ClusterFacts, after: Seen, reason: str = "") -> Iterator[Change]:
    """What has changed: the cluster first, then its nodes, then its jobs. At its end, its jobs first.

    Args:
        before: how it looked.
        cluster: as it is now.
        after: how that looks.
        reason: of a change of the cluster itself.
    """
    offer = cluster.offer
    where = {"place": offer.place, "instance_type": offer.instance_type} if offer else {}
    story = f"cluster/{cluster.name}"
    own = []
    if after.status and after.status != before.status:
        count = len(cluster.nodes)
        own.append(
            Change(
                kind="cluster",
                before=before.status,
                after=after.status,
                reason=reason,
                num_nodes=count,
                workflow_id=story,
                **where,
            )
        )
    for rank in sorted({*before.nodes, *after.nodes}):
        old, new = before.nodes.get(rank, "UP"), after.nodes.get(rank, "UP")
        is_news = new != "UP" or after.status not in (DOWN, "STOPPED")  # of a cluster that stops, none comes back
        if old != new and cluster.nodes and after.status != DOWN and is_news:
            why = "" if new == "UP" else "By what its cloud says."
            own.append(
                Change(kind="node", before=old, after=new, reason=why, rank=rank, workflow_id=story, **where),
            )
    jobs = []
    for job_id in sorted(after.jobs):
        old, new = before.jobs.get(job_id, ""), after.jobs[job_id]
        if old != new:
            job = cluster.jobs[job_id]
            jobs.append(
                Change(
                    kind="job",
                    before=old,
                    after=new,
                    reason=job.reason,
                    num_nodes=job.num_nodes,
                    job_id=job_id,
                    job_name=job.name,
                    user=job.user,
                    returncode=job.returncode,
                    workflow_id=job.launch,
                    **where,
                )
            )
    yield from [*jobs, *own] if after.status == DOWN else [*own, *jobs]


def why(workflow_id: str) -> str:
    """Why a cluster is another one after an operation, in words; the operation's id says it."""
    kind, _, rest = workflow_id.partition("/")
    if kind in ("stop", "down") and rest.rpartition("/")[2].startswith("idle-"):
        return "It was idle."
    return {"stop": "Somebody stopped it.", "down": "Somebody took it down."}.get(kind, "")


def note(cluster: ClusterFacts, now: float, reason: str = "", over: bool = False) -> None:
    """Keeps, for those who listen, what has changed since they were told last.

    Args:
        cluster: what has changed.
        now: when.
        reason: of a change of the cluster itcluster.
        over: this life of it ends.
    """
    if not cluster.is_heard():
        return
    seen = Seen.of(cluster)
    if over:
        seen.status = DOWN if cluster.seen.status else ""
    for change in differences(cluster.seen, cluster, seen, reason):
        cluster.noted += 1
        change.number, change.time, change.cluster, change.uid = cluster.noted, now, cluster.name, cluster.uid
        if cluster.webhook:
            cluster.unposted.append(change)
        if change.job_id is not None and cluster.jobs[change.job_id].callback:
            cluster.uncalled.append(change)
    cluster.seen = seen
    kept = len(cluster.unposted) + len(cluster.uncalled)
    cluster.unposted, cluster.uncalled = cluster.unposted[-MAX_UNTOLD:], cluster.uncalled[-MAX_UNTOLD:]
    cluster.forgotten += kept - len(cluster.unposted) - len(cluster.uncalled)


def mark_told(cluster: ClusterFacts, listener: Listener, number: int, now: float) -> None:
    """This listener was told every change up to this number. What is too old is not told any more."""
    left = [change for change in cluster.untold(listener) if change.number > number]
    kept = [change for change in left if now - change.time < KEEP_SECONDS]
    cluster.forgotten += len(left) - len(kept)
    if listener == "webhook":
        cluster.unposted = kept
    else:
        cluster.uncalled = kept
