"""A measurement: medians of whole commands, and the ratio to a peer or a limit."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Ratio:
    """Something that was measured, as a multiple of a peer of the same run, or of a fixed amount."""

    what: str
    value: float
    """Median."""
    peer: float
    """Median of the peer."""
    limit: float | None
    """Of the ratio; None if it is only told."""
    unit: str = "s"
    parts: dict[str, float] = field(default_factory=dict)
    """Where it went."""

    @property
    def ratio(self) -> float:
        return self.value / self.peer

    @property
    def holds(self) -> bool:
        return self.limit is None or self.ratio <= self.limit

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": round(self.ratio, 3), "holds": self.holds}


def command(argv: Sequence[str], env: Mapping[str, str]) -> float:
    """Seconds that a command takes. Raises CalledProcessError if it fails."""
    start = time.perf_counter()
    subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.perf_counter() - start


def median(times: int, measure: Callable[[], float]) -> float:
    """The median of several measurements, after one that does not count."""
    measure()
    return statistics.median(measure() for _ in range(times))
