"""The rare fields of a task: read, set, written; each checker is imported only with its field."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest

import skyflow as sky
from skyflow.errors import InvalidTaskError
from skyflow.models.document import Document
from skyflow.models.rare import CHECKS, RARE, RareFields, check
from skyflow.models.service import Service
from skyflow.models.transfer import Transfer

VALUES: dict[str, Any] = {
    "secrets": {"A": "x"},
    "managed_secrets": ["secrets:A", {"secrets:B": {"mount_path": "~/b"}}],
    "service": {"readiness_probe": "/health", "replicas": 2},
    "pool": {"workers": 2},
    "config": {"kubernetes": {"provision_timeout": 900, "pod_config": {"spec": {"hostNetwork": True}}}},
    "volumes": {"/mnt": "v", "~/x": {"name": "w", "sub_path": "a"}},
    "inputs": {"s3://b": 5},
    "outputs": {"gs://b": 0.5},
    "event_callback": "echo",
    "api_server_access": False,
    "docker_image": "ubuntu:22.04",
}


def test_there_is_a_value_for_every_field() -> None:
    assert set(VALUES) == set(RARE) == set(CHECKS) - {"storage_mounts"}


@pytest.mark.parametrize("field", VALUES)
def test_a_field_is_read_and_written(field: str) -> None:
    rare = RareFields(Document(None), {field: VALUES[field]})
    assert rare.names() == [field]
    assert rare.to_yaml_config(reveal_secrets=True) == {field: VALUES[field]}
    again = copy.deepcopy(rare)
    again.set(field, None)
    assert (again.names(), rare.names(), again.get(field)) == ([], [field], None)


@pytest.mark.parametrize("field", VALUES)
def test_a_task_takes_it_as_an_argument(field: str) -> None:
    task = sky.Task(**{field: VALUES[field]})
    assert task.to_yaml_config(reveal_secrets=True) == {field: VALUES[field]}
    same = sky.Task(**{field: task.rare.get(field)}) if field not in ("volumes", "managed_secrets") else task
    assert same.rare.get(field) == task.rare.get(field)


@pytest.mark.parametrize("field", VALUES)
def test_a_wrong_value_changes_nothing(field: str) -> None:
    rare = RareFields(Document(None), {field: VALUES[field]})
    before = rare.get(field)
    for wrong in (5, [[]], {5: 5}, sky.Resources()):
        with pytest.raises(InvalidTaskError):
            rare.set(field, wrong)
    assert rare.get(field) == before


def test_a_service_and_a_pool_contradict_each_other() -> None:
    message = "Cannot set both service and pool in the same task."
    with pytest.raises(InvalidTaskError, match=message):
        sky.Task(service=VALUES["service"], pool=VALUES["pool"])
    task = sky.Task(service=VALUES["service"])
    with pytest.raises(InvalidTaskError, match=message):
        task.rare.set("pool", VALUES["pool"])
    assert task.rare.names() == ["service"]


def test_values_of_their_own_classes() -> None:
    service = Service(replicas=3)
    assert check(Document(None), "service", service) is service
    assert check(Document(None), "inputs", Transfer("s3://b", 1)) == Transfer("s3://b", 1)
    with pytest.raises(InvalidTaskError, match="^Invalid service YAML: expected fields"):  # noqa: RUF043
        check(Document(None), "service", Transfer("s3://b", 1))


def test_nothing_in_it_is_nothing() -> None:
    assert RareFields(Document(None), {"inputs": {}, "outputs": None}).names() == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "storage_mounts must be a mapping of paths to Storage, found the value 5."),
        ({"/a": "s3://b"}, "storage_mounts['/a'] must be a Storage, found the string 's3://b'."),
        ({"/a": {"name": "b"}}, "storage_mounts['/a'] must be a Storage, found a mapping."),
        ({"/a/": sky.Storage("b")}, "file_mounts: the destination '/a/' may not end with '/'; leave that off."),
        ({"s3://a": sky.Storage("b")}, "file_mounts: the destination 's3://a' must be a path on the nodes, not a URI."),
    ],
)
def test_wrong_storage_mounts(value: Any, message: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        sky.Task(storage_mounts=value)
    assert str(caught.value) == message


def test_a_checker_is_imported_with_its_field() -> None:
    program = """
import sys, skyflow as sky
RARE = ("service", "secret", "storage", "override", "volume", "hook", "transfer", "pool", "filled")
def rare():
    names = [name.removeprefix("skyflow.models.") for name in sys.modules if name.startswith("skyflow.models.")]
    return sorted(name for name in names if name.rpartition(".")[2] in RARE)
sky.Task(run="x", envs={"A": "1"}, file_mounts={"/a": "b"}, resources={"cpus": 4, "accelerators": "A100"})
print(rare())
sky.Task(inputs={"s3://b": 1})
print(rare())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["[]", "['transfer']"]
