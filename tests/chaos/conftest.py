"""A server and a worker that can be killed at any moment, and somebody who starts them again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from skyflow.worker.dev_server import arguments
from tests.conftest import free_port, temporal_binary
from tests.e2e.conftest import ROOT, User


@dataclass
class Lab(User):
    """A user with a Temporal of their own, whose server and worker are started again when they die."""

    port: int = 0
    processes_: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    settings: dict[str, str] = field(default_factory=dict)
    """Variables of the next worker that is started."""

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "TEMPORAL_ADDRESS": f"127.0.0.1:{self.port}", "SKYFLOW_CHECK_SECONDS": "1"}

    @property
    def deaths(self) -> Path:
        """Where the worker looks for its deaths."""
        return self.home / "deaths"

    def boot(self, part: str) -> None:
        """Starts the server or the worker."""
        if part == "server":
            flags = arguments(str(self.home / "temporal.db"), port=self.port, ui_port=self.port + 1)
            argv = [temporal_binary(), *flags, "--headless"]
        else:
            argv = [sys.executable, "-m", "tests.chaos.worker", str(self.deaths)]
        with (self.home / f"{part}.log").open("ab") as log:
            env = {**self.env, "PYTHONWARNINGS": "default", **self.settings}
            self.processes_[part] = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=log, stderr=log)

    def wait_for_server(self, seconds: float = 60) -> None:
        """Waits until the first server answers: a client is less patient than a busy machine may need."""
        deadline = time.monotonic() + seconds
        while b"serving" not in (self.home / "worker.log").read_bytes():  # the worker waits for the server
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def keep(self) -> None:
        """Starts again what has died, until told to stop."""
        while not self.stopping.wait(0.05):
            for part, process in list(self.processes_.items()):
                if process.poll() is not None:
                    self.boot(part)

    def kill(self, part: str, number: int = signal.SIGKILL) -> subprocess.Popen[bytes]:
        """Sends a signal to the server or the worker."""
        process = self.processes_[part]
        process.send_signal(number)
        return process

    def fate(self, *deaths: str) -> None:
        """From now on, the worker dies there, once each."""
        for death in deaths:
            (self.deaths / death).write_text("")

    def met(self, *deaths: str) -> bool:
        """Whether it has died there."""
        return all((self.deaths / f"{death}.done").exists() for death in deaths)

    def wait_for_no_nodes(self, seconds: float = 60) -> None:
        """Waits until the last node is deleted."""
        deadline = time.monotonic() + seconds
        while self.nodes():
            assert time.monotonic() < deadline, self.nodes()
            time.sleep(0.1)

    def end(self) -> None:
        self.stopping.set()
        for process in self.processes_.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab for the tests of one module; each uses clusters of its own."""
    home = tmp_path_factory.mktemp("lab")
    (home / "deaths").mkdir()
    one = Lab(home, port=free_port())
    one.boot("server")
    one.boot("worker")
    keeper = threading.Thread(target=one.keep)
    keeper.start()
    try:
        one.wait_for_server()
        yield one
    finally:
        one.stopping.set()
        keeper.join()
        one.end()
