"""Connections over real SSH: what commands give, and what each kind of failure becomes."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator

import asyncssh
import pytest

from skyflow.errors import HostKeyMismatchError, NodeUnreachableError, SkyflowError, StoreError
from skyflow.nodes.connection import MAX_CHANNELS, Completed, Connection, Connections

from .conftest import Gate, until
from .server import SshServer

pytestmark = pytest.mark.timeout(30)


async def test_a_command_runs(conn: Connection) -> None:
    done = await conn.run("cat; echo wrong >&2; exit 3", input=b"\x00\xff\n", timeout=10)
    assert done == Completed(3, b"\x00\xff\n", b"wrong\n")


async def test_a_signal_is_a_status(conn: Connection) -> None:
    assert (await conn.run("kill -s KILL $$", timeout=10)).status == 137


async def test_input_from_an_iterator_arrives_exactly(conn: Connection) -> None:
    blocks = [bytes([number]) * (1 << 16) for number in range(128)]

    async def read() -> AsyncIterator[bytes]:
        for block in blocks:
            yield block

    done = await conn.run("sha256sum", input=read(), timeout=20)
    assert done.stdout.split()[0].decode() == hashlib.sha256(b"".join(blocks)).hexdigest()


async def test_output_arrives_exactly(conn: Connection) -> None:
    done = await conn.run("head -c 8388608 /dev/zero | tr '\\0' x", timeout=20)
    assert done.stdout == b"x" * 8388608


async def test_input_that_is_not_wanted_is_dropped(conn: Connection) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 16)
            await asyncio.sleep(0)

    assert (await conn.run("head -c 1 >/dev/null; exit 4", input=endless(), timeout=20)).status == 4
    assert (await conn.run("exit 5", input=bytes(1 << 22), timeout=20)).status == 5


async def test_an_input_that_fails_is_told_as_it_is(conn: Connection, server: SshServer) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise StoreError("the store is gone")

    with pytest.raises(StoreError, match="the store is gone"):
        await conn.run("cat >/dev/null; sleep 60", input=broken(), timeout=20)
    await until(lambda: not server.processes())


async def test_a_command_that_takes_too_long(conn: Connection) -> None:
    with pytest.raises(NodeUnreachableError, match=r"rank 0.*did not finish a command within 0.05 s"):
        await conn.run("sleep 60", timeout=0.05)
    assert (await conn.run("echo", timeout=10)).status == 0


async def test_a_lost_connection_is_never_a_success(conn: Connection, server: SshServer) -> None:
    gate = Gate(server.home / "gate")
    running = asyncio.create_task(conn.run("echo half; echo up >gate; sleep 60", timeout=20))
    await gate.passed()
    await server.stop()
    with pytest.raises(NodeUnreachableError, match="node-0"):
        await running
    await server.start()


async def test_a_stream_gives_what_comes_and_holds_the_input_open(conn: Connection, server: SshServer) -> None:
    gate = Gate(server.home / "gate")
    async with conn.stream("echo a; read x <gate; echo b; cat; echo never") as stream:
        assert await anext(stream) == b"a\n"
        await gate.open()
        assert await anext(stream) == b"b\n"
    await until(lambda: not server.processes())


async def test_a_stream_that_ends(conn: Connection) -> None:
    async with conn.stream("echo a; echo why >&2; exit 6") as stream:
        assert b"".join([chunk async for chunk in stream]) == b"a\n"
        assert stream.completed == Completed(6, b"", b"why\n")


async def test_a_stream_that_is_lost(conn: Connection, server: SshServer) -> None:
    async with conn.stream("echo a; sleep 60") as stream:
        assert await anext(stream) == b"a\n"
        await server.stop()
        with pytest.raises(NodeUnreachableError):
            await anext(stream)
    await server.start()


async def test_the_wrong_host_key(server: SshServer, pool: Connections) -> None:
    node = server.node
    await server.stop()
    server.replace_host_key()
    await server.start()
    with pytest.raises(HostKeyMismatchError, match="another host key than the one that was pinned") as caught:
        async with pool.connect(node, server.client_key):
            pytest.fail("it must not connect")
    assert isinstance(caught.value, NodeUnreachableError)
    assert not caught.value.retryable
    assert server.commands == []


async def test_nobody_there(server: SshServer, pool: Connections) -> None:
    await server.stop()
    with pytest.raises(
        NodeUnreachableError, match=r"Node node-0 \(rank 0, 127.0.0.1:\d+\) cannot be reached: "
    ) as caught:
        async with pool.connect(server.node, server.client_key):
            pytest.fail("it must not connect")
    assert caught.value.retryable
    await server.start()
    async with pool.connect(server.node, server.client_key) as conn:
        assert (await conn.run("true", timeout=10)).status == 0


async def test_the_wrong_client_key(server: SshServer, pool: Connections) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    with pytest.raises(NodeUnreachableError, match="does not accept the cluster's key for user 'somebody'"):
        async with pool.connect(server.node, other):
            pytest.fail("it must not connect")


async def test_keys_that_cannot_be_read(server: SshServer, pool: Connections) -> None:
    damaged = server.node.model_copy(update={"host_key": "nonsense"})
    for node, key in ((damaged, server.client_key), (server.node, "nonsense")):
        with pytest.raises(SkyflowError, match="key of node node-0 cannot be read"):
            async with pool.connect(node, key):
                pytest.fail("it must not connect")


async def test_all_share_one_connection(server: SshServer, pool: Connections) -> None:
    async def use() -> Connection:
        async with pool.connect(server.node, server.client_key) as conn:
            await conn.run("true", timeout=10)
            return conn

    assert len(set(await asyncio.gather(*(use() for _ in range(6))))) == 1
    assert server.connected == 1


async def test_a_dead_connection_is_replaced(server: SshServer, pool: Connections) -> None:
    async with pool.connect(server.node, server.client_key) as conn:
        await conn.run("true", timeout=10)
        await server.stop()
        await server.start()
        with pytest.raises(NodeUnreachableError):
            while True:  # until this end has heard of it
                await conn.run("true", timeout=10)
                if server.connected == 2:
                    raise NodeUnreachableError("it was replaced before a command could meet it")
        assert (await conn.run("echo again", timeout=10)).stdout == b"again\n"
    assert server.connected == 2


async def test_more_channels_than_one_connection_may_have(server: SshServer, conn: Connection) -> None:
    gates = [Gate(server.home / f"gate{number}") for number in range(MAX_CHANNELS + 2)]
    commands = [conn.run(f"read x <gate{number}; echo {number}", timeout=20) for number in range(len(gates))]
    running = [asyncio.create_task(command) for command in commands]
    await asyncio.gather(*(gate.open() for gate in gates))
    assert [int((await one).stdout) for one in running] == list(range(len(gates)))
    assert server.connected == 2


async def test_an_idle_connection_is_closed_and_made_again(server: SshServer) -> None:
    pool = Connections(idle_seconds=0)
    for count in (1, 2):
        async with pool.connect(server.node, server.client_key) as conn:
            assert (await conn.run("true", timeout=10)).status == 0
        await until(lambda: not server._connections)
        assert server.connected == count


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = "import sys, skyflow.nodes.watch, skyflow.nodes.script; sys.exit('asyncssh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
