"""Reads snapshots: the manifest, and the bytes of any of its files. What is read is checked against the digests."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence

import zstandard

from skyflow.errors import ObjectDamagedError
from skyflow.models.snapshot import Entry, Manifest
from skyflow.store.store import Store

READ_BYTES = 8 << 20
"""About how much of a pack is read at once. A file that is longer than this is streamed."""
GAP_BYTES = 64 << 10
"""A gap that is read along, because that is cheaper than another request."""


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
        """The bytes of files, in chunks.

        Args:
            entries: files that are not empty.

        Yields:
            An entry and a chunk. All chunks of one entry come together; the entries come in the order that is cheap.
        """
        for group in _groups(sorted(entries, key=lambda entry: (entry.pack, entry.offset))):
            first, last = group[0], group[-1]
            if first.size > READ_BYTES:
                async for chunk in self._streamed(first):
                    yield first, chunk
                continue
            data = await self._store.get_range(first.pack, first.offset, last.offset + last.length - first.offset)
            for entry in group:
                start = entry.offset - first.offset
                yield entry, self._unpacked(entry, data[start : start + entry.length])

    def _unpacked(self, entry: Entry, frame: bytes) -> bytes:
        try:
            data = self._decompressor.decompress(frame, max_output_size=entry.size)
        except zstandard.ZstdError as error:
            raise self._damaged(entry.pack) from error
        if hashlib.sha256(data).hexdigest() != entry.digest:
            raise self._damaged(entry.pack)
        return data

    async def _streamed(self, entry: Entry) -> AsyncIterator[bytes]:
        decompressor = zstandard.ZstdDecompressor()
        frame = decompressor.decompressobj()
        seen = hashlib.sha256()
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
