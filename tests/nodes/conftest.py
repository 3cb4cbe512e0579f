"""Nodes, and ways to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from skyflow.models.node import Node
from skyflow.nodes.connection import Connection, Connections

from .server import SshServer, tools

UID = "20261124T101500-ab12cd34"


@pytest.fixture
def kind() -> str:
    """Which tools a node has; tests override it by parametrising."""
    return "dash"


@pytest.fixture
async def server(tmp_path: Path, kind: str) -> AsyncIterator[SshServer]:
    server = SshServer(tmp_path / "home", tools(kind, tmp_path / "bin"))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        server.kill_all()


@pytest.fixture
async def second(tmp_path: Path) -> AsyncIterator[SshServer]:
    """Another node."""
    server = SshServer(tmp_path / "home1", tools("dash", tmp_path / "bin1"), rank=1)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        server.kill_all()


@pytest.fixture
async def pool() -> AsyncIterator[Connections]:
    pool = Connections()
    try:
        yield pool
    finally:
        pool.close()


@pytest.fixture
async def conn(server: SshServer, pool: Connections) -> AsyncIterator[Connection]:
    async with pool.connect(server.node, server.client_key) as connection:
        yield connection


Connect = Callable[[Node], AbstractAsyncContextManager[Connection]]


def connect_with(pool: Connections, *servers: SshServer) -> Connect:
    keys = {server.node.id: server.client_key for server in servers}
    return lambda node: pool.connect(node, keys[node.id])


class Gate:
    """A pipe in a node's home, at which a unit and a test wait for each other."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._path = path

    async def open(self) -> None:
        """Lets one `read <PATH` go on."""
        opened: list[int] = []

        def reader_is_there() -> bool:
            with contextlib.suppress(OSError):
                opened.append(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK))
            return bool(opened)

        await until(reader_is_there)
        os.write(opened[0], b"go\n")
        os.close(opened[0])

    async def passed(self) -> None:
        """Waits for one `echo … >PATH`."""
        reader = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)

        def something_came() -> bool:
            with contextlib.suppress(BlockingIOError):
                return bool(os.read(reader, 100))
            return False

        await until(something_came)
        os.close(reader)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what no event tells; the test's timeout bounds it."""
    while not condition():  # noqa: ASYNC110 -- processes and connections of the other side
        await asyncio.sleep(0.01)
