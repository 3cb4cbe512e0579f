"""The way to the host of local nodes: asks it over its socket, and starts it if nobody listens there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from skyflow import __version__
from skyflow.clouds.local.folder import Folder, hold, holder
from skyflow.errors import NodeUnreachableError
from skyflow.settings import Settings

START_SECONDS = 20.0
LOOK_SECONDS = 0.02
"""A host takes 0.2 to 0.5 s to start; this is how often it is tried meanwhile."""
START_EVERY = 50
"""Looks between two starts."""

MAX_ANSWER = 64 << 20

KEPT = ("HOME", "PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What the host keeps of the environment of whoever starts it, with everything that Python reads. No credentials."""


async def ensure_host(settings: Settings) -> None:
    """Makes sure that the host of this installation runs. Two at once start one.

    Raises:
        NodeUnreachableError: it cannot be started, or does not answer.
    """
    await ask(settings, {"op": "ping"}, timeout=START_SECONDS)


def dismiss(settings: Settings) -> None:
    """Ends the host, if there are no nodes that it would look after. It may be killed at any moment."""
    folder = Folder(settings.local_dir)
    if [*folder.records(), *folder.deletions()]:
        return
    if pid := holder(folder.lock):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


async def ask(settings: Settings, request: dict[str, Any], *, timeout: float) -> dict[str, Any]:
    """Asks the host, which is started if need be.

    Args:
        settings: where it lives.
        request: see `skyflow.clouds.local.host.Host`.
        timeout: for the answer, in seconds.

    Raises:
        NodeUnreachableError: it cannot be started, or does not answer in time. What was asked may have been done.
    """
    folder = Folder(settings.local_dir)
    line = json.dumps({**request, "version": __version__}).encode() + b"\n"
    try:
        async with asyncio.timeout(timeout + START_SECONDS):
            while True:
                reader, writer = await _connect(folder)
                try:
                    writer.write(line)
                    answer = json.loads(await reader.readline() or b'{"outdated": true}')
                except ConnectionError:
                    continue  # it ended before it read the request
                finally:
                    writer.close()
                if "outdated" not in answer:
                    return dict(answer)
    except TimeoutError:
        raise NodeUnreachableError(
            f"The host process of local nodes did not answer within {timeout + START_SECONDS:g} s; "
            f"see {folder.log}. It will be asked again."
        ) from None
    except (OSError, ValueError) as error:
        raise NodeUnreachableError(f"The host process of local nodes cannot be reached: {error}.") from error


async def _connect(folder: Folder) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the host, which is started if nobody listens."""
    starting: int | None = None
    try:
        for attempt in range(int(START_SECONDS / LOOK_SECONDS)):
            if (path := folder.socket()) is not None:
                with suppress(FileNotFoundError, ConnectionRefusedError):
                    return await asyncio.open_unix_connection(path, limit=MAX_ANSWER)
            # Not only once: the first may have met the lock of a host that was about to end.
            if attempt % START_EVERY == 0 and holder(folder.lock) is None:
                folder.create()
                if starting is None:
                    starting = hold(folder.path / "host.starting")  # whoever else needs it only waits
                if starting is not None:
                    await _start(folder)
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        if starting is not None:
            os.close(starting)
    words = folder.log.read_text(errors="replace").strip().rpartition("\n")[2]
    raise OSError(f"it does not start (its log {folder.log} ends with: {words})")


async def _start(folder: Folder) -> None:
    """Starts a host in the background. If one runs already, the second ends by itself."""
    env = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PYTHON")}
    log = os.open(folder.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    argv = [sys.executable, "-m", "skyflow.clouds.local.host", "--home", str(folder.path)]
    try:
        # The shell ends at once, so that the host is nobody's child and is never waited for.
        shell = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            '"$@" &',
            "sh",
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
            cwd="/",
            start_new_session=True,
        )
        await shell.wait()
    finally:
        os.close(log)
