"""Many jobs on one cluster: each has accelerators of its own, and waits its turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import User
from tests.e2e.test_local import until

SIZES = ("--cpus", "8", "--memory", "32", "--gpus", "A100:4", "--price", "1")


@pytest.fixture
def box(user: User) -> Iterator[str]:
    """A cluster of one node with four accelerators, by name."""
    user.ok("local", "type", "box", *SIZES)
    user.ok("launch", "-y", "-c", "queue", "--gpus", "A100:4", 'echo "all: $CUDA_VISIBLE_DEVICES"')
    yield "queue"
    user.ok("down", "-y", "queue")
    user.ok("local", "clear", "--all")


def rows(user: User) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(user.ok("queue", "queue", "-o", "json"))}


def hold(gate: Path) -> str:
    return f'echo "mine: $CUDA_VISIBLE_DEVICES"; until [ -e {gate} ]; do sleep 0.05; done'


def test_jobs_share_the_accelerators_and_wait_for_them(user: User, box: str) -> None:
    assert user.ok("logs", box, "1") == "all: 0,1,2,3\n"
    gate, last = user.home / "gate", user.home / "last"
    user.ok("exec", "-d", box, "-n", "first", "--gpus", "A100:3", hold(gate))
    until(lambda: rows(user)["first"]["status"] == "RUNNING")
    user.ok("exec", "-d", box, "-n", "head", "--gpus", "A100:2", "--num-nodes", "1", hold(last))
    user.ok("exec", "-d", box, "-n", "behind", "--gpus", "A100", hold(last))
    user.ok("exec", "-d", box, "-n", "urgent", "--gpus", "A100:4", "--priority", "9", hold(last))
    until(lambda: len(rows(user)) == 5 and rows(user)["urgent"]["status"] == "PENDING")

    # Who wants no accelerator need not wait, and sees none.
    assert user.ok("exec", box, 'echo "none: $CUDA_VISIBLE_DEVICES"') == "none: \n"
    waiting = rows(user)
    assert waiting["urgent"]["reason"] == "Waits for 1 × A100:4."
    assert waiting["head"]["reason"] == "Number 2 in line for 1 × A100:2."
    assert [waiting[name]["status"] for name in ("first", "head", "behind")] == ["RUNNING", "PENDING", "PENDING"]
    assert "1 × A100:3" in user.ok("queue", box)

    gate.touch()
    until(lambda: rows(user)["urgent"]["status"] == "RUNNING")
    assert rows(user)["head"]["status"] == "PENDING", "the urgent one has them all"
    user.ok("cancel", "-y", box, str(rows(user)["urgent"]["id"]))
    until(lambda: {rows(user)[name]["status"] for name in ("head", "behind")} == {"RUNNING"})
    last.touch()
    until(lambda: {rows(user)[name]["status"] for name in ("head", "behind")} == {"SUCCEEDED"})
    seen = {name: user.ok("logs", box, str(rows(user)[name]["id"])) for name in ("head", "behind")}
    assert seen == {"head": "mine: 0,1\n", "behind": "mine: 2\n"}


def test_parts_of_an_accelerator(user: User, box: str) -> None:
    last = user.home / "parts"
    for name in ("one", "two"):
        user.ok("exec", "-d", box, "-n", name, "--gpus", "A100:0.5", hold(last))
    until(lambda: {rows(user)[name]["status"] for name in ("one", "two")} == {"RUNNING"})
    last.touch()
    assert {rows(user)[name]["devices"]["0"][0] for name in ("one", "two")} == {0}


def test_what_the_nodes_do_not_have_is_refused(user: User, box: str) -> None:
    for flags in (["--gpus", "A100:8"], ["--gpus", "V100"], ["--cpus", "9"], ["--memory", "64+"]):
        done = user.run("exec", box, *flags, "true")
        assert (done.returncode, done.stdout) == (4, ""), done.stderr
        assert "The task's resources do not fit on cluster 'queue'" in done.stderr
