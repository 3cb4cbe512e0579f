"""A service: how replicas of a task are probed, how many there are, and how requests are spread (PARITY §2.4)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skyflow.models.document import Document, Path, show
from skyflow.models.pool import Pool, check_pool
from skyflow.models.shape import (
    boolean,
    check_key,
    choice,
    error,
    free,
    integer,
    mapping,
    number,
    plain,
    record,
    spell,
    text,
    written,
    wrong,
)

INSTANCE_AWARE = "instance_aware_least_load"
LOAD_BALANCING_POLICIES = ("round_robin", "least_load", INSTANCE_AWARE)
SPOT_PLACERS = ("dynamic_fallback",)
LAST_PORT = 65535

_GPU = re.compile(r"[a-zA-Z0-9._-]+(?::[0-9]+)?")


@dataclass(frozen=True)
class ReadinessProbe:
    """How a replica is asked whether it is ready. None is for the server to choose.

    Args:
        path: of the HTTP request; begins with `/`.
        initial_delay_seconds: how long a replica may fail after its start.
        post_data: JSON; with it, the request is a POST.
        timeout_seconds: of one request.
        endpoint_probe_interval_seconds: between two requests.
        consecutive_failure_threshold_timeout: seconds of failures after which a replica is given up.
        headers: of the request.
    """

    path: str = "/"
    initial_delay_seconds: float | None = None
    post_data: Any = None
    timeout_seconds: float | None = None
    endpoint_probe_interval_seconds: float | None = None
    consecutive_failure_threshold_timeout: float | None = None
    headers: dict[str, str] | None = None

    def to_yaml_config(self) -> str | dict[str, Any]:
        """The value of `readiness_probe` that means the same."""
        fields = written(vars(self))
        return self.path if set(fields) == {"path"} else fields


@dataclass(frozen=True)
class ReplicaPolicy:
    """How many replicas there are, and of what kind.

    Args:
        min_replicas: always.
        max_replicas: at most; None: as many as min_replicas.
        target_qps_per_replica: queries a second that one replica shall get; or that for each kind of GPU.
        num_overprovision: replicas more than are needed.
        dynamic_ondemand_fallback: whether a spot replica that is absent is replaced by one on demand.
        base_ondemand_fallback_replicas: so many are always on demand.
        spot_placer: how places are chosen for spot replicas.
        upscale_delay_seconds: before there are more.
        downscale_delay_seconds: before there are fewer.
    """

    min_replicas: int
    max_replicas: int | None = None
    target_qps_per_replica: float | dict[str, float] | None = None
    num_overprovision: int | None = None
    dynamic_ondemand_fallback: bool | None = None
    base_ondemand_fallback_replicas: int | None = None
    spot_placer: str | None = None
    upscale_delay_seconds: float | None = None
    downscale_delay_seconds: float | None = None


@dataclass(frozen=True)
class Service:
    """The `service` of a task.

    Args:
        readiness_probe: None: GET `/`.
        replicas: a fixed number of them.
        replica_policy: instead of a fixed number.
        load_balancing_policy: one of LOAD_BALANCING_POLICIES; None: least_load.
        stream_timeout_seconds: how long the load balancer waits for the next bytes of an answer.
        ports: on which the replicas listen.
        keyfile, certfile: local files for TLS, both or none.
        pool: a pool in disguise; then there is nothing else but a probe.
    """

    readiness_probe: ReadinessProbe | None = None
    replicas: int | None = None
    replica_policy: ReplicaPolicy | None = None
    load_balancing_policy: str | None = None
    stream_timeout_seconds: float | None = None
    ports: int | None = None
    keyfile: str | None = None
    certfile: str | None = None
    pool: Pool | None = None

    @classmethod
    def from_yaml_config(cls, config: Mapping[str, Any]) -> Service:
        """The `service` section of a task YAML."""
        return check_service(Document(None), config, ("service",))

    def to_yaml_config(self) -> dict[str, Any]:
        """The section that means the same."""
        timeout = self.stream_timeout_seconds
        return written(
            {
                "readiness_probe": self.readiness_probe and self.readiness_probe.to_yaml_config(),
                "replicas": self.replicas,
                "replica_policy": self.replica_policy and written(vars(self.replica_policy)),
                "load_balancing_policy": self.load_balancing_policy,
                "load_balancer": None if timeout is None else {"stream_timeout_seconds": timeout},
                "ports": self.ports,
                "tls": self.keyfile and {"keyfile": self.keyfile, "certfile": self.certfile},
                "pool": self.pool and self.pool.to_yaml_config(),
            }
        )


def check_service(document: Document, value: object, path: Path) -> Service:
    """The `service` section of a task, its variables filled in."""
    found = _SERVICE(document, value, path)
    if "pool" in found:
        return _check_service_pool(document, found, path)
    for field, other in (("workers", "replicas"), ("replica_policy", "replicas")):
        if field in found and other in found:
            section = " in the service YAML" if field == "replica_policy" else ""
            raise error(
                document,
                (*path, field),
                f"Cannot specify both `{other}` and `{field}`{section}. Please use one of them.",
            )
    if "workers" in found:  # another name, of old
        found["replicas"] = found.pop("workers")
    policy = found.get("replica_policy")
    by_gpu = policy is not None and isinstance(policy.target_qps_per_replica, dict)
    if by_gpu and found.get("load_balancing_policy") != INSTANCE_AWARE:
        raise error(
            document,
            (*path, "replica_policy", "target_qps_per_replica"),
            f'When using dict type target_qps_per_replica, load_balancing_policy must be "{INSTANCE_AWARE}".',
        )
    if found.get("load_balancing_policy") == INSTANCE_AWARE and not by_gpu:
        raise error(
            document,
            (*path, "load_balancing_policy"),
            f'When using "{INSTANCE_AWARE}" policy, target_qps_per_replica must be a dict mapping GPU types to QPS '
            "values.",
        )
    return Service(**found.pop("load_balancer", {}), **found.pop("tls", {}), **found)


def _check_service_pool(document: Document, found: dict[str, Any], path: Path) -> Service:
    """A pool where there should be a service, as SkyPilot writes it."""
    for field in found:
        if field not in ("pool", "workers", "readiness_probe"):
            raise error(document, (*path, field), f"{field} is not supported for pool.")
    workers = {"workers": found["workers"]} if "workers" in found else {}
    pool = check_pool(document, found["pool"] | workers, (*path, "pool"))
    return Service(found.get("readiness_probe"), pool=pool)


def _check_probe_path(document: Document, value: Any, path: Path) -> str:
    probe = text("the path of a URL", empty=True)(document, value, path)
    if not probe.startswith("/"):
        raise error(document, path, f"readiness_path must start with a slash (/). Got: {show(probe)}")
    return probe


def _check_post_data(document: Document, value: Any, path: Path) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise error(
                document,
                path,
                "Invalid JSON string for `post_data` in the `readiness_probe` section of your service YAML.",
            ) from None
        return plain(document, value, path)
    return free(document, value, path)


def _check_probe(document: Document, value: Any, path: Path) -> ReadinessProbe:
    if isinstance(value, str):
        return ReadinessProbe(_check_probe_path(document, value, path))
    return ReadinessProbe(**_PROBE(document, value, path))


def _check_target_qps(document: Document, value: Any, path: Path) -> float | dict[str, float]:
    if not isinstance(value, Mapping):
        return number()(document, value, path)
    for key in value:
        if not _GPU.fullmatch(check_key(document, key, path)):
            raise error(
                document,
                (*path, key),
                f"{spell(path)}: {show(key)} must be the name of a GPU such as 'H100' or 'H100:1'.",
            )
    return mapping(number())(document, value, path)


def _check_policy(document: Document, value: Any, path: Path) -> ReplicaPolicy:
    policy = ReplicaPolicy(**_POLICY(document, value, path))
    least, most = policy.min_replicas, policy.max_replicas
    if most is not None and most < least:
        raise error(
            document,
            (*path, "max_replicas"),
            f"max_replicas must be greater than or equal to min_replicas. Found: min_replicas={least}, "
            f"max_replicas={most}",
        )
    if policy.target_qps_per_replica is not None and most is None:
        raise error(
            document,
            (*path, "target_qps_per_replica"),
            "max_replicas must be set where target_qps_per_replica is set.",
        )
    if policy.target_qps_per_replica is None and most not in (None, least):
        raise error(
            document,
            (*path, "max_replicas"),
            "Detected different min_replicas and max_replicas while target_qps_per_replica is not set. To enable "
            "autoscaling, please set target_qps_per_replica.",
        )
    return policy


def _check_port(document: Document, value: Any, path: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(document, path, "the number of a port", value)
    if not 1 <= value <= LAST_PORT:
        raise error(document, path, f"Port must be between 1 and {LAST_PORT}.")
    return value


def _check_balancing(document: Document, value: Any, path: Path) -> str:
    if isinstance(value, str) and value.lower() not in LOAD_BALANCING_POLICIES:
        raise error(
            document,
            path,
            f"Unknown load balancing policy: {show(value)}. Available policies: {list(LOAD_BALANCING_POLICIES)}",
        )
    return choice(LOAD_BALANCING_POLICIES)(document, value, path)


_PROBE = record(
    "service.readiness_probe",
    {
        "path": _check_probe_path,
        "initial_delay_seconds": number(),
        "post_data": _check_post_data,
        "timeout_seconds": number(),
        "endpoint_probe_interval_seconds": number(),
        "consecutive_failure_threshold_timeout": number(),
        "headers": mapping(text("a string in quotes", empty=True), "a mapping of names to strings"),
    },
    "path: /health",
    ["path"],
)
_POLICY = record(
    "service.replica_policy",
    {
        "min_replicas": integer(),
        "max_replicas": integer(),
        "target_qps_per_replica": _check_target_qps,
        "num_overprovision": integer(),
        "dynamic_ondemand_fallback": boolean,
        "base_ondemand_fallback_replicas": integer(),
        "spot_placer": choice(SPOT_PLACERS),
        "upscale_delay_seconds": number(),
        "downscale_delay_seconds": number(),
    },
    "min_replicas: 1",
    ["min_replicas"],
)
_FILE = text("the path of a local file")
_SERVICE = record(
    "service",
    {
        "readiness_probe": _check_probe,
        "replicas": integer(),
        "replica_policy": _check_policy,
        "load_balancing_policy": _check_balancing,
        "load_balancer": record(
            "service.load_balancer", {"stream_timeout_seconds": number()}, "stream_timeout_seconds: 120"
        ),
        "ports": _check_port,
        "tls": record(
            "service.tls", {"keyfile": _FILE, "certfile": _FILE}, "keyfile: key.pem", ["keyfile", "certfile"]
        ),
        "pool": free,
        "workers": integer(),
    },
    "readiness_probe: /health",
)
