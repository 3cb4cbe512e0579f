"""What is said to a cluster, and what a cluster decides: its messages and its actions.

An *operation* is a workflow that uses the cluster: a launch, an exec, a stop, a start, a down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from skyflow.models.duration import MAX_MINUTES
from skyflow.models.idle import LEASE_GRACE, WAIT_FOR
from skyflow.models.job import JobEnd, JobRecord
from skyflow.models.node import Node, Offer
from skyflow.models.schedule import Demand
from skyflow.models.wire import Wire

OperationKind = Literal["launch", "exec", "stop", "start", "down"]


class IdleRule(Wire):
    """Take the cluster down, or stop it, after so many idle minutes."""

    minutes: int
    down: bool = True
    safety: bool = False
    """Set by skyflow, until the user's own rule is known."""
    down_after: int | None = None
    """Of a rule that stops: take the cluster down when it has been stopped for so many minutes."""
    wait_for: str = WAIT_FOR[0]
    """What keeps the cluster from being idle: `jobs_and_ssh`, `jobs`, or `none` (it goes so long after it was set)."""

    @property
    def lease(self) -> int:
        """Seconds after which its nodes need not believe any more that somebody carries it out."""
        return self.minutes * 60 + LEASE_GRACE


class Operation(Wire):
    workflow_id: str
    kind: OperationKind
    exclusive: bool = False
    granted: bool = False
    idle: bool = False
    """Whether nobody asked for it: the cluster was idle for long enough."""
    job_id: int | None = None
    grace: float | None = None
    """Of a stop or a down: seconds that what it cancels has from SIGTERM to SIGKILL; None: the usual."""
    purge: bool = False
    """Of a stop or a down: what holds the cluster when this one has waited long enough is dropped."""
    heard: float = 0
    """When its last report of nodes was made, in epoch seconds of its workflow."""


class Place(Wire):
    """Where nodes of a cluster may be: a cloud, and the host whose worker must make the calls, if there is one."""

    cloud: str
    host: str | None = None


class Expect(Wire):
    """A launch is about to make nodes there. Said before the first node exists, so that somebody always owns it."""

    uid: str
    place: Place


class Hardware(Wire):
    """What a cluster has; nothing, if there is no such cluster."""

    uid: str = ""
    num_nodes: int = 0
    is_up: bool = False
    is_stopped: bool = False
    """Whether nodes are stopped or gone, so that a launch starts them or makes them anew."""
    offer: Offer | None = None


class Reserve(Wire):
    """A workflow asks for the cluster. Asking again is the same request."""

    workflow_id: str
    kind: OperationKind
    force: bool = False
    """For a down that has waited long enough: do not wait for jobs that cannot be stopped."""
    purge: bool = False
    """With `force`: not even for other operations that hold the cluster."""
    grace: float | None = None
    """For a stop or a down: seconds that what it cancels has from SIGTERM to SIGKILL; None: the usual."""
    epoch: int | None = None
    """For a stop or a down that nobody asked for: only if the cluster has been idle since this epoch."""
    job: JobRecord | None = None
    """The job that it brings, if any."""
    entry_point: str = ""
    """What asks for it, in words. Of a launch, an exec or a start it is the cluster's `last_use`."""
    webhook: bool = False
    """Set by the worker: whether it has a webhook that is to be told of changes of state."""


class Reservation(Wire):
    """Answer to Reserve, and the signal `granted` that may follow it."""

    granted: bool = False
    uid: str = ""
    job_id: int | None = None
    nodes: list[Node] = Field(default_factory=list)
    offer: Offer | None = None
    stopped: bool = False
    """The nodes, or some of them, have to be started first."""
    lost: list[int] = Field(default_factory=list)
    """Ranks whose nodes are gone, and have to be made anew first."""
    up: bool = False
    """Whether the others run already."""
    waiting_for: str = ""
    places: list[Place] = Field(default_factory=list)
    ports: list[str] | None = None
    """Ports that the cluster has open; None from a cluster that was reserved by an earlier version."""
    deployment: str = ""
    search_attributes: bool = False
    check_seconds: float = 60
    safety_minutes: int = 60


class NodesReport(Wire):
    """A launch has made the nodes, or they were started again."""

    workflow_id: str
    uid: str
    nodes: list[Node]
    offer: Offer
    ports: list[str] = Field(default_factory=list)
    """Ports that the launch wants open: numbers and ranges."""
    partial: bool = False
    """The others are still being made: until they are reported, the operation has the cluster for itself."""
    started: bool = True
    """Whether those that were stopped have been started. If not, what the cluster knows of such is newer."""
    at: float = 0
    """When it was made, in epoch seconds of its workflow: of one workflow, only a newer one than the last is heard."""


