"""A measurement: medians of whole commands, and the ratio to a peer."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Ratio:
    """How long something takes, as a multiple of a peer that was measured in the same run."""

    what: str
    seconds: float
    """Median."""
    peer: float
    """Median of the peer, in seconds."""
    limit: float
    stages: dict[str, float] = field(default_factory=dict)
    """Where the time went, in seconds."""

    @property
    def value(self) -> float:
        return self.seconds / self.peer

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": round(self.value, 3)}


def command(argv: Sequence[str], env: Mapping[str, str]) -> float:
    """Seconds that a command takes. Raises CalledProcessError if it fails."""
    start = time.perf_counter()
    subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.perf_counter() - start


def median(times: int, measure: Callable[[], float]) -> float:
    """The median of several measurements, after one that does not count."""
    measure()
    return statistics.median(measure() for _ in range(times))
