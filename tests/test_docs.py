"""What the documents promise is there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import pytest
from typer.main import get_command

from skyflow.cli.app import app
from skyflow.models.adoption import AdoptedLife, Adoption, AdoptRequest
from skyflow.models.launch import Attempt, LaunchProgress, LaunchRequest, LaunchResult, StageProgress
from skyflow.models.node import TaggedNode
from skyflow.models.status import ClusterStatus, JobStatus
from skyflow.models.wire import Wire
from skyflow.workflows.operation import OperationRequest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]


@pytest.mark.parametrize(
    "model",
    [
        *(LaunchRequest, LaunchResult, LaunchProgress, StageProgress, Attempt, OperationRequest),
        *(AdoptRequest, Adoption, AdoptedLife, TaggedNode),
    ],
)
def test_the_wire_format_names_every_field(model: type[Wire]) -> None:
    text = (ROOT / "docs/wire-format.md").read_text()
    assert [name for name in model.model_fields if not re.search(rf"[`\"]{name}[`\"]", text)] == []


@pytest.mark.parametrize(("kind", "states"), [("cluster", ClusterStatus), ("job", set(JobStatus) - {JobStatus.INIT})])
def test_the_page_about_hooks_names_every_state(kind: str, states: Iterable[Enum]) -> None:
    text = (ROOT / "docs/hooks.md").read_text().partition("The states:")[2]
    [row] = re.findall(rf"^\| `{kind}` \|.*$", text, re.MULTILINE)
    assert [state.value for state in states if f"`{state.value}`" not in row] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    """Every `skyflow …` in a code block, a table or a line of its own names a command that there is, with its flags."""
    command = get_command(app)
    for line in re.findall(r"(?:^|[`$;] ?)skyflow ([a-z][^`\n]*)", document.read_text(), re.MULTILINE):
        words = line.split("  ")[0].split()
        found = command
        while words and words[0] in getattr(found, "commands", {}):
            found = found.commands[words.pop(0)]  # type: ignore[attr-defined]
        assert found is not command, line
        flags = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0].strip("[]") for word in words if re.match(r"\[?--?[a-z]", word)}
        assert used <= flags | {"--help", "-h"}, line
