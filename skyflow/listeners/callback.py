"""One run of a callback: the script of a task, told by its environment what its job has become."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from skyflow.listeners import child
from skyflow.models.change import CallbackSpec, Change
from skyflow.models.wire import Wire

CALLBACK_SECONDS = 600.0
"""How long one run may take. Then it is killed, with whatever it has started."""

KEPT_OUTPUT = 16 << 10
"""Bytes of its output that are kept: the last ones."""


class CallbackRun(Wire):
    """What came of one run."""

    status: str
    returncode: int | None = None
    """None if it was killed because it took too long."""
    seconds: float
    output: str = ""


def environment(spec: CallbackSpec, change: Change) -> dict[str, str]:
    """What the script is told: the task's variables, and SkyPilot's names for what has changed (PARITY K08)."""
    task_id = f"{spec.task_id}_{change.job_id}"
    return {
        **spec.envs,
        "SKYPILOT_TASK_ID": task_id,
        "SKYPILOT_TASK_IDS": task_id,
        "TASK_ID": "0",
        "JOB_ID": str(change.job_id),
        "JOB_STATUS": change.after,
        "CLUSTER_NAME": spec.cluster,
        "TASK_NAME": spec.task_name,
        "EVENT_TYPE": "Job",
        "SKYFLOW_EVENT_ID": change.id,
    }


async def run(
    spec: CallbackSpec, change: Change, env: Mapping[str, str], seconds: float = CALLBACK_SECONDS
) -> CallbackRun:
    """Runs the script with bash, in a folder of its own, and waits for its end.

    Args:
        spec: the script.
        change: what it is told.
        env: the environment that its own variables are added to.
        seconds: how long it may take.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="skyflow-callback-") as folder:
        script, log = Path(folder, "script"), Path(folder, "log")
        script.write_bytes((spec.script.strip() + "\n").encode("utf-8", "surrogateescape"))
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-IS", child.__file__, str(os.getpid()), str(script)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env={**env, **environment(spec, change)},
                start_new_session=True,
            )
        code: int | None = None
        try:
            code = await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            with suppress(ProcessLookupError):  # also what it has left running
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        with log.open("rb") as output:
            output.seek(max(0, log.stat().st_size - KEPT_OUTPUT))
            text = output.read().decode(errors="replace")
    return CallbackRun(status=change.after, returncode=code, seconds=time.monotonic() - began, output=text)
