"""Processes of a node: found by the marker in their environment, killed, and its folder removed after them."""

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

from skyflow.clouds.local.folder import NodeFolder, holder

MARKER = "SKYFLOW_NODE"
"""Environment variable of every process that was started on a node; its value is the node's id."""

KILL_SECONDS = 30.0
"""A process that is still there after so long hangs in the kernel."""

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
    # The server first. When its lock is free, nothing of it is left that could start another process.
    while (server := holder(folder.lock)) is not None:
        if server:
            _end_server(server)
        _pause(deadline, node_id)
    clean = 0
    while clean < CLEAN_LOOKS:
        clean += 1
        for pid in marked(node_id):
            clean = 0
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _pause(deadline, node_id)
    remove(remains)
    remove(folder.path)


def remove(path: Path) -> None:
    """Removes a tree, also one with read-only folders in it. Removing the absent succeeds."""
    if not path.exists():
        return
    for folder, _, _ in os.walk(path):  # each folder is made writable when it is visited, before it is read
        for child in os.scandir(folder):
            if child.is_dir(follow_symlinks=False):
                os.chmod(child.path, stat.S_IRWXU)
    shutil.rmtree(path)


def _end_server(pid: int) -> None:
    """On Linux what the server leaves is found by its marker. Elsewhere it is asked to take its commands with it."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL if sys.platform.startswith("linux") else signal.SIGTERM)


def _pause(deadline: float, node_id: str) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"Processes of node {node_id} cannot be killed; they hang in the kernel. Try again later.")
    time.sleep(LOOK_SECONDS)
