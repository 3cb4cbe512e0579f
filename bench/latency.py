"""How long a person waits: for `exec`, a new node, the very first launch, `down`, `--version`, `--help`.

The unit Y is what nobody can do without: `python -c "import temporalio.client"` and a plain `ssh node true`.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from statistics import median as middle

from bench.home import SKYFLOW, Home
from bench.measure import Ratio, command, median

TIMES = 7


def run() -> list[Ratio]:
    """All ratios of this module."""
    with Home() as home:
        return [*_cli(home), *_launches(home)]


def _cli(home: Home) -> list[Ratio]:
    peer = median(TIMES, lambda: command([sys.executable, "-c", "import typer, rich"], home.env))
    version = median(TIMES, lambda: home.command([*SKYFLOW, "--version"]))
    helped = median(TIMES, lambda: home.command([*SKYFLOW, "--help"]))
    return [
        Ratio("skyflow --version / import typer, rich", version, peer, 1.5),
        Ratio("skyflow --help / import typer, rich", helped, peer, 3.5),
    ]


def _launches(home: Home) -> list[Ratio]:
    cold = home.command([*SKYFLOW, "launch", "-c", "cold", "true"])
    ssh = [*home.ssh(home.nodes("cold")[0], home.key("cold")), "true"]
    imports = median(TIMES, lambda: home.command([sys.executable, "-c", "import temporalio.client"]))
    plain = median(TIMES, lambda: home.command(ssh))
    unit = imports + plain
    number = itertools.count()

    def fresh() -> float:
        return home.command([*SKYFLOW, "launch", "-c", f"new{next(number)}", "true"])

    execs = median(TIMES, lambda: home.command([*SKYFLOW, "exec", "cold", "true"]))
    launches = median(TIMES, fresh)
    parts = {"import temporalio.client": imports, "ssh node true": plain}
    new_parts = home.stages("new1")
    down = middle(home.command([*SKYFLOW, "down", "-y", f"new{name}"]) for name in range(3))
    killed = middle(_kill(home, f"new{name}") for name in range(3, 6))
    return [
        Ratio("exec of true, warm cluster / Y", execs, unit, 2, parts={**parts, **home.stages("cold")}),
        Ratio("launch of true, new node / Y", launches, unit, 3, parts=new_parts),
        Ratio("very first launch, all cold / Y", cold, unit, 7),
        Ratio("down / 1 s + killing its processes", down, 1 + killed, 1),
    ]


def _kill(home: Home, cluster: str) -> float:
    """How long it takes to kill the processes of a cluster's nodes, and nothing else."""
    (node,) = home.nodes(cluster)
    start = time.perf_counter()
    while pids := home.processes(f"SKYFLOW_NODE={node.id}"):
        for pid in pids:
            os.kill(pid, 9)
    return time.perf_counter() - start
