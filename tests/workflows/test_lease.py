"""What the nodes are told of the idle rule, and whom an idle cluster asks before it goes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio import activity

from skyflow.errors import NodeUnreachableError
from skyflow.models.cluster import ClusterState
from skyflow.models.job import Gang
from skyflow.models.launch import LaunchRequest
from skyflow.models.name import cluster_workflow_id
from skyflow.models.task import Task
from skyflow.workflows.launch import LaunchWorkflow
from tests.workflows.conftest import World, served
from tests.workflows.test_launch import failure, start, until
from tests.workflows.test_life import has
from tests.workflows.test_stop import launched, operate, submit, view

GRACE = 600


async def has_status(world: World, name: str, status: str) -> None:
    async def holds() -> bool:
        return bool((await view(world, name))["status"] == status)

    await until(holds)


async def leased(world: World, name: str, expected: int | None) -> None:
    """Waits until the nodes of the cluster were told this, since that was last waited for."""
    await until(lambda: asyncio.sleep(0, world.leases.get(name, ["nothing"])[-1] == expected))
    world.leases.clear()


async def test_the_nodes_are_told_their_lease_whenever_it_changes(world: World, unique: str) -> None:
    world.no_lease = [NodeUnreachableError("not now"), NodeUnreachableError("not now")]
    await launched(world, unique)
    await leased(world, unique, None)
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
    for minutes, expected in ((30, 1800 + GRACE), (30, 1800 + GRACE), (-1, None), (45, 2700 + GRACE)):
        await cluster.execute_update("set_autostop", {"minutes": minutes})
        await leased(world, unique, expected)
    await (await operate(world, "Stop", unique)).result()
    await (await operate(world, "Start", unique)).result()
    await leased(world, unique, 2700 + GRACE)


async def test_a_launch_that_dies_leaves_a_lease(world: World, unique: str) -> None:
    world.setup = lambda request: (_ for _ in ()).throw(NodeUnreachableError("it goes on for ever"))
    launch = await start(world.client, unique, {"task": {"run": "x", "setup": "y"}, "cluster": unique})
    await leased(world, unique, 3600 + GRACE)
    await launch.terminate("test")


async def test_nodes_that_cannot_be_told_delay_nobody(world: World, unique: str) -> None:
    world.no_lease = [NodeUnreachableError("not now")] * 1000
    await launched(world, unique)
    world.ends["2"] = {0: 0}
    assert (await (await submit(world, unique, 2, {})).result())["status"] == "SUCCEEDED"
    assert await (await operate(world, "Down", unique)).result() == {"cluster": unique, "deleted": 1, "left": []}


async def test_whoever_is_logged_in_keeps_an_idle_cluster(world: World, unique: str) -> None:
    world.session = 0
    await launched(world, unique, idle_minutes_to_autostop=0)
    await until(lambda: asyncio.sleep(0, world.calls.count(f"last_session {unique}") > 1))
    assert (await view(world, unique))["status"] == "UP"
    world.session = 3
    await has_status(world, unique, "STOPPED")


async def test_down_too_waits_for_them_unless_told_otherwise(world: World, unique: str) -> None:
    world.session = 0
    world.ends["1"] = {0: 0}
    request = {"task": {"run": "x"}, "cluster": unique, "down": True}
    launch = await start(world.client, unique, request)
    await until(lambda: asyncio.sleep(0, f"last_session {unique}" in world.calls))
    assert world.nodes
    world.session = None
    assert (await launch.result())["down"]
    world.session = 0
    world.calls.clear()
    assert (await (await start(world.client, unique, {**request, "wait_for": "jobs"}, 2)).result())["down"]
    assert f"last_session {unique}" not in world.calls


async def test_nodes_that_cannot_say_who_is_logged_in_do_not_stay(world: World, unique: str) -> None:
    world.silent = True
    await launched(world, unique, idle_minutes_to_autostop=0)
    await has_status(world, unique, "STOPPED")


async def test_a_rule_that_waits_for_nothing_ends_what_runs(world: World, unique: str) -> None:
    await launched(world, unique)
    running = await submit(world, unique, 2, {})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
    await cluster.execute_update("set_autostop", {"minutes": 0, "wait_for": "jobs"})
    assert (await view(world, unique))["status"] == "UP"
    await cluster.execute_update("set_autostop", {"minutes": 0, "wait_for": "none"})
    await has_status(world, unique, "STOPPED")
    ended = await failure(running)
    why = "cancelled: the idle rule (wait_for: none) stopped its nodes."
    assert (ended.type, ended.message) == ("LaunchCancelledError", f"The launch on {unique!r} was {why}")
    found = (await cluster.query("queue"))[0]
    assert (found["id"], found["status"], found["reason"]) == (2, "CANCELLED", why.capitalize())


@pytest.mark.parametrize("wait_for", ["nonsense", "none"])
async def test_what_cannot_be_waited_for_is_refused_before_anything_is_made(
    world: World, unique: str, wait_for: str
) -> None:
    request = {"task": {"run": "x"}, "cluster": unique, "down": True, "wait_for": wait_for}
    error = await failure(await start(world.client, unique, request))
    assert error.type == "UsageError"
    assert "wait_for" in error.message
    assert not world.tried
    refused = await failure(await operate(world, "Start", unique, idle_minutes_to_autostop=5, wait_for="nonsense"))
    assert refused.type == "UsageError"


@dataclass
class HeldNodes(World):
    """Nodes that do not say who is logged in before they may."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)

    @activity.defn
    async def last_session(self, gang: Gang) -> float | None:
        self.calls.append("last_session")
        await self.gate.wait()
        return None


