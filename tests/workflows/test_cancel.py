"""A cancel counts, also if what was awaited comes back in spite of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from temporalio import activity

from skyflow.errors import NodeUnreachableError
from skyflow.models.calls import GangStart
from skyflow.models.name import cluster_workflow_id
from skyflow.workflows.call import heeding_cancels
from tests.workflows.conftest import served
from tests.workflows.test_launch import failure, until
from tests.workflows.test_repair import LossyWorld, with_one_lost
from tests.workflows.test_stop import jobs, launched, operate, submit


@dataclass
class HastyWorld(LossyWorld):
    """While the first of the jobs that have waited is started, all are cancelled."""

    hasty: bool = False
    begun: list[int] = field(default_factory=list)

    @activity.defn
    async def start_gang(self, request: GangStart) -> None:
        if self.hasty:
            self.begun.append(request.job_id)
            cluster = self.client.get_workflow_handle(cluster_workflow_id(request.gang.cluster))
            await cluster.signal("cancel", {"jobs": None})
        await super().start_gang(request)


@pytest.fixture
async def world(temporal_address: str, tmp_path: Path) -> AsyncIterator[HastyWorld]:
    async with served(temporal_address, tmp_path, HastyWorld) as world:
        yield world


async def stubborn() -> str:
    """As an activity that has completed when its cancel arrives."""
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return "done"


async def heeding() -> str:
    with heeding_cancels():
        return await asyncio.create_task(stubborn())


async def test_a_result_does_not_swallow_a_cancel() -> None:
    task = asyncio.create_task(heeding())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_cleans_up_after_a_cancel_is_not_cancelled_again() -> None:
    async def cleaning() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with heeding_cancels():
                await asyncio.sleep(0)
            return "cleaned up"
        raise AssertionError

    task = asyncio.create_task(cleaning())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "cleaned up"


async def test_a_job_that_is_cancelled_before_its_workflow_starts_is_not_started(
    world: HastyWorld, unique: str
) -> None:
    await launched(world, unique)
    await submit(world, unique, 2, {"cpus": 2})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    waiting = range(3, 9)
    for number in waiting:
        await submit(world, unique, number, {"cpus": 0.25})

    async def have(status: str) -> bool:
        found = await jobs(world, unique)
        return all(found.get(number) == status for number in waiting)

    await until(lambda: have("PENDING"))
    world.hasty = True
    world.ended["2", 0] = 0
    await until(lambda: have("CANCELLED"))
    assert len(world.begun) < len(waiting)


async def test_a_start_that_is_cancelled_again_and_again_deletes_what_it_made(world: HastyWorld, unique: str) -> None:
    await with_one_lost(world, unique)
    there = set(world.nodes)
    world.slow["create_nodes"] = 1
    repair = await operate(world, "Start", unique)
    await until(lambda: asyncio.sleep(0, len(world.nodes) == 2))
    world.calls.clear()
    world.broken["delete_nodes"] = NodeUnreachableError("The cloud is away.")
    for _ in range(3):
        await repair.signal("cancel")
        await until(lambda: asyncio.sleep(0, "delete_nodes begins" in world.calls))
        world.calls.clear()
    world.broken.clear()
    assert (await failure(repair)).type == "LaunchCancelledError"
    assert set(world.nodes) == there
