"""Wrong calls of the Python API, each with the one line that a user is told. Those of YAML are in the file beside."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import skyflow as sky
from skyflow.errors import InvalidTaskError

ARGUMENT = "Task has no such argument."

WRONG: dict[str, tuple[Callable[[], object], str]] = {
    # Task
    "a typing error": (lambda: sky.Task(num_node=2), f"{ARGUMENT} Instead of 'num_node', did you mean 'num_nodes'?"),
    "an argument that is not": (lambda: sky.Task(qqq=2), f"{ARGUMENT} Found unsupported field 'qqq'."),
    "name": (lambda: sky.Task(5), "name must be a string, found the value 5; put it in quotes."),
    "run": (lambda: sky.Task(run=5), "run must be a shell script (str). Got <class 'int'>"),
    "lines of run": (lambda: sky.Task(run=["a", 5]), "run must be a shell script (str). Got <class 'list'>"),
    "bytes": (lambda: sky.Task(run=b"x"), "run must be a shell script (str). Got <class 'bytes'>"),
    "NUL": (lambda: sky.Task(setup="a\0b"), "setup contains a NUL character."),
    "surrogate": (lambda: sky.Task(run="\udcff"), "run is not valid UTF-8."),
    "num_nodes": (lambda: sky.Task(num_nodes="2"), "num_nodes should be a positive int. Got: '2'"),
    "envs": (lambda: sky.Task(envs="A=1"), "envs must be List[Tuple[str, str]] or Dict[str, str]. Got: <class 'str'>"),
    "pairs": (
        lambda: sky.Task(envs=[("A", 1, 2)]),
        "envs must be List[Tuple[str, str]] or Dict[str, str]. Got: <class 'list'>",
    ),
    "an env twice": (lambda: sky.Task(envs=[("A", 1), ("A", 2)]), "Duplicate env keys provided."),
    "a wrong env": (lambda: sky.Task(envs={"A-B": 1}), "Invalid env key: 'A-B'"),
    "an env that is a list": (
        lambda: sky.Task(envs={"A": ["x"]}),
        "Environment variable 'A' must have a plain value, found a list.",
    ),
    "workdir": (
        lambda: sky.Task(workdir=["."]),
        "workdir must be the path of a local folder, or url and ref of a git repository, found a list.",
    ),
    "file_mounts": (
        lambda: sky.Task(file_mounts=["/a"]),
        "file_mounts must be a mapping of destination to source, found a list.",
    ),
    "a storage among file mounts": (
        lambda: sky.Task(file_mounts={"/a": sky.Storage("b")}),
        "file_mounts['/a'] is a storage; give it to set_storage_mounts, as a Storage.",
    ),
    "a storage object among file mounts": (
        lambda: sky.Task().set_file_mounts({"/a": {"name": "b"}}),
        "file_mounts['/a'] is a storage; give it to set_storage_mounts, as a Storage.",
    ),
    "a mount that is a number": (
        lambda: sky.Task().update_file_mounts({"/a": 5}),
        "file_mounts['/a'] must be a local path, a URI or a storage object, found the value 5.",
    ),
    "storage_mounts": (
        lambda: sky.Task().set_storage_mounts(["/a"]),
        "storage_mounts must be a mapping of paths to Storage, found a list.",
    ),
    "update_storage_mounts": (
        lambda: sky.Task().update_storage_mounts({"/a": "s3://b"}),
        "storage_mounts['/a'] must be a Storage, found the string 's3://b'.",
    ),
    "resources": (
        lambda: sky.Task(resources="V100"),
        "resources must be a Resources or a mapping, or a list or set of Resources, found the string 'V100'.",
    ),
    "a dict in a list of resources": (
        lambda: sky.Task().set_resources([{"cpus": 4}]),
        "resources must be a list or set of Resources, found a mapping in it.",
    ),
    "override": (
        lambda: sky.Task().set_resources_override("V100"),
        "What overrides resources must be a mapping of fields, found the string 'V100'.",
    ),
    "a field of an override": (
        lambda: sky.Task().set_resources_override({"cpu": 4}),
        "Invalid resources YAML: Instead of 'cpu', did you mean 'cpus'?",
    ),
    "blocked_resources": (
        lambda: sky.Task(blocked_resources=[sky.Resources(), "aws"]),
        "blocked_resources must be a list of Resources, found the string 'aws'.",
    ),
    "a block of everything": (
        lambda: sky.Task(blocked_resources=[sky.Resources()]),
        "blocked_resources: an entry without any of infra, instance_type, accelerators, use_spot blocks everything.",
    ),
    "service": (
        lambda: sky.Task().set_service({"readiness_prob": "/"}),
        "Invalid service YAML: Instead of 'readiness_prob', did you mean 'readiness_probe'?",
    ),
    "service and pool": (
        lambda: sky.Task(pool={"workers": 1}).set_service({"readiness_probe": "/"}),
        "Cannot set both service and pool in the same task.",
    ),
    "secrets": (
        lambda: sky.Task(secrets="hunter2"),
        "secrets must be a mapping of names to values, or a list of secrets:NAME.",
    ),
    "update_secrets": (
        lambda: sky.Task().update_secrets({"A": None}),
        "Secret variable 'A' must have a plain value.",
    ),
    "docker_image": (
        lambda: sky.Task(docker_image=["ubuntu"]),
        "docker_image must be the name of an image, found a list.",
    ),
    "inputs": (
        lambda: sky.Task().set_inputs("s3://b", "many"),
        "inputs['s3://b'] must be a number, 0 or more, found the string 'many'.",
    ),
    "a config that is no dict": (
        lambda: sky.Task.from_yaml_config(["run"]),
        "Invalid task YAML: expected fields such as 'run: echo hello', found a list.",
    ),
    "no config": (
        lambda: sky.Task.from_yaml_config(None),
        "Invalid task YAML: expected fields such as 'run: echo hello', found nothing.",
    ),
    "no path": (lambda: sky.Task.from_yaml(None), "A task YAML is named by its path, found nothing."),
    "a path that is a number": (lambda: sky.Dag.from_yaml(5), "A task YAML is named by its path, found the value 5."),
    "no text": (lambda: sky.Task.from_yaml_str(None), "A task YAML is a string, found nothing."),
    "bytes of a text": (lambda: sky.Dag.from_yaml_str(b"x"), "A task YAML is a string, found the value b'x'."),
    "a time": (
        lambda: sky.Task().set_time_estimator(5),
        "A time estimator must be a function of Resources, found the value 5.",
    ),
    "a time estimator": (
        lambda: sky.Task("a").set_time_estimator(lambda resources: "long").estimate_hours(None),
        "The time estimator of Task(name='a') must return seconds, found 'long'.",
    ),
    "a negative time": (
        lambda: sky.Task("a").set_time_estimator(lambda resources: -7200).estimate_hours(None),
        "The time estimator of Task(name='a') must return seconds, found -7200.",
    ),
    "no task": (lambda: sky.Dag().add(1), "A Dag is of tasks, found the value 1."),
    # Resources
    "a field of resources": (
        lambda: sky.Resources(acelerators="V100"),
        "Invalid resources YAML: Instead of 'acelerators', did you mean 'accelerators'?",
    ),
    "both names": (
        lambda: sky.Resources(accelerators="V100", gpus="V100"),
        "resources: give either accelerators or gpus.",
    ),
    "both recoveries": (
        lambda: sky.Resources(job_recovery="FAILOVER", spot_recovery="FAILOVER"),
        "resources: give either job_recovery or spot_recovery.",
    ),
    "infra and cloud": (
        lambda: sky.Resources(sky.AWS(), infra="aws"),
        "resources: give either infra, or cloud, region and zone, not both.",
    ),
    "a cloud that is not": (
        lambda: sky.Resources("awz"),
        "resources: there is no cloud 'awz'; did you mean 'aws'?",
    ),
    "a TPU on AWS": (
        lambda: sky.Resources(sky.AWS(), accelerators="tpu-v2-8"),
        "resources: tpu-v2-8 is only on gcp, not on aws.",
    ),
    "instance_type": (
        lambda: sky.Resources(instance_type=["p3"]),
        "resources.instance_type must be a name of the cloud's, found a list.",
    ),
    "use_spot": (
        lambda: sky.Resources(use_spot="yes"),
        "resources.use_spot must be true or false, found the string 'yes'.",
    ),
    "accelerator_args": (
        lambda: sky.Resources(accelerator_args="tpu_vm"),
        "Invalid accelerator_args YAML: expected fields such as 'runtime_version: tpu-vm-base', found the string "
        "'tpu_vm'.",
    ),
    "copy": (
        lambda: sky.Resources(cpus=4).copy(memory="lots"),
        "resources.memory must be GiB such as 16, '16+' for at least 16, or '512MB', found the string 'lots'.",
    ),
    "labels": (
        lambda: sky.Resources(labels={5: "a"}),
        "labels: the name 5 must be a string; put it in quotes.",
    ),
    "any_of": (
        lambda: sky.Resources(any_of=[{}]),
        "resources.any_of is a choice of several resources; it stands in a task, not in one set of resources.",
    ),
    # Storage
    "mode": (
        lambda: sky.Storage("b", mode="MONT"),
        "storage.mode must be one of MOUNT, COPY, MOUNT_CACHED, found the string 'MONT'.",
    ),
    "stores": (
        lambda: sky.Storage("b", stores=["s4"]),
        "storage.stores must be one of S3, GCS, AZURE, R2, IBM, OCI, NEBIUS, COREWEAVE, VASTDATA, HF, VOLUME, found "
        "the string 's4'.",
    ),
    "persistent": (
        lambda: sky.Storage("b", persistent="no"),
        "storage.persistent must be true or false, found the string 'no'.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_call(what: str) -> None:
    call, message = WRONG[what]
    with pytest.raises(ValueError) as caught:
        call()
    assert isinstance(caught.value, InvalidTaskError)
    assert str(caught.value) == message
