"""The sync over the real connection: SSH to a server that runs commands in a HOME of its own."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from skyflow.activities.bulk import sync_in_process
from skyflow.errors import NodeUnreachableError, ObjectAbsentError, SkyflowError, StoreError
from skyflow.models.node import Node
from skyflow.models.snapshot import Entry
from skyflow.nodes.connection import Connection, Connections
from skyflow.nodes.sync import SyncResult, TooMuchError, sync, sync_all
from skyflow.store.reader import SnapshotReader
from skyflow.store.snapshot import take_snapshot
from skyflow.store.store import Store

from .conftest import GNU_PATH, ShellNode
from .test_death import BEFORE, MIDDLE, BrokenReader
from .tree import Tree, read_tree, write_tree

pytestmark = pytest.mark.timeout(60)
WORKDIR = "~/sky_workdir"


async def pump(reader: Any, writer: Any) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await reader.read(1 << 18):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, asyncssh.Error):
        writer.write_eof()


async def serve(home: Path, channel: Any) -> None:
    """Runs one command for a client, as sshd does."""
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", channel.command, env={"HOME": str(home), "PATH": GNU_PATH}, cwd=home, start_new_session=True,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    feeding = asyncio.create_task(pump(channel.stdin, process.stdin))
    try:
        await asyncio.gather(pump(process.stdout, channel.stdout), pump(process.stderr, channel.stderr))
        channel.exit(await process.wait())
    finally:
        feeding.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@dataclass
class Way:
    """How to reach a node."""

    node: Node
    key: str


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    home = tmp_path / "home"
    home.mkdir()
    host, client = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    authorized = asyncssh.import_authorized_keys(client.export_public_key().decode())
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[host], authorized_client_keys=authorized, encoding=None,
        process_factory=lambda channel: serve(home, channel),
    )  # fmt: skip
    node = Node(
        id="node", rank=0, address="127.0.0.1", port=server.get_port(), user="user",
        host_key=host.export_public_key().decode().strip(), internal_ip="127.0.0.1",
    )  # fmt: skip
    try:
        yield Way(node, client.export_private_key().decode())
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def ssh(way: Way) -> AsyncIterator[Connection]:
    connections = Connections()
    try:
        async with connections.connect(way.node, way.key) as connection:
            yield connection
    finally:
        connections.close()


async def test_over_ssh(ssh: Connection, store: Store, tmp_path: Path) -> None:
    big: Tree = {**BEFORE, b"big": ("f", 0o644, os.urandom(12 << 20))}
    for tree in (big, MIDDLE):
        write_tree(tmp_path / "source", tree)
        snapshot = await take_snapshot(store, tmp_path / "source")
        await sync(ssh, SnapshotReader(store), snapshot.ref, WORKDIR)
        assert read_tree(tmp_path / "home/sky_workdir") == tree
    assert await sync(ssh, SnapshotReader(store), snapshot.ref, WORKDIR) == SyncResult(0, 0, 0)


async def test_a_refusal_early_in_a_long_stream(ssh: Connection, store: Store, tmp_path: Path) -> None:
    """The node's reason arrives although it stops reading with most of the stream still to come."""
    write_tree(tmp_path / "source", {b"big": ("f", 0o644, os.urandom(30 << 20))})
    (tmp_path / "home/taken").write_bytes(b"")
    snapshot = await take_snapshot(store, tmp_path / "source")
    with pytest.raises(SkyflowError, match=r"Cannot copy files to ~/taken/x on the node: .*taken"):
        await sync(ssh, SnapshotReader(store), snapshot.ref, "~/taken/x")


async def test_a_store_that_breaks_is_what_is_reported(ssh: Connection, store: Store, tmp_path: Path) -> None:
    write_tree(tmp_path / "source", MIDDLE)
    snapshot = await take_snapshot(store, tmp_path / "source")
    with pytest.raises(StoreError, match="the store broke"):
        await sync(ssh, BrokenReader(store), snapshot.ref, WORKDIR)
    assert not (tmp_path / "home/sky_workdir").exists() or not read_tree(tmp_path / "home/sky_workdir")


