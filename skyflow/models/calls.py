"""The activities that workflows call: names and types, no bodies.

Workflows call these (`execute_activity_method(CloudCalls.create_nodes, …)`); the classes in `skyflow/activities`
subclass them. So a workflow never imports what an activity needs, and a type checker holds both sides together. A
method's name is wire format. Every activity may run twice and may die half way: each says what names its effect.
"""

from __future__ import annotations

from pydantic import Field
from temporalio import activity

from skyflow.models.adoption import AdoptRequest, Known, LifeRef
from skyflow.models.change import CallbackSpec, Change, Told
from skyflow.models.job import Gang, JobEnd, JobRecord, JobSpec, RankEnd, Units
from skyflow.models.node import GangRef, GangRequest, Node, NodeStatus, TaggedNode
from skyflow.models.operation import (
    AutostopSetting,
    Hardware,
    NodesReport,
    Reservation,
    Reserve,
    Submission,
)
from skyflow.models.plan import Plan, PlanRequest
from skyflow.models.usage import UpInterval
from skyflow.models.wire import Wire


class SyncRequest(Wire):
    """Bring a snapshot onto nodes."""

    gang: Gang
    ref: str
    """Key of the snapshot in the store."""
    target: str
    """Where it goes on the node: `~/…`, absolute, or relative to the home."""
    store: str | None = None
    """URL of the store as the client sees it."""


class SyncReport(Wire):
    """What was done on all nodes together."""

    sent_files: int = 0
    sent_bytes: int = 0
    deleted: int = 0


class SetupRequest(Wire):
    """Run setup on one node."""

    gang: Gang
    """All nodes of the cluster: setup knows its peers."""
    rank: int
    job_id: int
    setup: str
    envs: dict[str, str] = Field(default_factory=dict)
    task_id: str = ""
    user: str = ""
    num_gpus: int = 0


class GangStart(Wire):
    """Start a job on all nodes of its gang, or on none."""

    gang: Gang
    job_id: int
    spec: str
    accelerator: str = ""
    """Kind of the nodes' accelerators, if they have any."""
    devices: dict[int, list[int]] = Field(default_factory=dict)
    """Rank → which of them the job may use there."""


class UnitRequest(Wire):
    """One unit (a job's run or setup) on the nodes of a gang."""

    gang: Gang
    unit: str
    code: int = 137
    """For a cancel: the exit code of what had not ended by itself."""
    grace: float | None = None
    """For a cancel: seconds between SIGTERM and SIGKILL; None: the usual. A second try begins them anew."""


class UnitsRequest(Wire):
    """Which jobs the nodes of a gang know: all that run, and of the others those from a number on."""

    gang: Gang
    first: int


class NodeSearch(Wire):
    """Find every node of these deployments in one cloud."""

    cloud: str
    host: str | None = None
    deployments: list[str]


class LeaseRequest(Wire):
    """The lease of the nodes of a gang."""

    gang: Gang
    seconds: int | None = None
    """Without a unit, a user and a call for so long, they switch themselves off; None: they stay on."""


class WatchRequest(Wire):
    gang: Gang
    cursors: dict[str, int] = Field(default_factory=dict)


class UnitEvent(Wire):
    rank: int
    unit: str
    code: int


class WatchReport(Wire):
    cursors: dict[str, int] = Field(default_factory=dict)
    ended: list[UnitEvent] = Field(default_factory=list)
    gone: list[int] = Field(default_factory=list)
    """Ranks whose nodes the cloud says are gone."""
    stopped: list[int] = Field(default_factory=list)
    """Ranks whose nodes the cloud says are stopped."""


class JobSubmission(Wire):
    """The job's spec goes into the store, its key to the cluster."""

    cluster: str
    submission: Submission
    uid: str
    spec: JobSpec


class ClusterMessage(Wire):
    """Whom a message is for."""

    cluster: str


class ReserveCall(ClusterMessage):
    reserve: Reserve
    create: bool = False
    """Start the cluster's workflow if it is not running."""
    store: str | None = None
    """URL of the store as the client sees it."""


class NodesCall(ClusterMessage):
    report: NodesReport


