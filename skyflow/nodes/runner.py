"""The job runner of a node, as functions: `runner.sh` beside this file does the work, and says how.

The script is on a node under the name of its digest, so that workers of different versions do not disturb each other.
Nothing is asked beforehand: where it is missing, the first command says so, and is given again after it was brought.
Every function may be called twice; a unit starts once, ends once, and keeps its first exit code.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import shlex
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast, get_args

from skyflow.errors import NodeUnreachableError, SkyflowError
from skyflow.nodes.connection import Completed, Connection

StartAnswer = Literal["started", "exists", "cancelled"]
State = Literal["running", "ended", "cancelled", "lost"]
"""`cancelled`: before it started; one that was cancelled while it ran is `ended`, with the code of who cancelled it."""
EventKind = Literal["running", "ready", "start", "end"]
"""`running`: it runs now, and was started before; `ready`: what follows is read from the file of events."""

SECONDS = 30.0
"""How long a quick command may take."""
LOOK_SECONDS = 60.0
"""How often `wait` looks whether the unit was lost without a word."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_ABSENT = 127
_CUT = 75


@dataclass(frozen=True)
class UnitState:
    """A unit, now. Times are epoch seconds, by the node's clock."""

    state: State
    code: int | None
    start: int | None
    end: int | None
    size: int
    """Bytes of its log."""


@dataclass(frozen=True)
class UnitEnd:
    code: int
    """Exit code; `LOST` (-1) if the node rebooted or the process vanished before it left one."""
    size: int
    """Bytes of its log."""


@dataclass(frozen=True)
class RunnerEvent:
    """A line of the event stream of a node."""

    kind: EventKind
    unit: str = ""
    offset: int = 0
    """Where, in the file of events, the next one begins (for `running`: 0)."""
    code: int = 0
    size: int = 0


async def install(conn: Connection) -> None:
    """Brings the runner onto the node; one that is there already is replaced by the same."""
    script, target = _script(), _path()
    fresh = f"{target}.$$"
    move = f'[ "$(wc -c <{fresh})" -eq {len(script)} ] && mv -f {fresh} {target}'
    command = f"sh -c 'umask 077; mkdir -p ~/.skyflow/bin && cat >{fresh} && {move}'"
    done = await conn.run(command, input=script, timeout=SECONDS)
    if done.status:
        raise _failure(conn, done, "cannot be brought there")


async def start(conn: Connection, uid: str, unit: str, script: bytes) -> StartAnswer:
    """Starts a unit, once.

    Args:
        conn: to the node.
        uid: of the life of the cluster.
        unit: its name; whoever comes second with the same name starts nothing.
        script: for bash.

    Returns:
        Whether it was started now, exists already (running or ended), or was cancelled before it could start.
    """
    answer = (await _call(conn, uid, "start", _checked(unit), str(len(script)), input=script)).decode().strip()
    if answer not in get_args(StartAnswer):
        raise SkyflowError(f"The job runner on node {conn.node.id} gave an answer that is none: {answer!r}.")
    return cast(StartAnswer, answer)


async def cancel(conn: Connection, uid: str, unit: str, grace: float, code: int) -> None:
    """Ends a unit and everything that it started; one that has not started never will.

    Args:
        conn: to the node.
        uid: of the life of the cluster.
        unit: its name.
        grace: seconds between SIGTERM and SIGKILL.
        code: the exit code that it gets, unless it has ended by itself.
    """
    tenths = str(math.ceil(grace * 10))
    await _call(conn, uid, "cancel", _checked(unit), tenths, str(code), timeout=grace + SECONDS)


async def show(conn: Connection, uid: str, units: Iterable[str] = ()) -> dict[str, UnitState]:
    """The state of these units, or of all that the node knows. One that is absent from the answer never started."""
    answer = await _call(conn, uid, "show", *map(_checked, units))
    return dict(_unit_state(line) for line in answer.decode().splitlines())


async def wait(conn: Connection, uid: str, unit: str) -> UnitEnd:
    """Returns when the unit has ended (and waits also for one that has not started yet)."""
    while True:
        try:
            async with asyncio.timeout(LOOK_SECONDS), aclosing(events(conn, uid, 0)) as stream:
                async for event in stream:
                    if event.kind == "end" and event.unit == unit:
                        return UnitEnd(event.code, event.size)
        except TimeoutError:
            continue  # to begin anew is to look at every unit that should run


