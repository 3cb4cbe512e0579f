"""Stop, start and the idle rule: what runs is cancelled, what waits is kept, nobody is left running or forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from skyflow.errors import ProvisionError
from skyflow.models.name import cluster_workflow_id
from tests.workflows.conftest import World
from tests.workflows.test_launch import closed, failure, start, until

STOCKOUT = ProvisionError("There is no capacity in a now.", scope="zone", code="Stockout")


async def view(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = await world.client.get_workflow_handle(cluster_workflow_id(name)).query("status")
    return found


async def jobs(world: World, name: str) -> dict[int, str]:
    rows = await world.client.get_workflow_handle(cluster_workflow_id(name)).query("queue")
    return {row["id"]: row["status"] for row in rows}


async def operate(world: World, kind: str, name: str, number: int = 1, **more: Any) -> WorkflowHandle[Any, Any]:
    return await world.client.start_workflow(
        f"{kind}Workflow", {"cluster": name, **more}, id=f"{kind}/{name}/{number}", task_queue="skyflow"
    )


async def launched(world: World, name: str, number: int = 1, **more: Any) -> None:
    """A cluster with one job that ended well."""
    world.ends["1"] = {0: 0}
    await (await start(world.client, name, {"task": {"run": "x"}, "cluster": name, **more}, number)).result()


async def submit(world: World, name: str, number: int, resources: dict[str, Any]) -> WorkflowHandle[Any, Any]:
    task = {"run": "x", "resources": resources}
    request = {"task": task, "cluster": name, "stages": ["PRE_EXEC", "EXEC", "DOWN"]}
    return await start(world.client, name, request, number)


async def test_what_runs_is_cancelled_and_what_waits_runs_after_the_next_start(world: World, unique: str) -> None:
    await launched(world, unique)
    running = await submit(world, unique, 2, {"cpus": 2})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    waiting = await submit(world, unique, 3, {"cpus": 2})
    await until(lambda: _is(jobs(world, unique), {1: "SUCCEEDED", 2: "RUNNING", 3: "PENDING"}))

    assert await (await operate(world, "Stop", unique)).result() == {"cluster": unique, "stopped": 1, "left": []}
    assert (await view(world, unique))["status"] == "STOPPED"
    assert len(world.stopped) == 1
    assert await jobs(world, unique) == {1: "SUCCEEDED", 2: "CANCELLED", 3: "PENDING"}
    assert (await failure(running)).type == "LaunchCancelledError"
    assert (await failure(await submit(world, unique, 4, {}))).type == "ClusterNotUpError"

    world.ends["3"] = {0: 0}
    assert await (await operate(world, "Start", unique)).result() == {"cluster": unique, "started": 1}
    assert (await waiting.result())["status"] == "SUCCEEDED"
    assert (await view(world, unique))["status"] == "UP"
    assert world.stopped == set()


async def test_a_launch_starts_a_stopped_cluster(world: World, unique: str) -> None:
    await launched(world, unique)
    await (await operate(world, "Stop", unique)).result()
    world.calls.clear()
    world.ends["2"] = {0: 0}
    result = await (await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique}, 2)).result()
    assert (result["status"], result["num_nodes"]) == ("SUCCEEDED", 1)
    assert world.calls[0] == "start_nodes"
    assert not any(call.startswith(("rank_offers", "create_nodes")) for call in world.calls)


async def test_a_dry_run_of_a_launch_says_that_a_stopped_cluster_would_do(world: World, unique: str) -> None:
    await launched(world, unique)
    await (await operate(world, "Stop", unique)).result()
    dry = {"task": {"run": "x"}, "cluster": unique, "dryrun": True}
    result = await (await start(world.client, unique, dry, 2)).result()
    assert (result["uid"], result["plan"]) == ((await view(world, unique))["uid"], [])
    assert world.stopped, "nothing was started"
    refused = await failure(await start(world.client, unique, {**dry, "stages": ["EXEC"]}, 3))
    assert refused.type == "ClusterNotUpError"


async def test_two_of_a_kind_do_it_once_and_the_started_are_left_alone(world: World, unique: str) -> None:
    await launched(world, unique)
    await asyncio.gather(*[(await operate(world, "Stop", unique, number)).result() for number in (1, 2)])
    for number, count in ((1, 1), (2, 0)):
        assert (await (await operate(world, "Start", unique, number)).result())["started"] == count
    assert world.calls.count("start_nodes") == 1


async def test_an_idle_cluster_is_stopped_and_the_rule_counts_again_after_a_start(world: World, unique: str) -> None:
    await launched(world, unique, idle_minutes_to_autostop=0)
    await until(lambda: _is(_status(world, unique), "STOPPED"))
    assert (await view(world, unique))["autostop"] == 0
    world.stopped.clear()
    await (await operate(world, "Start", unique)).result()
    await until(lambda: asyncio.sleep(0, world.calls.count("stop_nodes") == 2))
    await until(lambda: _is(_status(world, unique), "STOPPED"))


async def test_the_rule_can_be_set_replaced_and_cancelled(world: World, unique: str) -> None:
    await launched(world, unique)
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
    for setting, seen in (
        ({"minutes": 30}, (30, False)),
        ({"minutes": 40, "down": True}, (40, True)),
        ({"minutes": -1}, (-1, False)),
    ):
        await cluster.execute_update("set_autostop", setting)
        now = await view(world, unique)
        assert (now["autostop"], now["to_down"]) == seen
    await cluster.signal("autostop", {"minutes": 0})
    await until(lambda: _is(_status(world, unique), "STOPPED"))
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await cluster.execute_update("set_autostop", {"minutes": 5})
    assert isinstance(refused.value.cause, ApplicationError)
    assert (refused.value.cause.type, refused.value.cause.message) == (
        "ClusterNotUpError",
        f"Cluster '{unique}' is STOPPED: an idle rule is for nodes that run. Start them: skyflow start {unique}",
    )


async def test_a_start_that_its_place_refuses(world: World, unique: str) -> None:
    await launched(world, unique)
    await (await operate(world, "Stop", unique)).result()
    world.no_start = [STOCKOUT]
    error = await failure(await operate(world, "Start", unique))
    assert error.type == "ResourcesUnavailableError"
    assert error.message.startswith(f"Cluster '{unique}' cannot be started: There is no capacity in a now.")
    assert (await view(world, unique))["status"] == "STOPPED"

    world.no_start = [STOCKOUT, STOCKOUT]
    assert (await (await operate(world, "Start", unique, 2, retry_until_up=True)).result())["started"] == 1


async def test_a_stopped_cluster_can_be_taken_down(world: World, unique: str) -> None:
    await launched(world, unique)
    await (await operate(world, "Stop", unique)).result()
    assert (await (await operate(world, "Down", unique)).result())["deleted"] == 1
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert world.nodes == {}


async def test_nodes_that_cannot_be_stopped(world: World, unique: str) -> None:
    world.offers = [one.model_copy(update={"can_stop": False, "use_spot": True}) for one in world.offers]
    await launched(world, unique)
    error = await failure(await operate(world, "Stop", unique))
    assert (error.type, error.message) == (
        "NotSupportedError",
        f"Cluster '{unique}' cannot be stopped: fake does not stop spot nodes. Take it down instead (--down).",
    )
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
    await cluster.signal("autostop", {"minutes": 0})  # nobody is there to be told
    assert (await view(world, unique))["autostop"] == -1


@pytest.mark.parametrize("kind", ["Stop", "Start", "Down"])
async def test_an_unknown_cluster_and_a_bad_input(world: World, unique: str, kind: str) -> None:
    assert (await failure(await operate(world, kind, unique))).type == "ClusterDoesNotExist"
    bad = await world.client.start_workflow(f"{kind}Workflow", {"cluster": 7}, id=f"{kind}/bad", task_queue="skyflow")
    assert (await failure(bad)).type == "UsageError"


async def test_a_terminated_stop_is_taken_up_again(world: World, unique: str) -> None:
    await launched(world, unique)
    held = asyncio.Event()
    world.before_stop = held.wait
    stop = await operate(world, "Stop", unique)
    await until(lambda: asyncio.sleep(0, "stop_nodes" in world.calls))
    await stop.terminate("test")
    held.set()
    await until(lambda: _is(_status(world, unique), "STOPPED"))


async def test_a_terminated_start_leaves_nothing_running_unseen(world: World, unique: str) -> None:
    await launched(world, unique)
    await (await operate(world, "Stop", unique)).result()
    world.no_start = [STOCKOUT] * 1000
    starting = await operate(world, "Start", unique, retry_until_up=True)
    await until(lambda: asyncio.sleep(0, "start_nodes" in world.calls))
    stops = world.calls.count("stop_nodes")
    await starting.terminate("test")
    await until(lambda: asyncio.sleep(0, world.calls.count("stop_nodes") > stops))
    await until(lambda: _is(_status(world, unique), "STOPPED"))


async def _is(what: Any, expected: Any) -> bool:
    return bool(await what == expected)


async def _status(world: World, name: str) -> str:
    return str((await view(world, name))["status"])
