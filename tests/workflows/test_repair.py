"""A cluster that has lost nodes is repaired: what is gone is made anew where it was, and nothing else is touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from temporalio import activity
from temporalio.client import WorkflowHandle

from skyflow.activities.cluster import update
from skyflow.errors import NodeUnreachableError, ProvisionError
from skyflow.models.calls import NodesCall, WatchReport, WatchRequest
from skyflow.models.name import cluster_workflow_id
from skyflow.models.node import GangRef, GangRequest, Node
from tests.workflows.conftest import Clusters, served
from tests.workflows.test_faults import IllWorld
from tests.workflows.test_launch import closed, failure, start, until
from tests.workflows.test_life import has
from tests.workflows.test_stop import STOCKOUT, jobs, operate, submit, view


@dataclass
class LossyWorld(IllWorld):
    """A cloud that deletes nodes behind everybody's back, and does not make some."""

    no_create: list[Exception] = field(default_factory=list)
    """What the next creations answer, after they have made one node."""
    deletions: list[GangRef] = field(default_factory=list)
    dies: int = 0
    """How often a creation dies after it has made everything."""
    watched_nodes: list[str] = field(default_factory=list)
    """Of the last watch."""

    @activity.defn
    async def watch_nodes(self, request: WatchRequest) -> WatchReport:
        self.watched_nodes = [node.id for node in request.gang.nodes]
        return await super().watch_nodes(request)

    @activity.defn
    async def create_nodes(self, request: GangRequest) -> list[Node]:
        nodes = await super().create_nodes(request)
        if self.no_create:
            raise self.no_create.pop(0).with_traceback(None)
        if self.dies:
            self.dies -= 1
            raise NodeUnreachableError("The worker died before it could say what it had done.")
        return nodes

    @activity.defn
    async def delete_nodes(self, gang: GangRef) -> int:
        self.deletions.append(gang)
        return await super().delete_nodes(gang)

    def of_rank(self, rank: int) -> list[str]:
        return [token for token in self.nodes if self.made(token).rank == rank]

    def lose(self, rank: int) -> str:
        [token] = self.of_rank(rank)
        del self.nodes[token]
        self.stopped.discard(token)
        return token


@pytest.fixture
async def world(temporal_address: str, tmp_path: Path) -> AsyncIterator[LossyWorld]:
    async with served(temporal_address, tmp_path, LossyWorld) as world:
        yield world


def cluster(world: LossyWorld, name: str) -> WorkflowHandle[Any, Any]:
    return world.client.get_workflow_handle(cluster_workflow_id(name))


async def with_one_lost(world: LossyWorld, name: str, rank: int = 1, nodes: int = 2, **more: Any) -> None:
    """A cluster of some nodes, of which one is gone."""
    world.ends["1"] = dict.fromkeys(range(nodes), 0)
    task = {"run": "x", "setup": "y", "num_nodes": nodes}
    await (await start(world.client, name, {"task": task, "cluster": name, **more})).result()
    world.lose(rank)
    await cluster(world, name).execute_update("refresh")
    assert await has(world, name, status="INIT", lost=[rank])
    world.calls.clear()
    world.tried.clear()
    world.deletions.clear()


async def running_job(world: LossyWorld, name: str, number: int = 2) -> WorkflowHandle[Any, Any]:
    handle = await submit(world, name, number, {"cpus": 2})
    await until(lambda: asyncio.sleep(0, str(number) in world.started))
    return handle


@pytest.mark.parametrize("rank", [0, 1])
async def test_c05_a_start_makes_only_what_is_gone_where_it_was(world: LossyWorld, unique: str, rank: int) -> None:
    await with_one_lost(world, unique, rank)
    before = set(world.nodes)
    assert await (await operate(world, "Start", unique)).result() == {"cluster": unique, "started": 2}
    assert await has(world, unique, status="UP", lost=[], num_nodes=2)
    [request] = world.tried
    assert (request.ranks, request.num_nodes, request.generation, request.offer.zone) == ([rank], 2, 1, "a")
    assert before < set(world.nodes) and len(world.nodes) == 2
    assert not any(call.startswith(("rank_offers", "sync", "run_setup", "start_nodes")) for call in world.calls)
    nodes = (await cluster(world, unique).query("access"))["nodes"]
    assert [(node["id"], node["generation"]) for node in nodes] == [
        (*world.of_rank(each), 1 if each == rank else 0) for each in (0, 1)
    ]

    async def is_booked() -> bool:
        up = {one.node for one in world.ledger.values() if one.cluster == unique and one.ended is None}
        return up == set(world.nodes)

    await until(is_booked)
    world.ends["2"] = {0: 0, 1: 0}
    task = {"run": "x", "num_nodes": 2}
    request_ = {"task": task, "cluster": unique, "stages": ["PRE_EXEC", "EXEC", "DOWN"]}
    assert (await (await start(world.client, unique, request_, 2)).result())["status"] == "SUCCEEDED"


