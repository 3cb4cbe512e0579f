"""The worker is SIGKILLed before and after the effect of every activity that it has: nothing is lost, nothing twice."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skyflow.models.life import KEEP_SECONDS
from skyflow.worker.worker import activities
from tests.chaos.conftest import Lab
from tests.conftest import temporal_binary
from tests.listeners.receiver import receive

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

ACTIVITIES = sorted(
    {
        function.__temporal_activity_definition.name
        for group in activities(None).values()
        for function in group  # type: ignore[arg-type]
    }
)

TASK = """
name: once
num_nodes: 2
workdir: .
file_mounts: {{~/mounted.txt: ./input.txt}}
setup: echo setup >> {counter}/setup-$SKYPILOT_SETUP_NODE_RANK
run: |
  echo run >> {counter}/run-$SKYPILOT_NODE_RANK
  cat input.txt ~/mounted.txt
  sleep {seconds}
"""


def make_task(folder: Path, seconds: float) -> Path:
    """A task that counts how often its setup and run are executed."""
    (folder / "count").mkdir()
    (folder / "input.txt").write_text("input\n")
    file = folder / "task.yaml"
    file.write_text(TASK.format(counter=folder / "count", seconds=seconds))
    return file


def counts(folder: Path) -> dict[str, int]:
    return {file.name: len(file.read_text().splitlines()) for file in (folder / "count").iterdir()}


ONCE = {"setup-0": 1, "setup-1": 1, "run-0": 1, "run-1": 1}


def workflow(lab: Lab, *words: str) -> Any:
    """The `temporal` command, as an administrator uses it."""
    argv = [temporal_binary(), "workflow", *words, "--address", f"127.0.0.1:{lab.port}", "-o", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout or "null")


def wait_until_it_runs(folder: Path) -> None:
    wait((folder / "count/run-0").exists)


def wait(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


ADOPTION = ("adopt_life", "find_nodes", "list_lives", "list_units")
OTHERS = (
    "cancel_units", "close_intervals", "count_running", "describe_nodes", "find_hardware", "keep_callback",
    "post_changes", "read_ends", "run_callbacks", "start_nodes", "stop_nodes",
    *ADOPTION,
)  # fmt: skip
"""Those that a launch does not need if nothing goes wrong."""


PATIENT = ("find_life", "last_session", "lease_nodes", "list_ended")
"""For those who have heard nothing for a while, and come again while the job still runs."""
EACH = [name for name in ACTIVITIES if name not in (*OTHERS, *PATIENT)]
GROUPS = [tuple(EACH[first : first + 4]) for first in range(0, len(EACH), 4)]


@pytest.mark.parametrize("names", [*GROUPS, PATIENT], ids=" ".join)
def test_death_around_an_activity_of_a_launch(lab: Lab, tmp_path: Path, names: tuple[str, ...]) -> None:
    deaths = [f"{name}.{when}" for name in names for when in ("before", "after")]
    lab.fate(*deaths)
    task = make_task(tmp_path, 20 if names == PATIENT else 2.5)
    name = names[0]
    cluster = f"c-{name.replace('_', '-')}"
    done = lab.run("launch", "-c", cluster, "--down", "-y", task.name, cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("input\n") == 4
    assert counts(tmp_path) == ONCE
    assert lab.met(*deaths)
    lab.wait_for_no_nodes()


def test_death_around_a_cancel(lab: Lab, tmp_path: Path) -> None:
    lab.fate("cancel_units.before", "cancel_units.after")
    task = make_task(tmp_path, 300)
    lab.ok("launch", "-c", "c-cancel", "-d", task.name, cwd=tmp_path)
    wait_until_it_runs(tmp_path)
    lab.ok("cancel", "c-cancel", "1")
    assert lab.run("logs", "c-cancel", "1", timeout=120).returncode == 103
    assert lab.met("cancel_units.before", "cancel_units.after")
    lab.ok("down", "c-cancel", "-y")
    lab.wait_for_no_nodes()


def test_death_around_stop_and_start(lab: Lab, tmp_path: Path) -> None:
    names = ("stop_nodes", "start_nodes", "describe_nodes")
    deaths = [f"{name}.{when}" for name in names for when in ("before", "after")]
    lab.fate(*deaths)
    lab.ok("launch", "-c", "c-stop", "--num-nodes", "2", "-y", "echo kept > ~/kept", timeout=120)
    lab.ok("exec", "c-stop", "-d", "--cpus", "1", "--num-nodes", "2", "sleep 300")
    lab.ok("exec", "c-stop", "-d", "--cpus", "1", "--num-nodes", "2", "cat ~/kept")
    lab.ok("stop", "c-stop", "-y", timeout=120)
    assert [row["status"] for row in json.loads(lab.ok("queue", "c-stop", "-o", "json"))][:2] == [
        "PENDING",
        "CANCELLED",
    ]
    assert '"status": "STOPPED"' in lab.ok("status", "-r", "c-stop", "-o", "json", timeout=120)
    lab.ok("start", "c-stop", "-y", timeout=120)
    assert lab.ok("logs", "c-stop", "3", timeout=120).count("kept\n") == 2
    assert lab.met(*deaths)
    [row] = [row for row in json.loads(lab.ok("cost-report", "-o", "json")) if row["name"] == "c-stop"]
    assert (row["num_nodes"], row["status"]) == (2, "UP")
    lab.ok("down", "c-stop", "-y")
    lab.wait_for_no_nodes()


def test_death_around_a_repair(lab: Lab) -> None:
    lab.ok("launch", "-c", "c-repair", "--num-nodes", "2", "-y", "echo kept > ~/kept", timeout=120)
    lab.ok("local", "preempt", "c-repair", "1")
    lab.ok("status", "-r", "c-repair", timeout=120)
    names = ("describe_nodes", "delete_nodes", "create_nodes", "report_nodes")
    deaths = [f"{name}.{when}" for name in names for when in ("before", "after")]
    lab.fate(*deaths)
    lab.ok("start", "c-repair", "-y", timeout=200)
    assert lab.met(*deaths)
    assert sorted(node["rank"] for node in lab.nodes_of("c-repair")) == [0, 1]
    out = lab.ok("exec", "c-repair", "--num-nodes", "2", "cat ~/kept || echo new", timeout=120)
    assert (out.count("kept\n"), out.count("new\n")) == (1, 1)
    lab.ok("down", "c-repair", "-y")
    lab.wait_for_no_nodes()


def test_death_around_an_end_that_is_read_late(lab: Lab, tmp_path: Path) -> None:
    """The worker sleeps while the job ends and the nodes are stopped; then it dies while it reads that."""
    task = make_task(tmp_path, 4)
    lab.ok("launch", "-c", "c-late", "-d", task.name, cwd=tmp_path)
    wait_until_it_runs(tmp_path)
    worker = lab.kill("worker", signal.SIGSTOP)
    wait(lambda: len([*lab.home.glob(".skyflow/local/nodes/*/home/.skyflow/jobs/*/1/end")]) == 2)
    lab.ok("local", "stop", "c-late")
    worker.send_signal(signal.SIGCONT)
    lab.ok("status", "-r", "c-late", timeout=120)
    wait(lambda: statuses(lab, "c-late") == ["FAILED_DRIVER"])
    deaths = [f"{name}.{when}" for name in ("read_ends", "record_job") for when in ("before", "after")]
    lab.fate(*deaths)
    lab.ok("start", "-y", "c-late", timeout=120)
    wait(lambda: statuses(lab, "c-late") == ["SUCCEEDED"])
    assert lab.met(*deaths)
    assert lab.run("logs", "c-late", "1", timeout=120).stdout.count("input\n") == 4
    assert counts(tmp_path) == ONCE
    lab.ok("down", "c-late", "-y")
    lab.wait_for_no_nodes()


def statuses(lab: Lab, cluster: str) -> list[str]:
    return [row["status"] for row in json.loads(lab.ok("queue", cluster, "-o", "json", timeout=120))]


def test_death_around_a_dry_run(lab: Lab) -> None:
    lab.fate("find_hardware.before", "find_hardware.after")
    assert "local/local/" in lab.run("launch", "-c", "c-dry", "--dryrun", "true", timeout=120).stdout
    assert lab.met("find_hardware.before", "find_hardware.after")


def test_death_of_the_guardians_look(lab: Lab, tmp_path: Path) -> None:
    """The cluster's workflow is terminated: its job ends in peace, then its nodes go."""
    deaths = [f"{name}.{when}" for name in ("count_running", "close_intervals") for when in ("before", "after")]
    lab.fate(*deaths)
    task = make_task(tmp_path, 5)
    lab.ok("launch", "-c", "c-guard", "-d", task.name, cwd=tmp_path)
    wait_until_it_runs(tmp_path)
    workflow(lab, "terminate", "-w", "cluster/c-guard", "--reason", "test")
    lab.wait_for_no_nodes(120)
    assert counts(tmp_path) == ONCE
    deadline = time.monotonic() + 90
    while not lab.met(*deaths):  # the ledger comes after the nodes
        assert time.monotonic() < deadline
        time.sleep(0.1)
    [row] = [row for row in json.loads(lab.ok("cost-report", "-o", "json")) if row["name"] == "c-guard"]
    assert row["num_nodes"] == 2


