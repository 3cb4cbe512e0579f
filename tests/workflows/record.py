"""`python -m tests.workflows.record`: what users do, on a machine of its own, and the histories of it as golden files.

One file a workflow, `tests/histories/v<version>/<type>.<number>.json`; the version's former files go.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

from temporalio.client import Client

from skyflow import __version__
from skyflow.models.life import KEEP_SECONDS
from tests.e2e.conftest import User

FOLDER = Path(__file__).parents[1] / "histories" / f"v{__version__}"
HOME = Path("/tmp/skyflow-record")

FULL = """\
name: full
num_nodes: 2
workdir: code
envs: {GREETING: hello}
file_mounts: {~/data.txt: ./data.txt}
setup: echo set up
run: sleep 4; echo $GREETING
"""
BAD_SETUP = """\
setup: exit 4
run: echo never
"""


def use(user: User) -> None:
    """Every workflow, and every end that a user can bring about."""
    (user.home / "code").mkdir(parents=True)
    (user.home / "code" / "main.py").write_text("print('hello')\n")
    (user.home / "data.txt").write_text("data\n")
    (user.home / "full.yaml").write_text(FULL)
    (user.home / "bad.yaml").write_text(BAD_SETUP)
    user.run("launch", "-y", "-c", "lost", "-d", "echo begin; sleep 100")
    time.sleep(2 * KEEP_SECONDS)
    user.run("server", "stop")
    for file in (user.home / ".skyflow/server").glob("temporal.db*"):
        file.unlink()
    user.run("adopt", "--yes")
    user.run("exec", "lost", "echo found")
    user.run("down", "-y", "lost")
    user.run("launch", "-y", "-c", "full", "--down", "full.yaml")
    user.run("launch", "-y", "-c", "dev", "echo one")
    user.run("exec", "dev", "exit 3")
    user.run("exec", "dev", "-d", "sleep 100")
    user.run("cancel", "-y", "dev", "--all")
    user.run("launch", "-y", "-c", "bad", "bad.yaml")
    user.run("launch", "-y", "-c", "idle", "--down", "-i", "0", "echo idle")
    user.run("launch", "-y", "-c", "huge", "--cpus", "1000", "true")
    user.run("exec", "dev", "-d", "--cpus", "1", "sleep 100")
    user.run("exec", "dev", "-d", "--cpus", "1", "echo later")
    user.run("stop", "-y", "dev")
    user.run("start", "-y", "dev", "-i", "30")
    user.run("logs", "dev")
    user.run("status", "--refresh")
    user.run("down", "-y", "dev", "bad")


async def record(address: str) -> None:
    """The histories of all workflows that the namespace knows."""
    client = await Client.connect(address)
    seen: Counter[str] = Counter()
    async for execution in client.list_workflows("WorkflowType != 'DeploymentWorkflow'"):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        history = without_traces((await handle.fetch_history()).to_json_dict())
        seen[execution.workflow_type] += 1
        file = FOLDER / f"{execution.workflow_type}.{seen[execution.workflow_type]}.json"
        file.write_text(json.dumps({"workflow_id": execution.id, "history": history}, indent=1) + "\n")


def without_traces(part: Any) -> Any:
    """Stack traces tell of the machine, and replay does not read them."""
    if isinstance(part, dict):
        return {name: without_traces(value) for name, value in part.items() if name != "stackTrace"}
    return [without_traces(value) for value in part] if isinstance(part, list) else part


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    HOME.mkdir()
    user = User(HOME)
    try:
        use(user)
        asyncio.run(record(user.record()["address"]))
    finally:
        user.end()
        shutil.rmtree(HOME)


if __name__ == "__main__":
    main()
