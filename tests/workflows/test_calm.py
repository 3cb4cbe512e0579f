"""Who does nothing is looked at ever more rarely, not at the same time as everybody else, and none the less watched."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from skyflow.models.cluster import ClusterState
from skyflow.models.name import autostop_workflow_id, cluster_workflow_id
from skyflow.workflows import call
from skyflow.workflows.autostop import AutostopState
from tests.workflows.conftest import World, served
from tests.workflows.test_launch import closed, status_of, until
from tests.workflows.test_stop import jobs, launched, operate, submit, view

CHECK = 0.2
"""Seconds: an idle cluster is looked at after two seconds, and then after six."""


@pytest.fixture
async def world(temporal_address: str, tmp_path: Path) -> AsyncIterator[World]:
    async with served(temporal_address, tmp_path, World, check_seconds=CHECK) as world:
        yield world


def test_looks_are_ever_further_apart_and_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(20261128)
    monkeypatch.setattr("skyflow.workflows.call.workflow.random", lambda: dice)
    looks = [[call.calm_pause(60, number) for number in [*range(5), 10**6]] for _ in range(100)]
    for pauses in looks:
        assert [round(pause / expected) for pause, expected in zip(pauses, (600, 1800, 5400), strict=False)] == [1] * 3
        assert all(0.75 * 4 * 3600 <= pause <= 1.25 * 4 * 3600 for pause in pauses[3:])
    first = [first for first, *_ in looks]
    assert max(first) - min(first) > 200
    assert max(first) < 60 * call.FIRST_WORD


class Pair:
    """A cluster and its guardian."""

    def __init__(self, world: World, name: str, uid: str) -> None:
        self.cluster: WorkflowHandle[Any, Any] = world.client.get_workflow_handle(cluster_workflow_id(name))
        self.guardian: WorkflowHandle[Any, Any] = world.client.get_workflow_handle(autostop_workflow_id(name, uid))
        self.first = 0

    async def clock(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self.guardian.query("clock")
        return found

    async def armed(self) -> dict[str, Any]:
        """The clock, once the guardian has it."""

        async def has() -> bool:
            return await self.clock() is not None

        await until(has)
        clock = await self.clock()
        assert clock is not None
        return clock

    async def heard(self) -> int:
        """How often the guardian was told that the cluster is there."""
        return await count(self.guardian, "workflow_execution_signaled", "alive")

    async def hears(self, times: int = 1) -> None:
        """Waits until it is told so often more."""
        before = await self.heard()

        async def more() -> bool:
            return await self.heard() >= before + times

        await until(more)


async def count(handle: WorkflowHandle[Any, Any], kind: str, name: str = "") -> int:
    """Events of a kind in all runs of a workflow, of this signal or activity if it is named."""
    found, run_id = 0, await first_run(handle)
    while run_id:
        events = (await run_of(handle, run_id).fetch_history()).events
        for event in events:
            if event.event_type == EventType.Value(f"EVENT_TYPE_{kind.upper()}"):
                signal = event.workflow_execution_signaled_event_attributes.signal_name
                asked = event.activity_task_scheduled_event_attributes.activity_type.name
                found += name in ("", signal or asked)
        run_id = events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return found


async def first_run(handle: WorkflowHandle[Any, Any]) -> str:
    return (await handle.describe()).raw_description.workflow_execution_info.first_run_id


def run_of(handle: WorkflowHandle[Any, Any], run_id: str) -> WorkflowHandle[Any, Any]:
    return handle._client.get_workflow_handle(handle.id, run_id=run_id)


async def pair_of(world: World, name: str) -> Pair:
    return Pair(world, name, (await view(world, name))["uid"])


async def asked(handle: WorkflowHandle[Any, Any], activity: str) -> int:
    return await count(handle, "activity_task_scheduled", activity)


async def test_an_idle_cluster_and_its_guardian_do_not_ask_for_each_other(world: World, unique: str) -> None:
    await launched(world, unique, idle_minutes_to_autostop=600)
    pair = await pair_of(world, unique)
    clock = await pair.armed()
    await pair.hears()
    before = await asked(pair.cluster, "describe_workflows"), await asked(pair.guardian, "find_life")
    await pair.hears()
    assert (await asked(pair.cluster, "describe_workflows"), await asked(pair.guardian, "find_life")) == before
    assert await pair.clock() == clock, "the clock is where it was"
    assert (await view(world, unique))["idle_since"] == clock["since"]


async def test_a_guardian_that_was_told_notices_that_its_cluster_is_gone(world: World, unique: str) -> None:
    await launched(world, unique, idle_minutes_to_autostop=600)
    pair = await pair_of(world, unique)
    await pair.hears()
    await pair.cluster.terminate()
    await until(lambda: closed(world.client, pair.guardian.id))
    assert world.nodes == {}
    assert await status_of(world.client, pair.guardian.id) is WorkflowExecutionStatus.COMPLETED


async def test_a_terminated_guardian_is_replaced_by_the_next_check_and_learns_the_clock(
    world: World, unique: str
) -> None:
    await launched(world, unique, idle_minutes_to_autostop=600)
    pair = await pair_of(world, unique)
    clock = await pair.armed()
    await pair.hears()
    await pair.guardian.terminate()

    async def again() -> bool:
        return not await closed(world.client, pair.guardian.id) and await pair.clock() == clock

    await until(again)
    await pair.hears()
    await pair.cluster.terminate()
    await until(lambda: closed(world.client, pair.guardian.id))
    assert world.nodes == {}, "it knew where they are"


async def test_a_stopped_cluster_is_as_calm_and_its_start_is_told(world: World, unique: str) -> None:
    await launched(world, unique)
    await (await operate(world, "Stop", unique)).result()
    pair = await pair_of(world, unique)
    await pair.hears()
    looked = await asked(pair.guardian, "find_life")
    await pair.hears()
    assert await asked(pair.guardian, "find_life") == looked
    assert await pair.clock() is None
    told = await count(pair.guardian, "workflow_execution_signaled", "busy")
    await (await operate(world, "Start", unique)).result()

    async def busy() -> bool:
        return await count(pair.guardian, "workflow_execution_signaled", "busy") == told + 1

    await until(busy)


async def test_a_terminated_guardian_of_a_stopped_cluster_is_replaced_and_told(world: World, unique: str) -> None:
    await launched(world, unique)
    await (await operate(world, "Stop", unique)).result()
    pair = await pair_of(world, unique)
    await pair.hears()
    await pair.guardian.terminate()

    async def told() -> bool:
        return not await closed(world.client, pair.guardian.id) and await pair.heard() > 0

    await until(told)
    assert await pair.clock() is None


async def test_an_idle_rule_is_due_on_time_though_the_guardian_was_told_to_wait_for_longer(
    world: World, unique: str
) -> None:
    await launched(world, unique, idle_minutes_to_autostop=600)
    pair = await pair_of(world, unique)
    clock = await pair.armed()
    await pair.guardian.signal("alive", clock["since"] + 3600)
    await pair.guardian.signal("idle", {**clock, "epoch": 99, "rule": {"minutes": 0}})

    async def due() -> bool:
        return await count(pair.cluster, "workflow_execution_signaled", "idle_due") == 1

    await until(due)
    await pair.guardian.signal("alive", clock["since"] + 3600)
    await pair.hears()
    assert await pair.clock() is None, "a clock that has run out is not started by that"
    assert await count(pair.cluster, "workflow_execution_signaled", "idle_due") == 1


async def test_histories_of_the_calm_are_short_and_a_new_one_is_no_reason_to_look_sooner(
    world: World, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await launched(world, unique, idle_minutes_to_autostop=600)
    pair = await pair_of(world, unique)
    await pair.armed()
    for number in range(call.LONG_HISTORY):  # none of them means anything
        await pair.cluster.signal("release", {"workflow_id": "nobody"})
        await pair.guardian.signal("alive", 0 if number else 1)
    for handle in (pair.cluster, pair.guardian):
        first = await first_run(handle)

        async def anew(handle: WorkflowHandle[Any, Any] = handle, first: str = first) -> bool:
            latest = (await handle.describe()).run_id
            return latest != first and len((await handle.fetch_history()).events) < call.LONG_HISTORY

        await until(anew)
    state: ClusterState = await pair.cluster.query("life", result_type=ClusterState)
    assert state.looks > 0 and state.look_at > 0
    assert await pair.clock() is not None


async def test_a_long_history_ends_only_when_nobody_has_used_the_cluster_for_a_while(world: World, unique: str) -> None:
    """The watch goes on after a job: it ships what that printed last."""
    await launched(world, unique, idle_minutes_to_autostop=600)
    await submit(world, unique, 2, {})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    pair = await pair_of(world, unique)
    run_id = (await pair.cluster.describe()).run_id
    for _ in range(call.LONG_HISTORY):
        await pair.cluster.signal("release", {"workflow_id": "nobody"})
    await asyncio.sleep(5 * CHECK)
    world.ended["2", 0] = 0
    await until(lambda: _is(jobs(world, unique), {1: "SUCCEEDED", 2: "SUCCEEDED"}))
    assert (await pair.cluster.describe()).run_id == run_id

    async def anew() -> bool:
        return (await pair.cluster.describe()).run_id != run_id

    await until(anew)
    assert (await jobs(world, unique)) == {1: "SUCCEEDED", 2: "SUCCEEDED"}


async def _is(what: Any, expected: Any) -> bool:
    return bool(await what == expected)


async def test_a_guardian_that_waits_for_what_runs_goes_on_counting(world: World, unique: str) -> None:
    """A new history would not know since when the nodes have been silent, and they would never be given up."""
    await launched(world, unique, idle_minutes_to_autostop=600)
    await submit(world, unique, 2, {})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    pair = await pair_of(world, unique)
    await pair.cluster.terminate()
    await until(lambda: asyncio.sleep(0, "count_running" in world.calls))
    run_id = (await pair.guardian.describe()).run_id
    for _ in range(call.LONG_HISTORY):
        await pair.guardian.signal("alive", 1)
    asked = world.calls.count("count_running")
    await until(lambda: asyncio.sleep(0, world.calls.count("count_running") > asked + 1))
    assert (await pair.guardian.describe()).run_id == run_id
    world.ended["2", 0] = 0
    await until(lambda: closed(world.client, pair.guardian.id))
    assert world.nodes == {}


async def test_a_guardian_of_before_is_told_too(world: World, unique: str) -> None:
    """Its input says nothing of what it was told."""
    state = AutostopState(cluster=unique, uid="life", deployment="d", check_seconds=3600).model_dump(
        exclude={"heard_until"}
    )
    name = autostop_workflow_id(unique, "life")
    guardian = await world.client.start_workflow("AutostopWorkflow", state, id=name, task_queue="skyflow")
    await guardian.signal("idle", {"epoch": 1, "rule": {"minutes": 600}, "since": 1.0e9 * 4})
    assert (await guardian.query("clock"))["epoch"] == 1
    await guardian.signal("cancel")
    await asyncio.wait_for(guardian.result(), timedelta(seconds=20).total_seconds())
