"""How long a process that has nothing yet takes to read the catalogs, and the command that lists from them."""

from __future__ import annotations

import sys

from bench.home import SKYFLOW, Home
from bench.measure import Ratio, command, median

TIMES = 11
LOAD = "from skyflow.catalog import load; load('aws'); load('gcp')"


def run() -> list[Ratio]:
    """All ratios of this module. Where a bare Python takes 9 ms, 8 times as much is 60 ms more: a blink."""
    with Home() as home:
        bare = median(TIMES, lambda: command([sys.executable, "-c", "pass"], home.env))
        both = median(TIMES, lambda: command([sys.executable, "-c", LOAD], home.env))
        peer = median(TIMES, lambda: command([sys.executable, "-c", "import typer, rich"], home.env))
        listed = median(TIMES, lambda: home.command([*SKYFLOW, "gpus", "list", "A100"]))
    return [
        Ratio("read the catalogs of AWS and Google / bare Python", both, bare, 8),
        Ratio("skyflow gpus list A100 / import typer, rich", listed, peer, 4.5),
    ]
