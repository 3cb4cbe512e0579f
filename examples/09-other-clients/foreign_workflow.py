"""A workflow of somebody else that wants a launch as a step of its own. Knows nothing of skyflow but its wire format.

python examples/09-other-clients/foreign_workflow.py ADDRESS       (skyflow server status prints it)
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from typing import Any

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker


@workflow.defn
class NightlyWorkflow:
    """Trains, and reports what came of it."""

    @workflow.run
    async def run(self, run: str) -> str:
        request = {"cluster": "nightly", "down": True, "task": {"name": "nightly", "run": run}}
        result: dict[str, Any] = await workflow.execute_child_workflow(
            "LaunchWorkflow", request, id=f"launch/nightly/{workflow.uuid4()}", task_queue="skyflow"
        )
        return f"job {result['job_id']} {result['status']} in {result['offer']['zone']}"


async def main(address: str) -> None:
    client = await Client.connect(address)
    async with Worker(client, task_queue="nightly", workflows=[NightlyWorkflow]):
        print(
            await client.execute_workflow(
                NightlyWorkflow.run, "echo trained", id=f"nightly-{uuid.uuid4()}", task_queue="nightly"
            )
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7233"))
    sys.stdout.flush()
    os._exit(0)  # the interpreter's own clean-up may abort in Temporal's core (temporalio/sdk-python issue 300)
