"""One user's machine in a folder, with everything that runs of it."""

import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from skyflow import __version__
from skyflow.embedded import Folder, Record
from skyflow.endpoint import Endpoint, resolve, status
from skyflow.settings import Settings

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))


def until(true: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Waits for something that happens in another process."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not seen in {seconds} s: {what}"
        time.sleep(0.01)


def supervisor(version: str = __version__, worker: tuple[str, ...] = (*STAND_IN, "work")) -> tuple[str, ...]:
    return (*STAND_IN, version, *worker, "--")


@dataclass
class Home:
    """One user's machine."""

    settings: Settings
    env: dict[str, str]
    notices: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Folder:
        return Folder(self.settings.server_dir)

    def endpoint(self, command: tuple[str, ...] | None = None) -> Endpoint:
        return resolve(self.settings, self.env, supervisor=command or supervisor())

    def settle(self) -> None:
        """Gives it ports of its own, as if it had run before: tests that run at once do not meet on Temporal's own."""
        if self.folder.read().address:
            return
        self.folder.path.mkdir(parents=True, exist_ok=True)
        with socket.socket() as one, socket.socket() as two:
            for probe in (one, two):
                probe.bind(("127.0.0.1", 0))
            port, ui_port = one.getsockname()[1], two.getsockname()[1]
        self.folder.write(Record(address=f"127.0.0.1:{port}", ui=f"http://127.0.0.1:{ui_port}"))

    def start(self, command: tuple[str, ...] | None = None) -> Record:
        self.settle()
        return self.start_anywhere(command)

    def start_anywhere(self, command: tuple[str, ...] | None = None) -> Record:
        self.endpoint(command).start_if_needed(self.notices.append).wait_ready()
        record = status(self.settings)
        assert record is not None and record.state == "ready"
        return record

    def processes(self) -> list[int]:
        """Every process that lives of this home: by its environment, so that none can hide."""
        mark = f"SKYFLOW_HOME={self.settings.home}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:  # ended meanwhile
                continue
        return found

    def servers(self) -> list[int]:
        """The processes that have the database open."""
        return [pid for pid in self.processes() if str(self.folder.database).encode() in _command(pid)]


def _command(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