async def events(conn: Connection, uid: str, offset: int) -> AsyncGenerator[RunnerEvent, None]:
    """What happens on the node, for ever: what runs now, then every start and end from a byte of the file of events on.

    A unit that was lost is found when this begins, and ends then. What this version does not know is left out.
    """
    rest = b""
    position = 0
    async with aclosing(_follow(conn, uid, "events", str(offset))) as stream:
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                match line.decode(errors="replace").split():
                    case ["1", "running", unit]:
                        yield RunnerEvent("running", unit)
                        continue
                    case ["1", "ready", first]:
                        position = int(first)
                        yield RunnerEvent("ready", offset=position)
                        continue
                position += len(line) + 1
                match line.decode(errors="replace").split():
                    case ["1", "start", unit, _]:
                        yield RunnerEvent("start", unit, position)
                    case ["1", "end", unit, code, size, _]:
                        yield RunnerEvent("end", unit, position, int(code), int(size))


async def lease(conn: Connection, uid: str, seconds: int | None, power_off: str) -> None:
    """Tells a node its lease: so long without a unit, a user and any call of these, and it switches itself off.

    Args:
        conn: to the node.
        uid: of the life of the cluster.
        seconds: from the last of them on; None: it stays on.
        power_off: the command for that, on the node; empty: the system's own.
    """
    await _call(conn, uid, "lease", "none" if seconds is None else str(seconds), shlex.quote(power_off))


async def sessions(conn: Connection, uid: str) -> int | None:
    """How many seconds ago a user was last seen to be logged in: 0 is now, None is never."""
    answer = (await _call(conn, uid, "sessions")).decode().strip()
    return None if answer == "-" else int(answer)


async def contact(conn: Connection, uid: str) -> None:
    """Tells a node that it is looked after."""
    await _call(conn, uid, "contact")


def log(conn: Connection, uid: str, unit: str, offset: int) -> AsyncGenerator[bytes, None]:
    """The log of a unit from a byte on, for ever."""
    return _follow(conn, uid, "log", _checked(unit), str(offset))


@cache
def _script() -> bytes:
    return Path(__file__).with_name("runner.sh").read_bytes()


@cache
def _path() -> str:
    return f"~/.skyflow/bin/runner-{hashlib.sha256(_script()).hexdigest()[:12]}.sh"


def _command(uid: str, *words: str) -> str:
    return f"[ -r {_path()} ] || exit {_ABSENT}; exec sh {_path()} {_checked(uid)} {' '.join(words)}"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a unit or a life")
    return name


async def _call(conn: Connection, uid: str, *words: str, input: bytes = b"", timeout: float = SECONDS) -> bytes:
    command = _command(uid, *words)
    done = await conn.run(command, input=input, timeout=timeout)
    if done.status == _ABSENT:
        await install(conn)
        done = await conn.run(command, input=input, timeout=timeout)
    if done.status:
        raise _failure(conn, done, "failed")
    return done.stdout


async def _follow(conn: Connection, uid: str, *words: str) -> AsyncGenerator[bytes, None]:
    while True:
        async with conn.stream(_command(uid, *words)) as stream:
            async for chunk in stream:
                yield chunk
        assert stream.completed is not None
        if stream.completed.status != _ABSENT:
            raise NodeUnreachableError(
                f"A stream from node {conn.node.id} ended ({_said(stream.completed)}); it will be opened again."
            )
        await install(conn)


def _unit_state(line: str) -> tuple[str, UnitState]:
    unit, state, *numbers = line.split()
    code, start, end, size = (None if number == "-" else int(number) for number in numbers)
    return unit, UnitState(cast(State, state), code, start, end, size or 0)


def _failure(conn: Connection, done: Completed, what: str) -> SkyflowError:
    kind = NodeUnreachableError if done.status == _CUT else SkyflowError
    return kind(f"The job runner on node {conn.node.id} {what} ({_said(done)}).")


def _said(done: Completed) -> str:
    """The first line that a command complained with."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return f"status {done.status}" + (f": {lines[0]}" if lines else "")
