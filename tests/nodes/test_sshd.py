"""The same over OpenSSH's own server."""

from __future__ import annotations

import asyncio
import getpass
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from skyflow.errors import HostKeyMismatchError
from skyflow.models.node import Node
from skyflow.nodes import runner
from skyflow.nodes.connection import MAX_CHANNELS, Connections
from skyflow.nodes.watch import Event, Pace, watch

from .conftest import UID, Gate, until
from .server import SshServer
from .sink import MemorySink

SSHD = Path("/usr/sbin/sshd")
pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not SSHD.exists(), reason="there is no OpenSSH server on this machine"),
]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[tuple[Node, str, SshServer]]:
    """A node behind sshd, the key that opens it, and (never started) a description of its home."""
    host, client = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    home = SshServer(tmp_path / "home", "")
    host.write_private_key(tmp_path / "host")
    (tmp_path / "host").chmod(0o600)
    client.write_public_key(tmp_path / "authorized")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = [
        "ListenAddress 127.0.0.1",
        f"Port {port}",
        f"HostKey {tmp_path}/host",
        f"AuthorizedKeysFile {tmp_path}/authorized",
        "StrictModes no",
        "UsePAM no",
        "PidFile none",
        "PermitRootLogin yes",
        f"SetEnv HOME={home.home}",
        "Subsystem sftp internal-sftp",
    ]
    (tmp_path / "config").write_text("\n".join(config) + "\n")
    Path("/run/sshd").mkdir(exist_ok=True)
    argv = [str(SSHD), "-D", "-e", "-f", str(tmp_path / "config")]
    sshd = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    assert sshd.stderr
    assert b"listening" in await sshd.stderr.readline()
    public = host.export_public_key().decode().strip()
    node = Node(
        id="node-0", rank=0, address="127.0.0.1", port=port, user=getpass.getuser(), host_key=public, internal_ip=""
    )  # fmt: skip
    try:
        yield node, client.export_private_key().decode(), home
    finally:
        sshd.terminate()
        await sshd.communicate()
        home.kill_all()


async def test_jobs_and_their_logs(place: tuple[Node, str, SshServer], pool: Connections) -> None:
    node, key, home = place
    gate, sink = Gate(home.home / "gate"), MemorySink()
    script = "seq 100000; read x <~/gate; setsid bash -c \"trap '' TERM; sleep 60; sleep 60\" & sleep 60"
    async with pool.connect(node, key) as conn:
        assert await runner.start(conn, UID, "1", script.encode()) == "started"
        watching = asyncio.create_task(
            watch([node], lambda node: pool.connect(node, key), UID, {}, sink, Pace(flush=0))
        )
        await sink.until("1", 0, lambda data: data.endswith(b"\n100000\n"))
        await gate.open()
        await until(lambda: bool(home.processes("sleep")))
        await runner.cancel(conn, UID, "1", 0.2, 137)
        assert (await watching).events == [Event("node-0", 0, "1", "end", 137)]
        lines = b"".join(b"%d\n" % number for number in range(1, 100001))
        log = sink.logs["1", 0]
        assert log.startswith(lines)
        assert len(log) == len(lines) or b"Terminated" in log  # bash may say what became of its child
        await until(lambda: not home.processes("tail") and not home.processes("sleep"))


async def test_who_counts_as_a_user(place: tuple[Node, str, SshServer], pool: Connections, tmp_path: Path) -> None:
    """Whoever is logged in, also for a forwarded port only; not we, and not whoever has not logged in."""
    node, key, _ = place
    async with pool.connect(node, key) as conn, pool.connect(node, key) as same:
        assert await runner.sessions(conn, UID) is None
        _, knocking = await asyncio.open_connection(node.address, node.port)
        watching = asyncio.create_task(watch([node], lambda node: pool.connect(node, key), UID, {}, MemorySink()))
        assert await runner.sessions(same, UID) is None
        for words in (["-N"], ["sleep 60"], ["-tt", "sleep 60"], ["-s", "sftp"]):
            async with user(node, key, tmp_path, *words):
                while await runner.sessions(conn, UID) != 0:  # noqa: ASYNC110  # it is on its way
                    await asyncio.sleep(0.01)
            while await runner.sessions(conn, UID) == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        knocking.close()
        watching.cancel()


@asynccontextmanager
async def user(node: Node, key: str, folder: Path, *words: str) -> AsyncIterator[None]:
    """Somebody with OpenSSH's own client."""
    (folder / "key").write_text(key)
    (folder / "key").chmod(0o600)
    (folder / "known").write_text(f"[{node.address}]:{node.port} {node.host_key}\n")
    options = [
        "-F",
        "none",
        "-i",
        str(folder / "key"),
        "-o",
        f"UserKnownHostsFile={folder}/known",
        "-p",
        str(node.port),
    ]
    ssh = await asyncio.create_subprocess_exec(
        *("ssh", *options, f"{node.user}@{node.address}", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        ssh.kill()
        await ssh.wait()


async def test_more_channels_than_sshd_allows(place: tuple[Node, str, SshServer], pool: Connections) -> None:
    node, key, _ = place
    async with pool.connect(node, key) as conn:
        commands = (conn.run("cat", input=b"%d" % number, timeout=30) for number in range(2 * MAX_CHANNELS + 1))
        assert [int(done.stdout) for done in await asyncio.gather(*commands)] == list(range(2 * MAX_CHANNELS + 1))
        while await runner.sessions(conn, UID) == 0:  # noqa: ASYNC110  those that were only for them are closed
            await asyncio.sleep(0.01)


async def test_the_wrong_host_key(place: tuple[Node, str, SshServer], pool: Connections) -> None:
    node, key, _ = place
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    with pytest.raises(HostKeyMismatchError):
        async with pool.connect(node.model_copy(update={"host_key": other}), key):
            pytest.fail("it must not connect")
