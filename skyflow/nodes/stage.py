"""The stage: the tar stream that a node unpacks before it changes anything.

What to do, the tree of what is sent, and a last member without which nothing counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

import zstandard

from skyflow.models.snapshot import Entry
from skyflow.nodes import tar
from skyflow.nodes.plan import Plan

CHUNK = 256 << 10
"""About how many bytes are handed to the connection at once."""
COMPRESSIBLE = 0.8
"""What does not get smaller than this is not compressed on its way to a node."""
LITTLE = 64 << 10
"""Bytes that are not worth the processes that read compressed ones."""
RECORD = 120
"""About how many bytes of the record a file is."""
PACKED_HEADER = 80
"""About how many bytes are left of the header of a file, compressed."""

Batch = Sequence[tuple[Entry, bytes]]
"""Files and their bytes, or one big file and some of its bytes."""


class Reader(Protocol):
    """What a stage needs of `skyflow.store.reader.SnapshotReader`."""

    def batches(self, entries: Sequence[Entry]) -> AsyncGenerator[Batch, None]: ...


def is_compressible(plan: Plan) -> bool:
    """Whether compression would make the stream smaller."""
    plain = packed = RECORD * len(plan.send)
    for entry in plan.send:
        plain += tar.BLOCK + entry.size + -entry.size % tar.BLOCK
        packed += PACKED_HEADER + entry.length
    return plain > LITTLE and packed < COMPRESSIBLE * plain


async def stream(
    reader: Reader, plan: Plan, control: Iterable[tuple[str, bytes]], count: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """The stream, in chunks.

    Args:
        reader: of the store.
        plan: what is sent.
        control: names and contents of the files that say what to do. They come last, and are asked for then: it takes
            time to make them, in which the node has the others to unpack.
        count: is told how many bytes of files have been handed on.
    """
    pieces = [tar.member("tree", tar.FOLDER, 0o700)]
    pieces += [tar.member(f"tree/{folder}", tar.FOLDER, 0o755) for folder in _folders(plan)]
    for entry in plan.send:
        if entry.kind == "l":
            pieces.append(tar.member(f"tree/{entry.path}", tar.LINK, entry.mode, target=entry.target))
        elif not entry.size:
            pieces.append(tar.member(f"tree/{entry.path}", tar.FILE, entry.mode, mtime=entry.mtime))
    left = counted = 0
    async with aclosing(reader.batches([entry for entry in plan.send if entry.size])) as batches:
        async for batch in batches:
            for entry, chunk in batch:
                size = entry.size
                if not left:
                    left = size
                    pieces.append(tar.member(f"tree/{entry.path}", tar.FILE, entry.mode, size=size, mtime=entry.mtime))
                pieces.append(chunk)
                counted += len(chunk)
                left -= len(chunk)
                if not left:
                    pieces.append(tar.padding(size))
            if counted >= CHUNK:
                yield b"".join(pieces)
                pieces.clear()
                count(counted)
                counted = 0
    for name, data in control:
        pieces += (tar.member(name, tar.FILE, 0o600, size=len(data)), data, tar.padding(len(data)))
    pieces += (tar.member("end", tar.FILE, 0o600), tar.END)
    yield b"".join(pieces)
    count(counted)


async def compressed(plain: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same for `zstd -d`."""
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True).compressobj()
    async for chunk in plain:
        if data := await asyncio.to_thread(compressor.compress, chunk):
            yield data
    yield compressor.flush()


def _folders(plan: Plan) -> list[str]:
    """All folders that the stage needs, parents first."""
    folders = {entry.path for entry in plan.make}
    for entry in (*plan.send, *plan.make):
        parent = entry.path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return sorted(folders)
