"""LaunchWorkflow, ClusterWorkflow, JobWorkflow, DownWorkflow and AutostopWorkflow together, without nodes."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from skyflow.errors import CommandError, ProvisionError
from skyflow.models.name import autostop_workflow_id, cluster_workflow_id, job_workflow_id
from tests.workflows.conftest import World, offer


async def start(client: Client, name: str, request: Any, number: int = 1) -> WorkflowHandle[Any, Any]:
    return await client.start_workflow("LaunchWorkflow", request, id=f"launch/{name}/{number}", task_queue="skyflow")


async def until(what: Any) -> None:
    """Waits until it holds."""
    async with asyncio.timeout(20):
        while not await what():  # noqa: ASYNC110  the fact is in another process
            await asyncio.sleep(0.05)


async def failure(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause


async def status_of(client: Client, workflow_id: str) -> WorkflowExecutionStatus | None:
    return (await client.get_workflow_handle(workflow_id).describe()).status


async def closed(client: Client, workflow_id: str) -> bool:
    return await status_of(client, workflow_id) is not WorkflowExecutionStatus.RUNNING


async def stages_in_history(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """The stages as the Web UI shows them: the first words of the activities' summaries, in order."""
    found: list[str] = []
    for event in (await handle.fetch_history()).events:
        summary = json.loads(event.user_metadata.summary.data or '""')
        stage = summary.partition(" · ")[0]
        if event.HasField("activity_task_scheduled_event_attributes") and stage.isupper() and stage not in found:
            found.append(stage)
    return found


TASK = {"name": "train", "run": "true", "setup": "true"}


async def test_a_down_launch_goes_through_all_stages_and_leaves_nothing(world: World, unique: str) -> None:
    world.ends["1"] = {0: 0}
    request = {"task": TASK, "cluster": unique, "down": True, "workdir": "s", "file_mounts": {"/m": "s"}}
    handle = await start(world.client, unique, request)
    result = await handle.result()
    assert (result["status"], result["job_id"], result["down"]) == ("SUCCEEDED", 1, True)
    stages = [stage["name"] for stage in (await handle.query("progress"))["stages"]]
    assert stages == ["OPTIMIZE", "PROVISION", "SYNC_WORKDIR", "SYNC_FILE_MOUNTS", "SETUP", "PRE_EXEC", "EXEC", "DOWN"]
    assert world.nodes == {}
    uid = result["uid"]
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    await until(lambda: closed(world.client, autostop_workflow_id(unique, uid)))
    await until(lambda: closed(world.client, job_workflow_id(unique, uid, 1)))
    assert "record_job 1 SUCCEEDED" in world.calls


async def test_two_clusters_of_one_moment_have_lives_of_their_own(world: World, unique: str) -> None:
    names = [f"{unique}-{number}" for number in range(3)]
    world.ends["1"] = {0: 0}
    task = {"run": "x"}
    launches = [await start(world.client, name, {"task": task, "cluster": name, "down": True}) for name in names]
    uids = [(await launch.result())["uid"].partition("-")[2] for launch in launches]
    assert len(set(uids)) == 3, uids


async def test_failover_walks_the_plan_and_deletes_partial_gangs(world: World, unique: str) -> None:
    world.offers = [offer("a", 1), offer("b", 2), offer("c", 3)]
    world.failures = {
        "a": ProvisionError("no capacity", scope="zone", code="Stockout"),
        "b": ProvisionError("quota", "zone"),
    }
    world.ends["1"] = {0: 0, 1: 0}
    handle = await start(world.client, unique, {"task": {"run": "true", "num_nodes": 2}, "cluster": unique})
    result = await handle.result()
    assert result["offer"]["zone"] == "c"
    assert len(world.nodes) == 2
    made = [call for call in world.calls if call.startswith(("create", "delete"))]
    assert made == ["create_nodes a", "delete_nodes", "create_nodes b", "delete_nodes", "create_nodes c"]
    attempts = (await handle.query("progress"))["attempts"]
    assert [(a["place"], a["error"], a["code"]) for a in attempts] == [
        ("fake/r/a", "no capacity", "Stockout"),
        ("fake/r/b", "quota", ""),
        ("fake/r/c", "", ""),
    ]


