"""SSH connections to nodes: the one place that knows asyncssh.

A node's host key is pinned exactly: somebody else who answers at its address is never spoken to. A command whose end is
not known (neither an exit status nor a signal arrived) is a lost connection, never a success. Giving up on a command,
by timeout or cancel, says nothing about the process on the node: that may still run.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from skyflow.errors import HostKeyMismatchError, NodeUnreachableError, SkyflowError
from skyflow.models.name import CLIENT_VERSION
from skyflow.models.node import Node

MAX_CHANNELS = 8
"""Channels of one SSH connection. OpenSSH's server refuses the eleventh (MaxSessions)."""

CONNECT_SECONDS = 15.0
IDLE_SECONDS = 60.0
"""A connection that nobody has used for this long is closed."""

KEEPALIVE_SECONDS = 10
KEEPALIVE_COUNT = 3
"""A connection is dead when so many questions in a row had no answer."""

CHUNK = 256 << 10


@dataclass(frozen=True)
class Completed:
    """A command that has ended on the node."""

    status: int
    """Exit status; 128 + n if signal n killed it."""
    stdout: bytes
    stderr: bytes


class Stream:
    """The output of a command that runs, as chunks of bytes. Its standard input stays open until the block is left."""

    def __init__(self, process: Any, node: Node) -> None:
        self._process = process
        self._node = node
        self.completed: Completed | None = None
        """Set when the command has ended by itself and all its output was read (`stdout` is empty: it was streamed)."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with _unreachable(self._node):
            chunk: bytes = await self._process.stdout.read(CHUNK)
            if chunk:
                return chunk
            stderr = await self._process.stderr.read()
            await self._process.wait_closed()
        self.completed = Completed(_status(self._process, self._node), b"", stderr)
        raise StopAsyncIteration


@dataclass(eq=False)
class _Link:
    """One SSH connection and how many channels of it are in use."""

    ssh: Any
    channels: int = 0

    def is_free(self) -> bool:
        return self.channels < MAX_CHANNELS and not self.ssh.is_closed()


class Connection:
    """The way to one node. It opens one more SSH connection when all channels of the others are in use."""

    def __init__(self, node: Node, client_key: str) -> None:
        self.node = node
        self.users = 0
        self.idle: asyncio.TimerHandle | None = None
        self._client_key = client_key
        self._links: list[_Link] = []
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Makes sure that a channel is free.

        Raises:
            NodeUnreachableError: no connection could be made.
            HostKeyMismatchError: somebody with another key answered.
        """
        if not any(link.is_free() for link in self._links):
            async with self._opening:
                if not any(link.is_free() for link in self._links):
                    self._links = [link for link in self._links if not link.ssh.is_closed()]
                    self._links.append(_Link(await _open(self.node, self._client_key)))

    async def run(self, command: str, *, input: bytes | AsyncIterable[bytes] = b"", timeout: float) -> Completed:
        """Runs a command to its end.

        Args:
            command: for the login shell of the node's user.
            input: what the command reads. What it does not want to read is dropped.
            timeout: in seconds.

        Raises:
            NodeUnreachableError: the connection was lost, or the time is over; the command may have run or still run.
        """
        try:
            async with asyncio.timeout(timeout) as deadline, self._process(command) as process:
                return await self._complete(process, input)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise NodeUnreachableError(
                f"{_place(self.node)} did not finish a command within {timeout:g} s; it will be tried again."
            ) from None

    @asynccontextmanager
    async def stream(self, command: str) -> AsyncIterator[Stream]:
        """Runs a command and gives its output as it comes; leaving the block closes its standard input and channel."""
        async with self._process(command) as process:
            yield Stream(process, self.node)

    def close(self) -> None:
        """Closes everything at once. What is being waited for ends with NodeUnreachableError."""
        if self.idle:
            self.idle.cancel()
        for link in self._links:
            link.ssh.abort()
        self._links = []

    @asynccontextmanager
    async def _process(self, command: str) -> AsyncIterator[Any]:
        while (link := next((link for link in self._links if link.is_free()), None)) is None:
            await self.open()
        link.channels += 1
        try:
            with _unreachable(self.node):
                process = await link.ssh.create_process(command, encoding=None)
            try:
                yield process
            finally:
                process.close()
        finally:
            link.channels -= 1
            self._close_spare()

    def _close_spare(self) -> None:
        """Closes what nobody uses, but for the first, which is for whoever comes next.

        On the node, one that no call of the runner came through would count as a user's.
        """
        for link in [link for link in self._links[1:] if not link.channels]:
            self._links.remove(link)
            link.ssh.close()

    async def _complete(self, process: Any, input: bytes | AsyncIterable[bytes]) -> Completed:
        feeding = asyncio.create_task(_feed(process, input))
        try:
            with _unreachable(self.node):
                stdout, stderr = await asyncio.gather(process.stdout.read(), process.stderr.read())
                await process.wait_closed()
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
        if not feeding.cancelled() and (error := feeding.exception()):
            raise error
        return Completed(_status(process, self.node), stdout, stderr)


