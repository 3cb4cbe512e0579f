"""Any JSON into every checker of the rare sections: an InvalidTaskError of one line, or a value that comes back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skyflow.errors import InvalidTaskError
from skyflow.models.autostop import Autostop, check_autostop
from skyflow.models.document import Document
from skyflow.models.header import check_header, check_members, is_header
from skyflow.models.hook import check_event_callback, check_hooks
from skyflow.models.label import check_labels
from skyflow.models.override import check_config
from skyflow.models.pool import check_pool
from skyflow.models.recovery import check_job_recovery
from skyflow.models.secret import Secrets, check_managed_secrets, check_secret_values, check_secrets
from skyflow.models.service import check_service
from skyflow.models.shape import boolean
from skyflow.models.storage import StorageSpecError, check_storage
from skyflow.models.transfer import check_transfer
from skyflow.models.volume import check_disks, check_volumes

CHECKERS: dict[str, Callable[..., Any]] = {
    "api_server_access": boolean,
    "autostop": check_autostop,
    "config": check_config,
    "disks": check_disks,
    "event_callback": check_event_callback,
    "header": check_header,
    "hooks": check_hooks,
    "inputs": check_transfer,
    "job_recovery": check_job_recovery,
    "labels": check_labels,
    "managed_secrets": check_managed_secrets,
    "pool": check_pool,
    "secrets": check_secrets,
    "service": check_service,
    "storage": check_storage,
    "volumes": check_volumes,
}

FIELDS = (
    "path post_data headers readiness_probe replicas workers replica_policy min_replicas max_replicas ports tls pool "
    "target_qps_per_replica load_balancing_policy load_balancer keyfile certfile min_workers max_workers "
    "kubernetes gcp docker run_options vpc_name pod_config custom_metadata enable_docker hooks run events timeout "
    "idle_minutes down wait_for strategy max_restarts_on_errors recover_on_exit_codes name execution primary_tasks "
    "termination_delay inter_connection /data ~/x size sub_path host_path type labels config access_mode source store "
    "persistent mode mount mount_cached buffer_size A secrets:A mount_path disk_size storage_type"
).split()
WORDS = (
    "/ /health x 5 10m 2h 30s none FAILOVER parallel serial COPY mount s3 volume instance stop 10Gi {} s3://b/o "
    "ReadWriteOnce instance_aware_least_load jobs secrets:global.A"
).split()

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 100)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(WORDS)
)
KEYS = st.sampled_from(FIELDS) | st.text(max_size=3) | st.integers() | st.none() | st.booleans()
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


VALID: dict[str, Any] = {
    "autostop": {"idle_minutes": 10, "down": True, "wait_for": "jobs", "hook": "sync", "hook_timeout": 5},
    "config": {
        "active_workspace": "w",
        "docker": {"run_options": ["-t"]},
        "gcp": {"vpc_name": None, "managed_instance_group": {"run_duration": 1}},
        "hooks": [{"run": "a", "events": ["down"]}],
        "kubernetes": {"pod_config": {"a": [{"b": 1}]}, "enable_docker": {"mode": "ALL"}, "dws": {"enabled": True}},
        "slurm": {"sbatch_options": {"a": 1}},
    },
    "disks": [{"path": "/a", "name": "b", "disk_size": 5}],
    "header": {"name": "a", "execution": "parallel", "primary_tasks": ["b"], "termination_delay": {"default": "5s"}},
    "hooks": [{"run": "a", "events": ["stop", "down"], "timeout": 5}],
    "inputs": {"s3://b": 5},
    "job_recovery": {"strategy": "FAILOVER", "max_restarts_on_errors": 3, "recover_on_exit_codes": [1, 2]},
    "labels": {"a": "b"},
    "managed_secrets": ["A", {"personal.B": {"mount_path": "~/b"}}],
    "pool": {"min_workers": 1, "max_workers": 3, "queue_length_threshold": 1},
    "secrets": {"A": "x", "B": None, "secrets:global.C": None},
    "service": {
        "readiness_probe": {"path": "/", "post_data": {"a": [1]}, "headers": {"a": "b"}, "timeout_seconds": 5},
        "replica_policy": {"min_replicas": 1, "max_replicas": 2, "target_qps_per_replica": {"H100": 1}},
        "load_balancing_policy": "instance_aware_least_load",
        "load_balancer": {"stream_timeout_seconds": 5},
        "tls": {"keyfile": "a", "certfile": "b"},
    },
    "storage": {
        "name": "b",
        "source": ["a"],
        "store": "s3",
        "mode": "MOUNT_CACHED",
        "config": {"mount_cached": {"transfers": 1, "buffer_size": "5M"}, "mount": {"hf_mount_args": ["a"]}},
    },
    "volumes": {"/a": "b", "~/c": {"name": "d", "sub_path": "e"}, "/f": {"size": 5, "labels": {"g": "h"}}},
}


def write(value: Any) -> Any:
    """As a task writes it to YAML."""
    if isinstance(value, Secrets):
        return value.to_yaml_config(reveal=True)
    if hasattr(value, "to_yaml_config"):
        return value.to_yaml_config()
    if isinstance(value, dict):
        return {key: write(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [write(one) for one in value]
    return value


@pytest.mark.parametrize("section", CHECKERS)
@given(value=JSON)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_any_value(section: str, value: Any) -> None:
    _read_and_write(section, value)


def _read_and_write(section: str, value: Any) -> None:
    checker = CHECKERS[section]
    try:
        found = checker(Document(value), value, (section,))
    except InvalidTaskError as error:
        assert "\n" not in str(error)
        return
    if found is not None:  # inputs: {}
        again = checker(Document(None), write(found), (section,))
        assert write(again) == write(found)


@st.composite
def almost_valid(draw: st.DrawFn, value: Any) -> Any:
    """A valid value in which one thing, somewhere, is another."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 4)) == 0:
        return draw(JSON)
    changed = copy.copy(value)
    if isinstance(value, dict) and draw(st.integers(0, 4)) == 0:
        changed[draw(KEYS)] = draw(JSON)
        return changed
    place = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
    changed[place] = draw(almost_valid(value[place]))
    return changed