class AutostopCall(ClusterMessage):
    setting: AutostopSetting


class RecordCall(Wire):
    """What is kept in the store of a job that has ended."""

    cluster: str
    uid: str
    job: JobRecord
    end: JobEnd


class ClosingCall(Wire):
    """Nothing of this life of a cluster is up any more."""

    cluster: str
    uid: str
    ended: float


class ClusterCalls:
    """Talks to cluster workflows. Task queue `skyflow`."""

    @activity.defn
    async def reserve_cluster(self, call: ReserveCall) -> Reservation:
        """Named by the caller's workflow id. Asking again returns the same reservation."""
        raise NotImplementedError

    @activity.defn
    async def report_nodes(self, call: NodesCall) -> None:
        """Named by the caller's workflow id and the life of the cluster."""
        raise NotImplementedError

    @activity.defn
    async def set_autostop(self, call: AutostopCall) -> None:
        """The last setting wins; the same one twice is one."""
        raise NotImplementedError

    @activity.defn
    async def submit_job(self, call: JobSubmission) -> None:
        """Named by the job's id: the spec is put if absent, a second submission is ignored."""
        raise NotImplementedError

    @activity.defn
    async def describe_workflows(self, ids: list[str]) -> dict[str, str]:
        """Workflow id → RUNNING, COMPLETED, FAILED, CANCELED, TERMINATED, TIMED_OUT or ABSENT. Reads only."""
        raise NotImplementedError

    @activity.defn
    async def find_life(self, cluster: str) -> str:
        """The uid of the cluster's present life, if its workflow runs; empty otherwise. Reads only."""
        raise NotImplementedError

    @activity.defn
    async def find_hardware(self, cluster: str) -> Hardware:
        """What the cluster has. Reads only."""
        raise NotImplementedError


class LedgerCalls:
    """The record of what was up. Task queue `skyflow`."""

    @activity.defn
    async def book_intervals(self, intervals: list[UpInterval]) -> None:
        """Named by node and start; what is there already stays as it is."""
        raise NotImplementedError

    @activity.defn
    async def close_intervals(self, closing: ClosingCall) -> None:
        """Ends what is still open of one life of a cluster, and forgets what was kept of it; the first end counts."""
        raise NotImplementedError


class LifeCalls:
    """What is kept of clusters for the day when Temporal's database is lost. Task queue `skyflow`."""

    @activity.defn
    async def keep_life(self, cluster: str) -> int:
        """Asks the cluster what it is, and keeps that. Named by its edition, which it returns; a newer one stays."""
        raise NotImplementedError

    @activity.defn
    async def list_lives(self, request: AdoptRequest) -> Known:
        """What the store knows, and which of it this namespace has. Reads only."""
        raise NotImplementedError

    @activity.defn
    async def adopt_life(self, life: LifeRef) -> bool:
        """Starts the cluster's workflow with what was kept, unless it runs. Named by the cluster and its life.

        Returns:
            Whether it runs now; False if nothing is kept of it any more, or the name is another cluster's.
        """
        raise NotImplementedError


class ListenerCalls:
    """Who is told of changes of state. Task queue `skyflow-watch`, but keep_callback: `skyflow`."""

    @activity.defn
    async def post_changes(self, changes: list[Change]) -> Told:
        """Named by the cluster and the change's number: what a webhook has acknowledged is noted in the store, and not
        sent again. A worker that dies between the two sends that one once more, under the same id."""
        raise NotImplementedError

    @activity.defn
    async def keep_callback(self, spec: CallbackSpec) -> None:
        """Named by the launch; writing it again changes nothing."""
        raise NotImplementedError

    @activity.defn
    async def run_callbacks(self, changes: list[Change]) -> None:
        """Named by the job and the change's number: what has run to its end is noted in the store, and not run again.
        A script dies with its worker, and then begins anew."""
        raise NotImplementedError


class PlanCalls:
    """Task queue `skyflow`."""

    @activity.defn
    async def rank_offers(self, request: PlanRequest) -> Plan:
        """Reads only."""
        raise NotImplementedError


