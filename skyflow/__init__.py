"""skyflow: launch machine-learning tasks where they are cheapest; every launch is a durable Temporal workflow.

The names below are the public API. They are imported when they are first used, so that `import skyflow` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from skyflow import clouds, exceptions
    from skyflow.api import ClusterHandle, cancel, down, endpoints, exec, launch, optimize, queue, status, tail_logs
    from skyflow.client import Client
    from skyflow.handle import Launch
    from skyflow.models.dag import Dag, OptimizeTarget
    from skyflow.models.place import AWS, GCP, Local
    from skyflow.models.resources import Resources
    from skyflow.models.stage import Stage
    from skyflow.models.storage import Storage, StorageMode, StoreType
    from skyflow.models.task import Task

_HOMES = {
    "AWS": "skyflow.models.place",
    "Client": "skyflow.client",
    "ClusterHandle": "skyflow.api",
    "Dag": "skyflow.models.dag",
    "GCP": "skyflow.models.place",
    "Launch": "skyflow.handle",
    "Local": "skyflow.models.place",
    "OptimizeTarget": "skyflow.models.dag",
    "Resources": "skyflow.models.resources",
    "Stage": "skyflow.models.stage",
    "Storage": "skyflow.models.storage",
    "StorageMode": "skyflow.models.storage",
    "StoreType": "skyflow.models.storage",
    "Task": "skyflow.models.task",
    "cancel": "skyflow.api",
    "down": "skyflow.api",
    "endpoints": "skyflow.api",
    "exec": "skyflow.api",
    "launch": "skyflow.api",
    "optimize": "skyflow.api",
    "queue": "skyflow.api",
    "status": "skyflow.api",
    "tail_logs": "skyflow.api",
}
_MODULES = ("clouds", "exceptions")

__all__ = [
    "AWS",
    "GCP",
    "Client",
    "ClusterHandle",
    "Dag",
    "Launch",
    "Local",
    "OptimizeTarget",
    "Resources",
    "Stage",
    "Storage",
    "StorageMode",
    "StoreType",
    "Task",
    "cancel",
    "clouds",
    "down",
    "endpoints",
    "exceptions",
    "exec",
    "launch",
    "optimize",
    "queue",
    "status",
    "tail_logs",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"skyflow.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'skyflow' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