async def test_to_many_nodes_at_once(ssh: Connection, store: Store, tmp_path: Path) -> None:
    """Nodes that are alike get one stream; one that has something already gets its own."""
    homes = [tmp_path / f"home{number}" for number in range(4)]
    for home in homes:
        home.mkdir()
    nodes = [ShellNode(home) for home in homes]
    write_tree(tmp_path / "source", BEFORE)
    before = await take_snapshot(store, tmp_path / "source")
    await sync(nodes[2], SnapshotReader(store), before.ref, WORKDIR)
    write_tree(tmp_path / "source", MIDDLE)
    snapshot = await take_snapshot(store, tmp_path / "source")
    counting = CountingReader(store)
    results = await sync_all([*nodes, ssh], counting, snapshot.ref, WORKDIR)
    assert counting.streams == 2
    for home in (*homes, tmp_path / "home"):
        assert read_tree(home / "sky_workdir") == MIDDLE
    assert [result.sent_bytes for result in results].count(results[0].sent_bytes) >= 4


async def test_one_that_refuses_does_not_hold_up_the_others(ssh: Connection, store: Store, tmp_path: Path) -> None:
    write_tree(tmp_path / "source", {b"big": ("f", 0o644, os.urandom(12 << 20))})
    (tmp_path / "home/taken").write_bytes(b"")
    (tmp_path / "other").mkdir()
    other = ShellNode(tmp_path / "other")
    snapshot = await take_snapshot(store, tmp_path / "source")
    with pytest.raises(SkyflowError, match=r"Cannot copy files to ~/taken/x on the node"):
        await sync_all([ssh, other], SnapshotReader(store), snapshot.ref, "~/taken/x")


async def test_more_than_the_caller_wants_to_send(ssh: Connection, store: Store, tmp_path: Path) -> None:
    write_tree(tmp_path / "source", {b"big": ("f", 0o644, os.urandom(1 << 20))})
    ref = (await take_snapshot(store, tmp_path / "source")).ref
    reader = SnapshotReader(store)
    with pytest.raises(TooMuchError):
        await sync_all([ssh], reader, ref, WORKDIR, at_most=1000)
    assert not (tmp_path / "home/sky_workdir").exists()
    await sync_all([ssh], reader, ref, WORKDIR, at_most=1 << 20)
    await sync_all([ssh], reader, ref, WORKDIR, at_most=0)  # there is nothing left to send


async def test_in_a_process_of_its_own(way: Way, store: Store, tmp_path: Path) -> None:
    tree: Tree = {**MIDDLE, b"big": ("f", 0o644, os.urandom(40 << 20))}
    write_tree(tmp_path / "source", tree)
    ref = (await take_snapshot(store, tmp_path / "source")).ref
    seen: list[tuple[int, int]] = []
    (result,) = await sync_in_process(store.url, [way.node], way.key, ref, WORKDIR, lambda *one: seen.append(one))
    assert read_tree(tmp_path / "home/sky_workdir") == tree
    assert result.sent_bytes > 40 << 20
    assert seen
    assert all(0 < sent <= total for sent, total in seen)


async def test_what_goes_wrong_in_the_other_process_is_raised_here(way: Way, store: Store, tmp_path: Path) -> None:
    write_tree(tmp_path / "source", MIDDLE)
    (tmp_path / "home/taken").write_bytes(b"")
    ref = (await take_snapshot(store, tmp_path / "source")).ref
    with pytest.raises(SkyflowError, match=r"Cannot copy files to ~/taken/x on the node: .*taken"):
        await sync_in_process(store.url, [way.node], way.key, ref, "~/taken/x", lambda *_: None)
    with pytest.raises(ObjectAbsentError):
        await sync_in_process(store.url, [way.node], way.key, "snapshots/none", WORKDIR, lambda *_: None)


async def test_the_other_process_ends_with_whoever_started_it(way: Way, store: Store, tmp_path: Path) -> None:
    write_tree(tmp_path / "source", {b"big": ("f", 0o644, os.urandom(200 << 20))})
    ref = (await take_snapshot(store, tmp_path / "source")).ref
    began = asyncio.Event()
    work = asyncio.create_task(sync_in_process(store.url, [way.node], way.key, ref, WORKDIR, lambda *_: began.set()))
    await began.wait()
    (pid,) = children()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not Path(f"/proc/{pid}").exists()
    began.clear()
    work = asyncio.create_task(sync_in_process(store.url, [way.node], way.key, ref, WORKDIR, lambda *_: began.set()))
    await began.wait()
    os.kill(*children(), signal.SIGKILL)
    with pytest.raises(NodeUnreachableError, match="died; it is tried again"):
        await work


def children() -> list[int]:
    """The bulk processes of this process."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in listed if b"skyflow.activities.bulk" in Path(f"/proc/{pid}/cmdline").read_bytes()]


class CountingReader(SnapshotReader):
    streams = 0

    async def batches(self, entries: Sequence[Entry]) -> AsyncGenerator[Sequence[tuple[Entry, bytes]], None]:
        self.streams += 1
        async for batch in super().batches(entries):
            yield batch
