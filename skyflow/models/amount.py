"""Amounts as people write them: CPUs, memory, disks."""

from __future__ import annotations

import math
import re

from skyflow.errors import InvalidTaskError
from skyflow.models.document import describe

_AMOUNT = re.compile(r"(-?[0-9]+\.?[0-9]*|\.[0-9]+)\s*([a-zA-Z]*)\s*(\+?)", re.ASCII)
_GIB = {"": 1.0, "K": 1 / (1 << 20), "M": 1 / (1 << 10), "G": 1.0, "T": float(1 << 10), "P": float(1 << 20)}
_PER_CPU = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)x(\+?)", re.ASCII)

DISK_TIERS = ("low", "medium", "high", "ultra", "best")
"""How fast a disk is."""


def check_cpus(value: object) -> str:
    """CPUs a node: `4`, or `4+` for at least 4."""
    return _check("cpus", value, "a number of CPUs such as 4, or '4+' for at least 4", units=False)


def check_memory(value: object) -> str:
    """GiB a node: `16`, `16+`, `512MB` (which is 0.5); `4x` and `4x+` are so many GiB a CPU."""
    if isinstance(value, str) and (per_cpu := _PER_CPU.fullmatch(value.strip())):
        return f"{_digits('memory', float(per_cpu[1]), value)}x{per_cpu[2]}"
    return _check("memory", value, "GiB such as 16, '16+' for at least 16, or '512MB'", units=True)


def check_disk_size(value: object) -> int:
    """GB, a whole number: `256`, `1TB` (which is 1024)."""
    text = _check("disk_size", value, "whole GB such as 256, or '1TB'", units=True)
    if not text.isdigit():
        raise InvalidTaskError(f"resources.disk_size must be whole GB such as 256, or '1TB', found {describe(value)}.")
    return int(text)


def amount_of(text: str) -> float:
    """The number of `4` and of `4+`."""
    return float(text.removesuffix("+").removesuffix("x"))


def _check(field: str, value: object, form: str, *, units: bool) -> str:
    """A positive amount as `<number>` or `<number>+`, in the field's own unit."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    found = _AMOUNT.fullmatch(text.strip()) if isinstance(text, str) else None
    unit = found[2].upper().removesuffix("B").removesuffix("I") if found and units else ""
    if not found or unit not in _GIB or (found[2] and not units):
        raise InvalidTaskError(f"resources.{field} must be {form}, found {describe(value)}.")
    return _digits(field, float(found[1]) * _GIB[unit], value) + found[3]


def _digits(field: str, number: float, value: object) -> str:
    if not 0.000_000_5 < number < math.inf:
        raise InvalidTaskError(f"resources.{field} must be more than 0, found {describe(value)}.")
    return str(int(number)) if number.is_integer() else f"{number:.6f}".rstrip("0").rstrip(".")