class Release(Wire):
    """An operation is over."""

    workflow_id: str
    job: JobEnd | None = None
    """What became of its job, if that was never submitted."""
    nodes_deleted: bool = False
    nodes_stopped: bool = False
    nodes_left: bool = False
    """The operation could not delete what it had made: whoever ends this life of the cluster has to."""
    purged: bool = False
    """The cloud did not do it, and the cluster counts as stopped, or as gone, all the same: its user said so."""
    discard: bool = False
    """The nodes were made, or started, for this operation and are not wanted any more: delete them, or stop them, if
    nobody else uses them."""


class Submission(Wire):
    """A launch hands its job over."""

    workflow_id: str
    job_id: int
    spec: str
    demand: Demand = Field(default_factory=Demand)


class AutostopSetting(Wire):
    """The user's idle rule. `minutes` None or negative: none. Without the field it is no setting, and is not read."""

    minutes: int | None = Field(le=MAX_MINUTES)
    down: bool = False
    """Whether the cluster is then taken down instead of stopped."""
    down_after: int | None = Field(None, le=MAX_MINUTES)
    """Take the cluster down when it has been stopped for so many minutes."""
    only_replace_safety: bool = False
    """Set by a launch that asked for nothing: the safety rule ends, a rule of the user stays."""
    notify: str = ""
    """Workflow that gets the signal `cluster_ended`."""
    wait_for: str | None = None
    """As in IdleRule; its default, if absent."""


class IdleDue(Wire):
    """The idle clock that was started in this epoch of this life has run out."""

    uid: str
    epoch: int


class CancelRequest(Wire):
    """Signal `cancel` of a launch. Its nodes are deleted unless `keep_nodes`."""

    keep_nodes: bool = False
    grace: float | None = None
    """Seconds that its job, or its setup, has from SIGTERM to SIGKILL; None: the usual."""
    reason: str = ""
    """Why, in words, if nobody asked for it."""

    @property
    def because(self) -> str:
        """The reason, as it is told behind `cancelled`."""
        return f": {self.reason}" if self.reason else ""


class CancelJobs(Wire):
    """Signal `cancel` of a cluster: these jobs, or, if `jobs` is null, all of them. Without the field, none."""

    jobs: list[int] | None


@dataclass(frozen=True)
class Grant:
    workflow_id: str
    reservation: Reservation


@dataclass(frozen=True)
class CancelOperation:
    workflow_id: str
    keep_nodes: bool
    grace: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class EndOperation:
    """A purge has taken its place: what it still does to nodes counts no more."""

    workflow_id: str


@dataclass(frozen=True)
class StartJob:
    job_id: int


@dataclass(frozen=True)
class CancelJob:
    job_id: int
    grace: float | None = None
    reason: str = ""
    """Why, in words, if nobody asked for it."""


@dataclass(frozen=True)
class AbandonJob:
    """Its nodes are stopped or gone: there is nothing left to wait for."""

    job_id: int
    uid: str
    stopped: bool = False
    """Whether they are stopped: what became of the job is on their disks."""


@dataclass(frozen=True)
class RanksLost:
    """These nodes of it are stopped or gone, with what ran there."""

    job_id: int
    ranks: tuple[int, ...]
    stopped: tuple[int, ...] = ()
    """Those of them that are stopped: how what ran there ended is on their disks."""


@dataclass(frozen=True)
class NotifyLaunch:
    workflow_id: str
    end: JobEnd


@dataclass(frozen=True)
class ArmIdle:
    """The cluster is idle: count the minutes. None: no rule, so count nothing."""

    epoch: int
    rule: IdleRule | None


@dataclass(frozen=True)
class AskSessions:
    """The rule is due; but is somebody logged in on the nodes?"""

    epoch: int


@dataclass(frozen=True)
class Busy:
    """The cluster is not idle any more."""


@dataclass(frozen=True)
class Guard:
    """Nodes may be at these places from now on."""

    places: tuple[Place, ...]


@dataclass(frozen=True)
class StartDown:
    """Take the cluster down; with an epoch, only if nothing has happened since."""

    request_id: str
    epoch: int | None = None


@dataclass(frozen=True)
class StartStop:
    """Stop the cluster; with an epoch, only if nothing has happened since."""

    request_id: str
    epoch: int | None = None


@dataclass(frozen=True)
class LifeEnded:
    """The nodes are gone; whoever waited for that must hear of it."""

    uid: str
    notify: tuple[str, ...]
    left: tuple[Place, ...] = ()
    """Where nodes may be nevertheless: the guardian of this life goes on deleting them."""
    deployment: str = ""
    """In the tags of this life's nodes."""


Action = (
    Grant
    | CancelOperation
    | EndOperation
    | StartJob
    | CancelJob
    | AbandonJob
    | RanksLost
    | NotifyLaunch
    | ArmIdle
    | AskSessions
    | Busy
    | Guard
    | StartDown
    | StartStop
    | LifeEnded
)
