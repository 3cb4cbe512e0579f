"""What this version refuses at launch, each with a sentence that names the field; and what it carries out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import skyflow as sky
from skyflow.errors import InvalidTaskError, NotSupportedError, SkyflowError
from skyflow.models.resources import FIELDS
from skyflow.models.support import check_launchable
from skyflow.models.task import FIELDS as TASK_FIELDS
from tests.models import grammar

NOT_YET = "not supported by this version of skyflow yet; remove it."
SEALED = "secrets, which would have to be sealed before they leave this machine, are"

REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"secrets": {"HF_TOKEN": "hunter2", "WANDB": None}},
        f"secrets (HF_TOKEN, WANDB): {SEALED} {NOT_YET}",
    ),
    (
        {"secrets": ["secrets:A"]},
        f"secrets (A): {SEALED} {NOT_YET}",
    ),
    ({"managed_secrets": ["A"]}, f"managed_secrets: secrets that are kept elsewhere are {NOT_YET}"),
    ({"service": {"readiness_probe": "/", "replicas": 2}}, f"service: services are {NOT_YET}"),
    ({"pool": {"workers": 2}}, f"pool: pools of workers are {NOT_YET}"),
    ({"config": {"docker": {"run_options": "-v"}}}, f"config: settings of clouds in a task are {NOT_YET}"),
    ({"volumes": {"/mnt": "v"}}, f"volumes: volumes are {NOT_YET}"),
    ({"docker_image": "ubuntu"}, f"docker_image: containers on this machine are {NOT_YET}"),
    ({"file_mounts": {"/d": {"name": "b"}}}, f"file_mounts['/d']: buckets and their mounts are {NOT_YET}"),
    ({"file_mounts": {"/d": "s3://b/x"}}, f"file_mounts['/d']: buckets and URLs (s3://b/x) are {NOT_YET}"),
    ({"resources": {"hooks": [{"run": "x"}]}}, f"resources.hooks: hooks are {NOT_YET}"),
    ({"resources": {"priority_class": "high"}}, f"resources.priority_class: classes of priorities are {NOT_YET}"),
    ({"resources": {"volumes": [{"path": "/a", "name": "b"}]}}, f"resources.volumes: volumes are {NOT_YET}"),
    ({"resources": {"local_disk": "nvme"}}, f"resources.local_disk: fast disks of nodes are {NOT_YET}"),
    (
        {"resources": {"autostop": {"idle_minutes": 5, "down": True, "hook": "sync"}}},
        f"resources.autostop.hook: hooks are {NOT_YET}",
    ),
    (
        {"resources": {"any_of": [{"cpus": 1}, {"priority_class": "x"}]}},
        f"resources.priority_class: classes of priorities are {NOT_YET}",
    ),
]


@pytest.mark.parametrize(("config", "message"), REFUSED, ids=[message.partition(":")[0] for _, message in REFUSED])
def test_what_is_refused_names_the_field(config: dict[str, Any], message: str) -> None:
    task = sky.Task.from_yaml_config({"run": "true", **config})
    with pytest.raises(NotSupportedError) as caught:
        check_launchable(task)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["spot_recovery", "job_recovery"])
@pytest.mark.parametrize("recovery", ["FAILOVER", "eager_next_region", {"max_restarts_on_errors": 3}])
def test_e08_a_task_with_spot_recovery_is_no_ordinary_launch(name: str, recovery: Any) -> None:
    task = sky.Task.from_yaml_config({"run": "true", "resources": {"use_spot": True, name: recovery}})
    assert task.need_spot_recovery
    with pytest.raises(
        ValueError,
        match="^Spot recovery is specified in the task. To launch the managed spot job, please use",  # noqa: RUF043
    ):
        check_launchable(task)


@pytest.mark.parametrize("name", ["spot_recovery", "job_recovery"])
def test_e08_a_recovery_that_is_switched_off_is_an_ordinary_launch(name: str) -> None:
    task = sky.Task.from_yaml_config({"run": "true", "resources": {"use_spot": True, name: "none"}})
    assert not task.need_spot_recovery
    check_launchable(task)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"run": "true", "setup": "true", "envs": {"A": "1"}, "num_nodes": 4, "name": "a"},
        {"workdir": ".", "file_mounts": {"/a": "./a"}},
        {"workdir": {"url": "https://example.com/a.git", "ref": "main"}},
        {"secrets": {}, "managed_secrets": [], "volumes": {}, "file_mounts": {}},
        {"inputs": {"s3://b": 5}, "outputs": {"gs://c": 1}, "api_server_access": False},
        {"resources": {"infra": "aws/us-east-1", "accelerators": {"A100:8", "H100:8"}, "cpus": "4+", "memory": "4x"}},
        {"resources": {"accelerators": "tpu-v2-8", "accelerator_args": {"runtime_version": "tpu-vm-base"}}},
        {"resources": {"use_spot": True, "disk_size": 500, "disk_tier": "best", "network_tier": "best", "ports": 80}},
        {"resources": {"image_id": "docker:ubuntu:22.04", "labels": {"a": "b"}, "max_hourly_cost": 3, "arch": "arm64"}},
        {"resources": {"autostop": {"idle_minutes": 5, "down": True}}},
        {"resources": {"autostop": {"idle_minutes": 5, "down": True, "wait_for": "none"}}},
        {"resources": {"autostop": False}},
        {"resources": {"hooks": [], "volumes": [], "priority": 0}},
        {"resources": {"ordered": [{"infra": "aws"}, {"infra": "gcp"}]}},
    ],
)
def test_what_is_carried_out(config: dict[str, Any]) -> None:
    check_launchable(sky.Task.from_yaml_config(config))


def test_a_refused_secret_is_not_told() -> None:
    task = sky.Task.from_yaml_config({"secrets": {"TOKEN": "hunter2"}, "file_mounts": {"/a": "s3://$TOKEN"}})
    with pytest.raises(NotSupportedError) as caught:
        check_launchable(task)
    assert "hunter2" not in str(caught.value)


CARRIED_OUT = {
    "name", "setup", "run", "envs", "workdir", "num_nodes", "file_mounts", "resources", "blocked_resources", "inputs",
    "outputs", "api_server_access", "event_callback",
}  # fmt: skip
CHOSEN = {
    "cloud", "region", "zone", "instance_type", "cpus", "memory", "accelerators", "accelerator_args", "use_spot",
    "job_recovery", "disk_size", "disk_tier", "network_tier", "ports", "image_id", "labels", "max_hourly_cost",
    "autostop", "arch", "priority",
}  # fmt: skip


def test_every_field_is_either_carried_out_or_refused() -> None:
    """A field that nobody looks at would be a promise that is not kept."""
    refused = {field for config, _ in REFUSED for field in config}
    assert set(TASK_FIELDS) == CARRIED_OUT | refused
    refused = {field for config, _ in REFUSED for field in config.get("resources", ())} - {"any_of"}
    assert set(FIELDS) == CHOSEN | refused


@given(grammar.TASKS)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_task_is_launchable_or_refused_in_one_line(config: dict[str, Any]) -> None:
    task = sky.Task.from_yaml_config(config)
    try:
        check_launchable(task)
    except SkyflowError as error:
        assert isinstance(error, InvalidTaskError if task.need_spot_recovery else NotSupportedError)
        assert "\n" not in str(error) and grammar.SECRET.format("") not in str(error)
    else:
        assert not task.secrets and not task.storage_mounts and task.service is None
