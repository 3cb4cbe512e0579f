"""Reads snapshots: the manifest, and the bytes of any of its files. What is read is checked against the digests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from hashlib import sha256
from operator import itemgetter
from typing import TypeVar

import zstandard

from skyflow.errors import ObjectDamagedError
from skyflow.models.snapshot import Entry, Manifest
from skyflow.store.store import Store

READ_BYTES = 8 << 20
"""About how much of a pack is read at once. A file that is longer than this is streamed."""
PIECE_BYTES = 4 << 20
"""How much of such a file is read at once."""
GAP_BYTES = 64 << 10
"""A gap that is read along, because that is cheaper than another request."""
BATCH_BYTES, BATCH_FILES = 256 << 10, 256
"""What is unpacked at once of small files; other work can go on in between."""
CHUNK_BYTES, STEP_BYTES = 1 << 20, 64 << 10
"""About how much of a big file is unpacked at once, and from how much of its piece."""

T = TypeVar("T")

_PLACE = itemgetter(Entry._fields.index("pack"), Entry._fields.index("offset"))


class SnapshotReader:
    """Reads from one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decompressor = zstandard.ZstdDecompressor()

    async def manifest(self, ref: str) -> Manifest:
        """Raises ObjectAbsentError if there is no such snapshot, ObjectDamagedError if it is damaged."""
        data = await self._store.get(ref)
        try:
            return Manifest.decode(self._decompressor.decompress(data), ref.removeprefix("snapshots/"))
        except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(ref) from error

    async def contents(self, entries: Sequence[Entry]) -> AsyncIterator[tuple[Entry, bytes]]:
        """`batches`, one by one: all chunks of one entry come together."""
        async for batch in self.batches(entries):
            for item in batch:
                yield item

    async def batches(self, entries: Sequence[Entry]) -> AsyncGenerator[Sequence[tuple[Entry, bytes]], None]:
        """The bytes of files.

        Args:
            entries: files that are not empty.

        Yields:
            Some entries with all their bytes, or one big one with its next chunk. They come in the order that is cheap.
        """
        groups = list(_groups(entries))
        async with aclosing(_ahead(self._read(_pieces(groups)))) as pieces:
            for group in groups:
                if group[0].size > READ_BYTES:
                    async with aclosing(_ahead(self._streamed(group[0], pieces))) as chunks:
                        async for chunk in chunks:
                            yield [(group[0], chunk)]
                    continue
                for batch in self._unpack(group, await anext(pieces)):
                    yield batch

    async def _read(self, pieces: Iterable[tuple[str, int, int]]) -> AsyncGenerator[bytes, None]:
        for key, offset, length in pieces:
            yield await self._store.get_range(key, offset, length)

    def _unpack(self, group: Sequence[Entry], data: bytes) -> Iterator[Sequence[tuple[Entry, bytes]]]:
        """Neighbours, from the bytes of the pack that begin with the first of them."""
        decompress, offset = self._decompressor.decompress, group[0].offset
        batch, size = [], 0
        for entry in group:
            start = entry.offset - offset
            try:
                content = decompress(data[start : start + entry.length], max_output_size=entry.size)
            except zstandard.ZstdError as error:
                raise self._damaged(entry.pack) from error
            if sha256(content).hexdigest() != entry.digest:
                raise self._damaged(entry.pack)
            batch.append((entry, content))
            size += entry.size
            if size >= BATCH_BYTES or len(batch) == BATCH_FILES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    async def _streamed(self, entry: Entry, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """The chunks of a big file, from the pieces that are read of it. It is unpacked in a thread."""
        frames = _Frames()
        try:
            for _ in range(0, entry.length, PIECE_BYTES):
                frames.take(await anext(pieces))
                while chunk := await asyncio.to_thread(frames.unpack):
                    yield chunk
        except zstandard.ZstdError as error:
            raise self._damaged(entry.pack) from error
        if frames.seen.hexdigest() != entry.digest:
            raise self._damaged(entry.pack)

    def _damaged(self, key: str) -> ObjectDamagedError:
        return ObjectDamagedError(
            f"{key!r} in the store {self._store.url} is damaged; launch again from the folder it came from."
        )


class _Frames:
    """Frames, one after the other, that are cut into pieces anywhere."""

    def __init__(self) -> None:
        self.seen = sha256()
        """Of what came out."""
        self._decompressor = zstandard.ZstdDecompressor()
        self._frame = self._decompressor.decompressobj()
        self._piece = memoryview(b"")

    def take(self, piece: bytes) -> None:
        """The next piece; the last one must be used up."""
        self._piece = memoryview(piece)

    def unpack(self) -> bytes:
        """Some bytes, not many more than a frame's; none if the piece is used up."""
        chunks: list[bytes] = []
        size = 0
        while self._piece and size < CHUNK_BYTES:
            step = self._piece[:STEP_BYTES]  # what is behind the end of a frame is copied: not much, if this is not
            chunks.append(self._frame.decompress(step))
            self._piece = self._piece[len(step) - len(self._frame.unused_data) :]
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            size += len(chunks[-1])
        chunk = b"".join(chunks)
        self.seen.update(chunk)
        return chunk


async def _ahead(source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same items; while one is worked on, the next is on its way."""
    coming = asyncio.ensure_future(anext(source, None))
    try:
        while (item := await coming) is not None:
            coming = asyncio.ensure_future(anext(source, None))
            yield item
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await source.aclose()


def _pieces(groups: Iterable[Sequence[Entry]]) -> Iterator[tuple[str, int, int]]:
    """Key, offset and length of what is read at once."""
    for group in groups:
        first, last = group[0], group[-1]
        end = last.offset + last.length
        step = PIECE_BYTES if first.size > READ_BYTES else end - first.offset
        for start in range(first.offset, end, step):
            yield first.pack, start, min(step, end - start)


def _groups(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Runs of neighbours that are worth one read, and big files for themselves."""
    group: list[Entry] = []
    pack, start, end = "", 0, 0
    for entry in sorted(entries, key=_PLACE):
        before, end = end, entry.offset + entry.length
        is_near = entry.pack == pack and entry.offset - before <= GAP_BYTES and end - start <= READ_BYTES
        if group and not (is_near and entry.size <= READ_BYTES and group[0].size <= READ_BYTES):
            yield group
            group = []
        if not group:
            pack, start = entry.pack, entry.offset
        group.append(entry)
    if group:
        yield group
