"""Services: probes, replicas, load balancing."""

from __future__ import annotations

from typing import Any

import pytest

from skyflow.models.document import Document
from skyflow.models.service import ReadinessProbe, ReplicaPolicy, Service, check_service

PATH = ("service",)

FULL: dict[str, Any] = {
    "readiness_probe": {
        "path": "/v1/chat",
        "initial_delay_seconds": 1200,
        "post_data": {"model": "llama", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1},
        "timeout_seconds": 15,
        "endpoint_probe_interval_seconds": 10,
        "consecutive_failure_threshold_timeout": 180,
        "headers": {"Authorization": "Bearer x"},
    },
    "replica_policy": {
        "min_replicas": 0,
        "max_replicas": 10,
        "target_qps_per_replica": 2.5,
        "num_overprovision": 1,
        "dynamic_ondemand_fallback": True,
        "base_ondemand_fallback_replicas": 1,
        "spot_placer": "dynamic_fallback",
        "upscale_delay_seconds": 300,
        "downscale_delay_seconds": 1200,
    },
    "load_balancing_policy": "round_robin",
    "load_balancer": {"stream_timeout_seconds": 120},
    "ports": 8080,
    "tls": {"keyfile": "~/key.pem", "certfile": "~/cert.pem"},
}
BY_GPU = {
    "replica_policy": {"min_replicas": 1, "max_replicas": 3, "target_qps_per_replica": {"H100:1": 2, "A100-80GB": 1.5}},
    "load_balancing_policy": "instance_aware_least_load",
}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"readiness_probe": "/"},
        {"readiness_probe": "/health", "replicas": 2},
        {"replicas": 0},
        {"replica_policy": {"min_replicas": 2}},
        {"replica_policy": {"min_replicas": 2, "max_replicas": 2}},
        {"pool": {"workers": 3}},
        BY_GPU,
        FULL,
    ],
)
def test_the_same_yaml_comes_back(config: dict[str, Any]) -> None:
    service = Service.from_yaml_config(config)
    assert service.to_yaml_config() == config
    assert Service.from_yaml_config(service.to_yaml_config()) == service


def test_its_parts() -> None:
    service = Service.from_yaml_config(FULL)
    assert isinstance(service.readiness_probe, ReadinessProbe)
    assert service.readiness_probe.path == "/v1/chat"
    assert isinstance(service.replica_policy, ReplicaPolicy)
    assert service.replica_policy.spot_placer == "dynamic_fallback"
    assert (service.keyfile, service.certfile) == ("~/key.pem", "~/cert.pem")
    assert service.stream_timeout_seconds == 120


@pytest.mark.parametrize("text", ['{"a": [1, null]}', " [1, 2]", '"x"', "5"])
def test_post_data_may_be_json_in_a_string(text: str) -> None:
    service = Service.from_yaml_config({"readiness_probe": {"path": "/", "post_data": text}})
    again = Service.from_yaml_config(service.to_yaml_config()) if text.startswith("{") else service
    assert again == service
    assert service.readiness_probe is not None
    assert service.readiness_probe.post_data in ({"a": [1, None]}, [1, 2], "x", 5)


def test_a_policy_may_be_in_capital_letters() -> None:
    service = check_service(Document(None), {"load_balancing_policy": "Least_Load"}, PATH)
    assert service.load_balancing_policy == "least_load"


def test_a_pool_may_stand_in_a_service() -> None:
    service = Service.from_yaml_config({"pool": {"max_workers": 3}, "workers": 1})
    assert service.pool is not None
    assert (service.pool.workers, service.pool.max_workers) == (1, 3)
    probed = {"readiness_probe": "/", "pool": {"workers": 2}}
    assert Service.from_yaml_config(probed).to_yaml_config() == probed