async def test_c02_the_failover_history_tells_infeasible_from_unavailable(world: World, unique: str) -> None:
    world.failures = {"a": ProvisionError("none"), "b": ProvisionError("none")}
    cause = await failure(await start(world.client, unique, {"task": TASK, "cluster": unique}))
    assert cause.type == "ResourcesUnavailableError"
    assert [attempt["place"] for attempt in cause.details[0]["failover_history"]] == ["fake/r/a", "fake/r/b"]
    world.offers = []
    cause = await failure(await start(world.client, unique, {"task": TASK, "cluster": unique}, 2))
    assert cause.details[0]["failover_history"] == []
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))


async def test_retry_until_up_waits_visibly_and_goes_on(world: World, unique: str) -> None:
    world.failures = {"a": ProvisionError("no capacity"), "b": ProvisionError("no capacity either")}
    world.ends["1"] = {0: 0}
    request = {"task": {"run": "true"}, "cluster": unique, "retry_until_up": True}
    handle = await start(world.client, unique, request)
    said = ""

    async def waits() -> bool:
        nonlocal said
        said = (await handle.query("progress"))["waiting_for"] or said
        return world.calls.count("create_nodes a") > 1

    await until(waits)
    assert re.match(r"nodes: none of 2 offer\(s\) can give them now, next try in \d+ s; the last said: no cap", said)
    world.failures = {}
    result = await handle.result()
    assert (result["status"], len(world.nodes)) == ("SUCCEEDED", 1)
    assert (await handle.query("progress"))["waiting_for"] == ""
    stages = [stage["name"] for stage in (await handle.query("progress"))["stages"]]
    assert stages.count("PROVISION") == stages.count("OPTIMIZE") == 1


async def test_retry_until_up_can_be_cancelled_and_does_not_wait_for_what_never_fits(world: World, unique: str) -> None:
    world.failures = {"a": ProvisionError("none"), "b": ProvisionError("none")}
    request = {"task": {"run": "true"}, "cluster": unique, "retry_until_up": True}
    handle = await start(world.client, unique, request)

    async def tried() -> bool:
        return "create_nodes b" in world.calls

    await until(tried)
    await handle.signal("cancel")
    assert (await failure(handle)).type == "LaunchCancelledError"
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert world.nodes == {}
    world.offers = []
    assert (await failure(await start(world.client, unique, request, 2))).type == "ResourcesUnavailableError"


async def test_a_cloud_wide_failure_skips_the_rest_of_that_cloud(world: World, unique: str) -> None:
    world.failures = {"a": ProvisionError("no access", scope="cloud")}
    await failure(await start(world.client, unique, {"task": TASK, "cluster": unique}))
    assert "create_nodes b" not in world.calls


async def test_e16_e32_exec_neither_plans_nor_sets_up(world: World, unique: str) -> None:
    world.ends = {"1": {0: 0}, "2": {0: 0}}
    await (await start(world.client, unique, {"task": TASK, "cluster": unique})).result()
    world.calls.clear()
    request = {"task": TASK, "cluster": unique, "stages": ["SYNC_WORKDIR", "EXEC"], "file_mounts": {"/m": "s"}}
    result = await (await start(world.client, unique, request, 2)).result()
    assert (result["job_id"], result["status"]) == (2, "SUCCEEDED")
    assert {call.split()[0] for call in world.calls} <= {"start_gang", "record_job", "list_ended", "lease_nodes"}


async def test_e34_exec_on_an_unknown_cluster(world: World, unique: str) -> None:
    request = {"task": TASK, "cluster": unique, "stages": ["SYNC_WORKDIR", "EXEC"]}
    assert (await failure(await start(world.client, unique, request))).type == "ClusterDoesNotExist"


async def test_setup_that_fails_leaves_the_nodes_under_the_safety_rule(world: World, unique: str) -> None:
    def fail(request: Any) -> None:
        raise CommandError("Setup failed with exit code 3 on node 0.", 3, 1)

    world.setup = fail
    cause = await failure(await start(world.client, unique, {"task": TASK, "cluster": unique}))
    assert cause.type == "CommandError"
    assert "60 idle minutes" in cause.message
    assert cause.details[0] == {"returncode": 3, "job_id": 1}
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
    (job,) = await cluster.query("queue")
    assert job["status"] == "FAILED_SETUP"
    view = await cluster.query("status")
    assert (view["safety"], view["autostop"], view["num_nodes"]) == (True, 60, 1)


