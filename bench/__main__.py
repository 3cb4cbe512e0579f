"""`make bench`: runs every benchmark, prints a table, and leaves the figures as JSON in `bench/results/`."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

from bench import latency
from bench.measure import Ratio

RESULTS = Path(__file__).with_name("results")


def main() -> int:
    """Returns 1 if a ratio is over its limit."""
    before = os.getloadavg()[0]
    ratios: list[Ratio] = latency.run()
    machine = {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    print(f"{'what':42} {'seconds':>8} {'peer':>8} {'ratio':>6} {'limit':>6}")
    for ratio in ratios:
        verdict = "" if ratio.value <= ratio.limit else "  OVER"
        print(f"{ratio.what:42} {ratio.seconds:8.3f} {ratio.peer:8.3f} {ratio.value:6.2f} {ratio.limit:6.1f}{verdict}")
        for stage, seconds in ratio.stages.items():
            print(f"    {stage:38} {seconds:8.3f}")
    RESULTS.mkdir(exist_ok=True)
    report = {"machine": machine, "load_before": before, "ratios": [ratio.as_json() for ratio in ratios]}
    path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"load before: {before:.2f}; {machine['cpus']} CPUs; as JSON: {path.relative_to(Path.cwd())}")
    return int(any(ratio.value > ratio.limit for ratio in ratios))


if __name__ == "__main__":
    sys.exit(main())
