"""One command on a local node: a shell in a session of its own, its input and output pumped by hand.

By hand, because asyncssh's `redirect` drops the connection under backpressure; through pipes and not asyncio's
subprocesses, because those give a socket as standard input (nothing can open /dev/stdin then) and a thread a process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh

CHUNK = 128 << 10

LOOK_SECONDS = 1.0
"""How often it is looked whether the client has gone while the command does not read."""


class Reaper:
    """Tells when processes end. One for the event loop, because it listens to SIGCHLD."""

    def __init__(self) -> None:
        self._ends: dict[subprocess.Popen[bytes], asyncio.Future[int]] = {}
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._look)

    def watch(self, process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
        """Its return code, when it has ended. It is reaped also if nobody waits."""
        end = self._ends[process] = asyncio.get_running_loop().create_future()
        self._look()
        return end

    def kill_all(self) -> None:
        """Kills the process groups of all commands."""
        for process in self._ends:
            kill_group(process.pid)

    def _look(self) -> None:
        for process, end in list(self._ends.items()):
            if (code := process.poll()) is not None:
                del self._ends[process]
                if not end.done():
                    end.set_result(code)


class Pipe:
    """One end of a pipe, for the event loop."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._broken = False

    def close(self) -> None:
        """Closes it, if it is not closed yet."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def read(self) -> bytes:
        """The next chunk; empty at the end."""
        assert self._descriptor is not None
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._descriptor, CHUNK)
            except BlockingIOError:
                readable = asyncio.Event()
                loop.add_reader(self._descriptor, readable.set)
                try:
                    await readable.wait()
                finally:
                    loop.remove_reader(self._descriptor)

    async def write(self, data: bytes, given_up: Callable[[], bool]) -> bool:
        """Writes everything. What nobody wants to read is dropped. False if it was given up meanwhile."""
        assert self._descriptor is not None
        left = memoryview(data)
        while left and not self._broken:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BrokenPipeError:
                self._broken = True
            except BlockingIOError:
                if given_up():
                    return False
                await self._writable()
        return True

    async def _writable(self) -> None:
        assert self._descriptor is not None
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(self._descriptor, writable.set)
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await writable.wait()
        except TimeoutError:
            return  # time to look whether the client is still there
        finally:
            loop.remove_writer(self._descriptor)


async def serve(channel: Any, reaper: Reaper, env: Mapping[str, str], cwd: Path) -> None:
    """Runs what a client asked for, as sshd would, until it ends or the client goes away.

    Args:
        channel: the SSHServerProcess.
        reaper: of this event loop.
        env: the whole environment of the command.
        cwd: where it starts, if that is still there.
    """
    if channel.command is None or channel.subsystem is not None:
        what = "interactive shells" if channel.subsystem is None else f"the subsystem {channel.subsystem}"
        channel.stderr.write(f"Local nodes do not support {what} yet; give a command.\n".encode())
        channel.exit(1)
        return
    try:
        process, pipes = _start(channel.command, env, cwd)
    except OSError as error:  # too long an argument, no more processes
        channel.stderr.write(f"/bin/sh: {error.strerror}\n".encode())
        channel.exit(126)
        return
    to_stdin, from_stdout, from_stderr = pipes
    feeding = asyncio.create_task(_feed(channel, to_stdin, process.pid))
    ending = asyncio.create_task(
        _finish(reaper.watch(process), _drain(from_stdout, channel.stdout), _drain(from_stderr, channel.stderr))
    )
    closing = asyncio.create_task(channel.wait_closed())
    ended = False
    try:
        await asyncio.wait([ending, closing, feeding], return_when=asyncio.FIRST_COMPLETED)
        if feeding.done() and not ending.done() and feeding.result():
            await asyncio.wait([ending, closing], return_when=asyncio.FIRST_COMPLETED)
        ended = ending.done() and ending.exception() is None
        if ended:
            _report(channel, ending.result())
    finally:
        if not ended:
            kill_group(process.pid)
        tasks = (feeding, ending, closing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pipe in pipes:
            pipe.close()


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    """Signals a process group. What made a session of its own is not in it."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _start(command: str, env: Mapping[str, str], cwd: Path) -> tuple[subprocess.Popen[bytes], tuple[Pipe, Pipe, Pipe]]:
    """The process, and our ends of its standard input, output and error."""
    (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = os.pipe(), os.pipe(), os.pipe()
    ours = (Pipe(to_stdin), Pipe(from_stdout), Pipe(from_stderr))
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd if cwd.is_dir() else "/",
            start_new_session=True,
        )
    except OSError:
        for pipe in ours:
            pipe.close()
        raise
    finally:
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
    return process, ours


async def _finish(end: asyncio.Future[int], *draining: Any) -> int:
    """As sshd: the command is over when it has ended and nobody holds its output any more."""
    async with asyncio.TaskGroup() as group:  # what the first failure left reading would read a closed descriptor
        for one in draining:
            group.create_task(one)
    return await end


def _report(channel: Any, code: int) -> None:
    if code >= 0:
        channel.exit(code)
    else:
        channel.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))


async def _drain(pipe: Pipe, writer: Any) -> None:
    """Passes the command's output on as fast as the client takes it."""
    while data := await pipe.read():
        writer.write(data)
        await writer.drain()


async def _feed(channel: Any, pipe: Pipe, group: int) -> bool:
    """Passes the client's input on. False if the client has gone before it said that its input was complete.

    Then the pipe stays open until the command is killed: it must not take half an input for a whole one.
    """
    while True:
        try:
            data = await channel.stdin.read(CHUNK)
        except asyncssh.SignalReceived as received:
            kill_group(group, getattr(signal, f"SIG{received.signal}", signal.SIGTERM))
            continue
        except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
            continue
        except asyncssh.Error:
            return False
        if not data:
            break
        if not await pipe.write(data, channel.is_closing):
            return False
    if channel.is_closing():
        return False
    pipe.close()
    return True