async def test_the_gang_stops_when_one_rank_fails(world: World, unique: str) -> None:
    world.ends["1"] = {1: 7}
    result = await (
        await start(world.client, unique, {"task": {"run": "x", "num_nodes": 3}, "cluster": unique})
    ).result()
    assert (result["status"], result["returncode"]) == ("FAILED", 7)
    assert world.ended == {("1", 1): 7, ("1", 0): 137, ("1", 2): 137}


async def test_cancelling_a_launch_stops_its_job_and_deletes_its_nodes(world: World, unique: str) -> None:
    handle = await start(world.client, unique, {"task": {"run": "sleep"}, "cluster": unique})

    async def running() -> bool:
        return "1" in world.started

    await until(running)
    await handle.signal("cancel")
    assert (await failure(handle)).type == "LaunchCancelledError"
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert world.nodes == {}
    assert "record_job 1 CANCELLED" in world.calls


async def test_cancelling_in_the_web_ui_does_the_same_and_shows_canceled(world: World, unique: str) -> None:
    handle = await start(world.client, unique, {"task": {"run": "sleep"}, "cluster": unique})

    async def running() -> bool:
        return "1" in world.started

    await until(running)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert await status_of(world.client, handle.id) is WorkflowExecutionStatus.CANCELED
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert world.nodes == {}


async def test_down_during_a_job(world: World, unique: str) -> None:
    handle = await start(world.client, unique, {"task": {"run": "sleep"}, "cluster": unique, "detach_run": True})
    assert (await handle.result())["status"] == "PENDING"
    down = await world.client.start_workflow(
        "DownWorkflow", {"cluster": unique}, id=f"down/{unique}/1", task_queue="skyflow"
    )
    assert (await down.result())["deleted"] == 1
    assert world.ended == {("1", 0): 137}


async def test_a_lost_watch_costs_seconds_not_the_job(world: World, unique: str) -> None:
    world.watched = False
    world.ends["1"] = {0: 0}
    result = await (await start(world.client, unique, {"task": {"run": "true"}, "cluster": unique})).result()
    assert result["status"] == "SUCCEEDED"
    assert "list_ended" in world.calls


@pytest.mark.parametrize(
    "request_",
    ["text", {"task": 3}, {"task": {"run": "x"}, "stages": ["NONSENSE"]}, {"task": {"run": "x"}, "cluster": "9"}],
)
async def test_a_bad_start_input_fails_at_once(world: World, unique: str, request_: Any) -> None:
    handle = await start(world.client, unique, request_)
    async with asyncio.timeout(10):
        cause = await failure(handle)
    assert cause.type in ("InvalidTaskError", "InvalidClusterNameError")
    assert "\n" not in cause.message


async def test_local_paths_need_a_snapshot(world: World, unique: str) -> None:
    handle = await start(world.client, unique, {"task": {"run": "x", "workdir": "."}, "cluster": unique})
    assert "must carry its snapshot" in (await failure(handle)).message


async def test_a_dry_run_makes_nothing(world: World, unique: str) -> None:
    result = await (await start(world.client, unique, {"task": TASK, "cluster": unique, "dryrun": True})).result()
    assert [o["zone"] for o in result["plan"]] == ["a", "b"]
    assert world.calls == ["rank_offers"]


async def test_a_dry_run_on_a_cluster_that_is_there_uses_it(world: World, unique: str) -> None:
    world.ends["1"] = {0: 0}
    await (await start(world.client, unique, {"task": TASK, "cluster": unique})).result()
    world.calls.clear()
    request = {"task": TASK, "cluster": unique, "dryrun": True}
    for stages in (None, ["EXEC"]):
        result = await (await start(world.client, unique, {**request, "stages": stages})).result()
        assert (result["plan"], result["num_nodes"], result["offer"]["zone"]) == ([], 1, "a")
    for task in ({**TASK, "num_nodes": 2}, {**TASK, "resources": {"cpus": "64+"}}):
        cause = await failure(await start(world.client, unique, {**request, "task": task}))
        assert cause.type == "ResourcesMismatchError"
    assert not [one for one in world.calls if one != "watch_nodes" and not one.startswith("lease_nodes")]


