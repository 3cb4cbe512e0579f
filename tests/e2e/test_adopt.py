"""The database of the embedded server is lost, while a job runs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.e2e.conftest import User
from tests.e2e.test_local import until

JOB = "echo begin; until [ -e ~/end ]; do sleep 0.1; done; echo end"


def lose_the_database(user: User) -> None:
    record = user.record()
    os.kill(record["pid"], signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in record["children"].values()))
    for file in (user.home / ".skyflow/server").glob("temporal.db*"):
        file.unlink()


def is_kept(user: User) -> bool:
    """Whether the store has the one cluster with all that it is."""
    files = sorted(path for path in user.home.glob(".skyflow/store/lives/*/*/*") if path.suffix == "")
    state: dict[str, Any] = json.loads(files[-1].read_text())["state"] if files else {"jobs": {}}
    return {id: job["status"] for id, job in state["jobs"].items()} == {"1": "RUNNING"} and not state["operations"]


def adopted(user: User) -> list[str]:
    return [one["cluster"] for one in json.loads(user.ok("adopt", "-o", "json"))["adopted"]]


def rows(user: User) -> list[tuple[int, str]]:
    return [(row["id"], row["status"]) for row in json.loads(user.ok("queue", "dev", "-o", "json"))]


def events(user: User) -> list[str]:
    return [event["what"] for event in json.loads(user.ok("events", "dev", "-o", "json"))]


def test_clusters_outlive_the_database(newcomer: User) -> None:
    newcomer.ok("launch", "-y", "-d", "-c", "dev", "-i", "50", JOB)
    until(lambda: is_kept(newcomer))
    lose_the_database(newcomer)

    said = newcomer.run("status").stderr
    assert "The store knows of 1 cluster(s) that this Temporal does not have." in said
    refused = newcomer.run("adopt")
    assert refused.returncode == 2
    assert "two would own the same nodes" in refused.stderr and "set TEMPORAL_ADDRESS" in refused.stderr
    assert "Adopted: dev." in newcomer.run("adopt", "--yes").stderr
    assert adopted(newcomer) == []
    [view] = json.loads(newcomer.ok("status", "-o", "json"))
    assert (view["status"], view["num_nodes"], view["autostop"]) == ("UP", 1, 50)
    assert rows(newcomer) == [(1, "RUNNING")]
    until(lambda: events(newcomer) == ["Adopted: 1 node(s), 1 job(s) that had not ended.", "Job 1 began."])

    assert newcomer.ok("exec", "dev", "touch ~/end; echo hello") == "hello\n"
    until(lambda: rows(newcomer) == [(2, "SUCCEEDED"), (1, "SUCCEEDED")])
    assert newcomer.ok("logs", "dev", "1") == "begin\nend\n"
    newcomer.ok("down", "-y", "dev")
    assert newcomer.nodes() == []
    assert "No clusters. Make one" in newcomer.run("status").stderr
