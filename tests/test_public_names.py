"""What is exported stays exported, and costs nothing to import."""

from __future__ import annotations

import subprocess
import sys

import skyflow


def test_exported_names() -> None:
    assert skyflow.__all__ == [
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
    for name in skyflow.__all__:
        assert getattr(skyflow, name).__name__.removeprefix("skyflow.") == {"K8s": "Kubernetes"}.get(name, name)
        assert name in dir(skyflow)


def test_errors_have_the_names_that_skypilots_users_know() -> None:
    """PARITY §1.3."""
    names = """ClusterOwnerIdentityMismatchError InvalidClusterNameError ResourcesMismatchError NotSupportedError
    ResourcesUnavailableError CommandError NoCloudAccessError CloudUserIdentityError ClusterDoesNotExist
    ClusterNotUpError InvalidSkyPilotConfigError StorageSpecError StorageModeError"""
    for name in names.split():
        assert issubclass(getattr(skyflow.exceptions, name), skyflow.exceptions.SkyflowError)
    values = "InvalidSkyPilotConfigError ClusterDoesNotExist InvalidClusterNameError StorageModeError"
    assert all(issubclass(getattr(skyflow.exceptions, name), ValueError) for name in values.split())


def test_import_skyflow_loads_nothing_heavy() -> None:
    program = """
import sys, skyflow
skyflow.Task(run="x"), skyflow.Resources(cpus=2), skyflow.launch, skyflow.Client
skyflow.Azure(), skyflow.ClusterStatus, skyflow.JobStatus, hasattr(skyflow, "start")
heavy = ("temporalio", "pydantic", "asyncssh", "obstore", "pulp", "boto3", "rich", "typer", "yaml")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"
