"""Reads snapshots: the manifest, and the bytes of any of its files. What is read is checked against the digests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from hashlib import sha256
from operator import itemgetter

import zstandard

from skyflow.errors import ObjectDamagedError
from skyflow.models.snapshot import Entry, Manifest
from skyflow.store.store import Store

READ_BYTES = 8 << 20
"""About how much of a pack is read at once. A file that is longer than this is streamed."""
GAP_BYTES = 64 << 10
"""A gap that is read along, because that is cheaper than another request."""
BATCH_BYTES, BATCH_FILES = 512 << 10, 256
"""What is unpacked at once; other work can go on in between."""

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
        groups = list(_groups(sorted(entries, key=_PLACE)))
        reading = self._ahead(groups, 0)
        try:
            for number, group in enumerate(groups):
                if reading is None:
                    async for chunk in self._streamed(group[0]):
                        yield [(group[0], chunk)]
                    reading = self._ahead(groups, number + 1)
                    continue
                data = await reading
                reading = self._ahead(groups, number + 1)
                for batch in self._unpack(group, data):
                    yield batch
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    def _ahead(self, groups: Sequence[Sequence[Entry]], number: int) -> asyncio.Future[bytes] | None:
        """Begins to read a group, unless it is streamed (or there is none): what one waits for should be on its way."""
        if number == len(groups) or groups[number][0].size > READ_BYTES:
            return None
        first, last = groups[number][0], groups[number][-1]
        length = last.offset + last.length - first.offset
        return asyncio.ensure_future(self._store.get_range(first.pack, first.offset, length))

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

    async def _streamed(self, entry: Entry) -> AsyncIterator[bytes]:
        decompressor = zstandard.ZstdDecompressor()
        frame = decompressor.decompressobj()
        seen = sha256()
        try:
            async for chunk in self._store.stream(entry.pack, entry.offset, entry.length):
                while chunk:
                    if data := frame.decompress(chunk):
                        seen.update(data)
                        yield data
                    chunk = frame.unused_data
                    if frame.eof:
                        frame = decompressor.decompressobj()
        except zstandard.ZstdError as error:
            raise self._damaged(entry.pack) from error
        if seen.hexdigest() != entry.digest:
            raise self._damaged(entry.pack)

    def _damaged(self, key: str) -> ObjectDamagedError:
        return ObjectDamagedError(
            f"{key!r} in the store {self._store.url} is damaged; launch again from the folder it came from."
        )


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Runs of neighbours that are worth one read."""
    group: list[Entry] = []
    for entry in entries:
        if group and not (
            entry.pack == group[0].pack
            and entry.offset - (group[-1].offset + group[-1].length) <= GAP_BYTES
            and entry.offset + entry.length - group[0].offset <= READ_BYTES
            and max(entry.size, group[0].size) <= READ_BYTES
        ):
            yield group
            group = []
        group.append(entry)
    if group:
        yield group