async def test_c08_a_launch_repairs_and_prepares_all_nodes(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique)
    world.ends["2"] = {0: 0, 1: 0}
    task = {"run": "x", "setup": "y", "num_nodes": 2}
    result = await (await start(world.client, unique, {"task": task, "cluster": unique}, 2)).result()
    assert (result["status"], result["num_nodes"]) == ("SUCCEEDED", 2)
    assert sorted(call for call in world.calls if call.startswith("run_setup")) == ["run_setup 0", "run_setup 1"]
    assert "rank_offers" not in world.calls
    assert world.started["2"] == [0, 1]


async def test_a_dry_run_of_a_launch_says_that_it_would_be_repaired(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique)
    dry = {"task": {"run": "x", "num_nodes": 2}, "cluster": unique, "dryrun": True}
    result = await (await start(world.client, unique, dry, 2)).result()
    assert (result["uid"], result["num_nodes"]) == ((await view(world, unique))["uid"], 2)
    assert len(world.nodes) == 1


async def test_what_runs_on_the_other_nodes_goes_on(world: LossyWorld, unique: str) -> None:
    world.ends["1"] = {0: 0, 1: 0}
    task = {"run": "x", "num_nodes": 2}
    await (await start(world.client, unique, {"task": task, "cluster": unique})).result()
    job = await running_job(world, unique)
    [rank] = world.started["2"]
    world.lose(1 - rank)
    await cluster(world, unique).execute_update("refresh")
    assert await has(world, unique, status="INIT", lost=[1 - rank])
    assert (await (await operate(world, "Start", unique)).result())["started"] == 2
    assert (await jobs(world, unique))[2] == "RUNNING"
    await until(lambda: asyncio.sleep(0, set(world.watched_nodes) == set(world.nodes)))
    await running_job(world, unique, 3)
    assert world.started["3"] == [1 - rank]
    world.ended["3", 1 - rank] = world.ended["2", rank] = 0
    assert (await job.result())["status"] == "SUCCEEDED"
    assert "cancel_units 2" not in world.calls


@pytest.mark.parametrize("number", [1, 3])
async def test_a_creation_that_dies_half_way_makes_no_node_twice(world: LossyWorld, unique: str, number: int) -> None:
    await with_one_lost(world, unique)
    world.dies = number
    await (await operate(world, "Start", unique)).result()
    assert len(world.of_rank(1)) == len(world.of_rank(0)) == 1
    assert len({request.token(1) for request in world.tried}) == 1


async def test_a_place_without_room_is_one_clear_error_and_all_stays(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique, nodes=3)
    world.lose(2)
    before = set(world.nodes)
    world.no_create = [STOCKOUT]
    error = await failure(await operate(world, "Start", unique))
    assert error.type == "ResourcesUnavailableError"
    assert error.message == (
        f"Cluster '{unique}' stays without its node(s): There is no capacity in a now. "
        "The others are there, so that it can have them nowhere else. Wait with --retry-until-up."
    )
    assert set(world.nodes) == before
    assert await has(world, unique, status="INIT", lost=[1, 2])
    assert await _is_idle(world, unique)

    world.no_create = [STOCKOUT, ProvisionError("Slow down.", scope="retry")]
    assert (await (await operate(world, "Start", unique, 2, retry_until_up=True)).result())["started"] == 3
    assert len(world.nodes) == 3 and before < set(world.nodes)
    assert [world.made(token).generation for token in world.nodes if token not in before] == [1, 1]


async def _is_idle(world: LossyWorld, name: str) -> bool:
    await until(lambda: _counts(world, name))
    return True


async def _counts(world: LossyWorld, name: str) -> bool:
    return (await view(world, name))["idle_since"] is not None


async def test_what_is_left_of_a_lost_node_is_deleted_first(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique)
    uid = (await view(world, unique))["uid"]
    [there] = world.nodes
    old = (await cluster(world, unique).query("access"))["nodes"][1]["id"]
    request = world.nodes[there]
    world.nodes[old] = request  # the cloud has it again
    await (await operate(world, "Start", unique)).result()
    first, *others = world.deletions
    assert (first.uid, first.ids) == (uid, [old])
    assert others == []
    assert old not in world.nodes and there in world.nodes and len(world.nodes) == 2


