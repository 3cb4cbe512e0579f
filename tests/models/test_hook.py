"""Hooks, and the script that follows the state of a job."""

from __future__ import annotations

import pytest

from skyflow.errors import InvalidTaskError
from skyflow.models.document import Document
from skyflow.models.hook import MAX_HOOKS, MAX_RUN_BYTES, check_event_callback, check_hooks

NOWHERE = Document(None)


def test_what_is_left_out_is_filled_in() -> None:
    hooks = check_hooks(NOWHERE, [{"run": "a"}, {"run": "b", "events": ["down"], "timeout": 5}], ("hooks",))
    assert hooks == [
        {"run": "a", "events": ["stop", "preemption", "down"], "timeout": 3600},
        {"run": "b", "events": ["down"], "timeout": 5},
    ]
    assert check_hooks(NOWHERE, hooks, ("hooks",)) == hooks


def test_hooks_do_not_share_their_events() -> None:
    first, second = check_hooks(NOWHERE, [{"run": "a"}, {"run": "b"}], ("hooks",))
    first["events"].remove("stop")
    assert second["events"] == ["stop", "preemption", "down"]


def test_the_largest() -> None:
    assert len(check_hooks(NOWHERE, [{"run": "a" * MAX_RUN_BYTES}] * MAX_HOOKS, ("hooks",))) == MAX_HOOKS
    with pytest.raises(InvalidTaskError, match=r"^hooks\[0\]\.run has 16386 bytes; 16384 at most\."):
        check_hooks(NOWHERE, [{"run": "é" * (MAX_RUN_BYTES // 2 + 1)}], ("hooks",))


def test_event_callback() -> None:
    assert check_event_callback(NOWHERE, "echo $JOB_STATUS", ("event_callback",)) == "echo $JOB_STATUS"
    with pytest.raises(InvalidTaskError, match=r"^event_callback contains a NUL character\.$"):
        check_event_callback(NOWHERE, "a\0", ("event_callback",))
