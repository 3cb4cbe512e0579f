"""Jobs: one command on a gang of nodes, its statuses and the rules of the gang."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from skyflow.models.node import Node
from skyflow.models.schedule import Demand
from skyflow.models.status import JobStatus
from skyflow.models.wire import Wire

STOPPED_WITH_GANG = 137
"""Exit code of a rank that was stopped because of somebody else: another rank's failure, or a cancel (PARITY §4.4)."""

LOST = -1
"""Code of a rank whose node rebooted, or lost the process, before it left an exit code."""

UNREAD = -2
"""Code of a rank whose node is stopped: whether it had ended before, and how, is on the node's disk."""


class RankEnd(Wire):
    """One rank of a job has ended. `rank` counts in the cluster."""

    rank: int
    code: int
    at: float | None = None
    """When, by its node's clock; None if nobody has asked."""


class GangState(Wire):
    """The ranks of a running job (ranks of the cluster) and what has become of them."""

    ranks: list[int]
    codes: dict[int, int] = Field(default_factory=dict)
    first_failure: int | None = None
    """The rank that failed first."""
    cancelled: bool = False

    def ended(self, end: RankEnd) -> list[int]:
        """Takes note of a rank's end; returns the ranks that must be stopped because of it."""
        if end.rank not in self.ranks or end.rank in self.codes:
            return []
        self.codes[end.rank] = end.code
        if end.code == 0 or self.first_failure is not None or self.cancelled:
            return []
        self.first_failure = end.rank
        return self.running()

    def cancel(self) -> list[int]:
        """Somebody cancelled the job; returns the ranks that must be stopped."""
        self.cancelled = True
        return self.running()

    def running(self) -> list[int]:
        return [rank for rank in self.ranks if rank not in self.codes]

    def unread(self) -> list[int]:
        """The ranks of which only their nodes know how they ended."""
        return [rank for rank in self.ranks if self.codes.get(rank, UNREAD) == UNREAD]

    def read(self, ends: list[RankEnd]) -> GangState:
        """As it is once the ends of ranks that were unread are known."""
        unread = self.unread()
        news = sorted((end for end in ends if end.rank in unread), key=lambda end: end.at or 0)
        codes = {**self.codes, **{end.rank: end.code for end in news}}
        first = self.first_failure
        if first is not None and codes[first] == 0:
            first = next((end.rank for end in news if end.code != 0), first)
        return self.model_copy(update={"codes": codes, "first_failure": first})

    def outcome(self, job_id: int) -> JobEnd:
        """How the job ended, once no rank is running."""
        end = self._outcome(job_id)
        return end.model_copy(update={"unread": self}) if self.unread() else end

    def _outcome(self, job_id: int) -> JobEnd:
        failed = self.first_failure
        if failed is not None and any(self.codes.values()):
            code = self.codes[failed]
            position = self.ranks.index(failed)
            if code == 0:
                reason = f"It was stopped, because the node of rank {position} was off; that rank had ended well."
                return JobEnd(job_id=job_id, status=JobStatus.FAILED_DRIVER, reason=reason)
            if code == UNREAD:
                reason = f"The node of rank {position} was stopped before its end was read: a start reads it."
                return JobEnd(job_id=job_id, status=JobStatus.FAILED_DRIVER, reason=reason)
            if code == LOST:
                reason = f"Rank {position} was lost: its node rebooted, or its process vanished."
                return JobEnd(job_id=job_id, status=JobStatus.FAILED_DRIVER, reason=reason)
            reason = f"Rank {position} failed with exit code {code}."
            return JobEnd(job_id=job_id, status=JobStatus.FAILED, returncode=code, reason=reason)
        if self.cancelled and any(self.codes.values()):
            return JobEnd(job_id=job_id, status=JobStatus.CANCELLED, returncode=STOPPED_WITH_GANG, reason=cancelled())
        return JobEnd(job_id=job_id, status=JobStatus.SUCCEEDED, returncode=0)


