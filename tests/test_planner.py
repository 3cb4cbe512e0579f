"""Plans on this machine, from the catalogs in the package: one task, graphs, and `skyflow.optimize` as it is called."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import skyflow as sky
from skyflow import planner
from skyflow.errors import (
    InvalidTaskError,
    NoCloudAccessError,
    NotSupportedError,
    ResourcesUnavailableError,
    UsageError,
)
from skyflow.settings import Settings

BOTH = ["aws", "gcp"]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Settings.load()


def planned(task: sky.Task, **options: Any) -> sky.Resources:
    sky.optimize(task, quiet=True, enabled_clouds=BOTH, **options)
    found = task.best_resources
    assert isinstance(found, sky.Resources) and found.is_launchable()
    return found


@pytest.mark.parametrize(
    ("wanted", "instance_type", "cloud"),
    [
        ({"accelerators": "A100:8"}, "p4d.24xlarge", "aws"),
        ({"accelerators": "A100:8", "infra": "gcp"}, "a2-highgpu-8g", "gcp"),
        ({"accelerators": "H100:8"}, "p5.48xlarge", "aws"),
        ({"accelerators": "H100"}, "p5.4xlarge", "aws"),
        ({"accelerators": "tpu-v5litepod-8"}, "v5litepod-8", "gcp"),
        ({"accelerators": "T4", "infra": "gcp", "cpus": 8}, "n1-highcpu-8", "gcp"),
        ({"accelerators": "T4:1", "instance_type": "n1-standard-8"}, "n1-standard-8", "gcp"),
        ({"instance_type": "m6g.large"}, "m6g.large", "aws"),
    ],
)
def test_the_cheapest_place_in_the_price_lists(
    settings: Settings, wanted: dict[str, Any], instance_type: str, cloud: str
) -> None:
    best = planned(sky.Task(run="x", resources=sky.Resources(**wanted)))
    assert (best.instance_type, best.cloud) == (instance_type, cloud)
    if "accelerators" in wanted:
        assert best.accelerators == sky.Resources(**wanted).accelerators


def test_a_task_that_says_nothing_gets_eight_cpus(settings: Settings) -> None:
    """PARITY K11."""
    task = sky.Task(run="x")
    market = planner.Market(planner.asyncio.run(planner.market(settings, BOTH)).catalogs, [])
    assert {offer.cpus >= 8 for offer in planner.plan_task(task, market).offers} == {True}
    assert {offer.arch for offer in planner.plan_task(task, market).offers} == {"x86_64"}


def test_a_plan_is_launchable_and_keeps_what_else_the_task_wants(settings: Settings) -> None:
    task = sky.Task(run="x", resources={"accelerators": "A100:8", "use_spot": True, "disk_size": 500, "ports": 80})
    best = planned(task)
    assert (best.use_spot, best.disk_size, best.ports) == (True, 500, ("80",))
    assert best.region is not None and best.zone is not None


def test_blocked_resources_and_the_cost_limit_are_kept(settings: Settings) -> None:
    task = sky.Task(run="x", resources=sky.Resources(accelerators="A100:8"))
    assert planned(task, blocked_resources=[sky.Resources(cloud="aws")]).cloud == "gcp"
    dear = sky.Task(run="x", num_nodes=2, resources={"accelerators": "A100:8", "max_hourly_cost": 40})
    with pytest.raises(ResourcesUnavailableError, match=r"\$40 an hour at most .*cheapest: \$43\.9") as caught:
        planned(dear)
    assert caught.value.failover_history == []
    exact = sky.Resources(infra="aws/us-east-1", instance_type="c5.2xlarge", max_hourly_cost=1.7)
    assert planned(sky.Task(run="x", num_nodes=5, resources=exact)).instance_type == "c5.2xlarge", "5 × 0.34 is 1.7"


def test_blocks_are_told_as_wishes_are(settings: Settings) -> None:
    """A zone by either of its names, any of several accelerators, a fraction of an accelerator as the whole one."""
    zone = sky.Resources(infra="aws/us-east-1/us-east-1a")
    task = sky.Task(run="x", resources=zone.copy(cpus="2"))
    planned(task)
    with pytest.raises(ResourcesUnavailableError, match="a place that is not blocked"):
        planned(task, blocked_resources=[zone])
    with pytest.raises(InvalidTaskError, match="blocked_resources: cpus cannot be blocked"):
        planned(task, blocked_resources=[sky.Resources(cpus=2)])
    several = sky.Resources(accelerators={"A100": 8, "V100": 0.5})
    choice = {sky.Resources(accelerators=kind) for kind in ("A100:8", "V100:1", "H100:8")}
    task = sky.Task(run="x", blocked_resources=[several]).set_resources(choice)
    assert planned(task).accelerators == {"H100": 8}


@pytest.mark.parametrize("several", [list, tuple, set, iter])
def test_what_is_blocked_is_blocked_for_this_plan_only_and_for_every_task(settings: Settings, several: Any) -> None:
    dag = sky.Dag()
    for name in ("a", "b"):
        dag.add(sky.Task(name, run="x", resources=sky.Resources(accelerators="A100:8")))
    aws = sky.Resources(cloud="aws")
    sky.optimize(dag, quiet=True, enabled_clouds=BOTH, blocked_resources=several([aws]))
    assert [task.best_resources.cloud for task in dag.tasks] == ["gcp", "gcp"]
    assert [task.blocked_resources for task in dag.tasks] == [[], []]
    sky.optimize(dag, quiet=True, enabled_clouds=BOTH)
    assert [task.best_resources.cloud for task in dag.tasks] == ["aws", "aws"]
    assert planned(dag.tasks[0], blocked_resources=aws).cloud == "gcp"
    assert sky.optimize(dag, quiet=True, enabled_clouds="gcp").tasks[0].best_resources.cloud == "gcp"


def test_ordered_resources_win_whatever_they_cost(settings: Settings) -> None:
    ordered = [sky.Resources(accelerators="H100:8"), sky.Resources(accelerators="T4")]
    assert planned(sky.Task(run="x").set_resources(ordered)).accelerators == {"H100": 8}
    assert planned(sky.Task(run="x").set_resources(set(ordered))).accelerators == {"T4": 1}
    nowhere = [sky.Resources(accelerators="RTX4090:3"), sky.Resources(accelerators="T4")]
    assert planned(sky.Task(run="x").set_resources(nowhere)).accelerators == {"T4": 1}


def test_the_fastest_with_an_estimate(settings: Settings) -> None:
    hours = {"T4": 10, "H100": 1}
    task = sky.Task(run="x").set_resources({sky.Resources(accelerators="T4"), sky.Resources(accelerators="H100:8")})
    task.set_time_estimator(lambda resources: 3600 * hours[next(iter(resources.accelerators))])
    assert planned(task, minimize=sky.OptimizeTarget.TIME).accelerators == {"H100": 8}
    assert planned(task, minimize=sky.OptimizeTarget.COST).accelerators == {"T4": 1}
    task.set_time_estimator(lambda resources: -1)
    with pytest.raises(ValueError, match="must return seconds, found -1"):
        planned(task)


async def test_a_launch_of_the_fastest_gets_an_ordered_choice(settings: Settings) -> None:
    task = sky.Task(run="x", resources={"infra": "local", "cpus": "1+"})
    task.set_time_estimator(lambda resources: 100 if resources.instance_type == "local-8x64" else 200)
    found = await planner.fastest_first(task, settings)
    assert found.resources.ordered and found.resources[0].instance_type == "local-8x64"
    assert found.resources[0].zone is None and len(found.resources) <= planner.FASTEST + 1
    assert found.resources[-1] == task.resources[0], "what is slower is not lost"
    assert not task.resources.ordered


async def fastest(settings: Settings, *wanted: sky.Resources, slow: str = "") -> list[sky.Resources]:
    task = sky.Task(run="x").set_resources(set(wanted))
    task.set_time_estimator(lambda resources: 200 if slow in resources.accelerators else 100)
    return list((await planner.fastest_first(task, settings)).resources)


async def test_a_launch_of_the_fastest_stays_where_the_task_wants_it(settings: Settings) -> None:
    zone = sky.Resources(infra="gcp/europe-west4/europe-west4-a", accelerators="T4:1")
    found = await fastest(settings, zone)
    assert len(found) > 3 and {(one.region, one.zone) for one in found} == {("europe-west4", "europe-west4-a")}
    region = sky.Resources(infra="aws/us-west-2", accelerators="T4:1")
    assert {(one.region, one.zone) for one in await fastest(settings, region)} == {("us-west-2", None)}


async def test_a_launch_of_the_fastest_looks_at_every_kind_of_node(settings: Settings) -> None:
    """There are more than a hundred places with an L4."""
    wanted = [sky.Resources(cloud="aws", accelerators=name) for name in ("L4:1", "T4:1")]
    *kinds, one, other = await fastest(settings, *wanted, slow="T4")
    accelerators = [next(iter(kind.accelerators or ())) for kind in kinds]
    assert accelerators == sorted(accelerators) and set(accelerators) == {"L4", "T4"}
    assert {one, other} == set(wanted)


def alone(task: sky.Task) -> sky.Dag:
    dag = sky.Dag()
    dag.add(task)
    return dag


def chain(*clouds: str, gib: float) -> sky.Dag:
    with sky.Dag() as dag:
        tasks = [sky.Task(f"t{number}", run="x", resources={"infra": cloud}) for number, cloud in enumerate(clouds)]
        for task in tasks:
            task.set_outputs("s3://b", gib)
        for parent, child in pairwise(tasks):
            parent >> child
    return dag


def test_traffic_decides_where_a_chain_runs(settings: Settings) -> None:
    """Small data moves to the cheapest node; large data keeps the tasks together."""
    market = planner.asyncio.run(planner.market(settings, BOTH))
    apart = planner.plan_dag(chain("aws", "*", gib=0), market)
    assert [task.offer.cloud for task in apart.tasks] == ["aws", "gcp"]
    together = planner.plan_dag(chain("aws", "*", gib=500), market)
    assert [task.offer.cloud for task in together.tasks] == ["aws", "aws"]
    (edge,) = together.edges
    assert (edge.gib, edge.cost, edge.seconds) == (500, 0, 0)
    split = planner.plan_dag(chain("aws", "gcp", gib=100), market)
    assert split.edges[0].cost > 5 and split.edges[0].seconds == pytest.approx(100 * 2**30 * 8 / 10e9)
    assert split.total_cost == pytest.approx(
        sum(task.cost for task in split.tasks) + sum(edge.cost for edge in split.edges)
    )


def test_data_in_a_bucket_draws_the_first_task(settings: Settings) -> None:
    market = planner.asyncio.run(planner.market(settings, BOTH))
    for uri, cloud in (("s3://b", "aws"), ("gs://b", "gcp")):
        task = sky.Task(run="x").set_inputs(uri, 1000)
        plan = planner.plan_task(task, market)
        assert plan.offers[0].cloud == cloud
        assert plan.offers[0] == planner.plan_dag(alone(task), market).tasks[0].offer
        assert plan.explanation.chosen.endswith("feasible offers, with $0 for moving what it reads")
        task.set_time_estimator(lambda resources: 60)
        assert planner.plan_task(task, market, "time").offers[0].cloud == cloud


def test_the_fastest_graph_pays_for_no_speed_that_nobody_waits_for(settings: Settings) -> None:
    market = planner.asyncio.run(planner.market(settings, ["aws"]))
    with sky.Dag() as dag:
        long = sky.Task("long", resources={"accelerators": "A100:8", "infra": "aws/us-east-1"})
        short = sky.Task("short", resources={"accelerators": {"H100": 8, "T4": 1}, "infra": "aws/us-east-1"})
        join = sky.Task("join", resources={"infra": "aws/us-east-1"})
        long >> join
        short >> join
    long.set_time_estimator(lambda resources: 36000)
    short.set_time_estimator(lambda resources: 60 if "H100" in resources.accelerators else 600)
    plan = planner.plan_dag(dag, market, "time")
    assert (plan.tasks[1].offer.accelerators, plan.total_seconds) == ({"T4": 1}, 36000 + 3600)


def test_what_only_other_clouds_have_is_planned_there(settings: Settings) -> None:
    """Without names, the clouds that can be used from here come first: here that is this machine."""
    task = sky.Task(run="x", resources={"cpus": "1+"})
    sky.optimize(task, quiet=True)
    assert task.best_resources.cloud == "local"
    gpu = sky.Task(run="x", resources={"accelerators": "A100:8"})
    sky.optimize(gpu, quiet=True)
    assert gpu.best_resources.cloud == "aws"


def test_a_graph_is_not_torn_between_this_machine_and_a_cloud(settings: Settings) -> None:
    """One task needs what only a cloud has: then all of them are planned there."""
    market = planner.asyncio.run(planner.market(settings))
    with sky.Dag() as dag:
        sky.Task("small", resources={"cpus": "1+"}) >> sky.Task("gpu", resources={"accelerators": "A100:8"})
    assert {task.offer.cloud for task in planner.plan_dag(dag, market).tasks} <= {"aws", "gcp"}
    dag.tasks[1].set_resources({"accelerators": "V100:3"})
    with pytest.raises(ResourcesUnavailableError, match=r"No offer fits gpu's resources: nothing has V100:3 .*V100:1"):
        planner.plan_dag(dag, market)
    for plan in (planner.plan_task, lambda task, market: planner.plan_dag(alone(task), market)):
        with pytest.raises(ResourcesUnavailableError, match=r"fits the task's resources: nothing has V100:3 .*V100:1"):
            plan(dag.tasks[1], market)
    dag.remove(dag.tasks[1])
    assert {task.offer.cloud for task in planner.plan_dag(dag, market).tasks} == {"local"}


def test_allowed_clouds(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYFLOW_ALLOWED_CLOUDS", "gcp")
    task = sky.Task(run="x", resources={"accelerators": "A100:8"})
    sky.optimize(task, quiet=True)
    assert task.best_resources.cloud == "gcp"
    monkeypatch.setenv("SKYFLOW_ALLOWED_CLOUDS", "azure")
    with pytest.raises(NoCloudAccessError, match="skyflow check"):
        sky.optimize(task, quiet=True)


def test_what_is_printed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    dag = sky.optimize(chain("aws", "aws", gib=3), enabled_clouds=["aws"])
    out = capsys.readouterr().out
    assert out.count("\n") == 4 and "t0: 1 × " in out and "t0 → t1: 3 GiB" in out and "Total: $" in out
    assert all(task.best_resources is not None for task in dag.tasks)


def test_clouds_by_name(settings: Settings) -> None:
    for names in ("aws", "AWS", ["aws", "AWS", sky.AWS()], iter(["aws"])):
        (found,) = planner.asyncio.run(planner.market(settings, names)).catalogs
        assert found.cloud == "aws"


def test_wrong_calls(settings: Settings) -> None:
    with pytest.raises(TypeError, match=r"Expected a sky\.Task or sky\.Dag"):
        sky.optimize("x")  # type: ignore[arg-type]
    with pytest.raises(NotSupportedError, match="There is no catalog of 'mars'"):
        sky.optimize(sky.Task(run="x"), enabled_clouds=["mars"])
    with pytest.raises(UsageError, match=r"There is no task in Dag\("):
        sky.optimize(sky.Dag())
    with pytest.raises(ValueError, match="blocked_resources must be a list of Resources, found the string 'aws'"):
        sky.optimize(sky.Task(run="x"), blocked_resources=["aws"])  # type: ignore[list-item]
    with pytest.raises(ResourcesUnavailableError, match=r"nothing has V100:3, there is: V100:1, V100:4, V100:8"):
        planned(sky.Task(run="x", resources={"accelerators": "V100:3"}))


def test_a_damaged_catalog_of_the_user(settings: Settings) -> None:
    folder = settings.home / "catalog"
    folder.mkdir(parents=True)
    (folder / "aws.json").write_text("{")
    with pytest.raises(UsageError, match=r"aws\.json cannot be read .*skyflow catalog refresh aws"):
        planned(sky.Task(run="x"))


def test_one_task_is_planned_without_a_solver_or_temporal() -> None:
    program = """
import asyncio, sys
from skyflow import planner
from skyflow.models.task import Task
from skyflow.settings import Settings
market = asyncio.run(planner.market(Settings.from_env(), ["aws", "gcp"]))
assert planner.plan_task(Task.from_yaml_config({"resources": {"accelerators": "A100:8"}}), market).offers
print([name for name in ("temporalio", "pulp", "asyncssh", "boto3", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
