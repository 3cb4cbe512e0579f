"""Packs: objects that hold the bytes of files, compressed.

Small files share a pack, each as one zstd frame. A big file is an object of its own, named by its content, streamed,
with a frame for each chunk. Files are read so that one which is written meanwhile is noticed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from typing import NamedTuple, TypeVar

import zstandard

from skyflow.errors import InvalidTaskError
from skyflow.models.snapshot import name_bytes, name_text
from skyflow.store.scan import PERMISSIONS, Found, Stamp
from skyflow.store.store import Store

PACK_BYTES = 16 << 20
"""About how much goes into one pack, before compression. While one is written, the next is made."""
BIG_FILE = 16 << 20
"""A file of this size is not packed with others, and never whole in memory."""
CHUNK = 4 << 20
"""Bytes of a big file in one frame, so that a reader never has to hold more."""
SMALL = 64 << 10
"""Bytes that are read at once."""
ATTEMPTS = 5
"""How often a file that changes while it is read is read again."""
LEVEL = 1
"""Of zstd: faster than any disk or network that this meets."""

_T = TypeVar("_T")


class Place(NamedTuple):
    """Where the bytes of a file are."""

    pack: str
    offset: int
    length: int


class Stored(NamedTuple):
    """A file that was read, as it was at that moment."""

    stamp: Stamp
    mode: int
    digest: str


class _ChangedWhileRead(Exception):
    """The file is not what it was when its reading began."""


@dataclass
class Packer:
    """Reads files and puts what the store does not have yet."""

    store: Store
    root: bytes
    places: dict[str, tuple[str, int, int]]
    """By digest: what the store has already. Grows."""
    progress: Callable[[int], None]
    """Is told of bytes that were read."""
    uploaded_bytes: int = 0
    uploaded_files: int = 0
    _compressor: zstandard.ZstdCompressor = field(default_factory=lambda: zstandard.ZstdCompressor(level=LEVEL))

    async def store_all(self, files: Sequence[Found]) -> dict[str, Stored]:
        """Stores files, and returns by path what they were. One that is gone by now is left out."""
        result = await self._store_packs([file for file in files if file.stamp.size < BIG_FILE])
        for file in files:
            if file.stamp.size >= BIG_FILE and (stored := await self._store_big(file)):
                result[file.path] = stored
        return result

    async def _store_packs(self, files: Sequence[Found]) -> dict[str, Stored]:
        result: dict[str, Stored] = {}
        writing: asyncio.Future[None] | None = None
        try:
            for batch in _batches(files):
                name, data, read = await asyncio.to_thread(self._build_pack, batch)
                if writing:
                    await writing
                writing = asyncio.ensure_future(self.store.put(name, data)) if data else None
                self.uploaded_bytes += len(data)
                self.progress(sum([stored.stamp.size for stored in read.values()]))
                result.update(read)
            if writing:
                await writing
        finally:
            if writing:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
        return result

    def _build_pack(self, batch: Sequence[Found]) -> tuple[str, bytes, dict[str, Stored]]:
        """The key and the bytes of a new pack, and the files that were read. Notes where in it each digest is."""
        frames: list[bytes] = []
        inside: dict[str, tuple[int, int]] = {}
        read: dict[str, Stored] = {}
        end = 0
        for found in batch:
            content = _until_stable(self._path(found), found.stamp, _read_whole)
            if content is None:
                continue
            data, stamp, mode = content
            digest = sha256(data).hexdigest()
            if data and digest not in self.places and digest not in inside:
                frame = self._compressor.compress(data)
                inside[digest] = (end, len(frame))
                frames.append(frame)
                end += len(frame)
            read[found.path] = Stored(stamp, mode, digest)
        # what a pack holds and where: packs of one name can replace each other, whatever compressed their frames
        name = f"packs/{sha256(repr(list(inside.items())).encode()).hexdigest()}"
        self.places.update({digest: Place(name, *where) for digest, where in inside.items()})
        self.uploaded_files += len(inside)
        return name, b"".join(frames), read

    async def _store_big(self, found: Found) -> Stored | None:
        path = self._path(found)
        for _ in range(ATTEMPTS):
            content = await asyncio.to_thread(_until_stable, path, found.stamp, _hash_whole)
            if content is None:
                return None
            digest, stamp, mode = content
            try:
                if digest not in self.places:
                    self.places[digest] = await self._put_big(path, digest)
            except _ChangedWhileRead:
                continue
            self.progress(stamp.size)
            return Stored(stamp, mode, digest)
        raise _unstable(path)

    async def _put_big(self, path: bytes, digest: str) -> Place:
        key = f"files/{digest}"
        length = await self.store.size(key)
        if length is None:
            await self.store.put(key, self._frames(path, digest))
            length = await self.store.size(key) or 0
            self.uploaded_bytes += length
            self.uploaded_files += 1
        return Place(key, 0, length)

    async def _frames(self, path: bytes, digest: str) -> AsyncIterator[bytes]:
        """A big file, a frame for each chunk. Raises _ChangedWhileRead at its end if it is not what was hashed."""
        seen = sha256()
        try:
            with open(path, "rb", buffering=0) as file:
                reading = asyncio.ensure_future(asyncio.to_thread(file.read, CHUNK))
                while chunk := await reading:
                    reading = asyncio.ensure_future(asyncio.to_thread(file.read, CHUNK))
                    hashing = asyncio.to_thread(seen.update, chunk)
                    compressing = asyncio.to_thread(self._compressor.compress, chunk)
                    frame, _ = await asyncio.gather(compressing, hashing)
                    yield frame
        except FileNotFoundError as error:
            raise _ChangedWhileRead from error
        if seen.hexdigest() != digest:
            raise _ChangedWhileRead

    def _path(self, found: Found) -> bytes:
        return b"%b/%b" % (self.root, name_bytes(found.path))


def _batches(files: Sequence[Found]) -> Iterator[list[Found]]:
    batch: list[Found] = []
    total = 0
    for file in files:
        if batch and total + file.stamp.size > PACK_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(file)
        total += file.stamp.size
    if batch:
        yield batch


def _until_stable(path: bytes, stamp: Stamp, read: Callable[[int], _T]) -> tuple[_T, Stamp, int] | None:
    """Reads a file until nobody wrote to it meanwhile. None if it is gone; InvalidTaskError if it never holds still.

    Args:
        path: of the file.
        stamp: what it was when it was scanned.
        read: from an open descriptor.

    Returns:
        What was read, and stamp and mode at that moment.
    """
    for attempt in range(ATTEMPTS):
        try:
            # not blocking: what was a file a moment ago could be a pipe now
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                before = Stamp.of(os.fstat(descriptor)) if attempt else stamp
                content = read(descriptor)
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidTaskError(
                f"Cannot read {name_text(path)!r}: {error.strerror}; make it readable or list it in .skyignore."
            ) from error
        if (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino) == before:
            return content, before, status.st_mode & PERMISSIONS
        time.sleep(0.01 * attempt)  # in a thread; a writer that is about to finish gets the chance
    raise _unstable(path)


def _unstable(path: bytes) -> InvalidTaskError:
    return InvalidTaskError(
        f"{name_text(path)!r} changes while it is read; stop what writes to it, or list it in .skyignore."
    )


def _read_whole(descriptor: int) -> bytes:
    data = os.read(descriptor, SMALL)  # which is all, of most files
    if len(data) < SMALL:
        return data
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return data + file.read()


def _hash_whole(descriptor: int) -> str:
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return file_digest(file, "sha256").hexdigest()