async def test_a_question_about_a_life_that_has_ended_is_not_the_last_one(
    temporal_address: str, tmp_path: Path, unique: str
) -> None:
    """One is asked and another waits for its turn, when the cluster is taken down and launched again."""
    async with served(temporal_address, tmp_path, HeldNodes) as world:
        await launched(world, unique, idle_minutes_to_autostop=0)
        await until(lambda: asyncio.sleep(0, "last_session" in world.calls))
        world.ends |= {"2": {0: 0}, "3": {0: 0}}
        await (await submit(world, unique, 2, {})).result()
        down = await operate(world, "Down", unique)
        cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))

        async def is_held() -> bool:
            state = await cluster.query("life", result_type=ClusterState)
            return any(operation.kind == "down" for operation in state.operations)

        await until(is_held)
        request = {"task": {"run": "x"}, "cluster": unique, "idle_minutes_to_autostop": 0}
        again = await start(world.client, unique, request, 3)
        await down.result()
        world.gate.set()
        assert (await again.result())["status"] == "SUCCEEDED"
        await until(lambda: has(world, unique, status="STOPPED"))


@pytest.mark.parametrize(
    ("rule", "request_", "expected"),
    [
        ({"idle_minutes": 10, "down": True}, {"wait_for": "jobs"}, (10, True, "jobs")),
        ({"idle_minutes": 10, "down": True}, {"idle_minutes_to_autostop": 20}, (20, False, "jobs_and_ssh")),
        ({"idle_minutes": 10}, {"down": True}, (10, True, "jobs_and_ssh")),
    ],
)
def test_what_a_request_says_of_the_idle_rule_counts_more(
    rule: dict[str, Any], request_: dict[str, Any], expected: tuple[int, bool, str]
) -> None:
    me: Any = SimpleNamespace(request=LaunchRequest(task={}, **request_))
    task = Task.from_yaml_config({"run": "x", "resources": {"autostop": rule}})
    own = LaunchWorkflow._with_idle_rule(me, task).resources[0].autostop
    assert own is not None
    assert (own.idle_minutes, own.down, own.wait_for or "jobs_and_ssh") == expected
