"""How long a process that has nothing yet takes to read the catalogs, and the command that lists from them."""

from __future__ import annotations

import sys

from bench.home import SKYFLOW, Home
from bench.measure import Ratio, command, median

TIMES = 11
SECONDS = 0.06
"""A blink."""
LOAD = "from skyflow.catalog import load; load('aws'); load('gcp')"


def run() -> list[Ratio]:
    """All ratios of this module."""
    with Home() as home:
        bare = median(TIMES, lambda: command([sys.executable, "-c", "pass"], home.env))
        both = median(TIMES, lambda: command([sys.executable, "-c", LOAD], home.env))
        peer = median(TIMES, lambda: command([sys.executable, "-c", "import typer, rich"], home.env))
        listed = median(TIMES, lambda: home.command([*SKYFLOW, "gpus", "list", "A100"]))
    parts = {"python -c pass": bare, "with both catalogs": both}
    return [
        Ratio("both catalogs, beyond a bare Python / 60 ms", both - bare, SECONDS, 1, parts=parts),
        Ratio("skyflow gpus list A100 / import typer, rich", listed, peer, 4),
    ]