async def test_a_down_during_a_repair_leaves_nothing(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique)
    world.slow["create_nodes"] = 1
    repair = await operate(world, "Start", unique)
    await until(lambda: asyncio.sleep(0, bool(world.tried)))
    assert (await (await operate(world, "Down", unique)).result())["deleted"] == 1
    assert (await failure(repair)).type == "LaunchCancelledError"
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert world.nodes == {}


async def test_a_cancelled_repair_leaves_all_as_it_was(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique)
    before = set(world.nodes)
    world.slow["create_nodes"] = 1
    launch = await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique}, 2)
    await until(lambda: asyncio.sleep(0, bool(world.tried)))
    await launch.signal("cancel")
    assert (await failure(launch)).type == "LaunchCancelledError"
    assert set(world.nodes) == before
    assert await has(world, unique, status="INIT", lost=[1])
    assert "stop_nodes" not in world.calls


async def test_two_repairs_at_once_make_one_node(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique)
    done = await asyncio.gather(*[(await operate(world, "Start", unique, number)).result() for number in (1, 2, 3)])
    assert sorted(one["started"] for one in done) == [0, 0, 2]
    assert len(world.nodes) == 2 and len(world.tried) == 1


async def test_what_a_terminated_repair_was_making_is_deleted(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique)
    [there] = world.nodes
    world.dies = 10**6
    repair = await operate(world, "Start", unique)
    await until(lambda: asyncio.sleep(0, len(world.nodes) == 2))
    await repair.terminate("test")
    await until(lambda: asyncio.sleep(0, set(world.nodes) == {there}))
    assert all(one.ids or one.launch_id for one in world.deletions), "never by the cluster's tags alone"
    world.dies = 0
    assert (await (await operate(world, "Start", unique, 2)).result())["started"] == 2
    assert len(world.nodes) == 2


async def test_what_appears_late_of_a_terminated_repair_is_deleted_while_a_job_runs(
    world: LossyWorld, unique: str
) -> None:
    world.ends["1"] = {0: 0, 1: 0}
    await (await start(world.client, unique, {"task": {"run": "x", "num_nodes": 2}, "cluster": unique})).result()
    await running_job(world, unique)
    [rank] = world.started["2"]
    world.lose(1 - rank)
    await cluster(world, unique).execute_update("refresh")
    [there] = world.nodes
    world.dies = 10**6
    repair = await operate(world, "Start", unique)
    await until(lambda: asyncio.sleep(0, len(world.nodes) == 2))
    await repair.terminate("test")
    await until(lambda: asyncio.sleep(0, set(world.nodes) == {there}))
    late = world.tried[-1]
    for broken in ({}, {"delete_nodes": NodeUnreachableError("The cloud does not answer.")}):
        world.broken.update(broken)
        world.calls.clear()
        world.nodes[late.token(1 - rank)] = late
        await until(lambda: asyncio.sleep(0, "delete_nodes begins" in world.calls))
        world.broken.clear()
        await until(lambda: asyncio.sleep(0, set(world.nodes) == {there}))
    assert (await jobs(world, unique))[2] == "RUNNING"
    assert "cancel_units 2" not in world.calls


class Frozen(Clusters):
    """Keeps what was said to clusters, as a worker does that is frozen while another one does its work."""

    said: ClassVar[list[NodesCall]] = []

    @activity.defn
    async def report_nodes(self, call: NodesCall) -> None:
        self.said.append(call)
        await super().report_nodes(call)


async def test_a_worker_that_wakes_up_late_takes_no_new_node_away(
    temporal_address: str, tmp_path: Path, unique: str
) -> None:
    async with served(temporal_address, tmp_path, LossyWorld, Frozen) as world:
        await with_one_lost(world, unique)
        Frozen.said.clear()
        await start(world.client, unique, {"task": {"run": "x", "num_nodes": 2}, "cluster": unique}, 2)
        await until(lambda: asyncio.sleep(0, "2" in world.started))
        assert [one.report.partial for one in Frozen.said] == [True, False]
        for late in Frozen.said:
            await update(world.client, unique, "report", late.report)
        assert await has(world, unique, status="UP", lost=[])
        assert (await jobs(world, unique))[2] == "RUNNING"


async def test_a_stopped_cluster_that_has_lost_a_node_is_started_whole(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique)
    await (await operate(world, "Start", unique)).result()
    await (await operate(world, "Stop", unique)).result()
    world.lose(0)
    world.no_create = [STOCKOUT]
    assert (await failure(await operate(world, "Start", unique, 2))).type == "ResourcesUnavailableError"
    await until(lambda: asyncio.sleep(0, world.stopped == set(world.nodes)))
    assert len(world.nodes) == 1
    await until(lambda: has(world, unique, status="STOPPED"))
    assert (await (await operate(world, "Start", unique, 3)).result())["started"] == 2
    assert await has(world, unique, status="UP", lost=[])
    assert (world.stopped, len(world.nodes)) == (set(), 2)


