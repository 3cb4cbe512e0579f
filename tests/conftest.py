"""What all tests share: one real Temporal dev server a session."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def temporal_binary() -> str:
    """The `temporal` of this environment."""
    found = shutil.which("temporal", path=str(Path(sys.executable).parent)) or shutil.which("temporal")
    assert found, "pip install -e '.[dev]' brings temporal"
    return found


@contextmanager
def dev_server(folder: Path, *flags: str) -> Iterator[str]:
    """A dev server in memory; gives its address."""
    port = free_port()
    log = folder / "server.log"
    with log.open("wb") as output:
        argv = [temporal_binary(), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen([*argv, "--log-level", "error", *flags], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 30
        health = [temporal_binary(), "operator", "cluster", "health", "--address", f"127.0.0.1:{port}"]
        while subprocess.run(health, capture_output=True, check=False).returncode != 0:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with default settings: no dynamic config, no search attributes."""
    with dev_server(tmp_path_factory.mktemp("temporal")) as address:
        yield address


@pytest.fixture
def short_history_address(tmp_path: Path) -> Iterator[str]:
    """A server that wants workflows to continue as new very soon, and ends those that do not."""
    limits = {"limit.historyCount.suggestContinueAsNew": 30, "limit.historyCount.error": 300}
    flags = [word for name, value in limits.items() for word in ("--dynamic-config-value", f"{name}={value}")]
    with dev_server(tmp_path, *flags) as address:
        yield address
