"""The watch: follows what happens on the nodes of a cluster, and ships the logs of its units while they are written.

It returns when something happened. Until then it reconnects for as long as it takes: that a node cannot be reached is
told, but it is a fact about the path to the node. Nothing is kept here between two watches: where to go on with the
events is in the cursors, where to go on with a log is in the sink. So a watch may die at any moment and begin anew.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from skyflow.errors import NodeUnreachableError, SkyflowError
from skyflow.models.node import Node
from skyflow.nodes import runner
from skyflow.nodes.connection import Connection
from skyflow.nodes.runner import RunnerEvent
from skyflow.nodes.shipment import LogSink, Shipment

Connect = Callable[[Node], AbstractAsyncContextManager[Connection]]
"""The way to a node: `Connections.connect` with the cluster's key."""

COALESCE_SECONDS = 0.005
"""What ends on several nodes within this time is told together."""
FIRST_DELAY, LAST_DELAY = 0.1, 5.0
"""Seconds between two tries to reconnect: they double from the first to the last."""


@dataclass(frozen=True)
class Pace:
    """How often a watch does what it does, in seconds."""

    flush: float = 0.2
    """At most so often is a piece of a log written, unless it has 1 MiB or the unit has ended."""
    unreachable: float = 30
    """A node that cannot be reached for longer ends the watch."""
    check: float = 1
    """So often is looked whether that is so, if nothing happens."""
    look: float = 60
    """So often is looked for units that vanished without a word (somebody killed the runner's own process)."""


@dataclass(frozen=True)
class Event:
    """A unit has ended, and its log is in the sink."""

    node: str
    rank: int
    unit: str
    kind: Literal["end"]
    code: int
    """`LOST` if the node rebooted, or the process vanished, before it left an exit code."""


@dataclass(frozen=True)
class Unreachable:
    """A node that cannot be reached now. It may be well."""

    node: str
    rank: int
    since: float
    """Epoch seconds."""
    reason: str


@dataclass(frozen=True)
class WatchResult:
    cursors: dict[str, int]
    """Node id → where to go on in its events: behind the last of `events`, and before whatever is not told here."""
    events: list[Event]
    unreachable: list[Unreachable]
    """All that cannot be reached at this moment, for however short a time; the caller looks at `since`."""


async def watch(
    nodes: Sequence[Node],
    connect: Connect,
    uid: str,
    cursors: Mapping[str, int],
    sink: LogSink,
    pace: Pace | None = None,
) -> WatchResult:
    """Returns when a unit has ended and its log is in the sink, or a node cannot be reached for long.

    Args:
        nodes: of the cluster.
        connect: opens the way to one of them.
        uid: of the life of the cluster.
        cursors: node id → where to begin in its events; 0 if absent.
        sink: where the logs go. What it raises ends the watch.
        pace: how often it does what.
    """
    pace = pace or Pace()
    happened = asyncio.Event()
    spawned: list[asyncio.Task[None]] = []
    with _first_failure():
        async with asyncio.TaskGroup() as group:
            scene = _Scene(connect, uid, sink, pace, happened, lambda work: spawned.append(group.create_task(work)))
            followers = [_Follower(node, scene, cursors.get(node.id, 0)) for node in nodes]
            for follower in followers:
                scene.spawn(follower.run())
                scene.spawn(follower.look())
            try:
                while (result := _result(followers, pace)) is None:
                    happened.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pace.check):
                            await happened.wait()
                    if len(nodes) > 1:
                        await asyncio.sleep(COALESCE_SECONDS)
                return result
            finally:
                for task in spawned:
                    task.cancel()


async def drain(nodes: Sequence[Node], connect: Connect, uid: str, unit: str, sink: LogSink) -> dict[int, int]:
    """Ships what is left of the logs of one unit, where it has ended.

    Returns:
        Rank → exit code. A rank is absent if the unit has not ended there, or its node cannot be reached now.
    """
    codes: dict[int, int] = {}

    async def drain_one(node: Node) -> None:
        with suppress(NodeUnreachableError):
            async with connect(node) as conn:
                state = await ship_rest(conn, uid, unit, sink)
                if state is not None and state.code is not None:
                    codes[node.rank] = state.code

    with _first_failure():
        async with asyncio.TaskGroup() as group:
            for node in nodes:
                group.create_task(drain_one(node))
    return codes


async def ship_rest(conn: Connection, uid: str, unit: str, sink: LogSink) -> runner.UnitState | None:
    """Ships what is left of the log of a unit, if it has ended there.

    Returns:
        The unit as the node has it; None if it never started there.
    """
    state = (await runner.show(conn, uid, [unit])).get(unit)
    if state is not None and state.code is not None:
        shipment = Shipment(sink, unit, conn.node.rank, partial(runner.log, conn, uid, unit))
        shipment.end_at(state.size)
        await shipment.run()
    return state