@pytest.mark.parametrize("kind", ["start", "launch"])
async def test_while_a_stopped_cluster_waits_for_a_node_the_others_are_stopped(
    world: LossyWorld, unique: str, kind: str
) -> None:
    await with_one_lost(world, unique)
    await (await operate(world, "Start", unique)).result()
    await (await operate(world, "Stop", unique)).result()
    world.lose(1)
    world.calls.clear()
    world.no_create = [STOCKOUT] * 2
    request = {"task": {"run": "x", "num_nodes": 2}, "cluster": unique, "retry_until_up": True}
    if kind == "start":
        await operate(world, "Start", unique, 2, retry_until_up=True)
    else:
        await start(world.client, unique, request, 2)
    await until(lambda: asyncio.sleep(0, world.calls.count("stop_nodes") == 2))
    await until(lambda: asyncio.sleep(0, world.stopped == set(world.nodes)))
    assert len(world.nodes) == 1
    await until(lambda: has(world, unique, status="UP", lost=[]))
    assert (world.stopped, len(world.nodes), world.calls.count("stop_nodes")) == (set(), 2, 2)


async def test_a_wait_does_not_stop_what_runs(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique, nodes=3)
    world.stopped.add(*world.of_rank(2))
    await cluster(world, unique).execute_update("refresh")
    world.no_create = [STOCKOUT] * 2
    await (await operate(world, "Start", unique, retry_until_up=True)).result()
    assert await has(world, unique, status="UP", lost=[], halted=[])
    assert "stop_nodes" not in world.calls


async def test_a_stopped_node_beside_a_lost_one_is_started(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique, nodes=3)
    world.stopped.add(*world.of_rank(2))
    await cluster(world, unique).execute_update("refresh")
    assert await has(world, unique, status="INIT", lost=[1], halted=[2])
    world.no_create = [STOCKOUT]
    assert (await failure(await operate(world, "Start", unique))).type == "ResourcesUnavailableError"
    assert await has(world, unique, status="INIT", lost=[1], halted=[])
    await (await operate(world, "Start", unique, 2)).result()
    assert await has(world, unique, status="UP", lost=[], halted=[])
    assert (world.stopped, len(world.nodes)) == (set(), 3)


async def test_a_node_that_has_stopped_unseen_is_started_by_a_repair(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique, nodes=3)
    world.stopped.add(*world.of_rank(2))
    assert (await (await operate(world, "Start", unique)).result())["started"] == 3
    assert await has(world, unique, status="UP", lost=[], halted=[])
    assert (world.stopped, len(world.nodes)) == (set(), 3)


async def test_a_cluster_of_which_nothing_is_left_is_not_repaired(world: LossyWorld, unique: str) -> None:
    await with_one_lost(world, unique)
    world.nodes.clear()
    error = await failure(await operate(world, "Start", unique))
    assert (error.type, "has lost all of its nodes" in error.message) == ("ClusterNotUpError", True)
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))


async def test_forced_starts_beside_others_do_not_make_a_node_twice(world: LossyWorld, unique: str) -> None:
    world.ends["1"] = {0: 0, 1: 0}
    request = {"task": {"run": "x", "num_nodes": 2}, "cluster": unique}
    await (await start(world.client, unique, request)).result()
    world.lose(1)
    forced = [await operate(world, "Start", unique, number, force=True) for number in (1, 2)]
    results = await asyncio.gather(*(one.result() for one in forced), return_exceptions=True)
    errors = [one for one in results if isinstance(one, BaseException)]
    assert errors and len(world.nodes) == 2 - (len(errors) == 2)
    if len(errors) == 2:
        assert await has(world, unique, status="INIT", lost=[1])
    assert "Make them anew" in (await failure(forced[results.index(errors[0])])).message


async def test_a_repair_whose_id_was_used_before_touches_nothing_of_that(world: LossyWorld, unique: str) -> None:
    """Somebody starts workflows by hand, and gives two the same id, one after the other."""
    world.ends["1"] = {0: 0, 1: 0}
    request = {"task": {"run": "x", "num_nodes": 2}, "cluster": unique}
    await (await start(world.client, unique, request)).result()
    world.lose(1)
    await cluster(world, unique).execute_update("refresh")
    world.no_create = [STOCKOUT]
    again = await start(world.client, unique, request)
    assert (await failure(again)).type == "ResourcesUnavailableError"
    assert len(world.nodes) == 1
