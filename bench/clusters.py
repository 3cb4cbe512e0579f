"""5,000 idle clusters with an idle rule on one machine: the worker's memory, its processor time, and `skyflow status`.

The clusters are the real workflows, with their guardians, on a real dev server and one real worker. Only their nodes do
not exist: `python -m bench.clusters` is the product's worker, but for the cloud's answer that they run.

What the worker has to do for an idle cluster are its checks: 10 check intervals after it became idle, 30 after that,
90, and from then on every 240, which are four hours. So the share of a core depends on when it is measured. Here it is
measured what a check costs (cluster, guardian and all), while the first ones are made; what the worker needs without
any cluster is taken off. Three figures say what follows from that:

- in the long run, when each is checked every four hours: this is held to the limit;
- on average of the hour after all of them became idle at once, in which each is checked twice;
- as it was measured, in the minutes of the first checks, with nothing taken off.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from bench.home import SKYFLOW, Home
from bench.idle import cpu_seconds, megabytes
from bench.measure import Ratio
from skyflow.embedded import find_temporal
from skyflow.models.cluster import ClusterState
from skyflow.models.name import cluster_workflow_id, task_queue
from skyflow.models.node import GangRef, Node, NodeStatus, Offer
from skyflow.models.operation import IdleRule, Operation, Place, Release
from skyflow.models.usage import UpInterval
from skyflow.settings import Settings
from skyflow.worker.converter import data_converter
from skyflow.worker.dev_server import arguments
from skyflow.worker.main import run as run_worker
from skyflow.workflows.call import CALM

CLUSTERS = int(os.environ.get("SKYFLOW_BENCH_CLUSTERS", "5000"))
CHECK_SECONDS = float(os.environ.get("SKYFLOW_BENCH_CHECK_SECONDS", "60"))
AT_ONCE = 50
ALONE_SECONDS = 20.0
SETTLE_SECONDS = 30.0
"""What the start of so many leaves to be done."""
SECONDS = float(os.environ.get("SKYFLOW_BENCH_SECONDS", "240"))
"""How long first checks are looked at; they begin 7.5 check intervals after the first cluster was made."""
IDLE_MINUTES = 24 * 60
MEGABYTES = 250
CORE = 0.02

CHECKED = b"a cluster is checked"

OFFER = Offer(
    cloud="local",
    region="local",
    zone="local-a",
    instance_type="local-2",
    cpus=2,
    memory=4,
    price=0,
    can_stop=True,
    host="elsewhere",  # so that `status` does not ask each for its way, as it does once for those that are new to it
)


def run() -> list[Ratio]:
    """All ratios of this module."""
    with Home() as home, _temporal(home) as address, _worker(home, address) as worker:
        time.sleep(SETTLE_SECONDS)
        alone, _ = _measure(worker, ALONE_SECONDS)
        begin = time.perf_counter()
        asyncio.run(_make(address))
        made = time.perf_counter() - begin
        time.sleep(SETTLE_SECONDS)
        settled = megabytes(worker.pid)
        while not worker.checks():
            time.sleep(1)
        first, checks = _measure(worker, SECONDS)
        each = (first - alone) * SECONDS / checks
        memory = megabytes(worker.pid)
        listing = home.command([*SKYFLOW, "status", "-o", "json"])
        parts = {"made in (s)": made, "checks that were measured": checks, "processor time of each (ms)": 1000 * each}
        name = f"{CLUSTERS:,} idle clusters"
        long_run = alone + each * CLUSTERS / (CALM * CHECK_SECONDS)
        hour = alone + each * CLUSTERS * 2 / 3600
        return [
            Ratio(f"{name}: memory of the worker", memory, MEGABYTES, 1, "MB", {"before the first checks": settled}),
            Ratio(f"{name}: share of one core, in the long run", long_run, CORE, 1, "", parts),
            Ratio(f"{name}: share, in the hour after all became so", hour, CORE, None, ""),
            Ratio(f"{name}: share, in the minutes of the first checks", first, CORE, None, ""),
            Ratio(f"{name}: skyflow status / 1 ms for each", listing, CLUSTERS / 1000, None),
        ]


def _measure(worker: _Worker, seconds: float) -> tuple[float, int]:
    """The share of one core, and how many checks there were."""
    before, checks, began = worker.cpu(), worker.checks(), time.monotonic()
    time.sleep(seconds)
    return (worker.cpu() - before) / (time.monotonic() - began), worker.checks() - checks


@dataclass(frozen=True)
class _Worker:
    """The process that is measured, and what it says."""

    pid: int
    log: Path

    def cpu(self) -> float:
        return cpu_seconds(self.pid)

    def checks(self) -> int:
        """How many there were. Each asks the cloud once."""
        return self.log.read_bytes().count(CHECKED)


@contextmanager
def _temporal(home: Home) -> Iterator[str]:
    """A dev server with the flags of the embedded one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    flags = arguments(str(home.path / "temporal.db"), port=port, ui_port=port + 1)
    binary = find_temporal([os.path.dirname(sys.executable), *os.get_exec_path()])
    argv = [str(binary), *flags, "--headless"]
    server = subprocess.Popen(argv, env=home.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    home.env["TEMPORAL_ADDRESS"] = f"127.0.0.1:{port}"
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@contextmanager
def _worker(home: Home, address: str) -> Iterator[_Worker]:
    argv = [sys.executable, "-m", "bench.clusters"]
    log = home.path / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(argv, env=home.env, stdout=output, stderr=output)
    deadline = time.monotonic() + 60
    while b"serving" not in log.read_bytes():
        if worker.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(log.read_text())
        time.sleep(0.1)
    try:
        yield _Worker(worker.pid, log)
    finally:
        worker.kill()
        worker.wait()


async def _make(address: str) -> None:
    """Starts the clusters, each with its node and a launch that is just over, so that the idle rule begins to count."""
    client = await Client.connect(address, data_converter=data_converter)
    places = asyncio.Semaphore(AT_ONCE)

    async def make(number: int) -> None:
        name = f"idle-{number}"
        now = time.time()
        launch = Operation(workflow_id=f"launch/{name}/1", kind="launch", granted=True)
        state = ClusterState(
            name=name,
            uid=f"life-{number}",
            deployment="bench",
            check_seconds=CHECK_SECONDS,
            served=1,
            nodes=[node(name)],
            offer=OFFER,
            launched_at=now,
            rule=IdleRule(minutes=IDLE_MINUTES),
            places=[Place(cloud="local")],
            up={0: UpInterval.begin(name, f"life-{number}", node(name), OFFER, now)},
            operations=[launch],
        )
        state.leased = state.lease()
        async with places:
            await client.start_workflow(
                "ClusterWorkflow",
                state,
                id=cluster_workflow_id(name),
                task_queue=task_queue("quick"),
                start_signal="release",
                start_signal_args=[Release(workflow_id=launch.workflow_id)],
            )

    await asyncio.gather(*(make(number) for number in range(CLUSTERS)))
    query = "WorkflowType = 'AutostopWorkflow' AND ExecutionStatus = 'Running'"
    while (await client.count_workflows(query)).count < CLUSTERS:  # noqa: ASYNC110  the fact is in another process
        await asyncio.sleep(1)


def node(cluster: str) -> Node:
    """The only node of a cluster."""
    return Node(
        id=f"node-{cluster}", rank=0, address="127.9.9.9", port=22, user="me", host_key="key", internal_ip="127.9.9.9"
    )


class _Cloud(Interceptor):
    """Says that every node runs."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See Interceptor."""
        return _Answering(next)


class _Answering(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if activity.info().activity_type == "describe_nodes":
            gang: GangRef = input.args[0]
            print(CHECKED.decode(), flush=True)
            return [NodeStatus(node=node(gang.cluster), state="running")]
        return await super().execute_activity(input)


if __name__ == "__main__":
    asyncio.run(run_worker(Settings.from_env(), [_Cloud()]))
