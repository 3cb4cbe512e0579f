"""Names: of clusters, of task queues, of workflows, of what the clouds see."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from skyflow.errors import InvalidClusterNameError

CLUSTER_NAME = re.compile(r"[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")
MAX_CLUSTER_NAME = 60

QueueKind = Literal["quick", "cloud", "sync", "watch"]
"""What a task queue is sized for: quick calls, calls to a cloud's API, bulk bytes, one long watch a cluster."""


def check_cluster_name(name: str) -> str:
    """Returns the name, or raises InvalidClusterNameError."""
    if not isinstance(name, str):
        raise InvalidClusterNameError(f"Cluster name {name!r} must be a string.")
    if len(name) > MAX_CLUSTER_NAME:
        raise InvalidClusterNameError(f"Cluster name {name!r} has {len(name)} characters; {MAX_CLUSTER_NAME} at most.")
    if not CLUSTER_NAME.fullmatch(name):
        raise InvalidClusterNameError(
            f"Cluster name {name!r} is invalid: it must start with a letter, end with a letter or digit, "
            "and hold only letters, digits, '-', '_' and '.'."
        )
    return name


def safe_name(name: str) -> str:
    """A name for folders, object keys and clouds: lower case, and different for every exact `name`."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return re.sub(r"[^a-z0-9-]", "-", name.lower())[:40].strip("-") + "-" + digest


def spec_key(cluster: str, uid: str, job_id: int) -> str:
    """Where in the store the spec of a job is."""
    return f"jobs/{safe_name(cluster)}/{uid}/{job_id}/spec.json"


def task_queue(kind: QueueKind, host: str | None = None) -> str:
    """The task queue for activities of one kind; with a host, the one that only that host's worker serves."""
    base = "skyflow" if kind == "quick" else f"skyflow-{kind}"
    return base if host is None else f"{base}@{host}"


def cluster_workflow_id(cluster: str) -> str:
    return f"cluster/{cluster}"


def launch_workflow_id(cluster: str, request_id: str) -> str:
    return f"launch/{cluster}/{request_id}"


def operation_workflow_id(kind: Literal["stop", "start", "down"], cluster: str, request_id: str) -> str:
    return f"{kind}/{cluster}/{request_id}"


def job_workflow_id(cluster: str, uid: str, job_id: int) -> str:
    return f"job/{cluster}/{uid}/{job_id}"


def autostop_workflow_id(cluster: str, uid: str) -> str:
    return f"autostop/{cluster}/{uid}"


def adopt_workflow_id(request_id: str) -> str:
    return f"adopt/{request_id}"


CLIENT_VERSION = "skyflow"
"""What skyflow's own SSH connections call themselves, for servers that can tell them from a user's."""

DEPLOYMENT_WORKFLOW_ID = "skyflow-deployment"
