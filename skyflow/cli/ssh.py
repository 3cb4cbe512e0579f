"""`skyflow ssh` and `skyflow cp`, by OpenSSH's own programs; and the config that makes `ssh CLUSTER` work too."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from skyflow.access import ssh_folder
from skyflow.cli import view
from skyflow.cli.session import run
from skyflow.ending import leave
from skyflow.errors import ClusterDoesNotExist, ClusterNotUpError, NotSupportedError, SkyflowError, UsageError
from skyflow.ssh.entry import hosts, include_line

if TYPE_CHECKING:
    from skyflow.client import Client

KEEP_SECONDS = 5.0
"""How long a command that is about something else waits for the config."""

NO_CONNECTION = 255
"""What `ssh` leaves with if it could not connect."""


class Host(NamedTuple):
    """A node, for OpenSSH's programs."""

    name: str
    config: Path


def ssh(cluster: str, rank: int, command: list[str]) -> NoReturn:
    """Becomes `ssh` to a node, whose exit code is that of the command."""
    program = _program("ssh")
    if command[:1] == ["--"]:
        command = command[1:]

    async def body(client: Client) -> Host:
        host = await _host(client, cluster, rank)
        await _include(client, cluster)
        return host

    host = run(body)
    _become([program, "-F", str(host.config), "--", host.name, *command])


def rank_of(words: list[str]) -> tuple[int | None, list[str]]:
    """The rank, if what stands after the cluster begins with `-w RANK`, and the command: from there on all is its."""
    match words:
        case ["-w" | "--worker", rank, *command] if re.fullmatch(r"[0-9]{1,9}", rank):
            return int(rank), command
        case ["-w" | "--worker", *_]:
            raise UsageError("-w is followed by the rank of a node: skyflow ssh dev -w 1")
    return None, words


def copy(sources: list[str], destination: str) -> NoReturn:
    """Becomes `rsync`, if it is there on both sides, or else `scp`."""
    name = _node_of(sources, destination)
    program = _program("ssh")
    host = run(lambda client: _named(client, name))
    to_node = [program, "-F", str(host.config)]
    words = [f"{host.name}:{one.partition(':')[2]}" if _remote(one) else one for one in (*sources, destination)]
    if (rsync := shutil.which("rsync")) is not None and _has_rsync(to_node, host):
        progress = ["--progress"] if sys.stdout.isatty() else []
        _become([rsync, "-rlpt", *progress, "-e", shlex.join(to_node), "--", *words])
    _become([_program("scp"), "-rp", *to_node[1:], "--", *words])


async def keep(client: Client, cluster: str | None = None) -> None:
    """Brings the config up to date, for a command that is about something else: it does not fail because of this.

    Args:
        client: to ask.
        cluster: one that was launched just now: from the first one on, `~/.ssh/config` includes ours.
    """
    try:
        async with asyncio.timeout(KEEP_SECONDS):
            for name in await client.ssh_config(cluster):
                view.say(f"skyflow: ~/.ssh/config has a host {name!r} of its own; cluster {name!r}: skyflow ssh {name}")
        if cluster is not None:
            await _include(client, cluster)
    except (ClusterDoesNotExist, ClusterNotUpError, NotSupportedError):
        return  # it is being taken down, or it is another machine's
    except TimeoutError as error:
        view.say(f"skyflow: The SSH config was not brought up to date: {error or 'the clusters do not answer'}.")
    except (SkyflowError, OSError) as error:
        view.say(f"skyflow: The SSH config was not brought up to date: {error}")


async def forget(client: Client, cluster: str) -> None:
    """A cluster is down: its key and its entries go."""
    folder = ssh_folder(client.settings)
    try:
        if (ways := folder.known().get(cluster)) is not None:
            await asyncio.to_thread(folder.update, [], {cluster: ways})
    except OSError as error:
        view.say(f"skyflow: The SSH config was not brought up to date: {error}")


async def _include(client: Client, cluster: str) -> None:
    folder = ssh_folder(client.settings)
    try:
        if await asyncio.to_thread(folder.include):
            view.say(f"skyflow: Added a line to ~/.ssh/config: `ssh {cluster}`, scp and rsync work too.")
    except OSError as error:
        line = include_line(folder.config).strip()
        view.say(f"skyflow: {folder.user_config} was not changed ({error.strerror}); put at its top: {line}")


def _node_of(sources: list[str], destination: str) -> str:
    """The one name of a node in the arguments of a copy."""
    remote = [_remote(source) for source in sources]
    to = _remote(destination)
    if to and any(remote):
        raise UsageError("Both sides are nodes; copy to this machine first, then from here.")
    if not to and not any(remote):
        raise UsageError("Say which side is a node: skyflow cp data dev:data, or skyflow cp dev:data data")
    if to:
        return to
    if len(set(remote)) > 1:
        raise UsageError("Copy from one node at a time.")
    return str(remote[0])


def _remote(word: str) -> str:
    """The name before the colon; empty for a path of this machine, which has none, or a `/` before it."""
    name, colon, _ = word.partition(":")
    return name if colon and "/" not in name else ""


async def _named(client: Client, name: str) -> Host:
    """The node that `ssh` calls so."""
    if not await client.status([name]) and (worker := re.fullmatch(r"(.+)-worker([1-9][0-9]{0,8})", name)):
        return await _host(client, worker[1], int(worker[2]))
    return await _host(client, name, 0)


async def _host(client: Client, cluster: str, rank: int) -> Host:
    try:
        await client.ssh_config(cluster)
        config = ssh_folder(client.settings).config_of(cluster)
        names = hosts(config.read_text())
    except OSError as error:
        raise SkyflowError(f"The SSH config cannot be written: {error}.") from error
    if not 0 <= rank < len(names):
        raise UsageError(f"Cluster {cluster!r} has no rank {rank}: it has {len(names)} node(s), from 0 on.")
    return Host(names[rank], config)


def _has_rsync(to_node: list[str], host: Host) -> bool:
    asking = [*to_node, "--", host.name, "command -v rsync >/dev/null"]
    done = subprocess.run(asking, stdin=subprocess.DEVNULL, check=False)
    if done.returncode == NO_CONNECTION:
        leave(NO_CONNECTION)  # it has said why
    return done.returncode == 0


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SkyflowError(f"There is no `{name}` in PATH; install OpenSSH's client.")
    return found


def _become(argv: list[str]) -> NoReturn:
    """Another program in place of this process: the terminal, the signals and the exit code are its own."""
    sys.stdout.flush()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        raise SkyflowError(f"{argv[0]} cannot be run: {error.strerror}.") from error
