"""What cancels, terminations and ill nodes may do to a launch: never a node that nobody owns, never a wait for ever."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from skyflow.errors import NodeUnreachableError, ProvisionError, SkyflowError
from skyflow.models.calls import GangStart, JobSubmission, UnitRequest
from skyflow.models.cluster import ClusterState
from skyflow.models.job import RankEnd
from skyflow.models.name import autostop_workflow_id, cluster_workflow_id, job_workflow_id
from skyflow.models.node import GangRef, GangRequest, Node
from skyflow.models.operation import Place
from skyflow.workflows.autostop import SILENT_SECONDS, AutostopState
from tests.workflows.conftest import Clusters, World, served
from tests.workflows.test_launch import closed, failure, start, status_of, until

TASK = {"run": "sleep"}
FULL = SkyflowError("The job runner on node n failed (status 1: cannot write end).")


@dataclass
class IllWorld(World):
    """Some activities take long, whatever cancels them, or fail."""

    slow: dict[str, float] = field(default_factory=dict)
    broken: dict[str, Exception] = field(default_factory=dict)

    async def ill(self, name: str) -> None:
        if name in self.broken:
            raise self.broken[name].with_traceback(None)
        lasting = asyncio.ensure_future(asyncio.sleep(self.slow.get(name, 0)))
        while not lasting.done():
            try:
                await asyncio.shield(lasting)
            except asyncio.CancelledError:
                continue

    @activity.defn
    async def create_nodes(self, request: GangRequest) -> list[Node]:
        nodes = await super().create_nodes(request)
        await self.ill("create_nodes")
        return nodes

    @activity.defn
    async def delete_nodes(self, gang: GangRef) -> int:
        self.calls.append("delete_nodes begins")
        await self.ill("delete_nodes")
        return await super().delete_nodes(gang)

    @activity.defn
    async def start_gang(self, request: GangStart) -> None:
        await self.ill("start_gang")
        await super().start_gang(request)

    @activity.defn
    async def cancel_units(self, request: UnitRequest) -> None:
        await self.ill("cancel_units")
        await super().cancel_units(request)

    @activity.defn
    async def list_ended(self, request: UnitRequest) -> list[RankEnd]:
        await self.ill("list_ended")
        return await super().list_ended(request)

    @activity.defn
    async def count_running(self, gang: GangRef) -> int:
        await self.ill("count_running")
        return await super().count_running(gang)


class SlowClusters(Clusters):
    """A job takes a second to be submitted."""

    @activity.defn
    async def submit_job(self, call: JobSubmission) -> None:
        await asyncio.sleep(1)
        await super().submit_job(call)


@pytest.fixture
async def world(temporal_address: str, tmp_path: Any) -> Any:
    async with served(temporal_address, tmp_path, IllWorld) as world:
        yield world


async def saw(world: World, call: str) -> None:
    async def seen() -> bool:
        return call in world.calls

    await until(seen)


async def stage(handle: WorkflowHandle[Any, Any], name: str) -> None:
    async def reached() -> bool:
        return [stage["name"] for stage in (await handle.query("progress"))["stages"]][-1:] == [name]

    await until(reached)


async def uid_of(world: World, name: str) -> str:
    return str((await world.client.get_workflow_handle(cluster_workflow_id(name)).query("status"))["uid"])


async def nothing_is_left(world: World, name: str) -> None:
    await until(lambda: closed(world.client, cluster_workflow_id(name)))
    assert world.nodes == {}


async def test_nodes_that_come_in_spite_of_a_cancel_are_deleted(world: IllWorld, unique: str) -> None:
    world.slow["create_nodes"] = 0.7
    handle = await start(world.client, unique, {"task": TASK, "cluster": unique})
    await saw(world, "create_nodes a")
    await handle.signal("cancel")
    assert (await failure(handle)).type == "LaunchCancelledError"
    await nothing_is_left(world, unique)
    assert "start_gang 1" not in world.calls


@pytest.mark.parametrize("first", ["signal", "workflow"])
@pytest.mark.parametrize("second", ["signal", "workflow"])
async def test_a_second_cancel_does_not_disturb_the_clean_up(
    world: IllWorld, unique: str, first: str, second: str
) -> None:
    world.slow = {"create_nodes": 0.5, "delete_nodes": 1}

    async def cancel(how: str) -> None:
        await (handle.signal("cancel") if how == "signal" else handle.cancel())

    handle = await start(world.client, unique, {"task": TASK, "cluster": unique})
    await saw(world, "create_nodes a")
    await cancel(first)
    await saw(world, "delete_nodes begins")
    await cancel(second)
    await until(lambda: closed(world.client, handle.id))
    await nothing_is_left(world, unique)


async def test_a_job_whose_launch_is_cancelled_while_it_submits_it_never_runs(
    temporal_address: str, tmp_path: Any, unique: str
) -> None:
    async with served(temporal_address, tmp_path, IllWorld, SlowClusters) as world:
        handle = await start(world.client, unique, {"task": TASK, "cluster": unique})
        await stage(handle, "EXEC")
        await handle.signal("cancel")
        assert (await failure(handle)).type == "LaunchCancelledError"
        await nothing_is_left(world, unique)
        assert "start_gang 1" not in world.calls
        assert "record_job 1 CANCELLED" in world.calls


async def test_a_job_that_cannot_be_started_can_be_cancelled(world: IllWorld, unique: str) -> None:
    world.broken["start_gang"] = NodeUnreachableError("no way")
    handle = await start(world.client, unique, {"task": TASK, "cluster": unique})
    await stage(handle, "EXEC")
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))

    async def running() -> bool:
        return (await cluster.query("queue"))[0]["status"] == "RUNNING"

    await until(running)
    await cluster.signal("cancel", {"jobs": [1]})
    result = await handle.result()
    assert result["status"] == "CANCELLED"


async def test_an_ill_node_ends_no_workflow(world: IllWorld, unique: str) -> None:
    world.watched = False
    handle = await start(world.client, unique, {"task": TASK, "cluster": unique, "down": True})
    await saw(world, "start_gang 1")
    uid = await uid_of(world, unique)
    world.broken = dict.fromkeys(("list_ended", "cancel_units", "count_running"), FULL)
    cluster, job = cluster_workflow_id(unique), job_workflow_id(unique, uid, 1)
    await world.client.get_workflow_handle(cluster).signal("cancel", {"jobs": None})
    await asyncio.sleep(2)
    for workflow_id in (handle.id, cluster, job, autostop_workflow_id(unique, uid)):
        assert await status_of(world.client, workflow_id) is WorkflowExecutionStatus.RUNNING
    world.broken.clear()
    assert (await handle.result())["status"] == "CANCELLED"
    await nothing_is_left(world, unique)


async def test_a_guardian_waits_for_nodes_that_cannot_answer(world: IllWorld, unique: str) -> None:
    handle = await start(world.client, unique, {"task": TASK, "cluster": unique, "detach_run": True})
    await handle.result()
    await saw(world, "start_gang 1")
    uid = await uid_of(world, unique)
    world.broken["count_running"] = FULL
    await world.client.get_workflow_handle(cluster_workflow_id(unique)).terminate()
    guardian = world.client.get_workflow_handle(autostop_workflow_id(unique, uid))

    async def cleaning() -> bool:
        history = await guardian.fetch_history()
        return sum(event.HasField("activity_task_failed_event_attributes") for event in history.events) > 1

    await until(cleaning)
    assert len(world.nodes) == 1
    world.broken.clear()
    world.ended["1", 0] = 0
    await until(lambda: closed(world.client, guardian.id))
    assert world.nodes == {}


async def test_nodes_that_have_not_answered_for_a_day_are_deleted_also_in_a_new_history(
    world: IllWorld, unique: str
) -> None:
    """The guardian's history begins anew many times in a day; since when they are silent is kept."""
    handle = await start(world.client, unique, {"task": TASK, "cluster": unique, "detach_run": True})
    await handle.result()
    await saw(world, "start_gang 1")
    uid = await uid_of(world, unique)
    world.broken["count_running"] = FULL
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
    deployment = (await cluster.query("life", result_type=ClusterState)).deployment
    guardian = world.client.get_workflow_handle(autostop_workflow_id(unique, uid))
    await guardian.terminate()
    await cluster.terminate()
    left = AutostopState(
        cluster=unique,
        uid=uid,
        deployment=deployment,
        check_seconds=1,
        places=[Place(cloud="fake")],
        cleaning=True,
        answered=time.time() - SILENT_SECONDS - 1,
    )
    await world.client.start_workflow("AutostopWorkflow", left, id=guardian.id, task_queue="skyflow")
    await until(lambda: closed(world.client, guardian.id))
    assert world.nodes == {}


