"""A cluster that is lived with: stopped, started, idle, stopped behind our back, and what it cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import temporal_binary
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
    user.ok("exec", "-d", "--env", "KEY=4711", life, "--cpus", "1", "cat ~/kept")
    assert view(user, life)["last_use"] == "skyflow exec -d --env 'KEY=<redacted>' life --cpus 1 'cat ~/kept'"
    assert "Cluster life is stopped" in user.run("stop", "-y", life).stderr
    assert "STOPPED" in user.ok("status", life)
    refused = user.run("exec", life, "true")
    assert (refused.returncode, refused.stderr) == (
        3, "skyflow: Cluster 'life' is stopped. Start it: skyflow start life\n",
    )  # fmt: skip
    assert [row["status"] for row in json.loads(user.ok("queue", life, "-o", "json"))][:2] == ["PENDING", "CANCELLED"]

    assert "Cluster life is up with 1 node(s)." in user.run("start", "-y", life).stderr
    assert "skyflow start -y life" in user.ok("status", "-v", life)
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


def test_whoever_is_logged_in_keeps_an_idle_cluster_and_its_nodes_have_a_lease(user: User, life: str) -> None:
    said = user.run("autostop", life, "-i", "30").stderr
    assert "switch themselves off after 40 minutes" in said
    node = next(home for home in user.nodes() if (home / "kept").exists())
    until(lambda: "2400 eval" in read(node / ".skyflow/lease/lease"))
    with user.start("ssh", life, "touch ~/in; sleep 1000") as person:
        until((node / "in").exists)
        user.ok("autostop", life, "-i", "0", "--wait-for", "jobs_and_ssh")
        first = view(user, life)["idle_since"]
        until(lambda: view(user, life)["idle_since"] > first)  # it asked, and heard of the person
        assert view(user, life)["status"] == "UP"
        person.terminate()
        person.communicate()
    has_status(user, life, "STOPPED")
    user.ok("start", "-y", life, "-i", "60", "--wait-for", "jobs")
    until(lambda: "4200 eval" in read(node / ".skyflow/lease/lease"))


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


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
    shown = user.ok("status", "-r", "part")
    assert "INIT" in shown and "1 of 2 nodes stopped" in shown
    refused = user.run("exec", "part", "true")
    assert "Node(s) 1 of cluster 'part' were stopped. Start them: skyflow start part" in refused.stderr
    assert "Cluster part is up with 2 node(s)." in user.run("start", "-y", "part").stderr, "one of them ran"
    assert user.ok("exec", "part", "--num-nodes", "2", "echo $SKYPILOT_NUM_NODES").count("2\n") == 2
    user.ok("local", "preempt", "part")
    user.run("status", "-r", "part")
    until(lambda: user.run("status", "part").returncode == 3)


def test_a_cluster_that_has_lost_nodes_is_repaired(user: User, tmp_path: Path) -> None:
    (tmp_path / "code").write_text("code\n")
    (tmp_path / "task.yaml").write_text("workdir: .\nnum_nodes: 3\nrun: cat code; touch ~/kept\n")
    assert user.ok("launch", "-y", "-c", "hurt", "task.yaml", cwd=tmp_path).count("code\n") == 3
    user.ok("exec", "-d", "hurt", "until [ -e ~/end ]; do sleep 0.1; done; echo went on")
    until(lambda: json.loads(user.ok("queue", "hurt", "-o", "json"))[0]["status"] == "RUNNING")
    [rank] = json.loads(user.ok("queue", "hurt", "-o", "json"))[0]["ranks"]
    others = sorted({0, 1, 2} - {rank})
    kept = next(node["id"] for node in user.nodes_of("hurt") if node["rank"] == rank)
    user.ok("local", "preempt", "hurt", *map(str, others))
    assert "2 of 3 nodes lost" in user.ok("status", "-r", "hurt")
    refused = user.run("exec", "hurt", "true")
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (
        3,
        f"skyflow: Cluster 'hurt' has lost its node(s) {', '.join(map(str, others))}. "
        "Make them anew: skyflow start hurt",
    )

    user.ok("local", "stockout")
    failed = user.run("start", "-y", "hurt")
    assert failed.returncode == 4, failed.stderr
    assert "Cluster 'hurt' stays without its node(s): There is no capacity in local-a" in failed.stderr
    assert [node["id"] for node in user.nodes_of("hurt")] == [kept]
    assert view(user, "hurt")["lost"] == others
    user.ok("local", "clear", "--all")

    assert "Cluster hurt is up with 3 node(s)." in user.run("start", "-y", "hurt").stderr
    assert view(user, "hurt")["status"] == "UP"
    assert [node["rank"] for node in sorted(user.nodes_of("hurt"), key=lambda node: node["rank"])] == [0, 1, 2]
    user.ok("ssh", "hurt", "true")
    out = user.ok(
        "exec", "hurt", "--num-nodes", "3", "--cpus", "1", "[ -e ~/kept ] && echo old || echo new; touch ~/end"
    )
    assert (out.count("old\n"), out.count("new\n")) == (1, 2)
    until(lambda: "went on" in user.run("logs", "--no-follow", "hurt", "2").stdout)
    until(lambda: json.loads(user.ok("queue", "hurt", "-o", "json"))[1]["status"] == "SUCCEEDED")

    user.ok("local", "preempt", "hurt", "0")
    user.ok("status", "-r", "hurt")
    assert user.ok("launch", "-y", "-c", "hurt", "task.yaml", cwd=tmp_path).count("code\n") == 3
    assert user.ok("ssh", "hurt", "ls ~/kept").endswith("/kept\n")
    told = [event["what"] for event in json.loads(user.ok("events", "hurt", "-o", "json"))]
    assert "Start ended: 3 node(s)." in told
    [row] = [row for row in json.loads(user.ok("cost-report", "-o", "json")) if row["name"] == "hurt"]
    assert (row["num_nodes"], row["status"]) == (3, "UP")
    user.ok("down", "-y", "hurt")
    assert user.nodes_of("hurt") == []


def test_a_graceful_stop_lets_a_job_end_by_itself(user: User, life: str) -> None:
    user.ok("exec", "-d", life, "trap 'sleep 1; echo saved > ~/saved; exit' TERM; echo ready; sleep 1000 & wait")
    until(lambda: "ready" in user.ok("logs", "--no-follow", life))
    user.ok("stop", "-y", "--graceful", "--graceful-timeout", "60", life)
    assert json.loads(user.ok("queue", life, "-o", "json"))[0]["status"] == "CANCELLED"
    user.ok("autostop", life, "-i", "45", "--down-after", "7d")
    assert "down in 7 d" in user.ok("status", life)
    assert user.run("start", "-y", life).stderr.endswith(
        "Its idle rule counts again: stopped after 45 idle minutes. Cancel it: skyflow autostop life --cancel\n"
    )
    assert "stop in 45 min, down 7 d later" in user.ok("status", life)
    assert user.ok("exec", life, "cat ~/saved") == "saved\n"
    assert user.run("start", "-y", "-f", life).stderr.startswith("Cluster life is up with 1 node(s).")


def host_of_nodes(user: User) -> int:
    """The process that makes and deletes local nodes; the nodes are its children."""

    def is_host(pid: int) -> bool:
        return b"skyflow.clouds.local.host" in Path(f"/proc/{pid}/cmdline").read_bytes()

    found = {pid for pid in user.processes() if is_host(pid)}
    parents = {pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in found}
    [host] = [pid for pid, parent in parents.items() if parent not in found]
    return host


def test_a_purged_cluster_is_forgotten_and_its_nodes_go_when_the_cloud_answers_again(user: User) -> None:
    user.ok("launch", "-y", "-c", "silent", "true")
    host = host_of_nodes(user)
    os.kill(host, signal.SIGSTOP)
    try:
        done = user.run("down", "-y", "-p", "silent")
        assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
        assert "Cluster 'silent' is forgotten, but may exist and cost: local/local/local-a: 1 node(s)" in done.stderr
        assert user.run("status", "silent").returncode == 3
    finally:
        os.kill(host, signal.SIGCONT)
    until(lambda: not user.nodes_of("silent"))


def temporal(user: User, *words: str) -> None:
    """`temporal …`, as somebody who has no skyflow."""
    address = user.record()["address"]
    subprocess.run([temporal_binary(), *words, "--address", address], check=True, capture_output=True, timeout=30)


def test_temporals_own_command_cancels_and_sets_the_idle_rule(user: User, life: str) -> None:
    user.ok("exec", "-d", life, "sleep 1000")
    job = json.loads(user.ok("queue", life, "-o", "json"))[0]["id"]
    say = ["workflow", "signal", "--workflow-id", f"cluster/{life}", "--name"]
    temporal(user, *say, "cancel")
    temporal(user, *say, "autostop")
    assert view(user, life)["autostop"] == 45
    temporal(user, *say, "autostop", "--input", '{"minutes": 30, "down": true}')
    temporal(user, *say, "cancel", "--input", f'{{"jobs": [{job}]}}')
    until(lambda: json.loads(user.ok("queue", life, "-o", "json"))[0]["status"] == "CANCELLED")
    assert "down in 30 min" in user.ok("status", life)


def test_cost_report_of_jobs(user: User, life: str) -> None:
    rows = json.loads(user.ok("cost-report", "--jobs", "life", "part", "-o", "json"))
    assert {row["cluster"] for row in rows} == {"life", "part"}
    assert all(row["cost"] >= 0 and row["status"] for row in rows)
    assert "CANCELLED" in user.ok("cost-report", "--jobs", life)
    assert user.run("cost-report", "--jobs", "nobody").returncode == 3


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
    of_life = {event["what"] for event in json.loads(user.ok("events", life, "-o", "json"))}
    assert {"Launch ended: job 2 submitted.", "Job 2 CANCELLED.", "Start ended: the nodes ran already."} <= of_life
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
        ["autostop", "life", "--wait-for", "nonsense"],
        ["launch", "--wait-for", "jobs", "true"],
        ["start", "life", "--down"],
    ):
        assert user.run(*words).returncode == 2, words
    for verb in ("stop", "start", "autostop", "down"):
        done = user.run(verb, "-y", "nobody")
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert "Cluster 'nobody' does not exist" in done.stderr
