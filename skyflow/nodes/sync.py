"""The sync: makes a folder (or file) of nodes what a snapshot says, and sends only what they do not have.

Two round trips: `apply.sh list` says what an earlier sync of ours put there and what is there now; `apply.sh apply`
takes one tar stream with all that is missing, stages it, and switches to it file by file. If it dies at any point,
running it again ends right: before the first change the node's list says of every path all that it could be by then.

Nodes that say the same get the same stream, which is read from the store once, and compressed if that helps and they
have zstd.
"""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import re
import shlex
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import zstandard

from skyflow.errors import InvalidTaskError, NodeUnreachableError, SkyflowError
from skyflow.models.snapshot import Entry, EntryKind, Manifest, name_bytes, name_text
from skyflow.nodes import tar
from skyflow.nodes.broadcast import Broadcast

SCRIPT = Path(__file__).with_name("apply.sh")
LIST_SECONDS = 120.0
APPLY_SECONDS = 600.0
SLOWEST = 64 << 10
"""Bytes a second: a stream may take as long as it would take at this speed, beside the time above."""
ATTEMPTS = 5
"""How often a sync starts over because another one changed the same target meanwhile."""
CHUNK = 256 << 10
"""About how many bytes are handed to the connection at once."""
COMPRESSIBLE = 0.8
"""What does not get smaller than this in the store is not compressed on its way to a node either."""
STALE, CUT, FAILED = 3, 4, 5
"""Exit codes of apply.sh."""

_STAT_LINE = re.compile(r"([0-9a-f]+) (\d+) (-?\d+) \./(.*?)//\n", re.DOTALL)
T = TypeVar("T")
U = TypeVar("U")
_KINDS: dict[int, EntryKind] = {0o100000: "f", 0o040000: "d", 0o120000: "l"}

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


class Reader(Protocol):
    """What a sync needs of `skyflow.store.reader.SnapshotReader`."""

    async def manifest(self, ref: str) -> Manifest: ...
    def contents(self, entries: Sequence[Entry]) -> AsyncIterator[tuple[Entry, bytes]]: ...


@dataclass(frozen=True)
class SyncResult:
    """What a sync did."""

    sent_files: int
    """Files and links."""
    sent_bytes: int
    deleted: int
    """Files and links that an earlier sync had put there."""


class _Seen(NamedTuple):
    """A path of the node, now."""

    kind: EntryKind | None
    """None for what a snapshot never holds (a socket, a device)."""
    mode: int
    size: int
    mtime: int


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


@dataclass(frozen=True)
class _There:
    """What earlier syncs put on the node, and what became of it."""

    zstd: bool = False
    """Whether the node can read it."""
    generation: str = "none"
    kind: str = ""
    recorded: dict[str, str] = field(default_factory=dict)
    """By path, all that it could hold: one mark (see `_mark`), or several with commas if a sync was interrupted."""
    seen: dict[str, _Seen] = field(default_factory=dict)
    """By path, what is there. Nothing for what is reached through a link, because that is not where we put it."""