async def test_a_cluster_goes_on_while_it_cannot_stop_a_job(world: IllWorld, unique: str) -> None:
    handle = await start(world.client, unique, {"task": TASK, "cluster": unique, "detach_run": True})
    await handle.result()
    await saw(world, "start_gang 1")
    world.broken["cancel_units"] = NodeUnreachableError("no way")
    await world.client.get_workflow_handle(job_workflow_id(unique, await uid_of(world, unique), 1)).terminate()
    await asyncio.sleep(1)  # the check has begun
    second = await start(world.client, unique, {"task": TASK, "cluster": unique, "detach_run": True}, 2)
    await second.result()
    await saw(world, "start_gang 2")
    world.broken.clear()
    down = {"cluster": unique}
    await world.client.execute_workflow("DownWorkflow", down, id=f"down/{unique}/1", task_queue="skyflow")
    await nothing_is_left(world, unique)


async def test_down_holds_although_its_launch_was_terminated(world: IllWorld, unique: str) -> None:
    handle = await start(world.client, unique, {"task": TASK, "cluster": unique, "down": True})
    await saw(world, "start_gang 1")
    await handle.terminate()
    world.ended["1", 0] = 0
    await nothing_is_left(world, unique)


async def test_an_idle_down_that_was_terminated_is_taken_up_again(world: IllWorld, unique: str) -> None:
    world.slow["delete_nodes"] = 0.5
    handle = await start(world.client, unique, {"task": TASK, "cluster": unique, "down": True, "detach_run": True})
    await handle.result()
    uid = await uid_of(world, unique)
    await saw(world, "start_gang 1")
    world.ended["1", 0] = 0
    down = world.client.get_workflow_handle(f"down/{unique}/idle-{uid}-1")
    await saw(world, "delete_nodes begins")
    await down.terminate()
    await nothing_is_left(world, unique)