class JobRecord(Wire):
    """What a cluster keeps of a job."""

    id: int
    name: str = ""
    user: str = ""
    status: JobStatus = JobStatus.INIT
    reason: str = ""
    launch: str = ""
    """Workflow id of the launch that brought it."""
    num_nodes: int = 1
    ranks: list[int] = Field(default_factory=list)
    """Ranks, in the cluster, of the nodes that it runs on. Its own ranks are the positions in this list."""
    demand: Demand = Field(default_factory=Demand)
    priority: int = 0
    """The higher goes first."""
    devices: dict[int, list[int]] = Field(default_factory=dict)
    """Rank, in the cluster, of each of its nodes → the accelerators that it has there."""
    done: list[int] = Field(default_factory=list)
    """Those of them on which it has ended: what it had there is free for others."""
    has_setup: bool = False
    submitted_at: float = 0
    started_at: float | None = None
    ended_at: float | None = None
    returncode: int | None = None
    spec: str = ""
    """Key of its JobSpec in the store."""
    callback: bool = False
    """Whether its task wants a script to be run when its state changes."""
    cancelling: bool = False
    """Cancelled while its workflow was being started."""
    unread: GangState | None = None
    """What is known of a job that has ended, if its nodes were stopped before all of its end was read."""

    def resources(self, accelerator: str) -> str:
        """What it has, or waits for, in words: `2 × A100:4, 16 CPUs`; of a job that states nothing, its nodes alone."""
        each = self.demand.describe(accelerator)
        return f"{self.num_nodes} × {each}" if each else f"{self.num_nodes} node(s)"


class JobSpec(Wire):
    """What to run. Kept in the store, so that neither a queue nor a history carries scripts."""

    name: str = ""
    run: str = ""
    envs: dict[str, str] = Field(default_factory=dict)
    task_id: str = ""
    user: str = ""
    num_gpus: int = 0
    """Accelerators a node that the task asked for."""


class Gang(Wire):
    """The nodes that one unit of work runs on, and what is needed to reach them."""

    cluster: str
    uid: str
    cloud: str
    region: str = ""
    zone: str = ""
    host: str | None = None
    deployment: str = ""
    """In the nodes' tags; that of the worker's namespace, if empty."""
    nodes: list[Node]


class Units(Wire):
    """What the nodes of a cluster know of its jobs."""

    runs: dict[int, list[int]] = Field(default_factory=dict)
    """Job → ranks where it runs, or has run."""
    running: list[int] = Field(default_factory=list)
    """Those of them that run now."""
    highest: int = 0
    """The highest number of a job that they have seen; also one of which only setup ran there."""


class JobEnd(Wire):
    """How a job ended."""

    job_id: int
    status: JobStatus
    returncode: int | None = None
    reason: str = ""
    unread: GangState | None = None
    """What is known of its ranks, if that is not all: see JobRecord."""


class JobProgress(Wire):
    """All that a JobWorkflow knows while the job runs."""

    gang: GangState
    to_stop: list[int] = Field(default_factory=list)
    """Ranks that have to be told to stop."""
    grace: float | None = None
    """Seconds that they have from SIGTERM to SIGKILL; None: the usual."""
    reason: str = ""
    """Why it is cancelled, if nobody asked for it."""
    began: float


class JobRequest(Wire):
    """Input of a JobWorkflow."""

    job_id: int
    gang: Gang
    spec: str
    launch: str = ""
    name: str = ""
    accelerator: str = ""
    """Kind of the nodes' accelerators, if they have any."""
    devices: dict[int, list[int]] = Field(default_factory=dict)
    """Rank → which of them are the job's."""
    check_seconds: float = 60
    began: float | None = None
    """Since when it runs, if it was started by a workflow that is lost."""
    progress: JobProgress | None = None
    """What an earlier run of the same workflow has seen; None for the first."""


def cancelled(reason: str = "") -> str:
    """Why a cancelled job ended: somebody did that, if there is no other reason."""
    return f"Cancelled: {reason}." if reason else "Cancelled."


def run_unit(job_id: int) -> str:
    """Name, on the nodes and in the store, of a job's run."""
    return str(job_id)


def setup_unit(job_id: int) -> str:
    """Name, on the nodes and in the store, of a job's setup."""
    return f"{job_id}-setup"


def job_of_unit(unit: str) -> int | None:
    """The job whose run or setup it is."""
    number = unit.partition("-")[0]
    return int(number) if number.isdecimal() else None


def as_row(job: JobRecord, accelerator: str) -> dict[str, Any]:
    """A job as `queue` shows it: plain JSON. `accelerator` is the kind of its nodes' accelerators."""
    row = job.model_dump(mode="json", exclude={"spec", "cancelling", "callback", "done", "unread"})
    return {**row, "resources": job.resources(accelerator)}
