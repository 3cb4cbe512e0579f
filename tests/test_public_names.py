"""What is exported stays exported, and costs nothing to import."""

from __future__ import annotations

import subprocess
import sys

import skyflow


def test_exported_names() -> None:
    assert skyflow.__all__ == [
        "Client",
        "ClusterHandle",
        "Dag",
        "Launch",
        "OptimizeTarget",
        "Resources",
        "Stage",
        "Task",
        "cancel",
        "down",
        "exec",
        "launch",
        "queue",
        "status",
        "tail_logs",
    ]
    for name in skyflow.__all__:
        assert getattr(skyflow, name).__name__ == name
        assert name in dir(skyflow)


def test_import_skyflow_loads_nothing_heavy() -> None:
    program = """
import sys, skyflow
skyflow.Task(run="x"), skyflow.Resources(cpus=2), skyflow.launch, skyflow.Client
heavy = ("temporalio", "pydantic", "asyncssh", "obstore", "pulp", "boto3", "rich", "typer", "yaml")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"
