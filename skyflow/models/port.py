"""Ports that a task wants open: numbers and ranges, merged."""

from __future__ import annotations

from collections.abc import Iterable

from skyflow.errors import InvalidTaskError
from skyflow.models.document import describe, show

LAST = 65535


def check_ports(value: object) -> tuple[str, ...]:
    """`8080`, `"8000-8100"`, `"80,443"` or a list of them, in order and merged: `("8080", "10022-10040")`."""
    parts: Iterable[object] = value if isinstance(value, list | tuple | set | frozenset) else [value]
    ranges = sorted(found for part in parts for found in _ranges(part))
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(str(first) if first == last else f"{first}-{last}" for first, last in merged)


def numbers(ports: Iterable[str]) -> list[int]:
    """Every port of these numbers and ranges, as `check_ports` gives them."""
    found: list[int] = []
    for text in ports:
        first, _, last = text.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def missing(wanted: Iterable[str], opened: Iterable[str]) -> list[str]:
    """Those of the wanted numbers and ranges that are not wholly among the open ones."""
    have = set(numbers(opened))
    return [text for text in wanted if not have.issuperset(numbers([text]))]


def _ranges(part: object) -> list[tuple[int, int]]:
    if isinstance(part, int) and not isinstance(part, bool):
        return [_range(str(part), part)]
    if not isinstance(part, str) or not part.strip():
        raise InvalidTaskError(f"resources.ports must be a port such as 8080, or '8000-8100', found {describe(part)}.")
    return [_range(piece.strip(), part) for piece in part.split(",")]


def _range(text: str, said: object) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    ends = [first, last if dash else first]
    if not all(end.strip().isascii() and end.strip().isdigit() for end in ends):
        raise InvalidTaskError(f"resources.ports must be a port such as 8080, or '8000-8100', found {describe(said)}.")
    low, high = (int(end) if len(end.strip()) <= len(str(LAST)) + 1 else LAST + 1 for end in ends)
    if not 1 <= low <= LAST or not 1 <= high <= LAST:
        raise InvalidTaskError(f"resources.ports: a port is a number from 1 to {LAST}, found {show(text)}.")
    if low > high:
        raise InvalidTaskError(f"resources.ports: the range {show(text)} ends before it begins.")
    return low, high
