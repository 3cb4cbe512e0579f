"""skyflow: launch machine-learning tasks where they are cheapest; every launch is a durable Temporal workflow.

The names below are the public API. They are imported when they are first used, so that `import skyflow` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from skyflow import clouds, exceptions
    from skyflow.api import (
        ClusterHandle,
        adopt,
        autostop,
        cancel,
        cost_report,
        down,
        endpoints,
        exec,
        get,
        job_status,
        launch,
        optimize,
        queue,
        start,
        status,
        stop,
        stream_and_get,
        tail_logs,
    )
    from skyflow.client import Client
    from skyflow.handle import Launch
    from skyflow.models.dag import Dag, OptimizeTarget
    from skyflow.models.header import DagExecution
    from skyflow.models.place import (
        AWS,
        DO,
        GCP,
        IBM,
        OCI,
        SCP,
        SSH,
        Azure,
        Cudo,
        Fluidstack,
        Hyperbolic,
        K8s,
        Kubernetes,
        Lambda,
        Local,
        Mithril,
        Nebius,
        Paperspace,
        PrimeIntellect,
        RunPod,
        Seeweb,
        Shadeform,
        Slurm,
        Vast,
        Verda,
        Vsphere,
        Yotta,
    )
    from skyflow.models.resources import Resources
    from skyflow.models.stage import Stage
    from skyflow.models.status import ClusterStatus, JobStatus, StatusRefreshMode
    from skyflow.models.storage import Storage, StorageMode, StoreType
    from skyflow.models.task import Task

_NAMES = {
    "skyflow.api": "ClusterHandle adopt autostop cancel cost_report down endpoints exec get job_status launch optimize "
    "queue start status stop stream_and_get tail_logs",
    "skyflow.client": "Client",
    "skyflow.handle": "Launch",
    "skyflow.models.dag": "Dag OptimizeTarget",
    "skyflow.models.header": "DagExecution",
    "skyflow.models.place": "AWS Azure Cudo DO Fluidstack GCP Hyperbolic IBM K8s Kubernetes Lambda Local Mithril "
    "Nebius OCI Paperspace PrimeIntellect RunPod SCP SSH Seeweb Shadeform Slurm Vast Verda "
    "Vsphere Yotta",
    "skyflow.models.resources": "Resources",
    "skyflow.models.stage": "Stage",
    "skyflow.models.status": "ClusterStatus JobStatus StatusRefreshMode",
    "skyflow.models.storage": "Storage StorageMode StoreType",
    "skyflow.models.task": "Task",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
_MODULES = ("clouds", "exceptions")

__all__ = [
    "AWS",
    "DO",
    "GCP",
    "IBM",
    "OCI",
    "SCP",
    "SSH",
    "Azure",
    "Client",
    "ClusterHandle",
    "ClusterStatus",
    "Cudo",
    "Dag",
    "DagExecution",
    "Fluidstack",
    "Hyperbolic",
    "JobStatus",
    "K8s",
    "Kubernetes",
    "Lambda",
    "Launch",
    "Local",
    "Mithril",
    "Nebius",
    "OptimizeTarget",
    "Paperspace",
    "PrimeIntellect",
    "Resources",
    "RunPod",
    "Seeweb",
    "Shadeform",
    "Slurm",
    "Stage",
    "StatusRefreshMode",
    "Storage",
    "StorageMode",
    "StoreType",
    "Task",
    "Vast",
    "Verda",
    "Vsphere",
    "Yotta",
    "adopt",
    "autostop",
    "cancel",
    "clouds",
    "cost_report",
    "down",
    "endpoints",
    "exceptions",
    "exec",
    "get",
    "job_status",
    "launch",
    "optimize",
    "queue",
    "start",
    "status",
    "stop",
    "stream_and_get",
    "tail_logs",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"skyflow.{name}")
    if name not in _HOMES:
        from skyflow.later import NAMES  # only for a name that is not there

        hint = f"; {NAMES[name]}: not in this version of skyflow yet" if name in NAMES else ""
        raise AttributeError(f"module 'skyflow' has no attribute {name!r}{hint}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
