"""`skyflow local`: failover, preemption and broken networks on a laptop, as the docs describe them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e.conftest import User


@pytest.fixture(autouse=True)
def as_before(user: User) -> Any:
    yield
    user.ok("local", "clear", "--all")


def until(what: Any) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def status(user: User, cluster: str) -> str:
    return str(json.loads(user.ok("queue", cluster, "-o", "json"))[0]["status"])


def test_failover_is_seen(user: User) -> None:
    user.ok("local", "zones", "east", "east-a", "east-b")
    sizes = ["--cpus", "100", "--memory", "500", "--gpus", "a100:8", "--price", "4", "--spot-price", "1.2"]
    user.ok("local", "type", "gpu", *sizes)
    user.ok("local", "stockout", "--zone", "east-a")
    shown = json.loads(user.ok("local", "show", "-o", "json"))
    assert shown["regions"]["east"] == ["east-a", "east-b"]
    assert {
        "name": "gpu", "cpus": 100, "memory": 500, "price": 4, "spot_price": 1.2, "accelerators": "a100:8"
    } in shown["instance_types"]  # fmt: skip
    echo = "echo here $SKYPILOT_NUM_GPUS_PER_NODE"
    done = user.run("launch", "-c", "fo", "--infra", "local/east", "--gpus", "A100:8", echo)
    assert (done.returncode, done.stdout) == (0, "here 8\n")
    assert "local/east/east-a gpu: There is no capacity in east-a (gpu) now." in done.stderr
    assert "local/east/east-b" in done.stderr
    story = user.ok("logs", "--provision", "fo")
    assert "local/east/east-a gpu: There is no capacity" in story
    assert "local/east/east-b gpu: ok" in story
    user.ok("down", "-y", "fo")


def test_nowhere_says_what_was_tried_and_what_to_do(user: User) -> None:
    user.ok("local", "stockout")
    done = user.run("launch", "-c", "nowhere", "--cpus", "2", "true")
    assert done.returncode == 4
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("skyflow: No place")]
    assert "local/local/local-a (local-2x4): There is no capacity in local-a (local-2x4) now" in line
    assert line.endswith(
        "Wait for them with --retry-until-up, or allow other places or sizes (--infra, --cpus, --memory)."
    )
    assert user.run("status", "nowhere").returncode == 3


def test_retry_until_up(user: User) -> None:
    user.ok("local", "stockout")
    waiting = user.start("launch", "-c", "later", "--retry-until-up", "echo at last")
    try:
        assert waiting.stderr is not None
        while "waiting for nodes: none of" not in waiting.stderr.readline():
            assert waiting.poll() is None
        user.ok("local", "clear")
        out, _ = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
    assert (waiting.returncode, out) == (0, "at last\n")
    user.ok("down", "-y", "later")


def test_capacity_and_quota(user: User) -> None:
    user.ok("local", "capacity", "1", "--zone", "local-a")
    user.ok("local", "quota", "local", "3")
    user.ok("launch", "-y", "-c", "two", "--num-nodes", "2", "true")
    assert {node["zone"] for node in json.loads(user.ok("local", "nodes", "-o", "json"))} == {"local-b"}
    done = user.run("launch", "-y", "-c", "more", "--num-nodes", "2", "true")
    assert done.returncode == 4
    assert "The quota of 3 nodes in region local is used up" in done.stderr
    user.ok("down", "-y", "two")


def test_preempt(user: User) -> None:
    user.ok("launch", "-y", "-d", "-c", "spot", "--num-nodes", "2", "sleep 100")
    until(lambda: status(user, "spot") == "RUNNING")
    user.ok("local", "preempt", "spot", "1")
    until(lambda: status(user, "spot") == "FAILED_DRIVER")
    refused = user.run("exec", "spot", "true")
    assert refused.returncode == 3
    assert "has lost its node(s) 1. Make them anew: skyflow start spot" in refused.stderr
    assert "spot" in user.ok("status")
    user.ok("down", "-y", "spot")


@pytest.mark.parametrize(("harm", "heal"), [("cut", "restore"), ("freeze", "thaw")])
def test_a_silent_node_is_not_a_lost_one(user: User, harm: str, heal: str) -> None:
    gate = user.home / f"{harm}-is-over"
    user.ok("launch", "-y", "-d", "-c", harm, f"seq 15; until [ -e {gate} ]; do sleep 0.1; done; seq 16 30")
    until(lambda: status(user, harm) == "RUNNING")
    user.ok("local", harm, harm)
    nodes = json.loads(user.ok("local", "nodes", "-o", "json"))
    assert [node["state"] for node in nodes if node["cluster"] == harm] == ["silent"]
    time.sleep(1)
    assert status(user, harm) == "RUNNING"
    user.ok("local", heal, harm)
    gate.touch()
    assert user.run("logs", harm).stdout.split() == [str(number) for number in range(1, 31)]
    user.ok("down", "-y", harm)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["stockout", "--zone", "nix"], 2, "There is no zone 'nix'; there are: local-a, local-b."),
        (["capacity", "--", "-1"], 2, "nodes: Input should be greater than or equal to 0 (it is -1)."),
        (["zones", "east"], 2, "Say the zones of east: skyflow local zones east east-a east-b"),
        (["zones", "east", "local-a"], 2, "Zone 'local-a' is there twice; a zone is in one region."),
        (["zones", "local", "--remove"], 2, "'local' is the last region; add another one first."),
        (
            ["zones", "e/a", "x"],
            2,
            "No task could name the region 'e/a': it may have no /, no * and no spaces at its ends.",
        ),
        (["zones", "east", "*"], 2, "No task could name the zone '*'"),
        (["type", " x"], 2, "No task could name the instance type ' x'"),
        (["type", "x", "--cpus", "0"], 2, "cpus: Input should be greater than 0 (it is 0.0)."),
        (["type", "x", "--remove"], 2, "There is no instance type 'x'; there are: "),
        (["preempt", "nix"], 3, "Cluster 'nix' has no local nodes. See: skyflow local nodes"),
    ],
)
def test_wrong_words(user: User, words: list[str], code: int, said: str) -> None:
    done = user.run("local", *words)
    assert done.returncode == code
    assert done.stderr.startswith(f"skyflow: {said}")
    assert len(done.stderr.splitlines()) == 1
