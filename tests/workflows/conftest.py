"""The real workflows on a real server, with activities that remember what they were asked."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from temporalio import activity
from temporalio.client import Client, RPCError
from temporalio.worker import Worker

from skyflow.activities.cluster import ClusterActivities, update
from skyflow.activities.context import Context
from skyflow.activities.heartbeat import HeartbeatInterceptor
from skyflow.activities.listener import ListenerActivities
from skyflow.errors import HostKeyMismatchError, NodeUnreachableError
from skyflow.models.adoption import AdoptRequest, Known, LifeRef
from skyflow.models.calls import (
    ClosingCall,
    CloudCalls,
    GangStart,
    JobSubmission,
    LeaseRequest,
    LedgerCalls,
    LifeCalls,
    ListenerCalls,
    NodeCalls,
    NodeSearch,
    PlanCalls,
    RecordCall,
    SetupRequest,
    SyncCalls,
    SyncReport,
    SyncRequest,
    UnitEvent,
    UnitRequest,
    UnitsRequest,
    WatchCalls,
    WatchReport,
    WatchRequest,
)
from skyflow.models.change import CallbackSpec, Change, Told
from skyflow.models.cluster import ClusterState
from skyflow.models.job import LOST, Gang, RankEnd, Units
from skyflow.models.name import cluster_workflow_id, task_queue
from skyflow.models.node import GangRef, GangRequest, Node, NodeStatus, Offer, TaggedNode
from skyflow.models.operation import Expect, Place
from skyflow.models.plan import Explanation, Plan, PlanRequest
from skyflow.models.usage import UpInterval
from skyflow.settings import Settings
from skyflow.store.store import open_store
from skyflow.worker.converter import data_converter
from skyflow.worker.message import MessageInterceptor
from skyflow.worker.sandbox import WORKFLOWS, sandbox


@dataclass
class World(PlanCalls, LedgerCalls, LifeCalls, CloudCalls, SyncCalls, NodeCalls, WatchCalls, ListenerCalls):
    """Clouds and nodes that exist in memory. `ends` says with which code each unit ends, once it was started."""

    client: Client
    offers: list[Offer]
    failures: dict[str, Exception] = field(default_factory=dict)
    """Zone → what it answers."""
    nodes: dict[str, GangRequest] = field(default_factory=dict)
    ends: dict[str, dict[int, int]] = field(default_factory=dict)
    """Unit → rank → code; a unit that is not here runs until it is cancelled."""
    started: dict[str, list[int]] = field(default_factory=dict)
    graces: dict[str, float | None] = field(default_factory=dict)
    """Unit → the seconds that it had when it was cancelled."""
    told: set[tuple[str, int]] = field(default_factory=set)
    ended: dict[tuple[str, int], int] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    tried: list[GangRequest] = field(default_factory=list)
    asked: list[PlanRequest] = field(default_factory=list)
    page: int = 100
    """How many offers are told at once."""
    setup: Callable[[SetupRequest], None] = lambda request: None
    watched: bool = True
    unknown: bool = False
    """Whether the cloud does not answer."""
    ledger: dict[tuple[str, float], UpInterval] = field(default_factory=dict)
    lives: dict[str, ClusterState] = field(default_factory=dict)
    """What is kept of clusters, by uid."""
    stopped: set[str] = field(default_factory=set)
    """Tokens of the nodes that are."""
    before_stop: Callable[[], Awaitable[Any]] = lambda: asyncio.sleep(0)
    no_start: list[Exception] = field(default_factory=list)
    """What the next starts answer."""
    leases: dict[str, list[int | None]] = field(default_factory=dict)
    """Cluster → what its nodes were told."""
    no_lease: list[Exception] = field(default_factory=list)
    """What they answer to the next ones."""
    no_read: list[Exception] = field(default_factory=list)
    """What they answer to the next questions how a job has ended."""
    read_at: float | None = None
    """When it has, by their clocks."""
    session: float | None = None
    """How many seconds ago a user was last seen."""
    silent: bool = False
    """Whether the nodes do not say so."""
    context: Context | None = None

    @activity.defn
    async def rank_offers(self, request: PlanRequest) -> Plan:
        self.calls.append("rank_offers")
        self.asked.append(request)
        first = 0 if request.after is None else self.offers.index(request.after) + 1
        why = Explanation(ruled_out=[] if self.offers else ["nothing fits"])
        return Plan(offers=self.offers[first:][: self.page], num_offers=len(self.offers), explanation=why)

    @activity.defn
    async def book_intervals(self, intervals: list[UpInterval]) -> None:
        for interval in intervals:
            self.ledger[interval.node, interval.started] = interval

    @activity.defn
    async def close_intervals(self, closing: ClosingCall) -> None:
        for interval in self.ledger.values():
            if interval.uid == closing.uid:
                interval.ended = interval.ended or closing.ended
        self.lives.pop(closing.uid, None)

    @activity.defn
    async def keep_life(self, cluster: str) -> int:
        handle = self.client.get_workflow_handle(cluster_workflow_id(cluster))
        state: ClusterState = await handle.query("life", result_type=ClusterState)
        self.lives[state.uid] = state
        return state.edition

    @activity.defn
    async def list_lives(self, request: AdoptRequest) -> Known:
        raise NotImplementedError

    @activity.defn
    async def adopt_life(self, life: LifeRef) -> bool:
        raise NotImplementedError

    @activity.defn
    async def find_nodes(self, search: NodeSearch) -> list[TaggedNode]:
        raise NotImplementedError

    @activity.defn
    async def post_changes(self, changes: list[Change]) -> Told:
        return await self.listeners().post_changes(changes)

    @activity.defn
    async def keep_callback(self, spec: CallbackSpec) -> None:
        await self.listeners().keep_callback(spec)

    @activity.defn
    async def run_callbacks(self, changes: list[Change]) -> None:
        await self.listeners().run_callbacks(changes)

    def listeners(self) -> ListenerActivities:
        """The real ones, for a test that has a context for them."""
        assert self.context is not None
        return ListenerActivities(self.context)

    @activity.defn
    async def create_nodes(self, request: GangRequest) -> list[Node]:
        self.calls.append(f"create_nodes {request.offer.zone}")
        self.tried.append(request)
        expect = Expect(uid=request.uid, place=Place(cloud=request.offer.cloud, host=request.offer.host))
        await update(self.client, request.cluster, "expect", expect)
        ranks = request.wanted()
        if request.offer.zone in self.failures:
            self.nodes[request.token(ranks[0])] = request  # a partial gang
            raise self.failures[request.offer.zone].with_traceback(None)
        for rank in ranks:
            self.nodes[request.token(rank)] = request
        return [self.made(request.token(rank)) for rank in ranks]

    @activity.defn
    async def delete_nodes(self, gang: GangRef) -> int:
        self.calls.append("delete_nodes")
        mine = [
            token
            for token, made in self.nodes.items()
            if made.uid == gang.uid and gang.launch_id in (None, made.launch_id) and gang.cloud == made.offer.cloud
            if gang.ids is None or token in gang.ids
        ]
        for token in mine:
            del self.nodes[token]
        return len(mine)

    @activity.defn
    async def describe_nodes(self, gang: GangRef) -> list[NodeStatus]:
        self.calls.append("describe_nodes")
        if self.unknown:
            raise NodeUnreachableError("The cloud does not answer.")
        mine = [token for token, made in self.nodes.items() if made.uid == gang.uid]
        return [
            NodeStatus(node=self.made(token), state="stopped" if token in self.stopped else "running") for token in mine
        ]

    @activity.defn
    async def stop_nodes(self, gang: GangRef) -> int:
        self.calls.append("stop_nodes")
        await self.before_stop()
        mine = {token for token, made in self.nodes.items() if made.uid == gang.uid}
        self.stopped |= mine
        return len(mine)

    @activity.defn
    async def start_nodes(self, gang: GangRef) -> list[Node]:
        self.calls.append("start_nodes")
        if self.no_start:
            raise self.no_start.pop()
        mine = [token for token, made in self.nodes.items() if made.uid == gang.uid]
        self.stopped -= set(mine)
        return sorted((self.made(token) for token in mine), key=lambda node: node.rank)

    def made(self, token: str) -> Node:
        """A node that exists, with the rank that it was made for."""
        made = self.nodes[token]
        rank = next(rank for rank in range(made.num_nodes) if made.token(rank) == token)
        return self.node(token, rank).model_copy(update={"generation": made.generation})

    @staticmethod
    def node(token: str, rank: int) -> Node:
        return Node(
            id=token,
            rank=rank,
            address="127.9.9.9",
            port=22,
            user="me",
            host_key="key",
            internal_ip=f"10.0.0.{rank}",
        )

    @activity.defn
    async def sync_workdir(self, request: SyncRequest) -> SyncReport:
        self.calls.append(f"sync_workdir {len(request.gang.nodes)}")
        return SyncReport()

    @activity.defn
    async def sync_file_mounts(self, request: SyncRequest) -> SyncReport:
        self.calls.append(f"sync_file_mounts {request.target}")
        return SyncReport()

    @activity.defn
    async def run_setup(self, request: SetupRequest) -> None:
        self.calls.append(f"run_setup {request.rank}")
        self.setup(request)

    @activity.defn
    async def start_gang(self, request: GangStart) -> None:
        self.calls.append(f"start_gang {request.job_id}")
        unit = str(request.job_id)
        self.started[unit] = [node.rank for node in request.gang.nodes]
        for rank, code in self.ends.get(unit, {}).items():
            self.ended.setdefault((unit, rank), code)

    @activity.defn
    async def cancel_units(self, request: UnitRequest) -> None:
        self.calls.append(f"cancel_units {request.unit}")
        self.graces[request.unit] = request.grace
        for node in request.gang.nodes:
            self.ended.setdefault((request.unit, node.rank), request.code)

    @activity.defn
    async def list_ended(self, request: UnitRequest) -> list[RankEnd]:
        self.calls.append("list_ended")
        ranks = [node.rank for node in request.gang.nodes if (request.unit, node.rank) in self.ended]
        return [RankEnd(rank=rank, code=self.ended[request.unit, rank]) for rank in ranks]

    @activity.defn
    async def read_ends(self, request: UnitRequest) -> list[RankEnd]:
        self.calls.append(f"read_ends {request.unit}")
        if self.no_read:
            raise self.no_read.pop()
        known = {node.rank: self.ended.get((request.unit, node.rank), LOST) for node in request.gang.nodes}
        return [RankEnd(rank=rank, code=code, at=self.read_at) for rank, code in known.items()]

    @activity.defn
    async def count_running(self, gang: GangRef) -> int:
        self.calls.append("count_running")
        running = {(unit, rank) for unit, ranks in self.started.items() for rank in ranks}
        return len(running - self.ended.keys()) if self.nodes else 0

    @activity.defn
    async def list_units(self, request: UnitsRequest) -> Units:
        self.calls.append("list_units")
        runs = {int(unit): ranks for unit, ranks in self.started.items()}
        running = {unit for unit, ranks in self.started.items() for rank in ranks if (unit, rank) not in self.ended}
        return Units(runs=runs, running=[int(unit) for unit in running], highest=max(runs, default=0))

    @activity.defn
    async def lease_nodes(self, request: LeaseRequest) -> None:
        self.calls.append(f"lease_nodes {request.gang.cluster}")
        if self.no_lease:
            raise self.no_lease.pop()
        self.leases.setdefault(request.gang.cluster, []).append(request.seconds)

    @activity.defn
    async def last_session(self, gang: Gang) -> float | None:
        self.calls.append(f"last_session {gang.cluster}")
        if self.silent:
            raise HostKeyMismatchError("It is another machine.")
        return self.session

    @activity.defn
    async def record_job(self, call: RecordCall) -> None:
        self.calls.append(f"record_job {call.job.id} {call.end.status.value}")

    @activity.defn
    async def watch_nodes(self, request: WatchRequest) -> WatchReport:
        while True:
            activity.heartbeat()
            news = {key: code for key, code in self.ended.items() if key not in self.told} if self.watched else {}
            if news:
                self.told |= news.keys()
                ended = [UnitEvent(unit=unit, rank=rank, code=code) for (unit, rank), code in news.items()]
                return WatchReport(cursors=request.cursors, ended=ended)
            await asyncio.sleep(0.02)

    def activities(self) -> list[Any]:
        names = [name for base in World.__bases__ for name in vars(base) if not name.startswith("_")]
        return [getattr(self, name) for name in names]


class Clusters(ClusterActivities):
    """The real messages to clusters; the store is left out."""

    @activity.defn
    async def submit_job(self, call: JobSubmission) -> None:
        await self._update(call.cluster, "submit_job", call.submission.model_copy(update={"spec": "key"}))

    def activities(self) -> list[Any]:
        names = ["reserve_cluster", "report_nodes", "set_autostop", "submit_job"]
        return [getattr(self, name) for name in [*names, "describe_workflows", "find_life", "find_hardware"]]


W = TypeVar("W", bound=World)


def offer(zone: str, price: float = 1) -> Offer:
    return Offer(cloud="fake", region="r", zone=zone, instance_type="t", cpus=2, memory=4, price=price, can_stop=True)


@asynccontextmanager
async def served(
    server: str | Client,
    folder: Path,
    kind: type[W],
    clusters: type[Clusters] = Clusters,
    check_seconds: float = 0.5,
    **env: str,
) -> AsyncIterator[W]:
    """A fake world, served by a worker with the real workflows, and with these settings.

    `server` is an address, or a client of one.
    """
    client = await Client.connect(server, data_converter=data_converter) if isinstance(server, str) else server
    settings = Settings.from_env({"SKYFLOW_HOME": str(folder), "SKYFLOW_CHECK_SECONDS": str(check_seconds), **env})
    context = Context(
        settings,
        client,
        store=open_store(settings.store),
        connections=None,  # type: ignore[arg-type]
        deployment="d",
        search_attributes=False,
        callback_env=None if settings.event_callbacks == "off" else dict(os.environ),
    )
    world = kind(client, [offer("a", 1), offer("b", 2)], context=context)
    all_activities = [*clusters(context).activities(), *world.activities()]
    workers = [
        Worker(
            client,
            task_queue=task_queue(kind),  # type: ignore[arg-type]
            workflows=WORKFLOWS if kind == "quick" else [],
            activities=all_activities,
            workflow_runner=sandbox(),
            interceptors=[HeartbeatInterceptor(), MessageInterceptor()],
        )
        for kind in ("quick", "cloud", "sync", "watch")
    ]
    async with workers[0], workers[1], workers[2], workers[3]:
        try:
            yield world
        finally:
            if isinstance(server, str):  # or they would go on in the next test's world
                await end_all(client)


async def end_all(client: Client) -> None:
    """Ends every workflow that still runs on a server which other tests use too."""
    async for execution in client.list_workflows("ExecutionStatus = 'Running'"):
        with suppress(RPCError):  # it ended by itself
            await client.get_workflow_handle(execution.id, run_id=execution.run_id).terminate("the test is over")


@pytest.fixture
async def world(temporal_address: str, tmp_path: Path) -> AsyncIterator[World]:
    async with served(temporal_address, tmp_path, World) as world:
        yield world


@pytest.fixture
def unique() -> str:
    return f"c{uuid.uuid4().hex[:8]}"
