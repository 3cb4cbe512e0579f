"""What a task says, and what becomes of it in a launch: choices, accelerators, idle rules, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from skyflow.errors import ProvisionError
from skyflow.models.calls import SetupRequest
from tests.workflows.conftest import World, offer
from tests.workflows.test_launch import failure, start

GPU = {"run": "x", "setup": "y", "resources": {"any_of": [{"accelerators": "A100:1.5"}, {"accelerators": "H100:8"}]}}


async def test_a_long_plan_is_walked_in_pages(world: World, unique: str) -> None:
    world.ends["1"] = {0: 0}
    world.offers = [offer(zone, price) for price, zone in enumerate("abcdefg")]
    world.page = 2
    world.failures = {zone: ProvisionError("no capacity", scope="zone") for zone in "abcde"}
    world.failures["c"] = ProvisionError("quota", scope="region", code="Quota")
    world.offers[2] = world.offers[2].model_copy(update={"region": "other"})
    result = await (await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique})).result()
    assert result["offer"]["zone"] == "f"
    assert [request.offer.zone for request in world.tried] == list("abcdef")
    assert [request.offer_index for request in world.tried] == [0, 1, 2, 3, 4, 5]
    assert [request.after and request.after.zone for request in world.asked] == [None, "b", "d"]
    assert [[rule.region for rule in request.blocked] for request in world.asked] == [[], [], ["other"]]


async def test_when_all_pages_have_failed_the_error_tells_every_place(world: World, unique: str) -> None:
    zones = "abcdefghij"
    world.offers, world.page = [offer(zone) for zone in zones], 2
    world.failures = {zone: ProvisionError("no capacity", scope="zone") for zone in zones}
    error = await failure(await start(world.client, unique, {"task": {"run": "x"}, "cluster": unique}))
    assert error.type == "ResourcesUnavailableError"
    assert [attempt["place"] for attempt in error.details[0]["failover_history"]] == [f"fake/r/{z}" for z in zones]
    assert "Tried 10: fake/r/c (t): no capacity; " in error.message
    assert "fake/r/j (t): no capacity; and 2 before them. Wait for them" in error.message


async def test_the_plan_is_asked_for_what_the_task_says(world: World, unique: str) -> None:
    task = {
        "run": "x",
        "num_nodes": 2,
        "blocked_resources": [{"infra": "aws/us-east-1", "use_spot": True}],
        "resources": {
            "ports": 80,
            "max_hourly_cost": 3,
            "ordered": [{"accelerators": "V100:2", "use_spot": True}, {"cpus": "4+", "memory": "4x", "arch": "arm64"}],
        },
    }
    request = {"task": task, "cluster": unique, "dryrun": True, "clouds": ["fake"]}
    result = await (await start(world.client, unique, request)).result()
    assert (len(result["plan"]), result["num_offers"], world.calls) == (2, 2, ["rank_offers"])
    (asked,) = world.asked
    assert (asked.ordered, asked.num_nodes, asked.clouds) == (True, 2, ["fake"])
    first, second = asked.resources
    assert (first.accelerators, first.use_spot, first.max_hourly_cost) == ({"V100": 2}, True, 3)
    assert (second.cpus, second.memory, second.arch) == ("4+", "4x", "arm64")
    assert first.features == ["MULTI_NODE", "OPEN_PORTS", "SPOT_INSTANCE"]
    assert second.features == ["MULTI_NODE", "OPEN_PORTS"]
    (blocked,) = asked.blocked
    assert (blocked.cloud, blocked.region, blocked.use_spot) == ("aws", "us-east-1", True)


async def test_a_job_is_told_how_many_accelerators_it_asked_for(world: World, unique: str) -> None:
    """Those of the task, rounded up, not those of the node (PARITY §4.1)."""
    told: list[int] = []

    def setup(request: SetupRequest) -> None:
        told.append(request.num_gpus)

    world.setup, world.ends = setup, {"1": {0: 0}, "2": {0: 0}}
    world.offers = [offer("a").model_copy(update={"accelerators": {"A100": 2}, "choice": 0})]
    await (await start(world.client, unique, {"task": GPU, "cluster": unique})).result()
    plain = {"run": "x", "setup": "y"}
    await (await start(world.client, unique, {"task": plain, "cluster": unique}, 2)).result()
    assert told == [2, 0]


async def test_a_cluster_is_used_again_if_one_of_the_choices_fits(world: World, unique: str) -> None:
    world.ends = {"1": {0: 0}, "2": {0: 0}}
    world.offers = [offer("a").model_copy(update={"accelerators": {"H100": 8}, "choice": 1})]
    await (await start(world.client, unique, {"task": GPU, "cluster": unique})).result()
    again = {"run": "x", "resources": {"any_of": [{"accelerators": "A100"}, {"accelerators": "H100:4"}]}}
    result = await (await start(world.client, unique, {"task": again, "cluster": unique}, 2)).result()
    assert result["status"] == "SUCCEEDED"
    too_much = {"run": "x", "resources": {"accelerators": "H100:16"}}
    error = await failure(await start(world.client, unique, {"task": too_much, "cluster": unique}, 3))
    assert error.type == "ResourcesMismatchError"


async def test_a_cluster_has_the_ports_of_the_choice_that_it_was_launched_with(world: World, unique: str) -> None:
    world.ends = {str(job): {0: 0} for job in range(1, 6)}
    world.offers = [offer("a").model_copy(update={"choice": 1})]
    task = {"run": "x", "resources": {"any_of": [{"ports": 1}, {"ports": ["80", "90-92"]}]}}
    await (await start(world.client, unique, {"task": task, "cluster": unique})).result()
    cluster = world.client.get_workflow_handle(f"cluster/{unique}")
    assert (await cluster.query("access"))["ports"] == ["80", "90-92"]
    for number, ports in enumerate(([], ["91-92"]), 2):
        within = {"run": "x", "resources": {"ports": ports} if ports else {}}
        await (await start(world.client, unique, {"task": within, "cluster": unique}, number)).result()
    other = {"task": {"run": "x", "resources": {"ports": ["80", "93"]}}, "cluster": unique}
    error = await failure(await start(world.client, unique, other, 4))
    assert error.type == "ResourcesMismatchError"
    assert f"wants port(s) 93, which cluster {unique!r} was not launched with." in error.message
    await (await start(world.client, unique, {**other, "stages": ["EXEC"]}, 5)).result()  # an exec takes it as it is


async def test_the_idle_rule_of_a_task(world: World, unique: str) -> None:
    world.ends = {"1": {0: 0}, "2": {0: 0}}
    task = {"run": "x", "resources": {"autostop": {"idle_minutes": 90, "down": True}}}
    await (await start(world.client, unique, {"task": task, "cluster": unique})).result()
    status = world.client.get_workflow_handle(f"cluster/{unique}")
    assert (await status.query("status"))["autostop"] == 90
    request = {"task": task, "cluster": unique, "down": True, "idle_minutes_to_autostop": 5}
    await (await start(world.client, unique, request, 2)).result()
    assert (await status.query("status"))["autostop"] == 5


@pytest.mark.parametrize(
    ("task", "kind", "message"),
    [
        ({"secrets": {"TOKEN": "hunter2"}}, "NotSupportedError", "secrets (TOKEN): secrets, which would have to be"),
        ({"service": {"readiness_probe": "/"}, "run": "x"}, "NotSupportedError", "service: services are not supported"),
        ({"file_mounts": {"/a": "s3://b"}}, "NotSupportedError", "file_mounts['/a']: buckets and URLs (s3://b)"),
        ({"file_mounts": {"/a": {"name": "b"}}}, "NotSupportedError", "file_mounts['/a']: buckets and their mou"),
        ({"resources": {"priority_class": "a"}}, "NotSupportedError", "resources.priority_class: classes of prior"),
        ({"resources": {"autostop": {"hook": "x"}}}, "NotSupportedError", "resources.autostop.hook: hooks"),
        ({"resources": {"job_recovery": "FAILOVER"}}, "InvalidTaskError", "Spot recovery is specified in the task."),
        ({"docker_image": "x"}, "NotSupportedError", "docker_image: containers"),
    ],
)
async def test_what_cannot_be_carried_out_is_refused_before_anything_is_made(
    world: World, unique: str, task: dict[str, Any], kind: str, message: str
) -> None:
    error = await failure(await start(world.client, unique, {"task": task, "cluster": unique}))
    assert (error.type, error.message[: len(message)]) == (kind, message)
    assert "hunter2" not in error.message
    assert [call for call in world.calls if call != "list_ended"] == []
