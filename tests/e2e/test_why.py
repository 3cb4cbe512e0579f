"""A launch that does not go through says why, also to who asks later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import User

pytestmark = pytest.mark.e2e

SOLD_OUT = ("--infra", "local/local/local-b", "-t", "local-8x64")


@pytest.fixture
def sold_out(user: User) -> Iterator[User]:
    """A user for whom one size is not to be had in one zone."""
    user.ok("local", "stockout", "--zone", "local-b", "-t", "local-8x64")
    yield user
    user.ok("local", "clear")


def test_a_launch_that_found_no_place(sold_out: User) -> None:
    assert sold_out.run("launch", "-c", "noplace", *SOLD_OUT, "true").returncode == 4
    logs = sold_out.run("logs", "noplace")
    assert (logs.returncode, logs.stdout) == (100, "")
    assert "Job 1 FAILED_DRIVER: No place could give the nodes" in logs.stderr
    status = sold_out.run("logs", "noplace", "--status")
    assert (status.returncode, status.stdout) == (100, "Job 1: FAILED_DRIVER\n")
    assert "There is no capacity in local-b" in status.stderr
    story = sold_out.run("logs", "noplace", "--provision")
    assert story.returncode == 0, story.stderr
    assert "local/local/local-b local-8x64: There is no capacity" in story.stdout
    assert "No place could give the nodes" in story.stderr


def test_a_launch_that_waits(sold_out: User) -> None:
    sold_out.ok("launch", "-c", "waits", "--async", "-r", *SOLD_OUT, "echo at last")
    with sold_out.start("logs", "waits") as following:
        assert following.stderr is not None
        assert "There is no capacity" in following.stderr.readline()
        assert "waiting for nodes: none of" in following.stderr.readline()
        assert "waiting for nodes" in sold_out.ok("logs", "waits", "--provision")
        sold_out.ok("local", "clear")
        assert following.wait(30) == 0
        assert following.stdout is not None
        assert following.stdout.read() == "at last\n"
    sold_out.ok("down", "waits", "-y")
    assert "local/local/local-b local-8x64: ok" in sold_out.ok("logs", "waits", "--provision")


def test_a_launch_that_was_cancelled(sold_out: User) -> None:
    sold_out.ok("launch", "-c", "unwanted", "--async", "-r", *SOLD_OUT, "true")
    sold_out.ok("down", "unwanted", "-y")
    logs = sold_out.run("logs", "unwanted")
    assert logs.returncode == 103
    assert "Job 1 CANCELLED: The launch on 'unwanted' was cancelled." in logs.stderr


def test_what_temporal_does_not_remember(user: User) -> None:
    done = user.run("logs", "nobody", "--provision")
    assert done.returncode == 3
    assert "Temporal remembers no launch" in done.stderr


def test_another_store_than_the_workers_is_refused_before_anything_starts(user: User, tmp_path: Path) -> None:
    user.ok("launch", "-c", "stores", "true")
    for command in (["launch", "-c", "otherstore"], ["exec", "stores"]):
        done = user.run(*command, "echo lost", SKYFLOW_STORE=f"file://{tmp_path}")
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert f"The client's store is file://{tmp_path}, the worker's is file://{user.home}" in done.stderr
    for command in (["logs", "stores"], ["exec", "stores", "--workdir", ".", "true"]):
        done = user.run(*command, SKYFLOW_STORE=f"file://{tmp_path}/never")
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert not (tmp_path / "never").exists()
    assert "otherstore" not in user.ok("status")
    assert user.ok("queue", "stores").count("SUCCEEDED") == 1
    for flag in ("--dryrun", "-d"):
        done = user.run("launch", flag, "true", SKYFLOW_STORE="ftp://x")
        assert done.returncode == 2
        assert "file:///folder, s3://bucket/folder or gs://bucket/folder" in done.stderr
    user.ok("down", "stores", "-y")
