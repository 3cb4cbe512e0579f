"""Processes of a node: found by the marker in their environment, ended when it is stopped or deleted."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from skyflow.clouds.local.folder import NodeFolder, hold, holder

MARKER = "SKYFLOW_NODE"
"""Environment variable of every process that was started on a node; its value is the node's id."""

KILL_SECONDS = 30.0
"""A process that is still there after so long hangs in the kernel."""

GRACE_SECONDS = 2.0
"""What runs on a node that is being stopped has so long to end by itself."""

LOOK_SECONDS = 0.005

CLEAN_LOOKS = 3
"""So often nothing must be found: a process has no environment to be found by while it executes a new program."""


def marked(node_id: str) -> Iterator[int]:
    """The processes that carry a node's marker, in whatever session they are. Linux only, nothing elsewhere."""
    if not sys.platform.startswith("linux"):
        return
    needle = f"{MARKER}={node_id}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with suppress(OSError):  # it has ended, or is somebody else's
            if needle in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                yield int(entry)


def erase(folder: NodeFolder, remains: Path, node_id: str) -> None:
    """Kills everything on a node, then removes its folder. May be repeated after it died half way.

    Args:
        folder: of the node, under the name that says it is being deleted.
        remains: where it was before. A process that still ran when it was renamed may have written there again.
        node_id: of the node.

    Raises:
        TimeoutError: a process cannot be killed.
    """
    deadline = time.monotonic() + KILL_SECONDS
    _kill_server(folder, node_id, deadline)
    _kill_rest(node_id, deadline)
    remove(remains)
    remove(folder.path)


def halt(folder: NodeFolder, node_id: str) -> None:
    """Ends everything on a node that is marked as stopped, and empties its tmp/, as switching a machine off would.

    May be repeated after it died half way, also while an earlier one is still at it: that is waited for. Does nothing
    if the node was started meanwhile.

    Raises:
        TimeoutError: a process cannot be killed.
    """
    deadline = time.monotonic() + KILL_SECONDS
    while (lock := hold(folder.stop_lock)) is None:
        _pause(deadline, node_id)
    try:
        if folder.stopped.exists():
            _kill_server(folder, node_id, deadline)
            _shut_down(node_id)
            _kill_rest(node_id, deadline)
            remove(folder.tmp)
            folder.tmp.mkdir(mode=0o700)
    finally:
        os.close(lock)


def remove(path: Path) -> None:
    """Removes a tree, also one with read-only folders in it. Removing the absent succeeds."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    if not path.exists():
        return
    path.chmod(stat.S_IRWXU)
    for folder, _, _ in os.walk(path):  # each folder is made writable when it is visited, before it is read
        for child in os.scandir(folder):
            if child.is_dir(follow_symlinks=False):
                os.chmod(child.path, stat.S_IRWXU)
    shutil.rmtree(path)


def _kill_server(folder: NodeFolder, node_id: str, deadline: float) -> None:
    """Before the rest: when its lock is free, nothing of it is left that could start another process.

    On Linux what the server leaves is found by its marker. Elsewhere it is asked to take its commands with it.
    """
    number = signal.SIGKILL if sys.platform.startswith("linux") else signal.SIGTERM
    while (server := holder(folder.lock)) is not None:
        if server:
            _signal({server}, number)
        _pause(deadline, node_id)


def _shut_down(node_id: str) -> None:
    """Asks everything on a node to end, and waits a while.

    All at once: they are frozen before they are asked, so that none sees another one end before it knows why.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    frozen: set[int] = set()
    while (found := set(marked(node_id)) - frozen) and time.monotonic() < deadline:
        _signal(found, signal.SIGSTOP)
        frozen |= found
    _signal(frozen, signal.SIGTERM)
    _signal(frozen, signal.SIGCONT)
    while next(marked(node_id), None) is not None and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _kill_rest(node_id: str, deadline: float) -> None:
    clean = 0
    while clean < CLEAN_LOOKS:
        found = set(marked(node_id))
        _signal(found, signal.SIGKILL)
        clean = 0 if found else clean + 1
        _pause(deadline, node_id)


def _signal(processes: set[int], number: signal.Signals) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _pause(deadline: float, node_id: str) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"Processes of node {node_id} cannot be killed; they hang in the kernel. Try again later.")
    time.sleep(LOOK_SECONDS)
