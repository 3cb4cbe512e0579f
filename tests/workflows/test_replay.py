"""Histories of released versions replay for ever: a workflow that was started by an old worker goes on with a new one.

`python -m tests.workflows.record` records them; see CONTRIBUTING.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from skyflow.worker.converter import data_converter
from skyflow.worker.sandbox import WORKFLOWS, sandbox

FOLDER = Path(__file__).parents[1] / "histories"
HISTORIES = sorted(FOLDER.glob("*/*.json"))


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: f"{file.parent.name}-{file.stem}")
async def test_replay(file: Path) -> None:
    stored = json.loads(file.read_text())
    replayer = Replayer(workflows=WORKFLOWS, data_converter=data_converter, workflow_runner=sandbox())
    result = await replayer.replay_workflow(WorkflowHistory.from_json(stored["workflow_id"], stored["history"]))
    assert result.replay_failure is None


def test_every_workflow_has_a_history() -> None:
    recorded = {file.stem.split(".")[0] for file in HISTORIES}
    assert {workflow.__name__ for workflow in WORKFLOWS} - recorded == {"DeploymentWorkflow"}
