"""Output of several ranks as one stream of whole lines, each marked with where it came from (as SkyPilot does)."""

from __future__ import annotations

from collections import deque


def prefix(rank: int) -> bytes:
    """`(head, rank=0) ` or `(worker1, rank=1) `."""
    name = "head" if rank == 0 else f"worker{rank}"
    return f"({name}, rank={rank}) ".encode()


class LineMerger:
    """Turns chunks of output into what is shown.

    With one node the bytes pass through as they are. With several, each rank's output is held until a line is whole.
    """

    def __init__(self, num_nodes: int) -> None:
        self._several = num_nodes > 1
        self._held: dict[tuple[str, int], bytes] = {}

    def feed(self, unit: str, rank: int, data: bytes) -> bytes:
        """What can be shown after this chunk."""
        if not self._several:
            return data
        *lines, rest = (self._held.get((unit, rank), b"") + data).split(b"\n")
        self._held[unit, rank] = rest
        mark = prefix(rank)
        return b"".join(mark + line + b"\n" for line in lines)

    def flush(self) -> bytes:
        """Whatever is held: last lines without an end."""
        rest = b"".join(prefix(rank) + data + b"\n" for (_, rank), data in self._held.items() if data)
        self._held.clear()
        return rest


class LastLines:
    """The last lines of what it is fed."""

    def __init__(self, count: int) -> None:
        self._lines: deque[bytes] = deque(maxlen=count)
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Takes more output."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(line + b"\n" for line in lines)

    def lines(self) -> bytes:
        """What is kept; the last line may have no end."""
        kept = [*self._lines, self._rest] if self._rest else list(self._lines)
        return b"".join(kept[-(self._lines.maxlen or 0) :])
