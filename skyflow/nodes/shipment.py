"""A shipment: brings the log of one unit from its node into the sink, byte for byte, while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

FULL = 1 << 20
"""Bytes that are written without waiting for more."""
CROWDED = 4 * FULL
"""Bytes that wait to be written, at which no more are read."""


class LogSink(Protocol):
    """Where logs go."""

    async def end(self, unit: str, rank: int) -> int:
        """How many bytes it holds, from the first one on."""

    async def write(self, unit: str, rank: int, offset: int, data: bytes) -> None:
        """Takes the bytes that begin at `offset`."""


class Shipment:
    """The log of one unit of one node.

    Args:
        sink: where it goes.
        unit: whose log it is.
        rank: of the node.
        read: the log from a byte on, as an endless stream.
        flush_seconds: at most so often is something written, unless there is much or the log is complete.
    """

    def __init__(
        self,
        sink: LogSink,
        unit: str,
        rank: int,
        read: Callable[[int], AsyncGenerator[bytes, None]],
        flush_seconds: float = 0,
    ) -> None:
        self.done = False
        self._sink = sink
        self._unit = unit
        self._rank = rank
        self._read = read
        self._flush_seconds = flush_seconds
        self._size: int | None = None
        self._waiting = bytearray()
        self._changed = asyncio.Event()
        self._urgent = asyncio.Event()
        self._room = asyncio.Event()

    def end_at(self, size: int) -> None:
        """The unit has ended, and its log has so many bytes."""
        self._size = size
        self._urgent.set()
        self._changed.set()

    async def run(self) -> None:
        """Ships until the log is complete; what fails on the way, in the stream or the sink, is raised."""
        stored = await self._sink.end(self._unit, self._rank)
        reading: asyncio.Task[None] | None = None
        try:
            while self._size is None or stored < self._size:
                if reading is None:
                    reading = asyncio.create_task(self._fill(stored))
                    reading.add_done_callback(lambda _: self._changed.set())
                data = await self._take(reading, stored)
                if data:
                    await self._sink.write(self._unit, self._rank, stored, data)
                stored += len(data)
                if not self._urgent.is_set():
                    await self._pause()
        finally:
            if reading:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        self.done = True

    async def _fill(self, offset: int) -> None:
        async with aclosing(self._read(offset)) as stream:
            async for chunk in stream:
                self._waiting += chunk
                self._changed.set()
                if len(self._waiting) >= FULL:
                    self._urgent.set()
                while len(self._waiting) >= CROWDED:
                    self._room.clear()
                    await self._room.wait()

    async def _take(self, reading: asyncio.Task[None], stored: int) -> bytes:
        """What waits, but nothing from beyond the end of the log. Once that is known, only in pieces worth a write."""
        while len(self._waiting) < (1 if self._size is None else min(FULL, self._size - stored)):
            self._changed.clear()
            if reading.done():
                reading.result()
            await self._changed.wait()
        data = bytes(self._waiting if self._size is None else self._waiting[: max(0, self._size - stored)])
        self._waiting.clear()
        self._room.set()
        if self._size is None:
            self._urgent.clear()
        return data

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._flush_seconds):
                await self._urgent.wait()
        except TimeoutError:
            return
