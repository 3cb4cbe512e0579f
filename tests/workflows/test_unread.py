"""A job that ends while nobody is awake, on nodes that are off when somebody is, is not forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity

from skyflow.errors import HostKeyMismatchError
from skyflow.models.calls import RecordCall
from skyflow.models.name import cluster_workflow_id, job_workflow_id
from tests.workflows.conftest import World, served
from tests.workflows.test_launch import closed, start, until
from tests.workflows.test_stop import jobs, launched, operate, submit, view


@dataclass
class OffWorld(World):
    """Remembers what was recorded of job 2."""

    record: RecordCall | None = None

    @activity.defn
    async def record_job(self, call: RecordCall) -> None:
        await super().record_job(call)
        if call.job.id == 2:
            self.record = call


@pytest.fixture
async def world(temporal_address: str, tmp_path: Path) -> AsyncIterator[OffWorld]:
    async with served(temporal_address, tmp_path, OffWorld) as world:
        yield world


async def switched_off(world: OffWorld, name: str, **rule: Any) -> None:
    """A cluster whose job 2 ran when its node switched itself off."""
    await launched(world, name, **rule)
    await submit(world, name, 2, {})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    world.watched = False
    world.stopped |= set(world.nodes)
    await world.client.get_workflow_handle(cluster_workflow_id(name)).execute_update("refresh")
    await until(lambda: is_so(jobs(world, name), {1: "SUCCEEDED", 2: "FAILED_DRIVER"}))
    await until(lambda: asyncio.sleep(0, world.record is not None))


async def is_so(answer: Any, wanted: Any) -> bool:
    return bool(await answer == wanted)


async def row_of(world: World, name: str) -> dict[str, Any]:
    rows = await world.client.get_workflow_handle(cluster_workflow_id(name)).query("queue")
    return next(row for row in rows if row["id"] == 2)


async def test_the_end_is_read_at_the_next_start(world: OffWorld, unique: str) -> None:
    await switched_off(world, unique)
    row = await row_of(world, unique)
    assert row["reason"] == "The node of rank 0 was stopped before its end was read: a start reads it."
    world.ended["2", 0], world.read_at = 0, row["started_at"] + 0.01
    assert (await (await operate(world, "Start", unique)).result())["started"] == 1
    await until(lambda: is_so(jobs(world, unique), {1: "SUCCEEDED", 2: "SUCCEEDED"}))
    row = await row_of(world, unique)
    assert (row["returncode"], row["reason"], row["ended_at"]) == (0, "", world.read_at)
    assert world.record is not None
    assert (world.record.end.status, world.record.job.ended_at) == ("SUCCEEDED", world.read_at)
    assert world.calls.count("read_ends 2") == 1


async def test_what_the_clock_of_a_node_says_cannot_be_after_the_stop(world: OffWorld, unique: str) -> None:
    await switched_off(world, unique)
    ended = (await row_of(world, unique))["ended_at"]
    world.ended["2", 0], world.read_at = 3, time.time() + 1e6
    await (await operate(world, "Start", unique)).result()
    await until(lambda: is_so(jobs(world, unique), {1: "SUCCEEDED", 2: "FAILED"}))
    assert (await row_of(world, unique))["ended_at"] == ended


async def test_a_launch_reads_it_beside_its_own_work(world: OffWorld, unique: str) -> None:
    await switched_off(world, unique)
    world.ended["2", 0] = 5
    world.no_read = [HostKeyMismatchError("not now")]
    world.ends["3"] = {0: 0}
    world.watched = True
    launch = await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique}, 3)
    assert (await launch.result())["status"] == "SUCCEEDED"
    await until(lambda: is_so(jobs(world, unique), {1: "SUCCEEDED", 2: "FAILED", 3: "SUCCEEDED"}))
    assert world.calls.count("read_ends 2") == 2


async def test_a_cluster_that_goes_when_idle_stays_until_it_is_read(world: OffWorld, unique: str) -> None:
    await switched_off(world, unique, idle_minutes_to_autostop=0)
    world.read_at = 1.0
    world.calls.clear()
    await (await operate(world, "Start", unique)).result()
    await until(lambda: is_so(_status(world, unique), "STOPPED"))
    order = [call for call in world.calls if call in ("read_ends 2", "stop_nodes", "record_job 2 FAILED_DRIVER")]
    assert order == ["read_ends 2", "record_job 2 FAILED_DRIVER", "stop_nodes"]
    assert (await row_of(world, unique))["reason"].startswith("Rank 0 was lost")


async def test_nodes_that_never_say_it_go_all_the_same(world: OffWorld, unique: str) -> None:
    await switched_off(world, unique, idle_minutes_to_autostop=0)
    world.no_read = [HostKeyMismatchError("never") for _ in range(1000)]
    await (await operate(world, "Start", unique)).result()
    await until(lambda: is_so(_status(world, unique), "STOPPED"))
    world.no_read = []
    world.ended["2", 0] = 0
    await (await operate(world, "Start", unique, 2)).result()
    await until(lambda: is_so(jobs(world, unique), {1: "SUCCEEDED", 2: "SUCCEEDED"}))


async def test_a_cluster_that_is_taken_down_asks_nobody(world: OffWorld, unique: str) -> None:
    await switched_off(world, unique)
    await (await operate(world, "Down", unique)).result()
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert "read_ends 2" not in world.calls


async def test_a_new_history_goes_on_reading(short_history_address: str, tmp_path: Path, unique: str) -> None:
    async with served(short_history_address, tmp_path, OffWorld) as world:
        await switched_off(world, unique)
        cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
        first = (await cluster.describe()).run_id
        world.no_read = [HostKeyMismatchError("never") for _ in range(1000)]
        world.ended["2", 0] = 0
        await (await operate(world, "Start", unique)).result()
        for _ in range(20):
            await cluster.execute_update("set_autostop", {"minutes": 30})

        async def is_anew() -> bool:
            return (await cluster.describe()).run_id != first

        await until(is_anew)
        world.no_read = []
        await until(lambda: is_so(jobs(world, unique), {1: "SUCCEEDED", 2: "SUCCEEDED"}))


async def test_it_is_not_recorded_before_the_jobs_own_workflow_has_done_so(world: OffWorld, unique: str) -> None:
    await switched_off(world, unique)
    uid = (await view(world, unique))["uid"]
    own = job_workflow_id(unique, uid, 2)
    await until(lambda: closed(world.client, own))
    await world.client.start_workflow("JobWorkflow", {}, id=own, task_queue="nobody polls this")
    world.ended["2", 0] = 0
    await (await operate(world, "Start", unique)).result()
    await until(lambda: asyncio.sleep(0, world.calls.count("read_ends 2") > 1))
    assert "record_job 2 SUCCEEDED" not in world.calls
    await world.client.get_workflow_handle(own).terminate("it has")
    await until(lambda: is_so(jobs(world, unique), {1: "SUCCEEDED", 2: "SUCCEEDED"}))


async def _status(world: World, name: str) -> str:
    return str((await view(world, name))["status"])
