"""The workflows that a worker runs, and the sandbox in which the tests run them: it finds what is not deterministic."""

from __future__ import annotations

from typing import Any

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from skyflow.workflows.adopt import AdoptWorkflow
from skyflow.workflows.autostop import AutostopWorkflow
from skyflow.workflows.cluster import ClusterWorkflow
from skyflow.workflows.deployment import DeploymentWorkflow
from skyflow.workflows.down import DownWorkflow
from skyflow.workflows.job import JobWorkflow
from skyflow.workflows.launch import LaunchWorkflow
from skyflow.workflows.start import StartWorkflow
from skyflow.workflows.stop import StopWorkflow

WORKFLOWS: list[type[Any]] = [
    LaunchWorkflow,
    ClusterWorkflow,
    JobWorkflow,
    StopWorkflow,
    StartWorkflow,
    DownWorkflow,
    AutostopWorkflow,
    DeploymentWorkflow,
    AdoptWorkflow,
]


def sandbox() -> SandboxedWorkflowRunner:
    """What the tests run every workflow in: it refuses what would not be deterministic.

    Workers do without it. It loads a workflow's modules anew for each that begins (20 ms, and 0.2 MB for as long as it
    is cached), and finds nothing there that it did not find in the tests. Models and errors are pure, so that every
    workflow may share one copy of them.
    """
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules("skyflow.models", "skyflow.errors")
    )
