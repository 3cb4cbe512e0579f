"""A cluster that is lived with: stopped, started, idle, stopped behind our back, and what it cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import User
from tests.e2e.test_local import until


@pytest.fixture(scope="module")
def life(user: User) -> Iterator[str]:
    """A cluster of one node, by name."""
    user.ok("launch", "-y", "-c", "life", "echo first > ~/kept")
    yield "life"
    user.ok("down", "-y", "life")


def view(user: User, name: str, *flags: str) -> dict[str, Any]:
    [found] = json.loads(user.ok("status", *flags, name, "-o", "json"))
    return dict(found)


def has_status(user: User, name: str, status: str) -> None:
    until(lambda: view(user, name)["status"] == status)


def test_stop_and_start_keep_the_disk_and_what_waits(user: User, life: str) -> None:
    user.ok("exec", "-d", life, "--cpus", "1", "sleep 1000")
    user.ok("exec", "-d", life, "--cpus", "1", "cat ~/kept")
    assert "Cluster life is stopped" in user.run("stop", "-y", life).stderr
    assert "STOPPED" in user.ok("status", life)
    refused = user.run("exec", life, "true")
    assert (refused.returncode, refused.stderr) == (
        3, "skyflow: Cluster 'life' is stopped. Start it: skyflow start life\n",
    )  # fmt: skip
    assert [row["status"] for row in json.loads(user.ok("queue", life, "-o", "json"))][:2] == ["PENDING", "CANCELLED"]

    assert "Cluster life is up (1 node(s) started)." in user.run("start", "-y", life).stderr
    until(lambda: json.loads(user.ok("queue", life, "-o", "json"))[0]["status"] == "SUCCEEDED")
    assert user.ok("logs", life, "3") == "first\n"
    assert "Cluster life is up already." in user.run("start", "-y", life).stderr


def test_an_idle_cluster_stops_and_the_next_launch_starts_it(user: User, life: str) -> None:
    user.ok("autostop", "-y", life, "-i", "60")
    assert "stop in 60 min" in user.ok("status", life)
    user.ok("autostop", "-y", life, "-i", "60", "--down")
    assert "down in 60 min" in user.ok("status", life)
    user.ok("autostop", life, "--cancel")
    assert view(user, life)["autostop"] == -1
    user.ok("autostop", "-y", life, "-i", "0")
    has_status(user, life, "STOPPED")
    assert user.run("autostop", life, "-i", "5").returncode == 3
    assert user.ok("launch", "-y", "-c", life, "-i", "-1", "cat ~/kept") == "first\n"
    assert view(user, life)["status"] == "UP"


def test_what_somebody_stops_in_the_clouds_console_is_seen(user: User, life: str) -> None:
    user.ok("exec", "-d", life, "sleep 1000")
    user.ok("local", "stop", life)
    assert view(user, life, "--refresh")["status"] == "STOPPED"
    until(lambda: json.loads(user.ok("queue", life, "-o", "json"))[0]["status"] == "FAILED_DRIVER")
    user.ok("start", "-y", life)
    assert user.ok("exec", life, "cat ~/kept") == "first\n"


def test_a_cluster_of_which_a_part_is_stopped_can_be_started(user: User) -> None:
    user.ok("launch", "-y", "-c", "part", "--num-nodes", "2", "true")
    user.ok("local", "stop", "part", "1")
    assert "INIT (1 stopped)" in user.ok("status", "-r", "part")
    refused = user.run("exec", "part", "true")
    assert "Node(s) 1 of cluster 'part' were stopped. Start them: skyflow start part" in refused.stderr
    user.ok("start", "-y", "part")
    assert user.ok("exec", "part", "--num-nodes", "2", "echo $SKYPILOT_NUM_NODES").count("2\n") == 2
    user.ok("local", "preempt", "part")
    user.run("status", "-r", "part")
    until(lambda: user.run("status", "part").returncode == 3)


def test_cost_report_knows_what_is_gone(user: User, life: str) -> None:
    rows = {row["name"]: row for row in json.loads(user.ok("cost-report", "-o", "json"))}
    assert rows["life"]["status"] == "UP"
    assert rows["part"]["status"] is None
    assert rows["part"]["num_nodes"] == 2
    assert "part" in user.ok("cost-report")


def test_events_tell_the_story_also_of_what_is_gone(user: User, life: str) -> None:
    told = [event["what"] for event in json.loads(user.ok("events", "part", "-o", "json"))]
    assert told[0] == "Launch began."
    assert told[1].endswith(": ok")
    story = [
        "Job 1 SUCCEEDED.",
        "Start began.",
        "Start ended: 2 node(s).",
        "Job 2 SUCCEEDED.",
        "Down, because it was idle, began.",
    ]
    assert [what for what in told if what in story] == story
    assert "Stop, because it was idle, ended: 1 node(s)." in user.ok("events", life)
    assert user.run("events", "nobody").returncode == 3


def test_a_callback_runs_here_because_the_worker_is_the_users_own(user: User, life: str, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(
        f"run: 'true'\nevent_callback: echo $JOB_STATUS ${{SKYFLOW_SUPERVISED-}} >> {tmp_path}/log\n"
    )
    (tmp_path / "log").touch()
    user.ok("exec", life, str(tmp_path / "task.yaml"))
    until(lambda: (tmp_path / "log").read_text().splitlines()[2:] == ["SUCCEEDED"])


def test_wrong_calls(user: User, life: str) -> None:
    for words in (
        ["stop"],
        ["start", "--all", "life"],
        ["autostop", "life", "--cancel", "--down"],
        ["start", "life", "--down"],
    ):
        assert user.run(*words).returncode == 2, words
    for verb in ("stop", "start", "autostop", "down"):
        done = user.run(verb, "-y", "nobody")
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert "Cluster 'nobody' does not exist" in done.stderr
