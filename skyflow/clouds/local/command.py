"""One command or shell on a local node, in a session of its own, its input and output pumped by hand.

By hand, because asyncssh's `redirect` drops the connection under backpressure; through pipes and not asyncio's
subprocesses, because those give a socket as standard input (nothing can open /dev/stdin then) and a thread a process.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import termios
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh

CHUNK = 128 << 10

LOOK_SECONDS = 1.0
"""How often it is looked whether the client has gone while the command does not read."""

LAST_SECONDS = 0.2
"""How long the last output of a terminal is waited for, if something in the background still holds it."""


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
            except OSError as error:
                if error.errno == errno.EIO:  # a terminal that nobody has open any more
                    return b""
                if not isinstance(error, BlockingIOError):
                    raise
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
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                self._broken = True  # as above, of a terminal
        return True

    def resize(self, columns: int, rows: int) -> None:
        """The client's window has another size now. Of a pipe, nothing comes of it."""
        if self._descriptor is not None and os.isatty(self._descriptor):
            termios.tcsetwinsize(self._descriptor, (rows, columns))

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
    """Runs what a client asked for (a login shell, if nothing), as sshd would, until it ends or the client goes away.

    Args:
        channel: the SSHServerProcess.
        reaper: of this event loop.
        env: the whole environment of the command.
        cwd: where it starts, if that is still there.
    """
    if channel.subsystem is not None:
        channel.stderr.write(f"Local nodes do not have the subsystem {channel.subsystem}.\n".encode())
        channel.exit(1)
        return
    start = _start if channel.term_type is None else partial(_start_on_terminal, channel.term_type)
    argv = [LOGIN_SHELL] if channel.command is None else ["/bin/sh", "-c", channel.command]
    try:
        process, pipes = start(argv, env, cwd if cwd.is_dir() else Path("/"))
    except OSError as error:  # too long an argument, no more processes
        channel.stderr.write(f"/bin/sh: {error.strerror}\n".encode())
        channel.exit(126)
        return
    to_stdin, *outputs = pipes
    if channel.term_type is not None:
        to_stdin.resize(*channel.term_size[:2])
    feeding = asyncio.create_task(_feed(channel, to_stdin, process.pid))
    draining = [_drain(*pair) for pair in zip(outputs, (channel.stdout, channel.stderr), strict=False)]
    finish = _finish if channel.term_type is None else _finish_on_terminal
    ending = asyncio.create_task(finish(reaper.watch(process), *draining))
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


LOGIN_SHELL = "-bash"
"""As sshd calls it, so that it reads the user's profile."""

Started = tuple[subprocess.Popen[bytes], tuple[Pipe, ...]]
"""The process, and our ends of its standard input, output and error."""


def _start(argv: list[str], env: Mapping[str, str], cwd: Path) -> Started:
    (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = os.pipe(), os.pipe(), os.pipe()
    ours = (Pipe(to_stdin), Pipe(from_stdout), Pipe(from_stderr))
    try:
        process = subprocess.Popen(
            argv,
            executable=_executable(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
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


def _start_on_terminal(kind: str, argv: list[str], env: Mapping[str, str], cwd: Path) -> Started:
    """As `_start`; standard error is the terminal too, so there is no end of ours for it."""
    ours, terminal = os.openpty()
    pipes = (Pipe(os.dup(ours)), Pipe(ours))  # two descriptors: the end of the client's input is not that of the output
    try:
        process = subprocess.Popen(
            argv,
            executable=_executable(argv),
            env={**env, "TERM": kind},
            cwd=cwd,
            preexec_fn=partial(os.login_tty, terminal),  # a session of its own, which this is the terminal of
        )
    except OSError:
        for pipe in pipes:
            pipe.close()
        raise
    finally:
        os.close(terminal)
    return process, pipes


def _executable(argv: list[str]) -> str:
    return "/bin/bash" if argv[0] == LOGIN_SHELL else argv[0]


async def _finish_on_terminal(end: asyncio.Future[int], *draining: Any) -> int:
    """As sshd: what was left in the background does not keep the session open."""
    tasks = [asyncio.ensure_future(one) for one in draining]
    try:
        code = await end
        await asyncio.wait(tasks, timeout=LAST_SECONDS)
        return code
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
        except asyncssh.TerminalSizeChanged as changed:
            pipe.resize(changed.width, changed.height)
            continue
        except asyncssh.BreakReceived:
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
