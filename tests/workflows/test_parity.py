"""Rows of the parity list (docs/parity.md) that are decided in workflows, each by its number."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import skyflow
from skyflow.errors import CommandError, NotSupportedError, ProvisionError
from skyflow.models.name import cluster_workflow_id
from skyflow.models.stage import Stage
from skyflow.models.support import check_launchable
from tests.workflows.conftest import World, offer
from tests.workflows.test_launch import closed, failure, start, until
from tests.workflows.test_stop import operate

FULL = {"name": "t", "run": "true", "setup": "true", "workdir": "/x", "file_mounts": {"~/m": "/x"}}
SNAPSHOTS = {"workdir": "s", "file_mounts": {"~/m": "s"}}


async def view_of(world: World, unique: str) -> dict[str, Any]:
    view: dict[str, Any] = await world.client.get_workflow_handle(cluster_workflow_id(unique)).query("status")
    return view


def kinds(world: World) -> list[str]:
    """What was called, in order, without what comes when it likes."""
    return [kind for call in world.calls if (kind := call.split()[0]) not in ("list_ended", "lease_nodes")]


def test_e06_e30_launch_takes_skypilots_parameters() -> None:
    names = list(inspect.signature(skyflow.launch).parameters)
    assert (
        names
        == (
            "task cluster_name retry_until_up idle_minutes_to_autostop dryrun down stream_logs backend optimize_target "
            "detach_setup detach_run no_setup handle wait_for clone_disk_from fast resize"
        ).split()
    )


def test_e32_exec_takes_skypilots_parameters() -> None:
    names = list(inspect.signature(skyflow.exec).parameters)
    assert names == "task cluster_name dryrun down stream_logs backend detach_run".split()


def test_e08_a_task_with_spot_recovery_is_not_launched_as_an_ordinary_one() -> None:
    task = skyflow.Task.from_yaml_config({"run": "x", "resources": {"spot_recovery": "FAILOVER"}})
    with pytest.raises(ValueError, match="Spot recovery is specified in the task"):
        check_launchable(task)


def test_e11_another_backend_is_refused() -> None:
    with pytest.raises(NotSupportedError, match="backend"):
        skyflow.launch(skyflow.Task(run="x"), backend="LocalDockerBackend")


async def test_e09_e16_e20_an_existing_cluster_is_neither_planned_nor_provisioned(world: World, unique: str) -> None:
    world.ends = {"1": {0: 0}, "2": {0: 0}}
    await (await start(world.client, unique, {"task": FULL, "cluster": unique, **SNAPSHOTS})).result()
    assert kinds(world)[:2] == ["rank_offers", "create_nodes"]
    world.calls.clear()
    await (await start(world.client, unique, {"task": FULL, "cluster": unique, **SNAPSHOTS}, 2)).result()
    assert not {"rank_offers", "create_nodes"} & set(kinds(world))
    assert kinds(world)[:3] == ["sync_workdir", "sync_file_mounts", "run_setup"]


async def test_e10_all_stages_by_default_in_order(world: World, unique: str) -> None:
    world.ends["1"] = {0: 0}
    handle = await start(world.client, unique, {"task": FULL, "cluster": unique, "down": True, **SNAPSHOTS})
    await handle.result()
    stages = [stage["name"] for stage in (await handle.query("progress"))["stages"]]
    assert stages == [stage.name for stage in Stage]


async def test_e18_the_failover_order_is_part_of_the_plan(world: World, unique: str) -> None:
    """There is no callback that plans again: the plan lists every offer, and the walk goes on in it."""
    world.failures = {"a": ProvisionError("full")}
    world.ends["1"] = {0: 0}
    handle = await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique})
    assert (await handle.result())["offer"]["zone"] == "b"
    assert kinds(world).count("rank_offers") == 1


async def test_e22_e23_nothing_to_sync_is_not_synced(world: World, unique: str) -> None:
    world.ends["1"] = {0: 0}
    await (await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique})).result()
    assert not {"sync_workdir", "sync_file_mounts", "run_setup"} & set(kinds(world))


async def test_e12_e27_down_waits_for_the_end_of_the_nodes(world: World, unique: str) -> None:
    world.ends["1"] = {0: 0}
    request = {"task": {"run": "x"}, "cluster": unique, "down": True}
    result = await (await start(world.client, unique, request)).result()
    assert result["down"]
    assert world.nodes == {}


async def test_e14_exec_with_down_takes_the_cluster_down(world: World, unique: str) -> None:
    world.ends = {"1": {0: 0}, "2": {0: 0}}
    await (await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique})).result()
    request = {"task": {"run": "x"}, "cluster": unique, "stages": ["SYNC_WORKDIR", "EXEC"], "down": True}
    assert (await (await start(world.client, unique, request, 2)).result())["down"]
    assert world.nodes == {}


async def test_e25_e31_the_users_idle_rule_is_set_after_setup(world: World, unique: str) -> None:
    rules: list[Any] = []
    world.ends["1"] = {0: 0}
    request = {"task": FULL, "cluster": unique, "down": True, "idle_minutes_to_autostop": 7, **SNAPSHOTS}
    handle = await start(world.client, unique, request)
    result = await handle.result()
    rules.append((await view_of(world, unique))["autostop"])
    assert rules == [7]
    assert not result["down"]  # E14: the rule does it, later
    stages = [stage["name"] for stage in (await handle.query("progress"))["stages"]]
    assert stages.index("SETUP") < stages.index("PRE_EXEC") < stages.index("EXEC")
    assert "DOWN" not in stages


async def test_e13_idle_0_means_0(world: World, unique: str) -> None:
    world.ends["1"] = {0: 0}
    request = {"task": {"run": "x"}, "cluster": unique, "down": True, "idle_minutes_to_autostop": 0}
    await (await start(world.client, unique, request)).result()
    await until(lambda: closed(world.client, cluster_workflow_id(unique)))
    assert world.nodes == {}


async def test_e26_the_cluster_is_given_back_however_the_job_ends(world: World, unique: str) -> None:
    world.ends["1"] = {0: 9}
    result = await (await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique})).result()
    assert result["status"] == "FAILED"
    assert (await view_of(world, unique))["idle_since"] is not None


async def test_e28_a_failure_leaves_the_nodes_with_the_rule_armed(world: World, unique: str) -> None:
    def fail(request: Any) -> None:
        raise CommandError("Setup failed.", 1, 1)

    world.setup = fail
    await failure(await start(world.client, unique, {"task": FULL, "cluster": unique, **SNAPSHOTS}))
    view = await view_of(world, unique)
    assert (view["num_nodes"], view["safety"]) == (1, True)
    assert view["idle_since"] is not None


async def test_e35_exec_goes_through_the_queue_to_free_nodes(world: World, unique: str) -> None:
    launch = {"task": {"run": "x", "num_nodes": 2}, "cluster": unique, "detach_run": True}
    world.ends["1"] = {0: 0, 1: 0}
    await (await start(world.client, unique, launch)).result()
    for number in (2, 3):
        request = {"task": {"run": "x"}, "cluster": unique, "stages": ["EXEC"], "detach_run": True}
        await (await start(world.client, unique, request, number)).result()

    async def both() -> bool:
        return {"2", "3"} <= world.started.keys()

    await until(both)
    assert {world.started["2"][0], world.started["3"][0]} == {0, 1}


async def test_c01_the_result_names_job_and_cluster(world: World, unique: str) -> None:
    world.offers = [offer("z")]
    world.ends["1"] = {0: 0}
    result = await (await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique})).result()
    assert (result["job_id"], result["cluster"], result["num_nodes"]) == (1, unique, 1)
    nothing = await (await start(world.client, unique, {"task": {}, "cluster": unique}, 2)).result()
    assert nothing["job_id"] is None


async def test_c03_exec_returns_the_jobs_number(world: World, unique: str) -> None:
    world.ends = {"1": {0: 0}, "2": {0: 0}}
    await (await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique})).result()
    request = {"task": {"run": "x"}, "cluster": unique, "stages": ["SYNC_WORKDIR", "EXEC"]}
    assert (await (await start(world.client, unique, request, 2)).result())["job_id"] == 2


async def test_e30_a_fast_launch_skips_setup_on_a_cluster_that_is_up_and_only_there(world: World, unique: str) -> None:
    task = {"setup": "s", "run": "x"}
    for number, setups in ((1, 1), (2, 1), (3, 2)):
        if number == 3:
            await (await operate(world, "Stop", unique)).result()
        world.ends[str(number)] = {0: 0}
        request = {"task": task, "cluster": unique, "fast": True}
        result = await (await start(world.client, unique, request, number)).result()
        assert (result["status"], world.calls.count("run_setup 0")) == ("SUCCEEDED", setups)
