"""A node as a sync sees it: a HOME, and a shell that runs commands in it (GNU, or busybox and nothing else)."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from skyflow.store.reader import SnapshotReader
from skyflow.store.store import Store, open_store

GNU_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass
class Completed:
    status: int
    stdout: bytes
    stderr: bytes


@dataclass
class ShellNode:
    """Runs commands as sshd would: a new session, the user's shell, only a few variables."""

    home: Path
    path: str = GNU_PATH
    env: dict[str, str] = field(default_factory=dict)
    user: int | None = None
    commands: list[str] = field(default_factory=list)
    received: int = 0

    async def run(self, command: str, *, input: bytes | AsyncIterable[bytes] = b"", timeout: float) -> Completed:
        self.commands.append(command)
        process = await asyncio.create_subprocess_exec(
            shutil.which("sh", path=self.path) or "/bin/sh", "-c", command,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self.home), "PATH": self.path, **self.env}, cwd=self.home, start_new_session=True,
            user=self.user, group=self.user, extra_groups=None if self.user is None else [],
        )  # fmt: skip
        assert process.stdin and process.stdout and process.stderr
        reading = asyncio.gather(process.stdout.read(), process.stderr.read())
        try:
            await self._feed(process.stdin, input)
            out, err = await asyncio.wait_for(reading, timeout)
            return Completed(await process.wait(), out, err)
        finally:
            reading.cancel()
            process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _feed(self, stdin: asyncio.StreamWriter, data: bytes | AsyncIterable[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if isinstance(data, bytes):
                self.received += len(data)
                stdin.write(data)
            else:
                async for chunk in data:
                    self.received += len(chunk)
                    stdin.write(chunk)
                    await stdin.drain()
            stdin.close()
            await stdin.wait_closed()


def busybox_path(folder: Path) -> str:
    """A PATH that has nothing but busybox."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    if not any(folder.iterdir()):
        subprocess.run([busybox, "--install", "-s", str(folder)], check=True)
    return str(folder)


@pytest.fixture(scope="session")
def busybox_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(params=["gnu", "busybox"])
def node_path(request: pytest.FixtureRequest, busybox_folder: Path) -> str:
    return GNU_PATH if request.param == "gnu" else busybox_path(busybox_folder)


@pytest.fixture
def node(tmp_path: Path, node_path: str) -> ShellNode:
    (tmp_path / "home").mkdir()
    return ShellNode(tmp_path / "home", node_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/store")


@pytest.fixture
def reader(store: Store) -> SnapshotReader:
    return SnapshotReader(store)
