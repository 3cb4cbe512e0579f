"""The watch over real SSH: what it tells, and that logs arrive byte for byte whatever happens to the way."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from skyflow.errors import StoreError
from skyflow.models.job import LOST
from skyflow.nodes import runner
from skyflow.nodes.connection import Connections
from skyflow.nodes.watch import Event, Pace, WatchResult, drain, ship_rest, watch

from .conftest import UID, Gate, connect_with, until
from .server import SshServer
from .sink import MemorySink

pytestmark = pytest.mark.timeout(60)
FAST = Pace(flush=0.01, check=0.01)


class Lab:
    """Two nodes, and what watches them."""

    def __init__(self, pool: Connections, servers: list[SshServer]) -> None:
        self.servers = servers
        self.connect = connect_with(pool, *servers)
        self.sink = MemorySink()
        self.cursors: dict[str, int] = {}

    async def watch(self, *ranks: int, pace: Pace = FAST, sink: Any = None) -> WatchResult:
        nodes = [server.node for server in self.servers if not ranks or server.node.rank in ranks]
        result = await watch(nodes, self.connect, UID, self.cursors, sink or self.sink, pace)
        self.cursors |= result.cursors
        return result

    async def events(self, count: int, **more: Any) -> list[Event]:
        """So many events, from as many watches as it takes."""
        found: list[Event] = []
        while len(found) < count:
            found += (await self.watch(**more)).events
        return found

    async def start(self, rank: int, unit: str, script: str) -> None:
        async with self.connect(self.servers[rank].node) as conn:
            await runner.start(conn, UID, unit, script.encode())

    async def wait(self, rank: int, unit: str) -> None:
        async with self.connect(self.servers[rank].node) as conn:
            await runner.wait(conn, UID, unit)

    def log(self, rank: int, unit: str) -> bytes:
        return (self.servers[rank].home / ".skyflow/jobs" / UID / unit / "log").read_bytes()


@pytest.fixture
async def lab(pool: Connections, server: SshServer, second: SshServer) -> AsyncIterator[Lab]:
    yield Lab(pool, [server, second])


@asynccontextmanager
async def running(lab: Lab, **more: Any) -> AsyncIterator[asyncio.Task[WatchResult]]:
    task = asyncio.create_task(lab.watch(**more))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_end_is_told_once_and_its_log_is_there(lab: Lab) -> None:
    async with running(lab) as task:
        await until(lambda: lab.servers[0].connected > 0)
        await lab.start(0, "1", "echo hello; exit 3")
        assert (await task).events == [Event("node-0", 0, "1", "end", 3)]
        assert lab.sink.logs["1", 0] == b"hello\n"
    await lab.start(1, "2", "echo there")
    assert await lab.events(1) == [Event("node-1", 1, "2", "end", 0)]


async def test_what_ended_before_it_began(lab: Lab) -> None:
    await lab.start(0, "1-setup", "echo one")
    await lab.start(0, "1", "exit 2")
    await lab.wait(0, "1-setup")
    await lab.wait(0, "1")
    assert {(event.unit, event.code) for event in await lab.events(2)} == {("1-setup", 0), ("1", 2)}
    assert lab.sink.logs["1-setup", 0] == b"one\n"


async def test_a_unit_that_was_running_already(lab: Lab) -> None:
    gate = Gate(lab.servers[0].home / "gate")
    await lab.start(0, "1", "echo a; read x <~/gate; echo b")
    events = lab.servers[0].home / ".skyflow/jobs" / UID / "events"
    lab.cursors = {"node-0": events.stat().st_size}
    async with running(lab) as task:
        await lab.sink.until("1", 0, lambda data: data == b"a\n")
        await gate.open()
        assert (await task).events == [Event("node-0", 0, "1", "end", 0)]
    assert lab.sink.logs["1", 0] == b"a\nb\n"


async def test_it_goes_on_from_what_the_sink_holds(lab: Lab) -> None:
    await lab.start(0, "1", "printf 0123456789")
    lab.sink.logs["1", 0] = b"01234"
    await lab.events(1)
    assert lab.sink.logs["1", 0] == b"0123456789"


async def test_one_end_of_many_runs(lab: Lab) -> None:
    gates = [Gate(server.home / "gate") for server in lab.servers]
    for rank in (0, 1):
        await lab.start(rank, "7", f"read x <~/gate; echo {rank}; exit {rank}")
    async with running(lab) as task:
        await gates[1].open()
        assert (await task).events == [Event("node-1", 1, "7", "end", 1)]
    async with running(lab) as task:
        await gates[0].open()
        assert (await task).events == [Event("node-0", 0, "7", "end", 0)]
    assert {rank: lab.sink.logs["7", rank] for rank in (0, 1)} == {0: b"0\n", 1: b"1\n"}


async def test_a_hundred_thousand_lines(lab: Lab) -> None:
    await lab.start(0, "1", "seq 100000")
    await lab.events(1)
    assert lab.sink.logs["1", 0] == lab.log(0, "1") == b"".join(b"%d\n" % n for n in range(1, 100001))
    assert lab.sink.writes < 100


async def test_the_server_dies_again_and_again(lab: Lab) -> None:
    gate, server = Gate(lab.servers[0].home / "gate"), lab.servers[0]
    await lab.start(0, "1", "for i in 1 2 3 4; do seq 20000; read x <~/gate; done; echo end; exit 5")
    async with running(lab) as task:
        for number in range(1, 5):
            await lab.sink.until("1", 0, lambda data, number=number: data.count(b"\n") >= 20000 * number - 10000)
            await server.stop()
            await gate.open()
            await server.start()
        assert (await task).events == [Event("node-0", 0, "1", "end", 5)]
    assert lab.sink.logs["1", 0] == lab.log(0, "1")
    assert lab.log(0, "1").count(b"\n") == 80001


async def test_a_watch_that_dies_loses_nothing(lab: Lab) -> None:
    gate = Gate(lab.servers[0].home / "gate")
    await lab.start(0, "1", "for i in 1 2 3; do seq 5000; read x <~/gate; done; exit 6")
    for number in range(1, 4):
        async with running(lab):
            await lab.sink.until("1", 0, lambda data, number=number: data.count(b"\n") == 5000 * number)
        await gate.open()
    assert await lab.events(1) == [Event("node-0", 0, "1", "end", 6)]
    assert lab.sink.logs["1", 0] == lab.log(0, "1")


async def test_a_node_that_cannot_be_reached(lab: Lab) -> None:
    gate, server = Gate(lab.servers[0].home / "gate"), lab.servers[0]
    await lab.start(0, "1", "read x <~/gate; echo late")
    before = time.time()
    await server.stop()
    result = await lab.watch(pace=Pace(unreachable=0.2, check=0.01))
    [down] = result.unreachable
    assert (down.node, down.rank, result.events) == ("node-0", 0, [])
    assert before <= down.since <= time.time() - 0.2
    assert down.reason.startswith("Node node-0 (rank 0, 127.0.0.1:")
    await server.start()
    await gate.open()
    assert await lab.events(1) == [Event("node-0", 0, "1", "end", 0)]


async def test_it_knows_another_machine_at_the_same_place(lab: Lab) -> None:
    node = lab.servers[0].node
    await lab.servers[0].stop()
    lab.servers[0].replace_host_key()
    await lab.servers[0].start()
    pace = Pace(unreachable=0, check=0.01)
    result = await watch([node], lab.connect, UID, {}, lab.sink, pace)
    assert "another host key" in result.unreachable[0].reason


async def test_a_node_that_comes_back_is_not_told(lab: Lab) -> None:
    async with running(lab) as task:
        await until(lambda: bool(lab.servers[0].commands))
        await lab.servers[0].stop()
        lab.servers[0].commands.clear()
        await lab.servers[0].start()
        await until(lambda: bool(lab.servers[0].commands))
        await lab.start(1, "1", "true")
        assert [event.rank for event in (await task).events] == [1]


async def test_a_reboot_is_an_end(lab: Lab) -> None:
    gate, server = Gate(lab.servers[0].home / "gate"), lab.servers[0]
    await lab.start(0, "1", "echo half; echo up >~/gate; sleep 60")
    async with running(lab) as task:
        await gate.passed()
        await server.stop()
        server.kill_all()
        server.env["SKYFLOW_BOOT_ID"] = "another"
        await server.start()
        assert (await task).events == [Event("node-0", 0, "1", "end", LOST)]
    assert lab.sink.logs["1", 0] == b"half\n"


async def test_a_unit_that_vanishes_without_a_word(lab: Lab) -> None:
    gate, home = Gate(lab.servers[0].home / "gate"), lab.servers[0].home
    await lab.start(0, "1", "echo half; echo up >~/gate; sleep 60")
    await gate.passed()
    async with running(lab, pace=Pace(look=0.05)) as task:
        await lab.sink.until("1", 0, lambda data: data == b"half\n")
        os.kill(int((home / ".skyflow/jobs" / UID / "1/claim").read_text().split()[0]), signal.SIGKILL)
        assert (await task).events == [Event("node-0", 0, "1", "end", LOST)]


async def test_a_cancelled_unit_ends(lab: Lab) -> None:
    await lab.start(0, "1", "sleep 60")
    async with running(lab) as task:
        async with lab.connect(lab.servers[0].node) as conn:
            await runner.cancel(conn, UID, "1", 30, 137)
            await runner.cancel(conn, UID, "2", 30, 137)
        found = [*(await task).events]
    while len(found) < 2:
        found += await lab.events(1)
    assert {(event.unit, event.code) for event in found} == {("1", 137), ("2", 137)}


async def test_many_logs_at_once(lab: Lab) -> None:
    units = [str(number) for number in range(12)]
    gates = [Gate(lab.servers[0].home / f"gate{unit}") for unit in units]
    for unit in units:
        await lab.start(0, unit, f"seq {unit} 3000; read x <~/gate{unit}; seq {unit} 2000")
    async with running(lab) as task:
        for unit in units:
            await lab.sink.until(unit, 0, lambda data: data.endswith(b"\n3000\n"))
        for gate in gates:
            await gate.open()
        found = (await task).events
    found += await lab.events(12 - len(found))
    assert {event.unit for event in found} == set(units)
    assert len(found) == 12
    for unit in units:
        assert lab.sink.logs[unit, 0] == lab.log(0, unit)


async def test_small_pieces_wait_for_each_other(lab: Lab) -> None:
    gate = Gate(lab.servers[0].home / "gate")
    await lab.start(0, "1", "echo first; read x <~/gate; for i in 1 2 3; do echo $i; sleep 0.01; done")
    async with running(lab, pace=Pace(flush=3600)) as task:
        await lab.sink.until("1", 0, lambda data: data == b"first\n")
        await gate.open()
        await task
    assert lab.sink.logs["1", 0] == b"first\n1\n2\n3\n"
    assert lab.sink.writes == 2


async def test_a_sink_that_fails_ends_the_watch(lab: Lab) -> None:
    class Broken(MemorySink):
        async def write(self, unit: str, rank: int, offset: int, data: bytes) -> None:
            raise StoreError("the disk is full")

    await lab.start(0, "1", "echo x")
    with pytest.raises(StoreError, match="the disk is full"):
        await lab.watch(sink=Broken())
    assert await lab.events(1) == [Event("node-0", 0, "1", "end", 0)]


async def test_nothing_stays_open_after_a_cancel(lab: Lab) -> None:
    await lab.start(0, "1", "echo x; sleep 60")
    before = asyncio.all_tasks()
    async with running(lab):
        await lab.sink.until("1", 0, bool)
    await until(lambda: not any(server.processes("tail") for server in lab.servers))
    async with lab.connect(lab.servers[0].node) as conn:
        assert [link.channels for link in conn._links] == [0]
    ours = {task for task in asyncio.all_tasks() - before if "skyflow" in repr(task.get_coro())}
    assert not ours


async def test_drain_ships_what_is_left(lab: Lab) -> None:
    gate = Gate(lab.servers[1].home / "gate")
    await lab.start(0, "1", "seq 5000; exit 4")
    await lab.start(1, "1", "echo x; read x <~/gate")
    await lab.wait(0, "1")
    nodes = [server.node for server in lab.servers]
    lab.sink.logs["1", 0] = lab.log(0, "1")[:100]
    for _ in range(2):
        assert await drain(nodes, lab.connect, UID, "1", lab.sink) == {0: 4}
        assert lab.sink.logs["1", 0] == lab.log(0, "1")
    assert await drain(nodes, lab.connect, UID, "none", lab.sink) == {}
    await gate.open()
    await lab.servers[0].stop()
    await lab.wait(1, "1")
    assert await drain(nodes, lab.connect, UID, "1", lab.sink) == {1: 0}
    await lab.servers[0].start()


async def test_the_rest_of_a_log_is_shipped_only_of_what_has_ended(lab: Lab) -> None:
    gate = Gate(lab.servers[0].home / "gate")
    await lab.start(0, "1", "echo x; read x <~/gate")
    async with lab.connect(lab.servers[0].node) as conn:
        assert await ship_rest(conn, UID, "none", lab.sink) is None
        state = await ship_rest(conn, UID, "1", lab.sink)
        assert state is not None and (state.state, state.code, state.end) == ("running", None, None)
        assert lab.sink.logs == {}
        await gate.open()
        await lab.wait(0, "1")
        state = await ship_rest(conn, UID, "1", lab.sink)
        assert state is not None and (state.code, lab.sink.logs["1", 0]) == (0, b"x\n")
        assert state.end is not None and abs(state.end - time.time()) < 60


async def test_cursors_hold_back_what_is_not_told(lab: Lab) -> None:
    class Slow(MemorySink):
        """Does not take the log of unit 1 yet."""

        async def write(self, unit: str, rank: int, offset: int, data: bytes) -> None:
            if unit == "1":
                await asyncio.Event().wait()
            await super().write(unit, rank, offset, data)

    await lab.start(0, "1", "echo one")
    await lab.wait(0, "1")
    await lab.start(0, "2", "echo two")
    await lab.start(1, "3", "echo three")
    result = await lab.watch(sink=Slow())
    assert [event.unit for event in result.events] == ["3"]
    assert {event.unit for event in await lab.events(2)} == {"1", "2"}
