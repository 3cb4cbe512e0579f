"""The sync: makes a folder (or file) of nodes what a snapshot says, and sends only what they do not have.

Two round trips: `apply.sh list` says what an earlier sync of ours put there and what is there now; `apply.sh apply`
takes one tar stream with all that is missing, stages it, and switches to it file by file. If it dies at any point,
running it again ends right: before the first change the node's record says of every path all that it could be by then.

Nodes that say the same get the same stream, which is read from the store once, and compressed if that helps and they
have zstd.
"""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import shlex
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from skyflow.errors import InvalidTaskError, NodeUnreachableError, SkyflowError
from skyflow.models.snapshot import Manifest, name_bytes
from skyflow.nodes import stage
from skyflow.nodes.broadcast import Broadcast
from skyflow.nodes.plan import Wanted, control, make_plan
from skyflow.nodes.record import Record, parse_record

SCRIPT = Path(__file__).with_name("apply.sh")
LIST_SECONDS = 120.0
APPLY_SECONDS = 600.0
SLOWEST = 64 << 10
"""Bytes a second: a stream may take as long as it would take at this speed, beside the time above."""
ATTEMPTS = 5
"""How often a sync starts over because another one changed the same target meanwhile."""
A_MOMENT = 0.002
"""Seconds. A node that needs longer than this to answer has something that has to be compared."""
STALE, CUT, FAILED = 3, 4, 5
"""Exit codes of apply.sh."""

T = TypeVar("T")
U = TypeVar("U")

Progress = Callable[[int, int], None]
"""Is told of the bytes that were sent, and of those that have to be."""


class TooMuchError(Exception):
    """There is more to send than the caller wants to."""


class Completed(Protocol):
    """A command that ran on the node."""

    @property
    def status(self) -> int: ...
    @property
    def stdout(self) -> bytes: ...
    @property
    def stderr(self) -> bytes: ...


class Connection(Protocol):
    """What a sync needs of `skyflow.nodes.connection.Connection`."""

    async def run(self, command: str, *, input: bytes | AsyncIterable[bytes] = b"", timeout: float) -> Completed: ...


class Reader(stage.Reader, Protocol):
    """What a sync needs of `skyflow.store.reader.SnapshotReader`."""

    async def manifest(self, ref: str) -> Manifest: ...


@dataclass(frozen=True)
class SyncResult:
    """What a sync did."""

    sent_files: int
    """Files and links."""
    sent_bytes: int
    deleted: int
    """Files and links that an earlier sync had put there."""


@dataclass
class _Meter:
    """Counts the bytes of all streams of a sync."""

    progress: Progress | None
    at_most: int | None
    sent: int = 0
    total: int = 0
    to_nodes: int = 0

    def expect(self, size: int, nodes: int) -> None:
        """A stream of so many bytes to so many nodes is about to begin."""
        self.total += size
        self.to_nodes += size * nodes
        if self.at_most is not None and self.to_nodes > self.at_most:
            raise TooMuchError

    def add(self, size: int) -> None:
        self.sent += size
        if self.progress:
            self.progress(self.sent, self.total)


async def sync(
    conn: Connection, reader: Reader, ref: str, target: str, *, progress: Progress | None = None
) -> SyncResult:
    """`sync_all` of one node."""
    (result,) = await sync_all([conn], reader, ref, target, progress=progress)
    return result


async def sync_all(
    conns: Sequence[Connection],
    reader: Reader,
    ref: str,
    target: str,
    *,
    progress: Progress | None = None,
    at_most: int | None = None,
) -> list[SyncResult]:
    """Makes a target on nodes what a snapshot says.

    What an earlier sync put there and the snapshot does not have is removed, unless it was changed there; everything
    else that is there stays. May run at any time, any number of times, also beside another one.

    Args:
        conns: to the nodes, which are different ones.
        reader: of the store that has the snapshot.
        ref: of the snapshot.
        target: absolute, `~/…`, or relative to `~/sky_workdir`. A snapshot of a file lands as this file.
        progress: is called as bytes are handed to the connections.
        at_most: bytes, for all nodes together, that may be sent.

    Returns:
        What was done to each, in their order.

    Raises:
        SkyflowError: a node refuses (rights, disk, a folder in the way), with its reason.
        NodeUnreachableError: a connection broke; run it again.
        TooMuchError: there is more to send than `at_most`.
    """
    target = posixpath.normpath(target)
    listing = asyncio.ensure_future(_all([_list(conn, target) for conn in conns]))
    wanted, answers = await _both(_wanted(reader, ref, target, listing), _result(listing))
    results: dict[int, SyncResult] = {}
    meter = _Meter(progress, at_most)
    left = list(range(len(conns)))
    for _ in range(ATTEMPTS):
        groups = {answer: [n for n, other in zip(left, answers, strict=True) if other == answer] for answer in answers}
        done = await _all(
            [
                _apply([conns[number] for number in group], reader, target, parse_record(answer), wanted, meter)
                for answer, group in groups.items()
            ]
        )
        for group, outcomes in zip(groups.values(), done, strict=True):
            results |= {n: outcome for n, outcome in zip(group, outcomes, strict=True) if outcome is not None}
        left = [number for number in range(len(conns)) if number not in results]
        if not left:
            return [results[number] for number in range(len(conns))]
        answers = await _all([_list(conns[number], target) for number in left])
    raise NodeUnreachableError(f"Other syncs kept changing {target} on the node; it is tried again.")


