"""How long a plan takes, from the catalogs in the package: one task from its YAML, chains, and graphs.

For orientation, SkyPilot 0.14.1 on a machine of this size, warm: one task 0.7 to 2.4 s; a chain of 50 tasks 109 s; a
graph of 10 tasks 116 s, one of 20 not done in 130 s.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Callable

from bench.home import Home
from bench.measure import Ratio, command, median

TIMES = 5
ONE_TASK = 0.25
"""Seconds over the bare interpreter."""

TASK = """
name: train
num_nodes: 4
resources:
  accelerators: {A100:8, H100:8, L4:8}
  use_spot: true
  disk_size: 500
run: torchrun train.py
"""
PLAN = """
import asyncio, sys
from skyflow import planner
from skyflow.models.task import Task
from skyflow.settings import Settings
task = Task.from_yaml_str(sys.argv[1])
market = asyncio.run(planner.market(Settings.from_env(), ["aws", "gcp"]))
assert planner.plan_task(task, market).num_offers > 100
"""


def run() -> list[Ratio]:
    """All ratios of this module."""
    with Home() as home:
        bare = median(TIMES, lambda: command([sys.executable, "-c", "pass"], home.env))
        planned = median(TIMES, lambda: command([sys.executable, "-c", PLAN, TASK], home.env))
        graphs = [
            _graph(home, "chain of 50 tasks", 50, "chain", 1),
            _graph(home, "graph of 20 tasks, each after two", 20, "two", 1),
            _graph(home, "graph of 40 tasks, each after two", 40, "two", 3),
        ]
    return [
        Ratio("plan: one task from YAML, catalogs cold / 0.25 s", planned - bare, ONE_TASK, 1),
        *graphs,
    ]


def _graph(home: Home, what: str, tasks: int, shape: str, limit: float) -> Ratio:
    """The median of whole plans in one process, catalogs loaded; and its peak memory."""
    argv = [sys.executable, "-m", "bench.plan", str(tasks), shape]
    done = subprocess.run(argv, env=home.env, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    parts = {"peak memory, MB": found["megabytes"], "cost of the plan, $": found["cost"]}
    return Ratio(f"plan: {what} / {limit:g} s", found["seconds"], limit, 1, parts=parts)


def measure(tasks: int, shape: str) -> dict[str, float]:
    """One graph: CPU tasks of different sizes, 50 GB on every edge."""
    from skyflow import planner
    from skyflow.models.dag import Dag
    from skyflow.models.task import Task
    from skyflow.settings import Settings

    wishes: list[dict[str, object]] = [{"cpus": "4+"}, {"cpus": "16+", "memory": "64+"}, {"accelerators": "T4"}, {}]
    with Dag() as dag:
        made = [
            Task(f"t{number}", run="x", resources=wishes[number % len(wishes)]).set_outputs("s3://b", 50)
            for number in range(tasks)
        ]
        for number, task in enumerate(made):
            for parent in made[max(0, number - (1 if shape == "chain" else 2)) : number]:
                dag.add_edge(parent, task)
    market = asyncio.run(planner.market(Settings.from_env(), ["aws", "gcp"]))
    plan: Callable[[], object] = lambda: planner.plan_dag(dag, market)  # noqa: E731  timed below
    seconds = median(3, lambda: _timed(plan))
    return {
        "seconds": seconds,
        "cost": planner.plan_dag(dag, market).total_cost,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def _timed(what: Callable[[], object]) -> float:
    from time import perf_counter

    start = perf_counter()
    what()
    return perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2])))
