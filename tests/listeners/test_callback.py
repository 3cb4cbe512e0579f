"""One run of a callback."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from skyflow.listeners import callback, child
from skyflow.models.change import CallbackSpec, Change

CHANGE = Change(number=7, cluster="dev", uid="u", kind="job", after="RUNNING", job_id=3)
ENV = {"PATH": os.environ["PATH"], "WORKER": "its own"}


def spec(script: str) -> CallbackSpec:
    envs = {"MINE": "a b", "PYTHONPATH": "/nowhere", "PYTHONWARNINGS": "error"}
    return CallbackSpec(cluster="dev", launch="l", script=script, task_name="train", task_id="sky-1_dev", envs=envs)


async def test_k08_it_is_told_by_its_environment() -> None:
    names = "JOB_ID JOB_STATUS CLUSTER_NAME TASK_NAME TASK_ID SKYPILOT_TASK_ID SKYPILOT_TASK_IDS EVENT_TYPE"
    script = "\n".join(f'echo "${name}"' for name in [*names.split(), "MINE", "WORKER", "SKYFLOW_EVENT_ID"])
    ran = await callback.run(spec(script), CHANGE, ENV)
    assert ran.output.splitlines() == [
        "3", "RUNNING", "dev", "train", "0", "sky-1_dev_3", "sky-1_dev_3", "Job", "a b", "its own", "dev/u/7"
    ]  # fmt: skip
    assert (ran.returncode, ran.status) == (0, "RUNNING")


async def test_bash_and_its_exit_code_and_the_last_of_its_output() -> None:
    ran = await callback.run(spec("[[ a == a ]] && seq 100000\ncat\nexit 3"), CHANGE, ENV)
    assert (ran.returncode, ran.output[-7:], len(ran.output)) == (3, "100000\n", callback.KEPT_OUTPUT)


async def test_one_that_takes_too_long_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    ran = await callback.run(spec(f"sleep 60 & echo $! > {pid}; wait"), CHANGE, ENV, 0.5)
    assert (ran.returncode, ran.seconds < 10) == (None, True)
    await asyncio.to_thread(soon, lambda: not alive(int(pid.read_text())))


def test_it_ends_with_its_worker(tmp_path: Path) -> None:
    script, pid = tmp_path / "script", tmp_path / "pid"
    script.write_text(f"echo $$ > {pid}; sleep 60; true")
    program = "import os, subprocess, sys; subprocess.run([*sys.argv[1:4], str(os.getpid()), sys.argv[4]])"
    parent = subprocess.Popen([sys.executable, "-c", program, sys.executable, "-IS", child.__file__, str(script)])
    soon(lambda: pid.exists() and pid.read_text() != "")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    soon(lambda: not alive(int(pid.read_text())))


def soon(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return "\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
