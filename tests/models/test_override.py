"""What the `config` of a task changes of the settings."""

from __future__ import annotations

from typing import Any

import pytest

from skyflow.models.document import Document
from skyflow.models.hook import check_hooks
from skyflow.models.override import Overrides, check_config

CONFIGS: list[dict[str, Any]] = [
    {},
    {"active_workspace": "team"},
    {"docker": {"run_options": "--shm-size=2g"}},
    {"docker": {"run_options": ["-v /a:/a", "--privileged"]}},
    {"nvidia_gpus": {"disable_ecc": True}},
    {
        "kubernetes": {
            "pod_config": {"spec": {"containers": [{"env": [{"name": "A", "value": None}]}], "priority": 1}},
            "custom_metadata": {"labels": {"a": "b"}, "annotations": {}},
            "provision_timeout": -1,
            "dws": {"enabled": True, "max_run_duration": "10m"},
            "kueue": {"local_queue_name": "q", "admission_timeout": 60},
            "quota": {"queue": "q", "of a scheduler": [1]},
            "remote_identity": {"context": "account"},
            "enable_docker": {"mode": "BUILD", "cache_volume": "cache"},
            "set_pod_resource_limits": 1.5,
        }
    },
    {"kubernetes": {"enable_docker": True, "set_pod_resource_limits": False, "remote_identity": "account"}},
    {"kubernetes": {"enable_docker": "ALL", "dws": {"max_run_duration": 10}}},
    {"ssh": {"pod_config": {}, "custom_metadata": {}, "provision_timeout": 10}},
    {
        "gcp": {
            "managed_instance_group": {"run_duration": 3600, "provision_timeout": 900},
            "enable_gvnic": True,
            "enable_gpu_direct": False,
            "placement_policy": "compact",
            "vpc_name": "project/vpc",
            "subnet_names": ["a", "b"],
        }
    },
    {"azure": {"remote_identity": "SERVICE_ACCOUNT", "vpc_name": "vpc"}},
    {"aws": {"vpc_name": "a"}, "plugin": [1, {"a": None}], "ssh": {"own": True}},
    {"vast": {"datacenter_only": True, "create_instance_kwargs": {"onstart": "x"}}},
    {"slurm": {"sbatch_options": {"qos": "high", "nice": 5, "exclusive": True, "x": None}, "cpu_partition": "cpu"}},
]


@pytest.mark.parametrize("config", CONFIGS, ids=[str(config)[:40] for config in CONFIGS])
def test_the_same_yaml_comes_back(config: dict[str, Any]) -> None:
    found = check_config(Document(None), config, ("config",))
    assert found.to_yaml_config() == config
    assert found.hooks is None


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (
            {"gcp": {"vpc_name": None, "subnet_names": None, "enable_gvnic": None}},
            {"vpc_name": None, "subnet_names": None},
        ),
        ({"azure": {"vpc_name": None}}, {"vpc_name": None}),
    ],
)
def test_a_null_that_takes_a_setting_away_is_kept(config: dict[str, Any], settings: dict[str, Any]) -> None:
    [found] = check_config(Document(None), config, ("config",)).settings.values()
    assert found == settings


def test_hooks_are_apart_from_the_settings() -> None:
    hooks = [{"run": "git push"}]
    found = check_config(Document(None), {"hooks": hooks, "docker": {"run_options": "-t"}}, ("config",))
    filled = check_hooks(Document(None), hooks, ("config", "hooks"))
    assert found == Overrides({"docker": {"run_options": "-t"}}, filled)
    assert check_config(Document(None), found.to_yaml_config(), ("config",)) == found
