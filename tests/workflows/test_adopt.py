"""Clusters whose Temporal was lost: every workflow of them is gone, the store and the nodes are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import RPCError

from skyflow.activities.context import Context
from skyflow.activities.life import LifeActivities
from skyflow.errors import NodeUnreachableError, SkyflowError
from skyflow.models import life as models
from skyflow.models.adoption import AdoptRequest, Known, LifeRef
from skyflow.models.calls import ClosingCall, NodeSearch
from skyflow.models.cluster import ClusterState
from skyflow.models.job import JobRecord
from skyflow.models.name import autostop_workflow_id, cluster_workflow_id
from skyflow.models.node import GangRequest, Node, TaggedNode
from skyflow.models.operation import IdleRule
from skyflow.models.status import JobStatus
from skyflow.settings import Settings
from skyflow.store import ledger, life
from skyflow.store.store import Store, open_store
from tests.workflows.conftest import World, offer, served
from tests.workflows.test_launch import closed, start, until
from tests.workflows.test_stop import jobs, launched, operate, submit, view


@dataclass
class LostWorld(World):
    """What is kept of clusters is kept in a real store, by the real activities."""

    store: Store | None = None
    real: LifeActivities | None = None
    dies: int = 0
    """How often an adoption dies half way."""
    hold: asyncio.Event | None = None
    """Nodes that were made are told when this is set."""

    def begin(self, folder: Path, deployment: str) -> None:
        """A namespace of its own, with the same store."""
        self.store = open_store((folder / "store").as_uri())
        settings = Settings.from_env({"SKYFLOW_HOME": str(folder), "SKYFLOW_CHECK_SECONDS": "0.5"})
        context = Context(settings, self.client, self.store, None, deployment, search_attributes=False)  # type: ignore[arg-type]
        self.real = LifeActivities(context)

    @activity.defn
    async def keep_life(self, cluster: str) -> int:
        assert self.real
        return await self.real.keep_life(cluster)

    @activity.defn
    async def list_lives(self, request: AdoptRequest) -> Known:
        assert self.real
        return (await self.real.list_lives(request)).model_copy(update={"places": []})

    @activity.defn
    async def adopt_life(self, life: LifeRef) -> bool:
        assert self.real
        done = await self.real.adopt_life(life)
        if self.dies:
            self.dies -= 1
            raise NodeUnreachableError("The worker died before it could say what it had done.")
        return done

    @activity.defn
    async def create_nodes(self, request: GangRequest) -> list[Node]:
        nodes = await super().create_nodes(request)
        if self.hold is not None:
            await self.hold.wait()
        return nodes

    @activity.defn
    async def close_intervals(self, closing: ClosingCall) -> None:
        assert self.store
        await super().close_intervals(closing)
        await ledger.close(self.store, closing.cluster, closing.uid, closing.ended)
        await life.forget(self.store, closing.cluster, closing.uid)

    @activity.defn
    async def find_nodes(self, search: NodeSearch) -> list[TaggedNode]:
        self.calls.append("find_nodes")
        if self.unknown:
            raise SkyflowError("The cloud does not answer.")
        return [
            TaggedNode(
                deployment=made.deployment,
                cluster=made.cluster,
                uid=made.uid,
                id=token,
                rank=0,
                state="stopped" if token in self.stopped else "running",
            )
            for token, made in self.nodes.items()
            if made.deployment in search.deployments
        ]


@pytest.fixture
async def world(
    temporal_address: str, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LostWorld]:
    monkeypatch.setattr(models, "KEEP_SECONDS", 0.05)
    async with served(temporal_address, tmp_path, LostWorld) as world:
        world.begin(tmp_path, "d")
        yield world
        await terminate(world, unique)


async def terminate(world: LostWorld, name: str) -> None:
    """Ends every workflow of a cluster, the guardian first: nobody looks after anything."""
    running = [execution.id async for execution in world.client.list_workflows("ExecutionStatus = 'Running'")]
    for workflow_id in sorted(one for one in running if f"/{name}/" in f"{one}/"):
        with suppress(RPCError):  # it has ended meanwhile
            await world.client.get_workflow_handle(workflow_id).terminate()


async def lose(world: LostWorld, folder: Path, name: str) -> str:
    """The database is lost as soon as the store knows what there is; another namespace has the same store."""
    handle = world.client.get_workflow_handle(cluster_workflow_id(name))
    uid = str((await view(world, name))["uid"])

    async def is_kept() -> bool:
        assert world.store
        state = await handle.query("life")
        known = await life.read(world.store, name, uid)
        return known is not None and known.state.edition == state["edition"]

    await until(is_kept)
    await terminate(world, name)
    world.calls.clear()
    world.begin(folder, "e")
    return uid


async def adopt(world: LostWorld, name: str, number: int = 1, **request: Any) -> dict[str, Any]:
    found: dict[str, Any] = await world.client.execute_workflow(
        "AdoptWorkflow", request, id=f"adopt/{name}-{number}", task_queue="skyflow"
    )
    return found


async def is_so(answer: Any, wanted: Any) -> bool:
    return bool(await answer == wanted)


async def status(world: World, name: str) -> str:
    return str((await view(world, name))["status"])


def outcome(adoption: dict[str, Any]) -> dict[str, list[str]]:
    return {part: [one["cluster"] for one in adoption[part]] for part in ("adopted", "over", "left") if adoption[part]}


async def test_a_cluster_is_back_with_what_ran_and_what_waited(world: LostWorld, tmp_path: Path, unique: str) -> None:
    await launched(world, unique)
    await submit(world, unique, 2, {"cpus": 2})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    await submit(world, unique, 3, {"cpus": 2})
    await until(lambda: is_so(jobs(world, unique), {1: "SUCCEEDED", 2: "RUNNING", 3: "PENDING"}))
    before = await view(world, unique)
    uid = await lose(world, tmp_path, unique)

    shown = await adopt(world, unique, 1, dryrun=True)
    assert outcome(shown) == {"adopted": [unique]}
    assert await closed(world.client, cluster_workflow_id(unique)), "a dry run does nothing"
    assert outcome(await adopt(world, unique, 2)) == {"adopted": [unique]}
    assert outcome(await adopt(world, unique, 3)) == {}
    await until(lambda: is_so(jobs(world, unique), {2: "RUNNING", 3: "PENDING"}))
    now = await view(world, unique)
    same = ("uid", "status", "launched_at", "place", "price", "ways", "autostop", "next_job", "num_nodes")
    assert {key: now[key] for key in same} == {key: before[key] for key in same}
    assert not await closed(world.client, autostop_workflow_id(unique, uid))

    world.ends["3"] = {0: 0}
    world.ended["2", 0] = 0
    await until(lambda: is_so(jobs(world, unique), {2: "SUCCEEDED", 3: "SUCCEEDED"}))
    assert len(world.ledger) == 1, "its interval goes on"
    world.ends["4"] = {0: 0}
    await (await submit(world, unique, 4, {})).result()
    assert (await (await operate(world, "Down", unique)).result())["deleted"] == 1
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert world.store
    assert await life.lives(world.store) == []


async def test_an_adoption_that_dies_half_way_goes_on(world: LostWorld, tmp_path: Path, unique: str) -> None:
    await launched(world, unique)
    uid = await lose(world, tmp_path, unique)
    world.dies = 2
    assert outcome(await adopt(world, unique)) == {"adopted": [unique]}
    await until(lambda: is_so(status(world, unique), "UP"))
    assert world.store
    known = await life.read(world.store, unique, uid)
    assert known
    assert (known.owner, known.state.deployment) == ("e", "d")


async def test_what_a_lost_launch_was_making_is_deleted(world: LostWorld, tmp_path: Path, unique: str) -> None:
    world.hold = asyncio.Event()
    await start(world.client, unique, {"task": {"run": "x", "setup": "x"}, "cluster": unique})
    await until(lambda: asyncio.sleep(0, bool(world.nodes)))
    uid = await lose(world, tmp_path, unique)
    assert outcome(await adopt(world, unique)) == {"adopted": [unique]}
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    await until(lambda: closed(world.client, autostop_workflow_id(unique, uid)))
    assert world.nodes == {}
    assert world.store
    assert await life.lives(world.store) == []


async def test_a_stopped_cluster_is_stopped_and_its_jobs_wait(world: LostWorld, tmp_path: Path, unique: str) -> None:
    await launched(world, unique)
    await submit(world, unique, 2, {"cpus": 2})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    await submit(world, unique, 3, {"cpus": 2})
    await until(lambda: is_so(jobs(world, unique), {1: "SUCCEEDED", 2: "RUNNING", 3: "PENDING"}))
    await (await operate(world, "Stop", unique)).result()
    await lose(world, tmp_path, unique)
    adoption = await adopt(world, unique)
    assert [one["stopped"] for one in adoption["adopted"]] == [1]
    await until(lambda: is_so(jobs(world, unique), {3: "PENDING"}))
    assert (await view(world, unique))["status"] == "STOPPED"
    world.ends["3"] = {0: 0}
    await (await operate(world, "Start", unique)).result()
    await until(lambda: is_so(jobs(world, unique), {3: "SUCCEEDED"}))


async def test_a_cluster_without_nodes_is_closed_and_a_silent_cloud_closes_nothing(
    world: LostWorld, tmp_path: Path, unique: str
) -> None:
    await launched(world, unique)
    uid = await lose(world, tmp_path, unique)
    world.unknown = True
    assert outcome(await adopt(world, unique, 1)) == {"left": [unique]}
    world.unknown = False
    world.nodes.clear()
    assert outcome(await adopt(world, unique, 2)) == {"over": [unique]}
    assert all(interval.ended for interval in world.ledger.values() if interval.uid == uid)
    assert outcome(await adopt(world, unique, 3)) == {}
    assert await closed(world.client, cluster_workflow_id(unique))


async def test_a_cluster_whose_guardian_lives_is_the_guardians(world: LostWorld, unique: str) -> None:
    await launched(world, unique)
    await submit(world, unique, 2, {"cpus": 2})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    assert world.store
    store = world.store
    uid = str((await view(world, unique))["uid"])

    async def is_kept() -> bool:
        return await life.read(store, unique, uid) is not None

    await until(is_kept)
    await world.client.get_workflow_handle(cluster_workflow_id(unique)).terminate()
    adoption = await adopt(world, unique)
    assert outcome(adoption) == {"left": [unique]}
    assert "guardian" in adoption["left"][0]["reason"]


async def test_a_name_that_is_taken_is_left_alone(world: LostWorld, tmp_path: Path, unique: str) -> None:
    await launched(world, unique)
    await lose(world, tmp_path, unique)
    await (await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique}, 2)).result()
    adoption = await adopt(world, unique)
    assert outcome(adoption) == {"left": [unique]}
    assert (await view(world, unique))["made_by"] == f"launch/{unique}/2"


async def test_a_job_of_which_no_launch_is_known_may_be_lost(world: LostWorld, unique: str) -> None:
    """Only the nodes knew of it, and nobody else is there to be told of its end."""
    node = World.node("t", 0)
    job = JobRecord(id=1, status=JobStatus.RUNNING, ranks=[0], spec="key", started_at=1)
    state = ClusterState(
        name=unique,
        uid="life-1",
        deployment="d",
        check_seconds=0.5,
        nodes=[node],
        offer=offer("a"),
        served=1,
        rule=IdleRule(minutes=60),
        next_job=2,
        jobs={1: job},
    )
    workflow_id = cluster_workflow_id(unique)
    await world.client.start_workflow("ClusterWorkflow", state, id=workflow_id, task_queue="skyflow")

    async def is_lost() -> bool:
        return await jobs(world, unique) == {1: "FAILED_DRIVER"}

    await until(is_lost)
