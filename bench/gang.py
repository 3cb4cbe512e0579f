"""How fast a gang starts: from EXEC to the last rank's first line, beside as many plain `ssh true` at once."""

from __future__ import annotations

import subprocess
import time
from statistics import median as middle

from bench.home import SKYFLOW, Home
from bench.measure import Ratio

NODES = 32
TIMES = 3


def run() -> list[Ratio]:
    """All ratios of this module."""
    with Home() as home:
        home.command([*SKYFLOW, "launch", "-c", "gang", "--num-nodes", str(NODES), "true"])
        gang = [_first_lines(home) for _ in range(TIMES)]
        ssh = [_parallel_ssh(home) for _ in range(TIMES)]
        return [
            Ratio(f"gang of {NODES}: EXEC to the last first line / {NODES} × ssh true", middle(gang), middle(ssh), 3)
        ]


def _first_lines(home: Home) -> float:
    home.command([*SKYFLOW, "exec", "gang", "--num-nodes", str(NODES), "date +%s.%N"])
    argv = [*SKYFLOW, "logs", "gang"]
    lines = subprocess.run(argv, env=home.env, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == NODES, lines
    (began,) = [stage["started"] for stage in home.progress("gang")["stages"] if stage["name"] == "EXEC"]
    return max(float(line.rpartition(" ")[2]) for line in lines) - float(began)


def _parallel_ssh(home: Home) -> float:
    key = home.key("gang")
    start = time.perf_counter()
    running = [subprocess.Popen([*home.ssh(node, key), "true"], env=home.env) for node in home.nodes("gang")]
    codes = [process.wait() for process in running]
    assert not any(codes), codes
    return time.perf_counter() - start