@pytest.mark.parametrize("section", VALID)
@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_one_thing_is_wrong(section: str, data: st.DataObject) -> None:
    assert CHECKERS[section](Document(None), VALID[section], (section,))
    _read_and_write(section, data.draw(almost_valid(VALID[section])))


@given(JSON, JSON, JSON)
def test_any_documents_of_a_group(first: Any, second: Any, third: Any) -> None:
    if not is_header(first):
        return
    try:
        check_members(Document(first), check_header(Document(first), first), [Document(second), Document(third)])
    except InvalidTaskError as error:
        assert "\n" not in str(error)


@given(JSON)
def test_any_secrets_of_python_code(value: Any) -> None:
    try:
        check_secret_values(value)
    except InvalidTaskError as error:
        assert "\n" not in str(error)


STORAGE = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(min_size=1, max_size=5) | st.sampled_from(["b", "s3://b"]),
        "source": st.text(min_size=1, max_size=5)
        | st.sampled_from(WORDS)
        | st.lists(st.sampled_from(WORDS), min_size=1),
        "store": st.sampled_from(["s3", "gcs", "azure", "volume", "hf"]),
        "mode": st.sampled_from(["MOUNT", "COPY", "MOUNT_CACHED"]),
    },
)


@given(STORAGE)
def test_any_storage_is_valid_or_refused(config: dict[str, Any]) -> None:
    try:
        storage = check_storage(Document(None), config, ("storage",))
    except InvalidTaskError as error:  # a NUL character
        assert "\n" not in str(error)
        return
    before = storage.to_yaml_config()
    try:
        storage.validate()
    except StorageSpecError as error:
        assert "\n" not in str(error)
    assert storage.to_yaml_config() == before


@given(
    st.builds(
        Autostop,
        enabled=st.booleans(),
        idle_minutes=st.integers(0, 10**6),
        down=st.booleans(),
        wait_for=st.sampled_from([None, "jobs", "none", "jobs_and_ssh"]),
        hook=st.none() | st.just("git push"),
        hook_timeout=st.none() | st.integers(1, 3600),
    )
)
def test_every_autostop_comes_back(autostop: Autostop) -> None:
    again = check_autostop(Document(None), autostop.to_yaml_config(), ("autostop",))
    assert again == autostop if autostop.enabled else again == Autostop(enabled=False)
