"""Webhooks and callbacks, with the real workflows, a real receiver, and what may come between."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity

from skyflow.client import Client
from skyflow.models.change import Change, Told
from skyflow.models.cluster import ClusterState
from skyflow.models.name import cluster_workflow_id
from skyflow.workflows import telling
from tests.conftest import free_port
from tests.listeners.receiver import Receiver, receive
from tests.workflows.conftest import World, served
from tests.workflows.test_launch import closed, failure, start, until
from tests.workflows.test_stop import jobs, launched, operate

STORY = [
    "cluster INIT",
    "cluster UP",
    "job 1 SETTING_UP",
    "job 1 PENDING",
    "job 1 RUNNING",
    "job 1 SUCCEEDED",
    "cluster AUTOSTOPPING",
    "cluster DOWN",
]
TASK = {"name": "train", "run": "x", "setup": "true"}


@dataclass
class DyingWorld(World):
    """A worker that dies after it has told something, before it can say so."""

    deaths: int = 0

    @activity.defn
    async def post_changes(self, changes: list[Change]) -> Told:
        told = await super().post_changes(changes)
        self.die()
        return told

    @activity.defn
    async def run_callbacks(self, changes: list[Change]) -> None:
        await super().run_callbacks(changes)
        self.die()

    def die(self) -> None:
        if self.deaths:
            self.deaths -= 1
            raise RuntimeError("the worker is gone")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as one:
        yield one


@pytest.fixture
async def world(temporal_address: str, tmp_path: Path, receiver: Receiver) -> AsyncIterator[DyingWorld]:
    async with served(temporal_address, tmp_path, DyingWorld, SKYFLOW_WEBHOOKS=receiver.url) as world:
        yield world


async def launch_and_down(world: World, name: str) -> None:
    world.ends["1"] = {0: 0}
    handle = await start(world.client, name, {"task": TASK, "cluster": name, "down": True})
    assert (await handle.result())["down"]


async def heard(receiver: Receiver, name: str, story: list[str]) -> None:
    await until(lambda: asyncio.sleep(0, len(receiver.of(name)) >= len(story)))
    assert receiver.of(name) == story


async def test_a_webhook_is_told_the_story_once_and_in_order(
    world: DyingWorld, receiver: Receiver, unique: str
) -> None:
    world.deaths = 3
    await launch_and_down(world, unique)
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert receiver.of(unique) == STORY
    came = receiver.tries(unique)
    assert [body["number"] for body in came] == list(range(1, 9)), "nothing that was acknowledged is sent again"
    assert {body["place"] for body in came[1:]} == {"fake/r/a"}


async def test_a_receiver_that_fails_is_told_everything_in_order_later(
    world: DyingWorld, receiver: Receiver, unique: str
) -> None:
    receiver.answers, receiver.only = [500, 302, 404, 0], unique
    await launch_and_down(world, unique)
    await heard(receiver, unique, STORY)
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    came = receiver.tries(unique)
    ids = [body["event"] for body in came]
    assert ids == sorted(ids)
    assert ids[:5] == ids[:1] * 5, "each try has the same id"
    assert {f"{unique}/{came[0]['uid']}/{number}" for number in range(1, 9)} == set(ids)


async def test_a_cluster_that_is_down_is_gone_for_its_user_though_a_receiver_is_away(
    temporal_address: str, tmp_path: Path, receiver: Receiver, unique: str
) -> None:
    port = free_port()
    urls = f"http://127.0.0.1:{port}/away,{receiver.url}"
    async with served(temporal_address, tmp_path, World, SKYFLOW_WEBHOOKS=urls) as world:
        await launch_and_down(world, unique)
        await heard(receiver, unique, STORY)  # one does not wait for the other
        assert not await closed(world.client, cluster_workflow_id(unique))
        client = Client(world.client, None, world.context.settings)  # type: ignore[arg-type,union-attr]

        async def is_listed() -> bool:
            return unique in [row["name"] for row in await client.status()]

        await until(lambda: _not(is_listed()))
        assert await client.status([unique]) == []
        assert await client.shown(unique) is None
        await launch_again(world, unique)
        with receive(port) as late:
            down = await operate(world, "Down", unique)
            await down.result()
            await until(lambda: closed(world.client, cluster_workflow_id(unique)))
            assert late.of(unique) == receiver.of(unique)
            assert late.of(unique)[: len(STORY)] == STORY
        ids = [body["event"] for body in receiver.tries(unique)]
        assert len(ids) == len(set(ids))


async def launch_again(world: World, name: str) -> None:
    world.ends["2"] = {0: 0}
    handle = await start(world.client, name, {"task": TASK, "cluster": name}, 2)
    assert (await handle.result())["status"] == "SUCCEEDED"


@dataclass
class DeafWorld(World):
    """Nobody acknowledges anything."""

    tries: int = 0

    @activity.defn
    async def post_changes(self, changes: list[Change]) -> Told:
        self.tries += 1
        return Told(number=0, trouble="deaf")


async def test_a_backlog_does_not_make_a_receiver_that_is_away_be_tried_without_a_pause(
    temporal_address: str, tmp_path: Path, unique: str
) -> None:
    async with served(temporal_address, tmp_path, DeafWorld, SKYFLOW_WEBHOOKS="http://127.0.0.1:9/") as world:
        changes = [Change(number=number, time=time.time(), kind="cluster", after="UP") for number in range(1, 61)]
        state = ClusterState(name=unique, uid="u", served=1, guarded=True, check_seconds=1, noted=60, unposted=changes)
        state.nodes = [world.node("n", 0)]  # so that it stays
        cluster = await world.client.start_workflow(
            "ClusterWorkflow", state, id=cluster_workflow_id(unique), task_queue="skyflow"
        )
        await until(lambda: asyncio.sleep(0, world.tries > 0))
        await asyncio.sleep(1)
        await cluster.terminate()
        assert world.tries <= 2


async def test_only_a_pause_that_was_waited_out_makes_the_next_one_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    news, waited = [True] * 6 + [False, False, True, False], []

    async def wait_for(what: Any, seconds: float, summary: str) -> bool:
        waited.append(seconds)
        if len(waited) > len(news):
            raise asyncio.CancelledError
        return news[len(waited) - 1]

    async def nothing(*args: Any) -> Told:
        return Told(number=0, trouble="away")

    change = Change(number=1, time=time.time(), kind="cluster", after="UP")
    state = ClusterState(name="c", uid="u", noted=1, unposted=[change])
    assert state.check_seconds >= telling.FIRST_PAUSE
    monkeypatch.setattr(telling, "wait_for", wait_for)
    monkeypatch.setattr(telling.workflow, "wait_condition", nothing)
    monkeypatch.setattr(telling.Telling, "_call", nothing)
    monkeypatch.setattr(telling.workflow, "logger", logging.getLogger("test"))
    with pytest.raises(asyncio.CancelledError):
        await telling.Telling(state, time.time)._tell("webhook")
    assert waited == [10.0] * 7 + [20.0, 40.0, 40.0, 80.0]


async def test_nothing_is_lost_or_told_twice_when_the_cluster_begins_a_new_history(
    short_history_address: str, tmp_path: Path, unique: str
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/x"
    async with served(short_history_address, tmp_path, World, SKYFLOW_WEBHOOKS=url) as world:
        await launched(world, unique)
        cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
        first = (await cluster.describe()).run_id
        for minutes in range(60, 90):
            await cluster.signal("autostop", {"minutes": minutes})

        async def began_anew() -> bool:
            return (await cluster.describe()).run_id != first

        await until(began_anew)
        with receive(port) as late:
            story = ["cluster INIT", "cluster UP", "job 1 PENDING", "job 1 RUNNING", "job 1 SUCCEEDED"]
            await heard(late, unique, story)
            assert len(late.tries(unique)) == len(story)


async def test_without_a_webhook_and_a_callback_nothing_is_scheduled(
    temporal_address: str, tmp_path: Path, unique: str
) -> None:
    async with served(temporal_address, tmp_path, World) as world:
        await launched(world, unique)
        history = await world.client.get_workflow_handle(cluster_workflow_id(unique)).fetch_history()
        names = {event.activity_task_scheduled_event_attributes.activity_type.name for event in history.events}
        assert not names & {"post_changes", "run_callbacks", "keep_callback"}


async def test_k08_a_callback_runs_once_for_each_state_of_its_job(
    world: DyingWorld, tmp_path: Path, unique: str
) -> None:
    world.deaths = 2
    log = tmp_path / "log"
    callback = f'echo "$JOB_ID $JOB_STATUS $TASK_NAME $CLUSTER_NAME $WHO" >> {log}; exit 1'
    task = {**TASK, "event_callback": callback, "envs": {"WHO": "ada"}}
    world.ends["1"] = {0: 0}
    handle = await start(world.client, unique, {"task": task, "cluster": unique, "down": True})
    assert (await handle.result())["status"] == "SUCCEEDED", "a callback that fails changes nothing"
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    states = ["SETTING_UP", "PENDING", "RUNNING", "SUCCEEDED"]
    assert log.read_text().splitlines() == [f"1 {state} train {unique} ada" for state in states]
    runs = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("store/callbacks/*/*/*-[0-9].json"))]
    assert [(run["status"], run["returncode"]) for run in runs] == [(state, 1) for state in states]
    history = await world.client.get_workflow_handle(cluster_workflow_id(unique)).fetch_history()
    assert str(log) not in history.to_json()


async def test_a_job_that_is_cancelled_while_it_waits_has_its_callback(
    world: DyingWorld, tmp_path: Path, unique: str
) -> None:
    task = {"run": "x", "event_callback": f"echo $JOB_STATUS >> {tmp_path}/log", "resources": {"cpus": 2}}
    await start(world.client, unique, {"task": {"run": "x", "resources": {"cpus": 2}}, "cluster": unique})
    await until(lambda: asyncio.sleep(0, "1" in world.started))
    waits = await start(world.client, unique, {"task": task, "cluster": unique}, 2)

    async def is_pending() -> bool:
        return (await jobs(world, unique)).get(2) == "PENDING"

    await until(is_pending)
    await world.client.get_workflow_handle(cluster_workflow_id(unique)).signal("cancel", {"jobs": [2]})
    assert (await waits.result())["status"] == "CANCELLED"
    await until(lambda: asyncio.sleep(0, (tmp_path / "log").exists() and read(tmp_path) == ["PENDING", "CANCELLED"]))


async def _not(what: Awaitable[bool]) -> bool:
    return not await what


def read(folder: Path) -> list[str]:
    return (folder / "log").read_text().split()


async def test_workers_that_run_no_callbacks_refuse_the_launch_before_anything_is_made(
    temporal_address: str, tmp_path: Path, unique: str
) -> None:
    async with served(temporal_address, tmp_path, World, SKYFLOW_EVENT_CALLBACKS="off") as world:
        request: dict[str, Any] = {"task": {**TASK, "event_callback": "true"}, "cluster": unique}
        error = await failure(await start(world.client, unique, request))
        assert error.type == "NotSupportedError"
        assert error.message.startswith("event_callback: ")
        assert "SKYFLOW_EVENT_CALLBACKS" in error.message
        assert [call for call in world.calls if not call.startswith("lease_nodes")] == []  # of other tests' clusters
