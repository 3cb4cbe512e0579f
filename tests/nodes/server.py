"""A node for tests: a real SSH server in this process, with a HOME of its own for what it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import asyncssh

from skyflow.models.node import Node

RUNNER_TOOLS = ["bash", "sh", "cat", "ln", "mv", "rm", "mkdir", "wc", "tr", "tail", "sleep", "date", "awk"]
"""What runner.sh says that it needs, without setsid."""


def tools(kind: str, folder: Path) -> str:
    """A PATH: `dash` with GNU's tools, `busybox` for everything, or a `bare` one with nothing but what is needed."""
    if kind == "dash":
        return "/usr/local/bin:/usr/bin:/bin"
    folder.mkdir()
    if kind == "busybox":
        busybox = shutil.which("busybox")
        assert busybox
        applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for name in applets:
            (folder / name).symlink_to(busybox)
    for name in ["bash"] if kind == "busybox" else [*RUNNER_TOOLS, "perl"]:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return str(folder)


class SshServer:
    """One node. It can be stopped (as by SIGKILL: every connection ends at once) and started again at the same port."""

    def __init__(self, home: Path, path: str, rank: int = 0) -> None:
        home.mkdir(exist_ok=True)
        self.home = home
        self.env = {"HOME": str(home), "PATH": path, "TMPDIR": str(home), "LANG": "C.UTF-8"}
        self.connected = 0
        """How many connections were ever made."""
        self.commands: list[str] = []
        self._rank = rank
        self._port = 0
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        client = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key: str = client.export_private_key().decode()
        self._authorized = asyncssh.import_authorized_keys(client.export_public_key().decode())
        self._server: Any = None
        self._connections: set[Any] = set()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def node(self) -> Node:
        public = self._host_key.export_public_key().decode().strip()
        return Node(
            id=f"node-{self._rank}",
            rank=self._rank,
            address="127.0.0.1",
            port=self._port,
            user="somebody",
            host_key=public,
            internal_ip=f"10.0.0.{self._rank}",
        )

    async def start(self) -> None:
        self._server = await asyncssh.listen(
            "127.0.0.1",
            self._port,
            server_factory=lambda: _Session(self),
            server_host_keys=[self._host_key],
            authorized_client_keys=self._authorized,
            process_factory=self.serve,
            encoding=None,
            reuse_address=True,
        )
        self._port = self._server.get_port()

    async def stop(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._server.wait_closed()

    def replace_host_key(self) -> None:
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")

    def kill_all(self) -> None:
        """Ends every process that was started here."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self, word: str = "") -> list[int]:
        """The processes that were started here and are alive; with a word, those with that in their command line."""
        mark, found = f"HOME={self.home}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                named = word.encode() in (entry / "cmdline").read_bytes()
                if named and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def serve(self, channel: Any) -> None:
        task = asyncio.create_task(self._serve(channel))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _serve(self, channel: Any) -> None:
        self.commands.append(channel.command)
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", channel.command),
            **dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE),
            env=self.env,
            cwd=self.home,
            start_new_session=True,
        )
        closing = asyncio.create_task(channel.channel.wait_closed())
        feeding = asyncio.create_task(_pump(channel.stdin, process.stdin))
        telling = asyncio.gather(_pump(process.stdout, channel.stdout), _pump(process.stderr, channel.stderr))
        try:
            await asyncio.wait([closing, telling], return_when=asyncio.FIRST_COMPLETED)
            if not closing.done():
                status = await process.wait()
                if status < 0:
                    channel.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
                else:
                    channel.exit(status)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await asyncio.gather(telling, return_exceptions=True)
            feeding.cancel()
            closing.cancel()
            await asyncio.gather(feeding, closing, return_exceptions=True)


class _Session(asyncssh.SSHServer):  # type: ignore[misc]
    def __init__(self, server: SshServer) -> None:
        self._server = server
        self._connection: Any = None

    def connection_made(self, conn: Any) -> None:
        self._server.connected += 1
        self._server._connections.add(conn)
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._connections.discard(self._connection)


async def _pump(reader: Any, writer: Any) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    if isinstance(writer, asyncio.StreamWriter):  # an end of one output would end the channel for the other
        writer.close()
