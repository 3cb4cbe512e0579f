"""What workflow code must not do, and no type checker sees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import skyflow.workflows
from skyflow.models import calls
from skyflow.worker.worker import activities

FILES = sorted(Path(skyflow.workflows.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_is_awaited_in_finally(file: Path) -> None:
    """A workflow that is put aside is collected as garbage, in the middle of whichever other one runs at that moment:
    what its `finally` then asks Temporal for would be asked in the other one's name."""
    for node in ast.walk(ast.parse(file.read_text())):
        parts = node.finalbody if isinstance(node, ast.Try) else []
        assert not [one for part in parts for one in ast.walk(part) if isinstance(one, ast.Await)], node.lineno


def test_every_activity_that_workflows_may_call_is_served() -> None:
    """Nobody else notices: a call of one that is not is tried again for ever."""
    signatures = [vars(kind) for name, kind in vars(calls).items() if name.endswith("Calls")]
    named = {name for one in signatures for name in one if not name.startswith("_")}
    served = {function.__name__ for group in activities(None).values() for function in group}  # type: ignore[arg-type]
    assert served == named
