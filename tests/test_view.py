"""What the commands say, without a server."""

from __future__ import annotations

import asyncio
import re
import time
from types import SimpleNamespace
from typing import Any

import pytest

from skyflow.cli import adopt, cluster, view

CLUSTER = {"status": "UP", "autostop": 1, "to_down": True, "down_after": None, "safety": False, "idle_since": None}


class FakeClient:
    """Has one cluster, and an embedded server."""

    def __init__(self, status: str) -> None:
        self.endpoint = SimpleNamespace(embedded=True)
        self.status = status
        self.rules: list[Any] = []

    async def autostop(self, *rule: Any, down_after: int | None) -> None:
        self.rules.append((*rule, down_after))

    async def shown(self, name: str) -> dict[str, Any]:
        return {"status": self.status}


def autostop(
    monkeypatch: pytest.MonkeyPatch, status: str = "UP", *, minutes: int | None = None, **options: Any
) -> FakeClient:
    client = FakeClient(status)
    monkeypatch.setattr(cluster, "run", lambda body, **_: asyncio.run(body(client)))
    given: dict[str, Any] = {"off": False, "down": False, "wait_for": None, "down_after": None, **options}
    cluster.autostop(["c"], False, True, minutes, **given)
    return client


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "stopped after 5 idle minutes"),
        ({"minutes": 1, "down": True}, "taken down after 1 idle minutes"),
        ({"minutes": 1, "down": True, "wait_for": "NONE"}, "taken down in 1 minute(s), whatever runs"),
        (
            {"minutes": 9, "wait_for": "none", "down_after": "24h"},
            "stopped in 9 minute(s), whatever runs, and taken down 1 d later",
        ),
    ],
)
def test_autostop_says_what_becomes_of_the_cluster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: dict[str, Any], said: str
) -> None:
    autostop(monkeypatch, **options)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"Cluster c is {said}. Cancel it: skyflow autostop c --cancel"
    assert len(lines) == 2, "and that this machine must be awake"


def test_of_a_stopped_cluster_only_what_comes_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = autostop(monkeypatch, "STOPPED", down_after="24h")
    assert client.rules == [("c", 5, False, None, 24 * 60)]
    assert capsys.readouterr().err == (
        "Cluster c is taken down when it has been stopped for 1 d. Cancel it: skyflow autostop c --cancel\n"
    ), "nothing of the nodes, which are off"


@pytest.mark.parametrize(
    ("wait_for", "idle_for", "shown"),
    [
        (None, None, "down after 1 min"),
        ("jobs", None, "down after 1 min (jobs)"),
        ("none", None, "down after 1 min, whatever runs"),
        ("none", 20, "down in 40 s, whatever runs"),
    ],
)
def test_the_status_says_whether_it_waits_for_anything(wait_for: str | None, idle_for: int | None, shown: str) -> None:
    idle_since = None if idle_for is None else time.time() - idle_for + 0.3
    assert view._autostop({**CLUSTER, "wait_for": wait_for, "idle_since": idle_since}) == shown


NOTHING = {"adopted": [], "over": [], "left": [], "strangers": [], "silent": [], "owners": []}
LOST = {"cluster": "a", "uid": "a1", "num_nodes": 1, "instance_type": "t", "place": "p", "stopped": 0, "price": 1}
LOST |= {"jobs": 0, "owner": "old"}
TAKEN = {"cluster": "b", "uid": "b1", "reason": "there is another cluster of this name here"}


def adoption(monkeypatch: pytest.MonkeyPatch, shown: dict[str, Any], deployment: str | None = None) -> None:
    class Lost:
        async def adopt(self, *, dryrun: bool = False, lives: Any = None, **_: Any) -> dict[str, Any]:
            assert dryrun or lives == ["a1"]
            return {**NOTHING, **(shown if dryrun else {"adopted": [LOST]})}

    monkeypatch.setattr(adopt, "run", lambda body: asyncio.run(body(Lost())))
    adopt.adopt(deployment, True, "table")


