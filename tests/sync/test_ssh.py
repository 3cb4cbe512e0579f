"""The sync over the real connection: SSH to a server that runs commands in a HOME of its own."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from skyflow.errors import SkyflowError, StoreError
from skyflow.models.node import Node
from skyflow.nodes.connection import Connection, Connections
from skyflow.nodes.sync import SyncResult, sync
from skyflow.store.reader import SnapshotReader
from skyflow.store.snapshot import take_snapshot
from skyflow.store.store import Store

from .conftest import GNU_PATH
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


@pytest.fixture
async def ssh(tmp_path: Path) -> AsyncIterator[Connection]:
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
    connections = Connections()
    try:
        async with connections.connect(node, client.export_private_key().decode()) as connection:
            yield connection
    finally:
        connections.close()
        server.close()
        await server.wait_closed()


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
