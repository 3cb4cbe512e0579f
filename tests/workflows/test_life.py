"""What can come between: answers that are old, workflows that end in the middle, operations that meet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client as TemporalClient

from skyflow.client import Client
from skyflow.errors import ProvisionError, SkyflowError
from skyflow.models.cluster import ClusterState
from skyflow.models.name import autostop_workflow_id, cluster_workflow_id
from skyflow.models.node import GangRef, GangRequest, Node, NodeStatus
from skyflow.models.operation import Place, Reserve
from skyflow.settings import Settings
from skyflow.workflows.autostop import AutostopState
from tests.workflows.conftest import World, offer, served
from tests.workflows.test_faults import IllWorld
from tests.workflows.test_launch import closed, failure, start, until
from tests.workflows.test_stop import STOCKOUT, jobs, launched, operate, submit, view


@dataclass
class SlowCloud(IllWorld):
    """A cloud whose answers can be held back, or come half way."""

    half: bool = False
    """Whether a start says that it could not start all."""
    hold: asyncio.Event | None = None
    """What the cloud has seen is told when this is set."""
    seen: list[list[NodeStatus]] = field(default_factory=list)
    no_stop: Exception | None = None

    @activity.defn
    async def start_nodes(self, gang: GangRef) -> list[Node]:
        nodes = await super().start_nodes(gang)
        if self.half:
            raise STOCKOUT.with_traceback(None)
        return nodes

    @activity.defn
    async def describe_nodes(self, gang: GangRef) -> list[NodeStatus]:
        found = await super().describe_nodes(gang)
        if self.hold is not None:
            self.seen.append(found)
            await self.hold.wait()
        return found

    @activity.defn
    async def stop_nodes(self, gang: GangRef) -> int:
        if self.no_stop is not None:
            self.calls.append("stop_nodes")
            raise self.no_stop.with_traceback(None)
        return await super().stop_nodes(gang)


@pytest.fixture
async def world(temporal_address: str, tmp_path: Path) -> AsyncIterator[SlowCloud]:
    async with served(temporal_address, tmp_path, SlowCloud) as world:
        yield world


async def has(world: World, name: str, **facts: Any) -> bool:
    now = await view(world, name)
    return {fact: now[fact] for fact in facts} == facts


async def test_a_stop_that_waited_for_a_down_says_that_there_is_nothing(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    world.slow["delete_nodes"] = 1
    down = await operate(world, "Down", unique)
    await until(lambda: asyncio.sleep(0, "delete_nodes begins" in world.calls))
    stop = await operate(world, "Stop", unique)
    assert (await down.result())["deleted"] == 1
    assert (await failure(stop)).type == "ClusterDoesNotExist"
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))


async def test_a_start_that_failed_half_way_is_undone_though_a_launch_waits(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    await submit(world, unique, 2, {"cpus": 2})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    await submit(world, unique, 3, {"cpus": 2})

    async def is_waiting() -> bool:
        return await jobs(world, unique) == {1: "SUCCEEDED", 2: "RUNNING", 3: "PENDING"}

    await until(is_waiting)
    await (await operate(world, "Stop", unique)).result()
    world.half = True
    assert (await failure(await operate(world, "Start", unique))).type == "ResourcesUnavailableError"
    await until(lambda: asyncio.sleep(0, len(world.stopped) == 1))
    assert (await jobs(world, unique))[3] == "PENDING"


async def test_an_answer_of_the_cloud_from_before_a_start_is_dropped(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    await (await operate(world, "Stop", unique)).result()
    world.hold = held = asyncio.Event()
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
    refresh = asyncio.create_task(cluster.execute_update("refresh"))
    await until(lambda: asyncio.sleep(0, bool(world.seen)))
    running = await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique}, 2)
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    world.hold = None
    held.set()
    assert (await refresh)["status"] == "UP"
    assert (await jobs(world, unique))[2] in ("PENDING", "RUNNING")
    world.ended["2", 0] = 0
    assert (await running.result())["status"] == "SUCCEEDED"


async def test_a_down_ends_a_start_that_waits_for_capacity(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    await (await operate(world, "Stop", unique)).result()
    world.no_start = [STOCKOUT] * 1000
    starting = await operate(world, "Start", unique, 1, retry_until_up=True)
    await until(lambda: asyncio.sleep(0, "start_nodes" in world.calls))
    assert (await (await operate(world, "Down", unique)).result())["deleted"] == 1
    assert (await failure(starting)).type == "LaunchCancelledError"


async def test_a_launch_on_a_stopped_cluster_that_has_lost_a_node(world: SlowCloud, unique: str) -> None:
    world.ends["1"] = {0: 0, 1: 0}
    request = {"task": {"run": "x", "num_nodes": 2}, "cluster": unique, "idle_minutes_to_autostop": 60}
    await (await start(world.client, unique, request)).result()
    await (await operate(world, "Stop", unique)).result()
    del world.nodes[list(world.nodes)[1]]  # in the cloud's console
    world.ends["2"] = {0: 0, 1: 0}
    assert (await (await start(world.client, unique, request, 2)).result())["status"] == "SUCCEEDED"
    assert await has(world, unique, status="UP", lost=[], num_nodes=2)
    assert len(world.nodes) == 2 and world.stopped.isdisjoint(world.nodes)


async def test_a_stop_that_the_cloud_refuses_is_not_tried_again_at_once(world: SlowCloud, unique: str) -> None:
    world.no_stop = SkyflowError("UnauthorizedOperation: you may not stop.")
    await launched(world, unique, idle_minutes_to_autostop=0)
    await until(lambda: asyncio.sleep(0, world.calls.count("stop_nodes") == 2))
    clock = world.client.get_workflow_handle(autostop_workflow_id(unique, (await view(world, unique))["uid"]))

    async def is_later() -> bool:
        now = await clock.query("clock")
        return now is not None and now["since"] > time.time()

    await until(is_later)


async def test_a_reservation_that_comes_after_its_down_is_over_deletes_nothing(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    down = await operate(world, "Down", unique)
    await down.result()
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    world.ends.clear()
    world.started.clear()
    await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique}, 2)
    await until(lambda: asyncio.sleep(0, "1" in world.started))
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
    before = world.calls.count("delete_nodes")
    await cluster.execute_update("reserve", Reserve(workflow_id=down.id, kind="down"))

    async def is_forgotten() -> bool:
        return (await view(world, unique))["idle_since"] is not None

    await until(is_forgotten)
    assert world.calls.count("delete_nodes") == before
    assert len(world.nodes) == 1


async def test_a_cluster_that_has_not_shown_itself_yet_is_no_reason_to_delete(world: SlowCloud, unique: str) -> None:
    """Its workflow has begun a new history, and waits for a worker."""
    made = GangRequest(
        deployment="d", cluster=unique, uid="life", launch_id="l", offer=offer("a"), offer_index=0, num_nodes=1
    )
    world.nodes[made.token(0)] = made
    await world.client.start_workflow(
        "ClusterWorkflow",
        ClusterState(name=unique, uid="life"),
        id=cluster_workflow_id(unique),
        task_queue="nobody polls this",
    )
    state = AutostopState(cluster=unique, uid="life", deployment="d", check_seconds=0.1, places=[Place(cloud="fake")])
    guardian = await world.client.start_workflow(
        "AutostopWorkflow", state, id=autostop_workflow_id(unique, "life"), task_queue="skyflow"
    )

    async def has_asked() -> bool:
        description = await guardian.describe()
        return any(pending.attempt > 1 for pending in description.raw_description.pending_activities)

    await until(has_asked)
    assert len(world.nodes) == 1


async def test_a_new_history_begins_with_the_memo(short_history_address: str, tmp_path: Path, unique: str) -> None:
    async with served(short_history_address, tmp_path, SlowCloud) as world:
        await launched(world, unique)
        cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
        first = (await cluster.describe()).run_id
        for _ in range(20):
            await cluster.execute_update("set_autostop", {"minutes": 30})
        await until(lambda: _is_anew(world.client, cluster.id, first))
        history = await world.client.get_workflow_handle(cluster.id).fetch_history()
        assert "cluster" in history.events[0].workflow_execution_started_event_attributes.memo.fields

        uid = (await view(world, unique))["uid"]
        guardian = world.client.get_workflow_handle(autostop_workflow_id(unique, uid))
        first = (await guardian.describe()).run_id
        for number in range(40):
            await guardian.signal("busy")
            await guardian.signal("idle", {"epoch": number, "rule": {"minutes": 60}, "since": time.time()})
        await until(lambda: _is_anew(world.client, guardian.id, first))
        description = await world.client.get_workflow_handle(guardian.id, run_id=first).describe()
        assert description.status is not None and description.status.name == "CONTINUED_AS_NEW"


async def test_the_events_of_a_launch_with_several_histories(
    short_history_address: str, tmp_path: Path, unique: str
) -> None:
    async with served(short_history_address, tmp_path, SlowCloud) as world:
        world.failures = {"a": ProvisionError("none"), "b": ProvisionError("none")}
        request = {"task": {"run": "x"}, "cluster": unique, "retry_until_up": True}
        launch = await start(world.client, unique, request)
        await until(lambda: _is_anew(world.client, launch.id, str(launch.first_execution_run_id)))
        client = Client(world.client, None, Settings.from_env({"SKYFLOW_HOME": str(tmp_path)}))  # type: ignore[arg-type]

        async def is_listed() -> bool:
            return len(await client.executions("launch", unique)) > 1

        await until(is_listed)
        told = [event["what"] for event in await client.events(unique)]
        assert told.count("Launch began.") == 1
        await launch.signal("cancel")


async def _is_anew(client: TemporalClient, workflow_id: str, first: str) -> bool:
    return (await client.get_workflow_handle(workflow_id).describe()).run_id != first