def test_death_around_an_adoption(lab: Lab, tmp_path: Path) -> None:
    """The database is lost, and the worker dies again and again while its clusters are adopted."""
    task = make_task(tmp_path, 12)
    lab.ok("launch", "-c", "c-lost", "-d", task.name, cwd=tmp_path)
    wait_until_it_runs(tmp_path)
    time.sleep(2 * KEEP_SECONDS)
    for file in lab.home.glob("temporal.db*"):
        file.unlink()
    lab.kill("server", signal.SIGKILL)
    deaths = ["find_nodes.after", "adopt_life.after", "list_units.after"]  # the others only read
    lab.fate(*deaths)
    assert "Adopted: c-lost." in lab.run("adopt", "--yes", timeout=150).stderr
    assert lab.run("logs", "c-lost", "1", timeout=120).stdout.count("input\n") == 4
    assert lab.met(*deaths)
    assert counts(tmp_path) == ONCE
    [row] = [row for row in json.loads(lab.ok("cost-report", "-o", "json")) if row["name"] == "c-lost"]
    assert (row["num_nodes"], row["status"]) == (2, "UP")
    assert "Nothing to adopt" in lab.run("adopt").stderr
    lab.ok("down", "c-lost", "-y")
    lab.wait_for_no_nodes()


def test_death_around_those_who_listen(lab: Lab, tmp_path: Path) -> None:
    """After their effect: before it, such an activity has done nothing that could be done twice."""
    deaths = [f"{name}.after" for name in ("keep_callback", "post_changes", "run_callbacks")]
    log, states = tmp_path / "log", ["PENDING", "RUNNING", "SUCCEEDED"]
    log.touch()
    jobs = [f"job 1 {state}" for state in states]
    story = ["cluster INIT", "cluster UP", *jobs, "cluster AUTOSTOPPING", "cluster DOWN"]
    (tmp_path / "task.yaml").write_text(f"run: sleep 1\nevent_callback: echo $JOB_STATUS >> {log}\n")
    with receive() as receiver:
        lab.settings = {"SKYFLOW_WEBHOOKS": receiver.url, "SKYFLOW_EVENT_CALLBACKS": "on"}
        lab.kill("worker").wait()
        lab.fate(*deaths)
        lab.ok("launch", "-c", "c-told", "--down", "-y", str(tmp_path / "task.yaml"), timeout=120)
        deadline = time.monotonic() + 90
        while receiver.of("c-told") != story or log.read_text().split() != states or not lab.met(*deaths):
            assert time.monotonic() < deadline, (receiver.of("c-told"), log.read_text())
            time.sleep(0.1)
        lab.settings = {}
        assert len(receiver.tries("c-told")) == len(story)
    lab.kill("worker").wait()


def test_death_of_the_server(lab: Lab, tmp_path: Path) -> None:
    task = make_task(tmp_path, 6)
    with lab.start("launch", "-c", "c-server", "--down", "-y", task.name, cwd=tmp_path) as launching:
        for _ in range(3):
            time.sleep(2)  # at no particular moment
            lab.kill("server", signal.SIGKILL)
        out, err = launching.communicate(timeout=150)
    assert launching.returncode == 0, err
    assert out.count("input\n") == 4
    assert counts(tmp_path) == ONCE
    lab.wait_for_no_nodes()
