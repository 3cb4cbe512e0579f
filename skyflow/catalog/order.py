"""The order of names: for lists that people read, and for files that they compare line by line."""

from __future__ import annotations

import re


def natural(name: str) -> list[tuple[int, int | str]]:
    """As people sort: `c5.2xlarge` before `c5.12xlarge`, `tpu-v2-8` before `tpu-v2-32`."""
    return [(0, int(part)) if part.isdigit() else (1, part.lower()) for part in re.split(r"(\d+)", name)]