class CloudCalls:
    """Calls to a cloud's API. Task queue `skyflow-cloud`, or the host's."""

    @activity.defn
    async def create_nodes(self, request: GangRequest) -> list[Node]:
        """Create or adopt, named by `GangRequest.token`: the whole gang, or some ranks of it. Raises ProvisionError; a
        part of them may exist then."""
        raise NotImplementedError

    @activity.defn
    async def delete_nodes(self, gang: GangRef) -> int:
        """Deletes by tag, or of these by id; deleting what is absent succeeds. Returns how many there were."""
        raise NotImplementedError

    @activity.defn
    async def describe_nodes(self, gang: GangRef) -> list[NodeStatus]:
        """What the cloud says of the nodes, found by tag. Reads only."""
        raise NotImplementedError

    @activity.defn
    async def find_nodes(self, search: NodeSearch) -> list[TaggedNode]:
        """Every node of some deployments, of whatever cluster, found by tag. Reads only."""
        raise NotImplementedError

    @activity.defn
    async def stop_nodes(self, gang: GangRef) -> int:
        """Stops by tag; stopping the stopped succeeds. Returns how many there are."""
        raise NotImplementedError

    @activity.defn
    async def start_nodes(self, gang: GangRef) -> list[Node]:
        """Starts what is stopped, found by tag; what runs stays as it is. Raises ProvisionError."""
        raise NotImplementedError


class SyncCalls:
    """Bulk bytes. Task queue `skyflow-sync`, or the host's."""

    @activity.defn
    async def sync_workdir(self, request: SyncRequest) -> SyncReport:
        """Ends in an atomic switch; running again finds nothing to do."""
        raise NotImplementedError

    @activity.defn
    async def sync_file_mounts(self, request: SyncRequest) -> SyncReport:
        """As sync_workdir, for one mount."""
        raise NotImplementedError


class NodeCalls:
    """Quick calls to nodes. Task queue `skyflow`, or the host's."""

    @activity.defn
    async def start_gang(self, request: GangStart) -> None:
        """Named by the job's unit: a node starts a unit once. If one node cannot start it, none does."""
        raise NotImplementedError

    @activity.defn
    async def cancel_units(self, request: UnitRequest) -> None:
        """Leaves a tombstone and kills the tree; what had ended keeps its code."""
        raise NotImplementedError

    @activity.defn
    async def list_ended(self, request: UnitRequest) -> list[RankEnd]:
        """Which ranks of a unit have ended, read from the nodes, after what was left of their logs is in the store."""
        raise NotImplementedError

    @activity.defn
    async def read_ends(self, request: UnitRequest) -> list[RankEnd]:
        """As list_ended, of a unit that nobody looks after any more: nodes that do not answer are tried again, and a
        rank that never began is lost. One that runs still is not in the answer."""
        raise NotImplementedError

    @activity.defn
    async def count_running(self, gang: GangRef) -> int:
        """How many units still run on the nodes found by tag. Reads only."""
        raise NotImplementedError

    @activity.defn
    async def list_units(self, request: UnitsRequest) -> Units:
        """Which jobs run, or have run, on the nodes of a gang. Reads only."""
        raise NotImplementedError

    @activity.defn
    async def lease_nodes(self, request: LeaseRequest) -> None:
        """The last lease that a node was told counts; told twice, it begins anew."""
        raise NotImplementedError

    @activity.defn
    async def last_session(self, gang: Gang) -> float | None:
        """How many seconds ago a user was last seen on any of the nodes that answer: 0 is now, None is never.

        Reads only.
        """
        raise NotImplementedError

    @activity.defn
    async def record_job(self, call: RecordCall) -> None:
        """Named by the job; the last record counts: that of an end that was read late is written after the first."""
        raise NotImplementedError


class WatchCalls:
    """Long calls to nodes. Task queue `skyflow-watch`, or the host's."""

    @activity.defn
    async def watch_nodes(self, request: WatchRequest) -> WatchReport:
        """Follows all nodes from the cursors on, ships logs, returns when something happened."""
        raise NotImplementedError

    @activity.defn
    async def run_setup(self, request: SetupRequest) -> None:
        """Named by the setup's unit: a node runs it once; a retry waits for the same run. Raises CommandError."""
        raise NotImplementedError