async def test_a_launch_whose_cluster_was_terminated_ends(world: IllWorld, unique: str) -> None:
    world.failures = {"a": ProvisionError("later", scope="retry")}
    handle = await start(world.client, unique, {"task": TASK, "cluster": unique})
    await saw(world, "create_nodes a")
    await world.client.get_workflow_handle(cluster_workflow_id(unique)).terminate()
    assert (await failure(handle)).type == "ClusterDoesNotExist"
    assert world.nodes == {}


async def test_a_long_wait_for_nodes_begins_new_histories(
    short_history_address: str, tmp_path: Any, unique: str
) -> None:
    async with served(short_history_address, tmp_path, IllWorld) as world:
        world.failures = {"a": ProvisionError("none"), "b": ProvisionError("none")}
        request = {"task": TASK, "cluster": unique, "retry_until_up": True, "detach_run": True}
        handle = await start(world.client, unique, request)
        latest = world.client.get_workflow_handle(handle.id)

        async def anew() -> bool:
            return (await latest.describe()).run_id != handle.first_execution_run_id

        await until(anew)
        await stage(latest, "PROVISION")
        assert [one["name"] for one in (await latest.query("progress"))["stages"]] == ["OPTIMIZE", "PROVISION"]
        keys = {request.token(0) for request in world.tried}
        assert len(keys) == len(world.tried)
        world.failures.clear()
        assert (await handle.result())["status"] == "PENDING"
        assert len(world.nodes) == 1


async def test_a_long_job_and_a_long_guard_begin_new_histories(
    short_history_address: str, tmp_path: Any, unique: str
) -> None:
    async with served(short_history_address, tmp_path, IllWorld) as world:
        world.watched = False
        handle = await start(world.client, unique, {"task": TASK, "cluster": unique})
        await saw(world, "start_gang 1")
        uid = await uid_of(world, unique)
        job = world.client.get_workflow_handle(job_workflow_id(unique, uid, 1))
        guardian = world.client.get_workflow_handle(autostop_workflow_id(unique, uid))

        async def anew(one: WorkflowHandle[Any, Any]) -> bool:
            description = await one.describe()
            return description.raw_description.workflow_execution_info.first_run_id != description.run_id

        await until(lambda: anew(job))
        await world.client.get_workflow_handle(cluster_workflow_id(unique)).terminate()
        await until(lambda: anew(guardian))
        assert world.calls.count("start_gang 1") == 1
        assert len(world.nodes) == 1
        world.ended["1", 0] = 0
        assert (await handle.result())["status"] == "SUCCEEDED"
        await until(lambda: closed(world.client, guardian.id))
        assert world.nodes == {}
