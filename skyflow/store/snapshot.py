"""Snapshots: what a folder or file of the client holds now, kept in the store so that it can be launched at any time.

Order matters, so that a client killed at any moment leaves nothing half made: packs, then the manifest (which names
them), then the head (which names the manifest, and lets the next snapshot of the folder skip what did not change).
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import zstandard

from skyflow.errors import InvalidTaskError, ObjectAbsentError, ObjectDamagedError
from skyflow.models.snapshot import Entry, Manifest, name_text
from skyflow.store.pack import Packer, Stored
from skyflow.store.reader import SnapshotReader
from skyflow.store.scan import Found, Scan, Stamp, scan
from skyflow.store.store import Store

HEAD_VERSION = 2
RACY_NS = 2_000_000_000
"""A file written this shortly before it was last scanned could have been written again with the same times."""

Progress = Callable[[int, int], None]
"""Is told of the bytes that were read, and of those that have to be."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that is in the store."""

    ref: str
    """Key of its manifest. The same tree has the same one."""
    files: int
    bytes: int
    """Of all files together."""
    uploaded_bytes: int
    """Of file contents that the store did not have, compressed."""
    uploaded_files: int
    skipped: tuple[str, ...] = ()
    """Sockets, pipes and devices, which cannot be copied."""


@dataclass(frozen=True)
class _Previous:
    """The last snapshot of the same folder on this host."""

    ref: str
    scanned_ns: int
    entries: dict[str, tuple[Entry, list[int]]]
    """By path, with what was the file's stamp."""

    def same(self, files: Sequence[Found]) -> dict[str, Entry]:
        """By path, the earlier entries of files that surely did not change since, with their modes of now."""
        settled = self.scanned_ns - RACY_NS
        same = {}
        for path, _, mode, stamp, _ in files if self.entries else ():
            entry, earlier = self.entries.get(path, (None, None))
            if entry and earlier == [*stamp] and stamp.mtime_ns <= settled and stamp.ctime_ns <= settled:
                same[path] = entry if entry.mode == mode else entry._replace(mode=mode)
        return same


async def take_snapshot(
    store: Store,
    source: Path,
    *,
    leave_out: Sequence[Path] = (),
    ignore: bool = True,
    progress: Progress | None = None,
) -> Snapshot:
    """Stores what a folder, or a single file, holds now.

    Args:
        store: where to.
        source: of the client.
        leave_out: folders that are passed over wherever they are, beside the store's own.
        ignore: whether ignore files are respected; see `IgnoreRules`. Of a checkout, git has decided what is in it.
        progress: is called from the event loop.

    Raises:
        InvalidTaskError: something cannot be read, or does not hold still.
        StoreError: the store cannot be written.
    """
    with _no_collector():
        return await _take(store, source, leave_out, ignore, progress)


async def _take(
    store: Store, source: Path, leave_out: Sequence[Path], ignore: bool, progress: Progress | None
) -> Snapshot:
    root = os.path.realpath(os.fsencode(source))
    head = _head_key(root)
    scanned_ns = time.time_ns()
    outside = {os.path.realpath(os.fsencode(path)) for path in (*leave_out, *store.folder)}
    found, previous = await asyncio.gather(
        asyncio.to_thread(scan, root, outside, ignore=ignore), _load_previous(store, head)
    )
    files = [file for file in found.found if file.kind == "f"]
    known = previous.same(files)
    changed = [file for file in files if file.path not in known]
    packer = Packer(store, found.root, _places(previous), _counter(changed, progress))
    stored = await packer.store_all(changed)
    if found.kind == "f" and changed and not stored:
        raise InvalidTaskError(f"{name_text(root)!r} was deleted while it was read.")
    entries, stamps = _entries(found, known, stored, packer.places)
    manifest = Manifest(found.kind, entries)
    ref = f"snapshots/{manifest.digest}"
    if ref != previous.ref:
        await store.put_new(ref, zstandard.compress(manifest.encode(), level=1))
    if ref != previous.ref or changed:
        await store.put(head, _encode_head(ref, scanned_ns, stamps))
    return Snapshot(
        ref=ref,
        files=len(known) + len(stored),
        bytes=sum([entry.size for entry in entries]),
        uploaded_bytes=packer.uploaded_bytes,
        uploaded_files=packer.uploaded_files,
        skipped=tuple(found.skipped),
    )


@contextmanager
def _no_collector() -> Iterator[None]:
    """A snapshot makes ten tuples a file; the garbage collector would look through them again and again for nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _entries(
    found: Scan, known: dict[str, Entry], stored: dict[str, Stored], places: dict[str, tuple[str, int, int]]
) -> tuple[tuple[Entry, ...], list[Stamp]]:
    """The entries of the manifest and, in the same order, what the file system said of each."""
    entries, stamps = [], []
    for item in found.found:
        stamp = item.stamp
        if item.kind != "f":
            entry = Entry(item.path, item.kind, item.mode, target=item.target)
        elif item.path in known:
            entry = known[item.path]
        elif item.path in stored:
            stamp, mode, digest = stored[item.path]
            entry = Entry(item.path, "f", mode, stamp.size, stamp.mtime_ns, digest, "", *places.get(digest, ()))
        else:  # deleted since the scan
            continue
        entries.append(entry)
        stamps.append(stamp)
    return tuple(entries), stamps


def _places(previous: _Previous) -> dict[str, tuple[str, int, int]]:
    entries = [entry for entry, _ in previous.entries.values() if entry.pack]
    return {entry.digest: (entry.pack, entry.offset, entry.length) for entry in entries}


def _counter(changed: list[Found], progress: Progress | None) -> Callable[[int], None]:
    total = sum(file.stamp.size for file in changed)
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        if progress:
            progress(done, max(done, total))

    return count


def _head_key(root: bytes) -> str:
    return "heads/" + hashlib.sha256(socket.gethostname().encode() + b"\0" + root).hexdigest()


def _encode_head(ref: str, scanned_ns: int, stamps: list[Stamp]) -> bytes:
    head = {"version": HEAD_VERSION, "ref": ref, "scanned_ns": scanned_ns, "stamps": stamps}
    return zstandard.compress(json.dumps(head, separators=(",", ":")).encode(), level=1)


async def _load_previous(store: Store, key: str) -> _Previous:
    """The last snapshot of the folder; an empty one if there is none that this version can read."""
    nothing = _Previous("", 0, {})
    try:
        head = json.loads(zstandard.decompress(await store.get(key)))
        if head["version"] != HEAD_VERSION:
            return nothing
        entries = (await SnapshotReader(store).manifest(head["ref"])).entries
        pairs = {pair[0].path: pair for pair in zip(entries, head["stamps"], strict=True)}
        return _Previous(head["ref"], head["scanned_ns"], pairs)
    except (ObjectAbsentError, ObjectDamagedError, zstandard.ZstdError, ValueError, KeyError, TypeError):
        return nothing  # it only saves work
