"""What skyflow costs while nothing happens: memory and processor time of server and worker, one idle cluster up."""

from __future__ import annotations

import json
import os
import subprocess
import time

from bench.home import SKYFLOW, Home
from bench.measure import Ratio

SETTLE_SECONDS = 15.0
SECONDS = 30.0
MEGABYTES = 300
CORE = 0.02


def run() -> list[Ratio]:
    """All ratios of this module."""
    with Home() as home:
        home.command([*SKYFLOW, "launch", "-c", "idle", "true"])
        time.sleep(SETTLE_SECONDS)
        supervisor = json.loads((home.path / ".skyflow/server/server.json").read_text())["pid"]
        pids = [supervisor, *_children(supervisor)]
        before = sum(cpu_seconds(pid) for pid in pids)
        time.sleep(SECONDS)
        busy = (sum(cpu_seconds(pid) for pid in pids) - before) / SECONDS
        memory = {_name(pid): megabytes(pid) for pid in pids}
        return [
            Ratio("idle: memory of server + worker", sum(memory.values()), MEGABYTES, 1, "MB", memory),
            Ratio("idle: share of one core", busy, CORE, 1, ""),
        ]


def _children(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int) -> float:
    """Proportional set size: what is shared counts once."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024 / 1e6


def _name(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as words:
        argv = words.read().split("\0")
    return next((word for word in argv if word.startswith("skyflow.")), os.path.basename(argv[0]))