@dataclass
class Connections:
    """The connections of one process: shared while somebody uses them, replaced when dead, closed when idle."""

    idle_seconds: float = IDLE_SECONDS
    _open: dict[tuple[str, ...], Connection] = field(default_factory=dict, repr=False)

    @asynccontextmanager
    async def connect(self, node: Node, client_key: str) -> AsyncIterator[Connection]:
        """The connection to a node. All who ask at the same time share one.

        Args:
            node: where it is and the host key that is pinned.
            client_key: the private key that opens it, in OpenSSH's PEM text.

        Raises:
            NodeUnreachableError: it cannot be reached now.
            HostKeyMismatchError: somebody with another key answered.
        """
        key = (node.id, node.address, str(node.port), node.user, node.host_key, client_key)
        connection = self._open.get(key) or self._open.setdefault(key, Connection(node, client_key))
        connection.users += 1
        if connection.idle:
            connection.idle.cancel()
        try:
            await connection.open()
            yield connection
        finally:
            connection.users -= 1
            if not connection.users:
                loop = asyncio.get_running_loop()
                connection.idle = loop.call_later(self.idle_seconds, self._discard, key)

    def close(self) -> None:
        """Closes all connections, used or not."""
        for key in list(self._open):
            self._discard(key)

    def _discard(self, key: tuple[str, ...]) -> None:
        if connection := self._open.pop(key, None):
            connection.close()


async def enter_all(
    stack: AsyncExitStack, openers: Sequence[AbstractAsyncContextManager[Connection]]
) -> list[Connection]:
    """Enters all at once. If one fails, the others are entered (or have failed) too before that is raised."""
    entering = [stack.enter_async_context(opener) for opener in openers]
    results = await asyncio.gather(*entering, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def _open(node: Node, client_key: str) -> Any:
    import asyncssh

    try:
        host_key = asyncssh.import_public_key(node.host_key)
        key = asyncssh.import_private_key(client_key)
    except asyncssh.KeyImportError as error:
        raise SkyflowError(
            f"A key of node {node.id} cannot be read ({_line(error)}); take its cluster down and launch it anew."
        ) from error
    with _unreachable(node):
        return await asyncssh.connect(
            node.address,
            node.port,
            username=node.user,
            client_keys=[key],
            known_hosts=([host_key], [], []),
            server_host_key_algs=[name.decode() for name in host_key.sig_algorithms],
            client_version=CLIENT_VERSION,
            encryption_algs="^aes128-gcm@openssh.com",  # 1.8 times as fast as the default
            config=None,
            agent_path=None,
            preferred_auth="publickey",
            connect_timeout=CONNECT_SECONDS,
            login_timeout=CONNECT_SECONDS,
            keepalive_interval=KEEPALIVE_SECONDS,
            keepalive_count_max=KEEPALIVE_COUNT,
        )


async def _feed(process: Any, input: bytes | AsyncIterable[bytes]) -> None:
    """Writes a command's standard input. When that fails on our side, the channel is closed.

    To the command that is an end like any other: one that must know whether it got everything has to count.
    """
    import asyncssh

    try:
        async for chunk in _chunks(input):
            try:
                process.stdin.write(chunk)
                await process.stdin.drain()
            except (asyncssh.Error, OSError):
                return  # it reads no more, or is gone: its exit status tells
        process.stdin.write_eof()
    except BaseException:
        process.close()
        raise


async def _chunks(input: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if not isinstance(input, bytes):
        async for chunk in input:
            yield chunk
    elif input:
        yield input


def _status(process: Any, node: Node) -> int:
    if process.exit_signal is not None:
        name = f"SIG{process.exit_signal[0]}"
        return 128 + (signal.Signals[name] if name in signal.Signals.__members__ else 0)
    if process.exit_status is None:
        raise NodeUnreachableError(f"The connection to {_place(node, start='node')} was lost.")
    return int(process.exit_status)


@contextmanager
def _unreachable(node: Node) -> Iterator[None]:
    """Gives every failure of the way to a node its skyflow type."""
    import asyncssh

    try:
        yield
    except asyncssh.HostKeyNotVerifiable as error:
        raise HostKeyMismatchError(
            f"{_place(node)} answers with another host key than the one that was pinned when it was made: "
            "it is not that machine, or somebody is in between. Nothing was sent to it."
        ) from error
    except asyncssh.PermissionDenied as error:
        raise NodeUnreachableError(
            f"{_place(node)} does not accept the cluster's key for user {node.user!r}."
        ) from error
    except (asyncssh.Error, OSError) as error:
        raise NodeUnreachableError(f"{_place(node)} cannot be reached: {_line(error)}.") from error


def _place(node: Node, start: str = "Node") -> str:
    return f"{start} {node.id} (rank {node.rank}, {node.address}:{node.port})"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
