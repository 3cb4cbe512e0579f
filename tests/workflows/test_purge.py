"""Purged and graceful ends: what the cloud does not do is not forgotten, what runs has the time that it was given."""

from __future__ import annotations

import asyncio
from typing import Any

from skyflow.errors import NodeUnreachableError, SkyflowError
from skyflow.models.name import autostop_workflow_id, cluster_workflow_id
from tests.workflows.test_launch import closed, failure, start, until
from tests.workflows.test_life import SlowCloud, has, world
from tests.workflows.test_stop import launched, operate, submit, view

__all__ = ["world"]

REFUSED = SkyflowError("UnauthorizedOperation: you may not delete.")
SILENT = NodeUnreachableError("The cloud does not answer.")


async def test_a_purged_down_ends_and_the_guardian_goes_on(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    [token] = world.nodes
    uid = (await view(world, unique))["uid"]
    world.broken["delete_nodes"] = SILENT
    result = await (await operate(world, "Down", unique, purge=True)).result()
    assert result == {
        "cluster": unique,
        "deleted": 0,
        "left": [f"fake/r/a: 1 node(s), {token} (The cloud does not answer.)"],
    }
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert list(world.nodes) == [token]
    assert not await closed(world.client, autostop_workflow_id(unique, uid))
    assert [one.ended for one in world.ledger.values()] == [None], "it may cost, and the ledger says so"

    del world.broken["delete_nodes"]
    await until(lambda: closed(world.client, autostop_workflow_id(unique, uid)))
    assert world.nodes == {}
    assert all(one.ended for one in world.ledger.values())


async def test_a_purge_tells_only_what_is_left(world: SlowCloud, unique: str) -> None:
    world.ends["1"] = {0: 0, 1: 0}
    await (await start(world.client, unique, {"task": {"run": "x", "num_nodes": 2}, "cluster": unique})).result()
    first, second = world.nodes
    del world.nodes[first]  # so far it came
    world.broken["delete_nodes"] = SILENT
    result = await (await operate(world, "Down", unique, purge=True)).result()
    assert result["left"] == [f"fake/r/a: 1 node(s), {second} (The cloud does not answer.)"]
    del world.broken["delete_nodes"]
    await until(lambda: asyncio.sleep(0, not world.nodes))


async def test_a_purge_that_left_no_nodes_may_have_left_something_else(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    world.nodes.clear()
    world.broken["delete_nodes"] = REFUSED
    result = await (await operate(world, "Down", unique, purge=True)).result()
    assert result["left"] == [
        "fake/r/a: no nodes any more, but not all is deleted (UnauthorizedOperation: you may not delete.)"
    ]
    del world.broken["delete_nodes"]


async def test_a_purge_of_a_cloud_that_says_nothing_tells_all_that_may_be_left(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    [token] = world.nodes
    world.unknown, world.broken["delete_nodes"] = True, SILENT
    result = await (await operate(world, "Down", unique, purge=True)).result()
    assert result["left"] == [f"fake/r/a: 1 node(s), {token} (The cloud does not answer.)"]
    world.unknown = False
    del world.broken["delete_nodes"]


async def test_a_purged_stop_that_the_cloud_did_all_the_same_leaves_nothing(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    world.no_stop = SILENT
    world.stopped |= set(world.nodes)
    assert (await (await operate(world, "Stop", unique, purge=True)).result())["left"] == []
    assert await has(world, unique, status="STOPPED")


async def test_what_a_purge_left_is_deleted_though_its_guardian_was_terminated(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    guardian = world.client.get_workflow_handle(autostop_workflow_id(unique, (await view(world, unique))["uid"]))
    world.broken["delete_nodes"] = REFUSED
    world.broken["count_running"] = SILENT  # whatever runs there: its user has said so
    await guardian.terminate("test")
    result = await (await operate(world, "Down", unique, purge=True)).result()
    assert result["left"][0].endswith("(UnauthorizedOperation: you may not delete.)")
    del world.broken["delete_nodes"]
    await until(lambda: asyncio.sleep(0, not world.nodes))
    await until(lambda: closed(world.client, guardian.id))


async def test_a_name_is_free_after_a_purge(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    [old] = world.nodes
    world.broken["delete_nodes"] = REFUSED
    await (await operate(world, "Down", unique, purge=True)).result()
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))  # so that jobs are counted anew
    world.started.clear()
    world.ended.clear()
    world.told.clear()
    await launched(world, unique, number=2)
    assert len(world.nodes) == 2
    del world.broken["delete_nodes"]
    await until(lambda: asyncio.sleep(0, old not in world.nodes))
    assert len(world.nodes) == 1, "the guardian deletes those of its own life"


async def test_a_purge_of_a_cloud_that_answers_is_a_down(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    result = await (await operate(world, "Down", unique, purge=True)).result()
    assert result == {"cluster": unique, "deleted": 1, "left": []}


async def test_a_down_that_fails_says_so_and_is_tried_again(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    world.broken["delete_nodes"] = REFUSED
    error = await failure(await operate(world, "Down", unique))
    assert (error.type, error.message) == (
        "ClusterChangeError",
        f"The down of '{unique}' failed: UnauthorizedOperation: you may not delete. It is tried again now and then; "
        f"to forget the cluster all the same: skyflow down --purge {unique}",
    )
    del world.broken["delete_nodes"]
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert world.nodes == {}


async def test_a_purged_stop_counts_until_the_cloud_says_otherwise(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    world.no_stop = SkyflowError("UnauthorizedOperation: you may not stop.")
    assert (await failure(await operate(world, "Stop", unique))).type == "ClusterChangeError"
    assert await has(world, unique, status="UP")
    result = await (await operate(world, "Stop", unique, 2, purge=True)).result()
    assert result["left"][0].endswith("(UnauthorizedOperation: you may not stop.)")
    assert await has(world, unique, status="STOPPED")
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
    assert (await cluster.execute_update("refresh"))["status"] == "UP"


async def test_a_forced_start_asks_the_cloud_though_the_cluster_seems_to_be_up(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    assert (await (await operate(world, "Start", unique, force=True)).result())["started"] == 1
    assert "start_nodes" in world.calls
    assert await has(world, unique, status="UP")


async def test_jobs_have_the_time_that_a_graceful_down_gives_them(world: SlowCloud, unique: str) -> None:
    await launched(world, unique)
    running = await submit(world, unique, 2, {})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    down = await operate(world, "Down", unique, graceful=True, graceful_timeout=77)
    assert (await failure(running)).type == "LaunchCancelledError"
    assert (await down.result())["deleted"] == 1
    assert world.graces == {"2": 77}
    assert world.calls.index("cancel_units 2") < world.calls.index("delete_nodes")


async def test_an_idle_cluster_is_stopped_and_later_taken_down(world: SlowCloud, unique: str) -> None:
    autostop: dict[str, Any] = {"idle_minutes": 0, "down_after": "1m"}
    await launched(world, unique, task={"run": "x", "resources": {"autostop": autostop}})
    await until(lambda: has(world, unique, status="STOPPED"))
    now = await view(world, unique)
    assert (now["down_after"], now["idle_since"] is not None) == (1, True)
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
    await cluster.signal("autostop", {"minutes": 0, "down_after": 0})
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert world.nodes == {}
