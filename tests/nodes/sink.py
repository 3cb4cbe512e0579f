"""A sink for logs that remembers what it was given, and takes nothing twice and nothing out of order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable


class MemorySink:
    def __init__(self) -> None:
        self.logs: dict[tuple[str, int], bytes] = defaultdict(bytes)
        self.writes = 0
        self._changed = asyncio.Condition()

    async def end(self, unit: str, rank: int) -> int:
        return len(self.logs[unit, rank])

    async def write(self, unit: str, rank: int, offset: int, data: bytes) -> None:
        assert data
        assert offset == len(self.logs[unit, rank])
        self.logs[unit, rank] += data
        self.writes += 1
        async with self._changed:
            self._changed.notify_all()

    async def until(self, unit: str, rank: int, condition: Callable[[bytes], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: condition(self.logs[unit, rank]))
