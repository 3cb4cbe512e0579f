"""One stream for several readers: its source is read once, and the slowest reader sets the pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from skyflow.errors import NodeUnreachableError

DEPTH = 8
"""Chunks that a reader may be behind the fastest."""
STALL_SECONDS = 180.0
"""A reader that takes nothing for this long is given up: the others must not wait for it for ever."""


class Broadcast:
    """Start `pump` and iterate over `reader(0)` … at the same time. A reader that stops early has to `leave`."""

    def __init__(self, source: AsyncIterator[bytes], readers: int) -> None:
        self._source = source
        self._queues: dict[int, asyncio.Queue[bytes | BaseException | None]] = {
            number: asyncio.Queue(DEPTH) for number in range(readers)
        }

    async def pump(self) -> None:
        """Reads the source to its end. What it raises, every reader raises."""
        end: BaseException | None = None
        try:
            async for chunk in self._source:
                await self._put(chunk)
                if not self._queues:
                    return
        except Exception as error:
            end = error
        await self._put(end)

    async def reader(self, number: int) -> AsyncIterator[bytes]:
        """The chunks, each as it comes."""
        queue = self._queues[number]
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def leave(self, number: int) -> None:
        """This reader wants no more: the others need not wait for it."""
        queue = self._queues.pop(number, None)
        while queue is not None and not queue.empty():
            queue.get_nowait()  # the pump may be waiting for room

    async def _put(self, item: bytes | BaseException | None) -> None:
        for number, queue in list(self._queues.items()):
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await queue.put(item)
            except TimeoutError:
                self.leave(number)
                queue.put_nowait(NodeUnreachableError("A node takes no more of what is copied to it."))
