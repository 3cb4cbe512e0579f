"""The SSH server of one local node: a process forked from the host, with the node's user, key, home and environment."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh

from skyflow.clouds.local import command, power_off
from skyflow.clouds.local.folder import NodeFolder, NodeRecord, sign
from skyflow.clouds.local.power_off import POWER_OFF
from skyflow.clouds.local.process import MARKER, remove
from skyflow.models.name import CLIENT_VERSION

BOOT_ID = "SKYFLOW_BOOT_ID"
"""Environment variable that stands for the kernel's boot id (see skyflow/nodes/runner.sh)."""

SESSIONS = "SKYFLOW_SESSIONS"
"""Environment variable with the folder of the users' sessions (see skyflow/nodes/runner.sh)."""

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

WINDOW, PACKET = 8 << 20, 128 << 10
"""Bytes. With packets four times the default, copying to a node takes a third less: each costs as much as its bytes."""


def run(record: NodeRecord, folder: NodeFolder, listener: socket.socket, lock: int, ready: Callable[[], None]) -> None:
    """Serves until SIGTERM. The process becomes the node's: its session, its log, its lock.

    Args:
        record: what the node is.
        folder: its folder.
        listener: bound to the node's address, listening.
        lock: the node's lock, held.
        ready: called when it serves.
    """
    os.setsid()
    sign(lock)
    _redirect(folder.log)
    os.chdir("/")
    asyncio.run(_serve(record, folder, listener, ready))


def environment(record: NodeRecord, folder: NodeFolder) -> dict[str, str]:
    """The environment of every command: that of a fresh machine, nothing of the worker's.

    A node that was stopped has a boot id of its own, or it would not seem rebooted to what ran there before. The
    machine's is part of it: when that reboots, every node has.
    """
    boot = folder.boot_id()
    return {
        "HOME": str(folder.home),
        "USER": record.user,
        "LOGNAME": record.user,
        "SHELL": "/bin/bash",
        "PATH": SYSTEM_PATH,
        "LANG": "C.UTF-8",
        "TMPDIR": str(folder.tmp),
        MARKER: record.id,
        POWER_OFF: power_off.command(folder, record.id),
        SESSIONS: str(folder.sessions),
        **({BOOT_ID: f"{_machine_boot_id()}/{boot}"} if boot else {}),
    }


class _Files(asyncssh.SFTPServer):  # type: ignore[misc]  # asyncssh is not type-checked
    """What `scp` and `sftp` ask for. A path that does not begin with `/` begins in the node's home."""

    def __init__(self, channel: Any, home: Path) -> None:
        super().__init__(channel)
        self._home = os.fsencode(home)

    def map_path(self, path: bytes) -> bytes:
        return os.path.join(self._home, path)

    def exit(self) -> None:
        self.channel.exit(0)  # without a status, `scp` takes the whole copy for failed


class _Login(asyncssh.SSHServer):  # type: ignore[misc]  # asyncssh is not type-checked
    """Lets in the node's user with the cluster's key, nobody else. Keeps a file for each session that is not ours."""

    def __init__(self, user: str, client_key: str, sessions: Path) -> None:
        self._user = user
        self._client_key = client_key
        self._session = sessions / str(id(self))
        self._connection: Any = None

    def connection_made(self, connection: Any) -> None:
        self._connection = connection

    def begin_auth(self, username: str) -> bool:
        if username == self._user:
            self._connection.set_authorized_keys(asyncssh.import_authorized_keys(self._client_key))
        return True

    def auth_completed(self) -> None:
        version = self._connection.get_extra_info("client_version")
        if version is None or CLIENT_VERSION not in version:
            self._session.touch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._session.unlink(missing_ok=True)


async def _serve(record: NodeRecord, folder: NodeFolder, listener: socket.socket, ready: Callable[[], None]) -> None:
    reaper = command.Reaper()
    remove(folder.sessions)
    folder.sessions.mkdir(mode=0o700)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await asyncssh.listen(
        sock=listener,
        config=None,
        server_host_keys=[str(folder.host_key)],
        server_factory=partial(_Login, record.user, record.client_key, folder.sessions),
        process_factory=partial(command.serve, reaper=reaper, env=environment(record, folder), cwd=folder.home),
        sftp_factory=partial(_Files, home=folder.home),
        encoding=None,
        window=WINDOW,
        max_pktsize=PACKET,
        line_editor=False,
        agent_forwarding=False,
        x11_forwarding=False,
        gss_host=None,
    )
    ready()
    await stop.wait()
    reaper.kill_all()


def _machine_boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return "unknown"


def _redirect(log: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(output)
