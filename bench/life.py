"""How fast a cluster goes on: from the end of a job to the next one's first line, from an idle deadline to the stop."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from statistics import median as middle
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bench.home import SKYFLOW, Home
from bench.measure import Ratio

JOBS = 8
STOPS = 10
TRIPS = 20
DEADLINE_SECONDS = 1.0


@activity.defn
async def nothing() -> None:
    """The peer's activity."""


@workflow.defn
class Trips:
    """Activities that do nothing, one after the other."""

    @workflow.run
    async def run(self) -> None:
        for _ in range(TRIPS):
            await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=10))


def run() -> list[Ratio]:
    """All ratios of this module."""
    with Home() as home:
        home.command([*SKYFLOW, "launch", "-c", "life", "--cpus", "1", "true"])
        address = json.loads((home.path / ".skyflow/server/server.json").read_text())["address"]
        times = _jobs(home)
        waited = list(times)[1:]
        gaps = [times[number][0] - times[number - 1][1] for number in waited]
        trip, start = asyncio.run(_peer(address, {number: times[number][0] for number in waited}))
        _stop_often(home)
        late = asyncio.run(_late(address))
        parts = {"activity round trip": trip, "runner's start": start}
        return [
            Ratio("end of a job → next first line / 2 trips + start", middle(gaps), 2 * trip + start, 1, parts=parts),
            Ratio(f"idle deadline → stop, the latest of {STOPS}", max(late), DEADLINE_SECONDS, 1),
        ]


def _jobs(home: Home) -> dict[int, tuple[float, float]]:
    """Job → when it printed its first and its last line. Each waits for the one before it."""
    for _ in range(JOBS):
        home.command([*SKYFLOW, "exec", "life", "-d", "--cpus", "1", "date +%s.%N; sleep 1; date +%s.%N"])
    times = {}
    for number in range(2, JOBS + 2):
        argv = [*SKYFLOW, "logs", "life", str(number)]
        done = subprocess.run(argv, env=home.env, capture_output=True, text=True, check=True)
        first, last = map(float, done.stdout.split())
        times[number] = first, last
    return times


async def _peer(address: str, firsts: dict[int, float]) -> tuple[float, float]:
    """An activity's round trip; and how long it takes from the activity that starts a job to the job's first line.

    Both in seconds, medians.
    """
    client = await Client.connect(address)
    worker = Worker(
        client, task_queue="bench", workflows=[Trips], activities=[nothing], workflow_runner=UnsandboxedWorkflowRunner()
    )
    async with worker:
        begin = time.perf_counter()
        await client.execute_workflow(Trips.run, id="trips", task_queue="bench")
        trip = (time.perf_counter() - begin) / TRIPS
    starts = []
    async for cluster in client.list_workflows("WorkflowType = 'ClusterWorkflow'"):
        history = await client.get_workflow_handle(cluster.id, run_id=cluster.run_id).fetch_history()
        starts += [firsts[job] - began for job, began in _begins(history.events) if job in firsts]
    return trip, middle(starts)


def _begins(events: Any) -> Iterator[tuple[int, float]]:
    """Each job that the cluster started, and when the activity that did it began on the worker, in epoch seconds."""
    jobs = {}
    for event in events:
        scheduled = event.activity_task_scheduled_event_attributes
        started = event.activity_task_started_event_attributes.scheduled_event_id
        if scheduled.activity_type.name == "start_gang":
            jobs[event.event_id] = json.loads(scheduled.input.payloads[0].data)["job_id"]
        elif started in jobs:
            yield jobs[started], event.event_time.ToNanoseconds() / 1e9


def _stop_often(home: Home) -> None:
    """Launches and lets the idle rule (0 minutes) stop the cluster, again and again."""
    for _ in range(STOPS):
        home.command([*SKYFLOW, "launch", "-y", "-c", "life", "-i", "0", "true"])
        while _status(home) != "STOPPED":
            time.sleep(0.2)


async def _late(address: str) -> list[float]:
    """Seconds between the moments when the idle rule was due and the starts of the stops."""
    client = await Client.connect(address)
    jobs = [one async for one in client.list_workflows("WorkflowType = 'JobWorkflow'")]
    stops = [one async for one in client.list_workflows("WorkflowType = 'StopWorkflow'")]
    ends = [one.close_time for one in jobs if one.close_time]
    return [(stop.start_time - max(end for end in ends if end < stop.start_time)).total_seconds() for stop in stops]


def _status(home: Home) -> str:
    argv = [*SKYFLOW, "status", "life", "-o", "json"]
    done = subprocess.run(argv, env=home.env, capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)[0]["status"])
