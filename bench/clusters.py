"""5,000 idle clusters with an idle rule on one machine: the worker's memory, its processor time, and `skyflow status`.

The clusters are the real workflows, with their guardians, on a real dev server and one real worker. Only their nodes do
not exist: `python -m bench.clusters` is the product's worker, but for the cloud's answer that they run.
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
from skyflow.models.operation import IdleRule, Place
from skyflow.settings import Settings
from skyflow.worker.converter import data_converter
from skyflow.worker.dev_server import arguments
from skyflow.worker.main import run as run_worker

CLUSTERS = int(os.environ.get("SKYFLOW_BENCH_CLUSTERS", "5000"))
AT_ONCE = 50
SETTLE_SECONDS = 60.0
"""What the start of so many leaves to be done. Their first checks come later, 450 seconds after each began."""
SECONDS = float(os.environ.get("SKYFLOW_BENCH_SECONDS", "60"))
IDLE_MINUTES = 24 * 60
MEGABYTES = 250
CORE = 0.02

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
    with Home() as home, _temporal(home) as address, _worker(home, address) as pid:
        begin = time.perf_counter()
        asyncio.run(_make(address))
        made = time.perf_counter() - begin
        time.sleep(SETTLE_SECONDS)
        before, began = cpu_seconds(pid), time.monotonic()
        time.sleep(SECONDS)
        busy = (cpu_seconds(pid) - before) / (time.monotonic() - began)
        memory = megabytes(pid)
        listing = home.command([*SKYFLOW, "status", "-o", "json"])
        name = f"{CLUSTERS:,} idle clusters"
        return [
            Ratio(f"{name}: memory of the worker", memory, MEGABYTES, 1, "MB"),
            Ratio(f"{name}: the worker's share of one core", busy, CORE, 1, "", {"made in (s)": made}),
            Ratio(f"{name}: skyflow status / 1 ms for each", listing, CLUSTERS / 1000, None),
        ]


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
def _worker(home: Home, address: str) -> Iterator[int]:
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
        yield worker.pid
    finally:
        worker.kill()
        worker.wait()


async def _make(address: str) -> None:
    """Starts the clusters, each with its node, and sets the idle rule, which starts the clock."""
    client = await Client.connect(address, data_converter=data_converter)
    places = asyncio.Semaphore(AT_ONCE)

    async def make(number: int) -> None:
        name = f"idle-{number}"
        now = time.time()
        state = ClusterState(
            name=name,
            uid=f"life-{number}",
            deployment="bench",
            served=1,
            nodes=[node(name)],
            offer=OFFER,
            launched_at=now,
            idle_since=now,
            epoch=1,
            rule=IdleRule(minutes=60, safety=True),
            places=[Place(cloud="local")],
        )
        async with places:
            await client.start_workflow(
                "ClusterWorkflow",
                state,
                id=cluster_workflow_id(name),
                task_queue=task_queue("quick"),
                start_signal="autostop",
                start_signal_args=[{"minutes": IDLE_MINUTES}],
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
            return [NodeStatus(node=node(gang.cluster), state="running")]
        return await super().execute_activity(input)


if __name__ == "__main__":
    asyncio.run(run_worker(Settings.from_env(), [_Cloud()]))