@dataclass(frozen=True)
class _Scene:
    """What the followers of one watch share."""

    connect: Connect
    uid: str
    sink: LogSink
    pace: Pace
    happened: asyncio.Event
    spawn: Callable[[Coroutine[Any, Any, None]], None]


@dataclass(frozen=True)
class _Mark:
    """A place in a node's events: it is settled once the shipment, if there is one, is done."""

    offset: int
    event: Event | None = None
    shipment: Shipment | None = None

    def is_settled(self) -> bool:
        return self.shipment is None or self.shipment.done


@dataclass
class _Follower:
    """Follows one node, for ever."""

    node: Node
    scene: _Scene
    offset: int
    down: Unreachable | None = None
    marks: list[_Mark] = field(default_factory=list)
    shipments: dict[str, Shipment] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.marks.append(_Mark(self.offset))

    async def run(self) -> None:
        delays = _delays()
        while True:
            try:
                async with (
                    self.scene.connect(self.node) as conn,
                    aclosing(runner.events(conn, self.scene.uid, self.offset)) as stream,
                ):
                    async for event in stream:
                        if event.kind == "ready":
                            self.down, delays = None, _delays()
                        self._take(event)
            except SkyflowError as error:
                self._missed(error)
                await asyncio.sleep(next(delays))

    async def look(self) -> None:
        """Asks after the units that should run: what was lost becomes an event. If there are none, it says so much as
        that the node is in use, or its lease might run out while somebody copies files."""
        while True:
            await asyncio.sleep(self.scene.pace.look)
            units = self.shipments.keys() - self.ended
            if self.down is None:
                with suppress(SkyflowError):  # `run` meets the same trouble, and tells it
                    async with self.scene.connect(self.node) as conn:
                        if units:
                            await runner.show(conn, self.scene.uid, units)
                        else:
                            await runner.contact(conn, self.scene.uid)

    def settled(self) -> list[_Mark]:
        return list(itertools.takewhile(_Mark.is_settled, self.marks))

    def _take(self, event: RunnerEvent) -> None:
        if event.kind != "running":
            self.offset = event.offset
        if event.kind in ("running", "start"):
            self._shipment(event.unit)
        elif event.kind == "end" and event.unit not in self.ended:
            self.ended.add(event.unit)
            shipment = self._shipment(event.unit)
            shipment.end_at(event.size)
            told = Event(self.node.id, self.node.rank, event.unit, event.kind, event.code)
            self.marks.append(_Mark(event.offset, told, shipment))

    def _shipment(self, unit: str) -> Shipment:
        shipment = self.shipments.get(unit)
        if shipment is None:
            flush = self.scene.pace.flush
            shipment = Shipment(self.scene.sink, unit, self.node.rank, partial(self._read_log, unit), flush)
            self.shipments[unit] = shipment
            self.scene.spawn(self._ship(shipment))
        return shipment

    async def _ship(self, shipment: Shipment) -> None:
        await shipment.run()
        self.scene.happened.set()

    async def _read_log(self, unit: str, offset: int) -> AsyncGenerator[bytes, None]:
        """The log from a byte on, whatever happens to the connection."""
        delays = _delays()
        while True:
            try:
                async with (
                    self.scene.connect(self.node) as conn,
                    aclosing(runner.log(conn, self.scene.uid, unit, offset)) as stream,
                ):
                    async for chunk in stream:
                        delays = _delays()
                        offset += len(chunk)
                        yield chunk
            except SkyflowError:  # `run` meets the same trouble, and tells it
                await asyncio.sleep(next(delays))

    def _missed(self, error: SkyflowError) -> None:
        since = self.down.since if self.down else time.time()
        self.down = Unreachable(self.node.id, self.node.rank, since, str(error))
        self.scene.happened.set()


def _result(followers: list[_Follower], pace: Pace) -> WatchResult | None:
    """What there is to tell, if that is worth an end of the watch."""
    settled = {follower.node.id: follower.settled() for follower in followers}
    events = [mark.event for marks in settled.values() for mark in marks if mark.event]
    down = [follower.down for follower in followers if follower.down]
    if not events and not any(time.time() - one.since >= pace.unreachable for one in down):
        return None
    return WatchResult({node: marks[-1].offset for node, marks in settled.items()}, events, down)


def _delays() -> Iterator[float]:
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1)
        delay = min(2 * delay, LAST_DELAY)


@contextmanager
def _first_failure() -> Iterator[None]:
    """Of the failures of a group, the one that ended the others."""
    try:
        yield
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
