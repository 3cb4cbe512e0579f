"""`python -m tests.workflows.record ADDRESS FOLDER`: stores the histories of all workflows of a namespace."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

from temporalio.client import Client


async def main(address: str, folder: Path) -> None:
    """One file a workflow: `<type>.<number>.json`."""
    client = await Client.connect(address)
    seen: Counter[str] = Counter()
    async for execution in client.list_workflows("WorkflowType != 'DeploymentWorkflow'"):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        history = (await handle.fetch_history()).to_json_dict()
        seen[execution.workflow_type] += 1
        file = folder / f"{execution.workflow_type}.{seen[execution.workflow_type]}.json"
        file.write_text(json.dumps({"workflow_id": execution.id, "history": history}, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
