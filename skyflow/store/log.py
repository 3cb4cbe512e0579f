"""Logs of jobs as immutable segments, and one small record for each job that ended.

A segment's key says where it starts: `logs/<cluster>/<uid>/<unit>/<rank>/<first byte, 20 digits>`. Segments are put if
absent, may overlap, and agree where they do, because all writers copy the same file of the same node. So two workers
that both believe that they own a job's log cannot damage it, and a reader only has to trim.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from skyflow.models.job import job_of_unit
from skyflow.models.name import safe_name
from skyflow.store.store import Store

MAX_SEGMENT = 4 << 20
"""Bytes. No segment is longer, so whatever covers a byte starts less than this before it."""

FOLLOW_SECONDS = 0.3
"""How often a follower looks for new segments, in seconds."""


class LogWriter:
    """Writes the logs of one life of a cluster."""

    def __init__(self, store: Store, cluster: str, uid: str) -> None:
        self._store = store
        self._root = _root("logs", cluster, uid)

    async def end(self, unit: str, rank: int) -> int:
        """Bytes that the store holds, from the first one on: where to go on writing."""
        position = 0
        for start, size, _ in await _segments(self._store, f"{self._root}/{unit}/{rank}"):
            if start > position:
                break
            position = max(position, start + size)
        return position

    async def write(self, unit: str, rank: int, offset: int, data: bytes) -> None:
        """Stores the bytes of the log that begin at `offset`. Bytes that are stored already are left as they are."""
        while data:
            key = f"{self._root}/{unit}/{rank}/{offset:020}"
            piece = data[:MAX_SEGMENT]
            done = len(piece)
            if not await self._store.put_new(key, piece):  # somebody was here: go on after what they wrote
                done = await self._store.size(key) or 0
            offset, data = offset + done, data[done:]


class LogReader:
    """Reads the logs of one life of a cluster, while they are written or long after."""

    def __init__(self, store: Store, cluster: str, uid: str) -> None:
        self._store = store
        self._root = _root("logs", cluster, uid)

    async def units(self) -> list[str]:
        return await self._store.folders(self._root)

    async def ranks(self, unit: str) -> list[int]:
        return sorted(int(rank) for rank in await self._store.folders(f"{self._root}/{unit}"))

    async def read(self, unit: str, rank: int, offset: int = 0) -> bytes:
        """All that is stored from `offset` on, up to the first byte that is missing."""
        return b"".join([chunk async for chunk in self._read(unit, rank, offset)])

    async def follow(self, unit: str, rank: int, offset: int, done: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Yields what is stored from `offset` on, as it arrives.

        Args:
            unit: the unit of work whose log it is.
            rank: of the node.
            offset: the first byte that the caller has not seen.
            done: whether the log is complete. What is stored before this turned true is still yielded.
        """
        while True:
            last = done()
            async for chunk in self._read(unit, rank, offset):
                offset += len(chunk)
                yield chunk
            if last:
                return
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _read(self, unit: str, rank: int, offset: int) -> AsyncIterator[bytes]:
        folder = f"{self._root}/{unit}/{rank}"
        for start, size, key in await _segments(self._store, folder, max(0, offset - MAX_SEGMENT)):
            if start > offset:
                return
            if start + size > offset:
                chunk = await self._store.get_range(key, offset - start, start + size - offset)
                offset += len(chunk)
                yield chunk


async def latest_life(store: Store, cluster: str) -> str | None:
    """The uid of the last life of a cluster that left a log or a record, or None. (A uid begins with a UTC time.)"""
    name = safe_name(cluster)
    lives = [*await store.folders(f"logs/{name}"), *await store.folders(f"records/{name}")]
    return max(lives, default=None)


async def job_ids(store: Store, cluster: str, uid: str) -> list[int]:
    """The jobs of one life of a cluster that have left a log."""
    numbers = (job_of_unit(unit) for unit in await LogReader(store, cluster, uid).units())
    return [number for number in numbers if number is not None]


async def put_record(store: Store, cluster: str, uid: str, unit: str, record: dict[str, Any]) -> None:
    """Keeps what a job was, for the time after its cluster and Temporal's retention."""
    await store.put(f"{_root('records', cluster, uid)}/{unit}", json.dumps(record, sort_keys=True).encode())


async def records(store: Store, cluster: str, uid: str | None = None) -> list[dict[str, Any]]:
    """The records of one life of a cluster, in the order of their units (the latest life if no uid is given)."""
    uid = uid or await latest_life(store, cluster)
    if uid is None:
        return []
    keys = [key for key, _ in await store.list(_root("records", cluster, uid))]
    return [json.loads(await store.get(key)) for key in sorted(keys, key=_unit_order)]


async def record(store: Store, cluster: str, uid: str, job_id: int | None = None) -> dict[str, Any] | None:
    """The record of one job (the latest if not given) of one life of a cluster; None if there is none."""
    keys = [key for key, _ in await store.list(_root("records", cluster, uid))]
    numbers = {job_of_unit(key.rsplit("/", 1)[-1]): key for key in sorted(keys, key=_unit_order)}
    key = numbers.get(job_id) if job_id is not None else next(reversed(numbers.values()), None)
    return None if key is None else dict(json.loads(await store.get(key)))


def _root(kind: str, cluster: str, uid: str) -> str:
    return f"{kind}/{safe_name(cluster)}/{uid}"


def _unit_order(key: str) -> tuple[int, str]:
    unit = key.rsplit("/", 1)[-1]
    number = unit.split("-", 1)[0]
    return (int(number) if number.isdecimal() else 0, unit)


async def _segments(store: Store, folder: str, first: int = 0) -> list[tuple[int, int, str]]:
    """(start, size, key) of the segments that start at byte `first` or later, in their order."""
    after = f"{folder}/{first - 1:020}" if first else None
    return [(int(key.rsplit("/", 1)[-1]), size, key) for key, size in await store.list(folder, after=after)]
