"""A user on a machine of their own: a home folder, the `skyflow` command, and whatever it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass
class User:
    """Runs the command line as a user does, in a home of their own."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **keep,
            "HOME": str(self.home),
            "SKYFLOW_CHECK_SECONDS": "2",
            "PYTHONWARNINGS": "error",
            "COLUMNS": "200",
        }

    def run(
        self, *words: str, cwd: Path | None = None, timeout: float = 90, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """`skyflow …`; whatever it prints is kept."""
        return subprocess.run(
            [sys.executable, "-m", "skyflow.cli.main", *words],
            cwd=cwd or self.home,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def ok(self, *words: str, **more: Any) -> str:
        """`skyflow …` that must work; returns what is on stdout."""
        done = self.run(*words, **more)
        assert done.returncode == 0, f"skyflow {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *words: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
        """`skyflow …` in the background."""
        return subprocess.Popen(
            [sys.executable, "-m", "skyflow.cli.main", *words],
            cwd=cwd or self.home,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Where the tests run in the background, Ctrl-C is ignored; a user's terminal does not ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def record(self) -> dict[str, Any]:
        """What the supervisor says about itself."""
        found: dict[str, Any] = json.loads((self.home / ".skyflow/server/server.json").read_text())
        return found

    def nodes(self) -> list[Path]:
        """The homes of the local nodes that exist."""
        return sorted(self.home.glob(".skyflow/local/nodes/*/home"))

    def nodes_of(self, cluster: str) -> list[dict[str, Any]]:
        """The nodes of a cluster, as `skyflow local nodes` lists them."""
        found: list[dict[str, Any]] = json.loads(self.ok("local", "nodes", "-o", "json"))
        return [node for node in found if node["cluster"] == cluster]

    def processes(self) -> list[int]:
        """Every process that has this home in its environment, or below it."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environ = (process / "environ").read_bytes()
            except OSError:
                continue
            if str(self.home).encode() in environ and int(process.name) != os.getpid():
                found.append(int(process.name))
        return found

    def end(self) -> None:
        """Stops everything that this user has started."""
        self.run("server", "stop")
        for pid in self.processes():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue


@pytest.fixture(scope="session")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """A user whose background server many tests share; each uses clusters of its own."""
    someone = User(tmp_path_factory.mktemp("home"))
    yield someone
    someone.end()


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[User]:
    """A user for whom nothing runs yet."""
    home = tmp_path / "home"
    home.mkdir()
    someone = User(home)
    yield someone
    someone.end()