async def test_c01_a_task_that_does_not_fit_the_cluster(world: World, unique: str) -> None:
    world.ends["1"] = {0: 0}
    await (await start(world.client, unique, {"task": TASK, "cluster": unique})).result()
    cause = await failure(await start(world.client, unique, {"task": {**TASK, "num_nodes": 2}, "cluster": unique}, 2))
    assert cause.type == "ResourcesMismatchError"


class TestTermination:
    """Somebody presses Terminate in the Web UI."""

    async def running(self, world: World, unique: str, **more: Any) -> WorkflowHandle[Any, Any]:
        handle = await start(world.client, unique, {"task": {"run": "sleep"}, "cluster": unique, **more})

        async def is_running() -> bool:
            return "1" in world.started

        await until(is_running)
        return handle

    async def uid(self, world: World, unique: str) -> str:
        view = await world.client.get_workflow_handle(cluster_workflow_id(unique)).query("status")
        return str(view["uid"])

    async def test_of_a_launch_leaves_its_job_to_the_cluster(self, world: World, unique: str) -> None:
        handle = await self.running(world, unique)
        await handle.terminate()
        world.ended["1", 0] = 0
        cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))

        async def released() -> bool:
            return (await cluster.query("status"))["idle_since"] is not None

        await until(released)
        assert (await cluster.query("queue"))[0]["status"] == "SUCCEEDED"

    async def test_of_a_launch_that_makes_nodes_deletes_them(self, world: World, unique: str) -> None:
        world.failures = {"a": ProvisionError("later", scope="retry")}
        handle = await start(world.client, unique, {"task": TASK, "cluster": unique})

        async def trying() -> bool:
            return len(world.nodes) == 1

        await until(trying)
        await handle.terminate()
        await until(lambda: closed(world.client, cluster_workflow_id(unique)))
        assert world.nodes == {}

    async def test_of_a_job_stops_it_and_tells_its_launch(self, world: World, unique: str) -> None:
        handle = await self.running(world, unique)
        job = job_workflow_id(unique, await self.uid(world, unique), 1)
        await world.client.get_workflow_handle(job).terminate()
        result = await handle.result()
        assert (result["status"], result["reason"]) == ("FAILED_DRIVER", "The job's workflow was terminated.")
        assert world.ended == {("1", 0): 137}

    async def test_of_the_cluster_lets_the_job_end_and_deletes_the_nodes(self, world: World, unique: str) -> None:
        handle = await self.running(world, unique, down=True)
        uid = await self.uid(world, unique)
        await world.client.get_workflow_handle(cluster_workflow_id(unique)).terminate()
        world.ended["1", 0] = 0
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        await until(lambda: closed(world.client, autostop_workflow_id(unique, uid)))
        assert world.nodes == {}
        assert uid not in world.lives

    async def test_of_the_guardian_starts_another(self, world: World, unique: str) -> None:
        handle = await self.running(world, unique)
        guardian = world.client.get_workflow_handle(autostop_workflow_id(unique, await self.uid(world, unique)))
        first = (await guardian.describe()).run_id
        await guardian.terminate()

        async def again() -> bool:
            description = await guardian.describe()
            return description.run_id != first and description.status is WorkflowExecutionStatus.RUNNING

        await until(again)
        await handle.signal("cancel")
        await until(lambda: closed(world.client, cluster_workflow_id(unique)))

    async def test_of_a_down_is_taken_up_again(self, world: World, unique: str) -> None:
        handle = await self.running(world, unique, detach_run=True)
        await handle.result()
        down = await world.client.start_workflow(
            "DownWorkflow", {"cluster": unique}, id=f"down/{unique}/1", task_queue="nobody polls this"
        )
        await down.terminate()
        await (
            await world.client.start_workflow(
                "DownWorkflow", {"cluster": unique}, id=f"down/{unique}/2", task_queue="skyflow"
            )
        ).result()
        assert world.nodes == {}