def test_adopt_yes_says_which_clusters_it_leaves_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adoption(monkeypatch, {"adopted": [LOST], "left": [TAKEN]})
    assert capsys.readouterr().err.splitlines() == [
        "Cluster b is left alone: there is another cluster of this name here.",
        "Adopted: a. See: skyflow status",
    ]


@pytest.mark.parametrize(
    ("shown", "deployment", "said"),
    [
        ({}, None, "Nothing to adopt: the store knows of no cluster that Temporal does not have."),
        ({}, "odd", "Nothing to adopt: the store knows of no cluster that Temporal does not have."),
        (
            {"owners": ["old", "older"]},
            "odd",
            "Nothing to adopt: the store knows no lost cluster of deployment 'odd', but of old, older. "
            "See: skyflow adopt --deployment old",
        ),
        ({"owners": ["old"], "left": [TAKEN]}, "old", "Nothing to adopt."),
    ],
)
def test_adopt_says_why_there_is_nothing_to_adopt(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shown: dict[str, Any],
    deployment: str | None,
    said: str,
) -> None:
    adoption(monkeypatch, shown, deployment)
    assert capsys.readouterr().err.splitlines()[-1] == said


VIEW = {
    "name": "train-llama",
    "launched_at": None,
    "num_nodes": 2,
    "instance_type": "local-1x2",
    "place": "local/local/a",
}
VIEW |= {
    "active_jobs": 1,
    "price": 0,
    "cpus": 1,
    "memory": 2,
    "head_ip": "127.0.0.1",
    "host": None,
    "uid": "20261128-abcd",
}
VIEW |= {"status": "UP", "autostop": -1, "last_use": "skyflow exec train-llama -n evaluation 'python evaluate.py'"}
WAITS = "to be stopped once job 1 has ended"


def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, show: Any) -> list[str]:
    """What a terminal of so many columns shows."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    show()
    found = [re.sub("\x1b\\[[0-9;]*m", "", line).rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, found)) <= width, found
    return found


def test_a_narrow_terminal_cuts_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = lines(monkeypatch, capsys, 80, lambda: view.clusters([{**VIEW, "reason": WAITS}]))
    assert "REASON" in found[0] and found[2].startswith("train-llama  -") and "  UP" in found[2]
    assert "…" not in "".join(found)
    assert "REASON" not in lines(monkeypatch, capsys, 80, lambda: view.clusters([VIEW]))[0]


def test_more_than_a_terminal_has_room_for_is_shown_line_by_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = lines(monkeypatch, capsys, 80, lambda: view.clusters([VIEW, {**VIEW, "name": "b"}], verbose=True))
    assert found[0] == "train-llama"
    assert "  LAST USE    skyflow exec train-llama -n evaluation 'python evaluate.py'" in found
    assert found[found.index("") + 1] == "b"
    wide = lines(monkeypatch, capsys, 250, lambda: view.clusters([VIEW], verbose=True))
    assert len(wide) == 3 and wide[0].endswith("LAST USE")


def test_the_numbers_and_the_status_of_a_job_stay_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = {"id": 1234, "name": "a-name-that-takes-a-lot-of-room", "user": "somebody", "submitted_at": None}
    job |= {"started_at": None, "ended_at": None, "resources": "1 × 4 CPUs, 16 GiB", "status": "FAILED_DRIVER"}
    job |= {"reason": "Rank 0 was lost: its node rebooted, or its process vanished."}
    found = lines(monkeypatch, capsys, 80, lambda: view.jobs([job]))
    assert "RESOURCES" in found[0]
    assert found[2].startswith("1234  ") and "FAILED_DRIVER" in found[2] and "somebody" in found[2]
    assert "…" not in "".join(found)
    found = lines(monkeypatch, capsys, 50, lambda: view.jobs([job]))
    assert found[:2] == ["1234", "  NAME        a-name-that-takes-a-lot-of-room"]


def test_a_pipe_gets_whole_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    view.clusters([{**VIEW, "reason": WAITS}], verbose=True)
    found = capsys.readouterr().out.splitlines()
    assert len(found) == 3 and WAITS in found[2] and "evaluate.py" in found[2]
