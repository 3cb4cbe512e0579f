"""`make bench`: runs all benchmarks, or those that are named; prints a table, keeps it as JSON in `bench/results/`."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

from bench import catalog, clusters, gang, idle, latency, life, plan, sync
from bench.measure import Ratio

RESULTS = Path(__file__).with_name("results")
MODULES = {
    "latency": latency,
    "catalog": catalog,
    "plan": plan,
    "sync": sync,
    "gang": gang,
    "life": life,
    "idle": idle,
    "clusters": clusters,
}


def main(names: list[str]) -> int:
    """Returns 1 if a ratio is over its limit."""
    before = os.getloadavg()[0]
    print(f"{'what':58} {'measured':>9} {'peer':>9}    {'ratio':>6} {'limit':>6}")
    ratios: list[Ratio] = []
    for name in names or MODULES:
        for ratio in MODULES[name].run():
            ratios.append(ratio)
            _show(ratio)
    machine = {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    report = {"machine": machine, "load_before": before, "ratios": [ratio.as_json() for ratio in ratios]}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"load before: {before:.2f}; {machine['cpus']} CPUs; as JSON: {path.relative_to(Path.cwd())}")
    return int(not all(ratio.holds for ratio in ratios))


def _show(ratio: Ratio) -> None:
    verdict = "" if ratio.holds else "  OVER"
    limit = "     -" if ratio.limit is None else f"{ratio.limit:6.2f}"
    numbers = f"{ratio.value:9.3f} {ratio.peer:9.3f} {ratio.unit:2} {ratio.ratio:6.2f} {limit}"
    print(f"{ratio.what:58} {numbers}{verdict}", flush=True)
    for part, amount in ratio.parts.items():
        print(f"    {part:54} {amount:9.3f}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