@dataclass
class _Plan:
    """What has to be done to a node. Paths of folders are in the order in which they must be dealt with."""

    recorded: dict[str, str]
    """What the node's list says when all is done."""
    send: list[Entry] = field(default_factory=list)
    make: list[Entry] = field(default_factory=list)
    """Folders that are not there."""
    remove: list[str] = field(default_factory=list)
    rmdir: list[str] = field(default_factory=list)
    unlock: list[str] = field(default_factory=list)
    """Folders in which something changes and whose permissions forbid it."""
    chmod: list[Entry] = field(default_factory=list)
    """Folders whose permissions have to be set in the end, the deepest first."""


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
    manifest, answers = await _both(_manifest(reader, ref, target), _all([_list(conn, target) for conn in conns]))
    results: dict[int, SyncResult] = {}
    meter = _Meter(progress, at_most)
    left = list(range(len(conns)))
    for _ in range(ATTEMPTS):
        groups = {answer: [n for n, other in zip(left, answers, strict=True) if other == answer] for answer in answers}
        done = await _all(
            [
                _apply([conns[number] for number in group], reader, target, _parse_list(answer), manifest, meter)
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


async def _manifest(reader: Reader, ref: str, target: str) -> Manifest:
    """What is to be there; a single file has the target's name."""
    manifest = await reader.manifest(ref)
    if manifest.kind == "d":
        return manifest
    if target in ("~", ".", "/"):
        raise InvalidTaskError(f"The target {target} is a folder, but its source is a file; name the file.")
    return Manifest("f", tuple(entry._replace(path=posixpath.basename(target)) for entry in manifest.entries))


async def _both(one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U]) -> tuple[T, U]:
    results = await _all([one, other])
    return results[0], results[1]  # type: ignore[return-value]


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all; what the first failure leaves running is stopped."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _list(conn: Connection, target: str) -> bytes:
    # The script travels with the first command, so that a node needs no preparation and the second one finds it.
    name = f'"$HOME"/.skyflow/bin/{_script_name()}'
    install = f'umask 077; mkdir -p "$HOME"/.skyflow/bin && cat >{name}.$$ && mv -f {name}.$$ {name}'
    command = f"{install} && umask 022 && sh {name} list {_arguments('d', target)}"
    done = await conn.run(command, input=SCRIPT.read_bytes(), timeout=LIST_SECONDS)
    _check(done, target)
    return done.stdout


async def _apply(
    conns: Sequence[Connection], reader: Reader, target: str, there: _There, manifest: Manifest, meter: _Meter
) -> list[SyncResult | None]:
    """Does what has to be done to nodes that are all alike. None for one where it has to start over."""
    if there.recorded and there.kind != manifest.kind:  # a file became a folder: first remove what was there
        await _send(conns, reader, target, there, Manifest("f" if manifest.kind == "d" else "d", ()), meter)
        return [None] * len(conns)
    return await _send(conns, reader, target, there, manifest, meter)


async def _send(
    conns: Sequence[Connection], reader: Reader, target: str, there: _There, manifest: Manifest, meter: _Meter
) -> list[SyncResult | None]:
    plan = _plan(manifest, there)
    files = [entry for entry in plan.send if entry.size]
    total = sum(entry.size for entry in files)
    result = SyncResult(len(plan.send), total, len(plan.remove))
    same_list = there.generation != "none" and there.kind == manifest.kind and there.recorded == plan.recorded
    if same_list and not (plan.send or plan.make or plan.chmod):
        return [result] * len(conns)
    meter.expect(total, len(conns))
    is_worth_it = sum(entry.length for entry in files) < COMPRESSIBLE * total
    codec = "zstd" if there.zstd and (is_worth_it or not files) else "plain"
    arguments = f"{_arguments(manifest.kind, target)} {there.generation} {codec}"
    command = f'sh "$HOME"/.skyflow/bin/{_script_name()} apply {arguments}'
    stream = _stream(reader, _control(plan, there, manifest), plan, files, meter)
    broadcast = Broadcast(_compressed(stream) if codec == "zstd" else stream, len(conns))

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


def _script_name() -> str:
    return f"apply-{hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:16]}.sh"


def _arguments(kind: str, target: str) -> str:
    key = hashlib.sha256(name_bytes(target)).hexdigest()[:16]
    return f"{key} {kind} {shlex.quote(target)}"


def _parse_list(data: bytes) -> _There:
    first, _, data = data.partition(b"\n")
    zstd = first == b"zstd"
    if not data:
        return _There(zstd)
    header, _, rest = data.partition(b"\n")
    _, _, generation, kind, paths_length, marks_length = header.decode().split(" ")
    marks_start = int(paths_length)
    marks_end = marks_start + int(marks_length)
    paths = name_text(rest[2 : marks_start - 1]).split("\0./") if marks_start else []
    marks = rest[marks_start:marks_end].decode().splitlines()
    seen: dict[str, _Seen] = {}
    for mode_text, size, mtime, name in _STAT_LINE.findall(name_text(rest[marks_end:])):
        mode = int(mode_text, 16)
        seen[name] = _Seen(_KINDS.get(mode & 0o170000), mode & 0o777, int(size), int(mtime))
    real = {""}
    for path in sorted(seen):
        if path.rpartition("/")[0] not in real:
            del seen[path]
        elif seen[path].kind == "d":
            real.add(path)
    return _There(zstd, generation, kind, dict(zip(paths, marks, strict=True)), seen)


def _mark(entry: Entry) -> str:
    """What a path holds, as the node's list remembers it."""
    return f"{entry.content[:17]} {entry.size} {entry.mtime}"


def _plan(manifest: Manifest, there: _There) -> _Plan:
    plan = _Plan({entry.path: _mark(entry) for entry in manifest.entries})
    for entry in manifest.entries:
        now = there.seen.get(entry.path)
        known = there.recorded.get(entry.path) == plan.recorded[entry.path]
        if entry.kind == "d":
            if now is None or now.kind != "d":
                plan.make.append(entry)
            elif now.mode != entry.mode:
                plan.chmod.append(entry)
        elif not (known and now and _holds(now, entry)):
            plan.send.append(entry)
    for path in sorted(there.recorded.keys() - plan.recorded.keys(), reverse=True):
        now = there.seen.get(path)
        if now is not None and any(_is_ours(now, mark) for mark in there.recorded[path].split(",")):
            (plan.rmdir if now.kind == "d" else plan.remove).append(path)
    _unlock(plan, manifest, there)
    return plan


def _holds(now: _Seen, entry: Entry) -> bool:
    if entry.kind == "l":
        return now.kind == "l"
    return now == ("f", entry.mode, entry.size, entry.mtime)


def _is_ours(now: _Seen, mark: str) -> bool:
    """Whether what is there is what we put there. What a job changed belongs to the job."""
    content, size, mtime = mark.split(" ")
    return now.kind == content[0] and (now.kind != "f" or (now.size, now.mtime) == (int(size), int(mtime)))


def _unlock(plan: _Plan, manifest: Manifest, there: _There) -> None:
    changed = [*(entry.path for entry in (*plan.send, *plan.make)), *plan.remove, *plan.rmdir]
    parents = {path.rpartition("/")[0] for path in changed}
    folders = {path for path in parents & there.seen.keys() if there.seen[path].kind == "d"}
    locked = {path for path in folders if there.seen[path].mode & 0o700 != 0o700}
    plan.unlock = sorted(locked)
    again = {entry for entry in manifest.entries if entry.kind == "d" and entry.path in locked}
    plan.chmod = sorted(again.union(plan.make, plan.chmod), reverse=True)


def _control(plan: _Plan, there: _There, manifest: Manifest) -> Iterable[tuple[str, bytes]]:
    """Names and contents of the files that tell apply.sh what to do."""
    both = dict(there.recorded)
    for path, mark in plan.recorded.items():
        if both.setdefault(path, mark) != mark:
            both[path] = ",".join(sorted({mark, *both[path].split(",")}))
    yield "union", _encode_list(manifest.kind, both)
    yield "list", _encode_list(manifest.kind, plan.recorded)
    yield "unlock", _paths(plan.unlock)
    yield "remove", _paths(plan.remove)
    yield "rmdir", _paths(plan.rmdir)
    for number, (mode, group) in enumerate(groupby(plan.chmod, key=lambda entry: entry.mode)):
        yield f"mode.{number:06}.{mode:o}", _paths(entry.path for entry in group)


def _encode_list(kind: str, recorded: dict[str, str]) -> bytes:
    paths = _paths(recorded)
    marks = "".join(mark + "\n" for mark in recorded.values()).encode()
    return f"skyflow-sync 1 {uuid.uuid4().hex} {kind} {len(paths)} {len(marks)}\n".encode() + paths + marks


def _paths(paths: Iterable[str]) -> bytes:
    return name_bytes("".join(f"./{path}\0" for path in paths))


async def _stream(
    reader: Reader, control: Iterable[tuple[str, bytes]], plan: _Plan, files: list[Entry], meter: _Meter
) -> AsyncGenerator[bytes, None]:
    """One tar stream: what to do, the tree of what is sent, and a last member without which nothing counts."""
    buffer = bytearray(tar.member("tree", tar.FOLDER, 0o700))
    for name, data in control:
        buffer += tar.member(name, tar.FILE, 0o600, size=len(data)) + data + tar.padding(len(data))
    for folder in _folders(plan):
        buffer += tar.member(f"tree/{folder}", tar.FOLDER, 0o755)
    for entry in plan.send:
        if entry.kind == "l":
            buffer += tar.member(f"tree/{entry.path}", tar.LINK, entry.mode, target=entry.target)
        elif not entry.size:
            buffer += tar.member(f"tree/{entry.path}", tar.FILE, entry.mode, mtime=entry.mtime)
    left = counted = 0
    async for entry, chunk in reader.contents(files):
        if not left:
            buffer += tar.member(f"tree/{entry.path}", tar.FILE, entry.mode, size=entry.size, mtime=entry.mtime)
            left = entry.size
        buffer += chunk
        left -= len(chunk)
        counted += len(chunk)
        if not left:
            buffer += tar.padding(entry.size)
        if len(buffer) >= CHUNK:
            yield bytes(buffer)
            buffer.clear()
            meter.add(counted)
            counted = 0
    yield bytes(buffer) + tar.member("end", tar.FILE, 0o600) + tar.END
    meter.add(counted)


async def _compressed(stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True).compressobj()
    async for chunk in stream:
        if data := await asyncio.to_thread(compressor.compress, chunk):
            yield data
    yield compressor.flush()


def _folders(plan: _Plan) -> list[str]:
    """All folders that the stage needs, parents first."""
    folders = {entry.path for entry in plan.make}
    for entry in (*plan.send, *plan.make):
        parent = entry.path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return sorted(folders)