async def _wanted(reader: Reader, ref: str, target: str, listing: asyncio.Future[list[bytes]]) -> Wanted:
    """What is to be there; a single file has the target's name. What can be prepared while the nodes look, is."""
    manifest = await reader.manifest(ref)
    if manifest.kind == "f":
        if target in ("~", ".", "/"):
            raise InvalidTaskError(f"The target {target} is a folder, but its source is a file; name the file.")
        name = posixpath.basename(target)
        manifest = Manifest("f", tuple(entry._replace(path=name) for entry in manifest.entries))
    wanted = Wanted(manifest)
    await asyncio.wait([listing], timeout=A_MOMENT)
    if not listing.done():
        wanted.prepare()
    return wanted


async def _both(one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U]) -> tuple[T, U]:
    results = await _all([one, other])
    return results[0], results[1]  # type: ignore[return-value]


async def _result(work: Awaitable[T]) -> T:
    return await work


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all; what the first failure leaves running is stopped."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _list(conn: Connection, target: str) -> bytes:
    # The script travels with the first command, so that a node needs no preparation and the second one finds it. One
    # that was cut on its way never gets its name.
    script, name = _script(), _script_path()
    fresh = f"{name}.$$"
    install = (
        f'umask 077; mkdir -p "$HOME"/.skyflow/bin && cat >{fresh} && '
        f'{{ [ "$(wc -c <{fresh})" -eq {len(script)} ] || exit {CUT}; }} && mv -f {fresh} {name}'
    )
    command = f"[ -f {name} ] || {{ {install}; }} || exit 1; exec sh {name} list {_arguments('d', target)}"
    done = await conn.run(command, input=script, timeout=LIST_SECONDS)
    _check(done, target)
    return done.stdout


async def _apply(
    conns: Sequence[Connection], reader: Reader, target: str, record: Record, wanted: Wanted, meter: _Meter
) -> list[SyncResult | None]:
    """Does what has to be done to nodes that are all alike. None for one where it has to start over."""
    if record.marks and record.kind != wanted.kind:  # a file became a folder: first remove what was there
        nothing = Wanted(Manifest("f" if wanted.kind == "d" else "d", ()))
        await _send(conns, reader, target, record, nothing, meter)
        return [None] * len(conns)
    return await _send(conns, reader, target, record, wanted, meter)


async def _send(
    conns: Sequence[Connection], reader: Reader, target: str, record: Record, wanted: Wanted, meter: _Meter
) -> list[SyncResult | None]:
    plan = make_plan(wanted, record)
    total = sum([entry.size for entry in plan.send])
    result = SyncResult(len(plan.send), total, len(plan.remove))
    if plan.is_done:
        return [result] * len(conns)
    meter.expect(total, len(conns))
    codec = "zstd" if record.zstd and stage.is_compressible(plan) else "plain"
    arguments = f"{_arguments(wanted.kind, target)} {record.generation} {codec}"
    command = f"exec sh {_script_path()} apply {arguments}"
    stream = stage.stream(reader, plan, control(plan, wanted, record), meter.add)
    broadcast = Broadcast(stage.compressed(stream) if codec == "zstd" else stream, len(conns))

    async def send(number: int) -> SyncResult | None:
        try:
            seconds = APPLY_SECONDS + len(conns) * total / SLOWEST
            done = await conns[number].run(command, input=broadcast.reader(number), timeout=seconds)
        finally:
            broadcast.leave(number)
        if done.status == STALE:
            return None
        _check(done, target)
        return result

    pumping = asyncio.ensure_future(broadcast.pump())
    try:
        return await _all([send(number) for number in range(len(conns))])
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
        await stream.aclose()


def _check(done: Completed, target: str) -> None:
    if done.status == 0:
        return
    if done.status == CUT or not 0 < done.status < 128:
        raise NodeUnreachableError(f"Copying files to {target} was cut off on the node; it is tried again.")
    said = done.stdout if done.status == FAILED else done.stderr
    lines = said.decode("utf-8", "replace").strip().splitlines()
    reason = lines[-1] if lines else f"exit code {done.status}"
    raise SkyflowError(f"Cannot copy files to {target} on the node: {reason}")


@cache
def _script() -> bytes:
    return SCRIPT.read_bytes()


@cache
def _script_path() -> str:
    """Where it is on a node: the names of different versions differ."""
    return f'"$HOME"/.skyflow/bin/apply-{hashlib.sha256(_script()).hexdigest()[:16]}.sh'


def _arguments(kind: str, target: str) -> str:
    key = hashlib.sha256(name_bytes(target)).hexdigest()[:16]
    return f"{key} {kind} {shlex.quote(target)}"
