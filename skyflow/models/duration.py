"""Durations as people write them: `10`, `"2h"`, `"30s"`."""

from __future__ import annotations

import re

from skyflow.models.document import Document, Path
from skyflow.models.shape import wrong

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604_800}
MINUTES = {unit: seconds // 60 for unit, seconds in SECONDS.items() if seconds >= 60}
MAX_YEARS = 10
"""Longer ones are typing errors. Those of centuries are more than a timer can hold."""
MAX_MINUTES = MAX_YEARS * 365 * MINUTES["d"]

_DURATION = re.compile(r"([0-9]{1,18})([a-zA-Z]?)")
_MAX_SECONDS = MAX_YEARS * 365 * SECONDS["d"]


def check_minutes(document: Document, value: object, path: Path) -> int:
    """Whole minutes: a number of them, or `m`, `h`, `d`, `w` behind a number (PARITY §2.1, autostop)."""
    return _check(document, value, path, MINUTES, "minutes such as 10, or '2h' (m, h, d, w)")


def check_seconds(document: Document, value: object, path: Path) -> int:
    """Whole seconds: a number of them, or `s`, `m`, `h`, `d`, `w` behind a number (PARITY §2, termination_delay)."""
    return _check(document, value, path, SECONDS, "seconds such as 30, or '5m' (s, m, h, d, w)")


def show_seconds(seconds: int) -> str:
    """The shortest way to write them: `90s`, `2h`."""
    unit = max((unit for unit in SECONDS if seconds % SECONDS[unit] == 0), key=SECONDS.__getitem__)
    return f"{seconds // SECONDS[unit]}{unit}" if seconds else "0s"


def _check(document: Document, value: object, path: Path, units: dict[str, int], must: str) -> int:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e18 else value
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    scale = units.get(found[2].lower()) if found and found[2] else 1
    if not found or scale is None:
        raise wrong(document, path, must, value)
    amount = int(found[1]) * scale
    if amount * (SECONDS["m"] if units is MINUTES else 1) > _MAX_SECONDS:
        raise wrong(document, path, f"{MAX_YEARS} years at most", value)
    return amount
