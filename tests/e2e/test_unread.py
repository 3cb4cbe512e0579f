"""A job ends while the machine of its user sleeps, and its node switches itself off before anybody has seen that."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import User
from tests.e2e.test_life import has_status, read
from tests.e2e.test_local import until

pytestmark = pytest.mark.timeout(300)  # a node looks at its lease every 30 s

JOB = "echo begin; until [ -e ~/end ]; do sleep 0.1; done; echo last words; exit 5"


def row(user: User) -> dict[str, Any]:
    [found] = json.loads(user.ok("queue", "dev", "-o", "json"))
    return dict(found)


def logs(user: User) -> str:
    return user.run("logs", "--no-follow", "dev").stdout


def node_of(user: User) -> Path:
    [home] = user.nodes()
    return home


def test_a_job_that_ended_while_nobody_was_awake_is_not_forgotten(newcomer: User) -> None:
    newcomer.ok("launch", "-y", "-d", "-c", "dev", "-i", "30", JOB)
    node = node_of(newcomer)
    lease = node / ".skyflow/lease/lease"
    until(lambda: "2400 eval" in read(lease) and logs(newcomer) == "begin\n")
    newcomer.ok("server", "stop")

    (node / "end").touch()
    until(lambda: [*node.glob(".skyflow/jobs/*/1/end")])
    ended = time.time()
    lease.write_text(re.sub("^2400", "1", lease.read_text()))  # instead of waiting for so long
    until((node.parent / "stopped").exists)
    time.sleep(2)

    assert newcomer.run("status", "-r", "dev").returncode == 0
    has_status(newcomer, "dev", "STOPPED")
    until(lambda: row(newcomer)["status"] == "FAILED_DRIVER")
    assert row(newcomer)["reason"] == "The node of rank 0 was stopped before its end was read: a start reads it."
    assert logs(newcomer) == "begin\n"

    newcomer.ok("start", "-y", "dev")
    until(lambda: row(newcomer)["status"] == "FAILED")
    seen = row(newcomer)
    assert (seen["returncode"], seen["reason"]) == (5, "Rank 0 failed with exit code 5.")
    assert abs(seen["ended_at"] - ended) < 2
    assert logs(newcomer) == "begin\nlast words\n"
    [cost] = json.loads(newcomer.ok("cost-report", "--jobs", "dev", "-o", "json"))
    assert (cost["status"], round(cost["duration"], 3)) == ("FAILED", round(seen["ended_at"] - seen["started_at"], 3))
    told = [event["what"] for event in json.loads(newcomer.ok("events", "dev", "-o", "json"))]
    assert any(what.endswith("Then it was read: FAILED. Rank 0 failed with exit code 5.") for what in told)

    newcomer.ok("down", "-y", "dev")
    assert newcomer.run("logs", "--status", "dev", "1").stdout.split()[-1:] == ["FAILED"]
    [cost] = json.loads(newcomer.ok("cost-report", "--jobs", "dev", "-o", "json"))
    assert (cost["status"], round(cost["duration"], 3)) == ("FAILED", round(seen["ended_at"] - seen["started_at"], 3))
