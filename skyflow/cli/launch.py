"""`skyflow launch` and `skyflow exec`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skyflow.cli import view
from skyflow.cli.main import INTERRUPTED, leave
from skyflow.cli.session import run
from skyflow.errors import CommandError, SkyflowError, TemporalUnavailableError
from skyflow.models.log_line import LineMerger
from skyflow.models.task import Task, entrypoint, parse_env_option, read_env_file

if TYPE_CHECKING:
    from skyflow.client import Client
    from skyflow.handle import Launch

LOOK_SECONDS = 0.2
"""How often the progress of a launch is asked for before its job runs."""

EXIT_CODES = {"SUCCEEDED": 0, "CANCELLED": 103, "": 0}
"""By the job's status; any other that is final is 100 (PARITY §4.2)."""


@dataclass(frozen=True)
class Overrides:
    """What flags say about the task."""

    name: str | None
    workdir: str | None
    env: list[str]
    env_file: str | None
    num_nodes: int | None
    resources: dict[str, str | None]


def make_task(words: list[str], overrides: Overrides) -> Task:
    """The task of the entrypoint, with what the flags say instead. Raises InvalidTaskError, UsageError."""
    envs = dict(read_env_file(overrides.env_file)) if overrides.env_file else {}
    envs |= dict(parse_env_option(option) for option in overrides.env)
    task = entrypoint(words, envs=envs)
    if overrides.name is not None:
        task.name = overrides.name
    if overrides.workdir is not None:
        task.workdir = overrides.workdir
    if overrides.num_nodes is not None:
        task.num_nodes = overrides.num_nodes
    changed = {key: value for key, value in overrides.resources.items() if value is not None}
    if changed:
        task.set_resources(task.resources.copy(**changed))
    task.validate()
    return task


def launch(task: Task, cluster: str | None, **options: Any) -> None:
    """Starts a launch and shows it until it ends. Leaves with the job's exit code."""
    leave(run(lambda client: _launch(client, task, cluster, options)))


def execute(task: Task, cluster: str, **options: Any) -> None:
    """Starts an exec and shows it until it ends. Leaves with the job's exit code."""
    leave(run(lambda client: _execute(client, task, cluster, options)))


async def _launch(client: Client, task: Task, cluster: str | None, options: dict[str, Any]) -> int:
    handle = await client.launch(task, cluster, **options)
    view.say(f"Launching on cluster {handle.cluster_name!r}: {handle.workflow_id}")
    return await _show(client, handle, task)


async def _execute(client: Client, task: Task, cluster: str, options: dict[str, Any]) -> int:
    handle = await client.exec(task, cluster, **options)
    return await _show(client, handle, task, brief=True)


async def _show(client: Client, handle: Launch, task: Task, brief: bool = False) -> int:
    cluster = handle.cluster_name
    try:
        result = await _follow(handle, task.num_nodes, brief)
    except asyncio.CancelledError:
        view.say(f"\nDetached; it goes on. Come back: skyflow logs {cluster}   Cancel: skyflow cancel {cluster} --all")
        return INTERRUPTED
    except SkyflowError as error:
        if isinstance(error, CommandError) and error.job_id is not None:
            await _status(client, cluster)
        raise
    if result["plan"]:
        view.plan(result["plan"], task.num_nodes)
        view.say("Dry run: nothing was made.")
        return 0
    if result["job_id"] is not None:
        _say_job(result)
    if not brief:
        await _status(client, cluster)
    _hints(result)
    status = result["status"]
    return EXIT_CODES.get(status, 0 if status == "PENDING" else 100)


async def _follow(handle: Launch, num_nodes: int, brief: bool) -> dict[str, Any]:
    """Shows stages and output until the launch ends; returns its result."""
    result = asyncio.ensure_future(handle.result())
    watching = asyncio.ensure_future(_stages(handle, brief))
    merger = LineMerger(num_nodes)
    try:
        async for chunk in handle.output(result):
            _write(merger.feed(chunk.unit, chunk.rank, chunk.data))
        _write(merger.flush())
        return await result
    finally:
        result.cancel()
        watching.cancel()
        await asyncio.gather(result, watching, return_exceptions=True)


async def _stages(handle: Launch, brief: bool) -> None:
    """One line for each stage as it begins, and for what went wrong or is waited for; if brief, only for the latter."""
    said: set[str] = set()
    await asyncio.sleep(1 if brief else 0)
    while True:
        try:
            progress = await handle.progress()
        except TemporalUnavailableError as error:
            if "unavailable" not in said:
                said.add("unavailable")
                view.say(f"skyflow: {error} Waiting.")
            await asyncio.sleep(1)
            continue
        lines = [] if brief else [f"  {stage['name']}" for stage in progress["stages"]]
        lines += [
            f"  PROVISION   {attempt['place']} {attempt['instance_type']}: {attempt['error']}"
            for attempt in progress["attempts"]
            if attempt["error"]
        ]
        if progress["waiting_for"]:
            lines.append(f"  waiting for {progress['waiting_for']}")
        for line in lines:
            if line not in said:
                said.add(line)
                view.say(line)
        running = bool(progress["stages"]) and progress["stages"][-1]["name"] in ("EXEC", "DOWN")
        await asyncio.sleep(1 if running else LOOK_SECONDS)


def _write(data: bytes) -> None:
    if data:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _say_job(result: dict[str, Any]) -> None:
    line = f"Job {result['job_id']} {result['status'] or 'submitted'}"
    view.say(f"{line}: {result['reason']}" if result["reason"] else f"{line}.")


async def _status(client: Client, cluster: str) -> None:
    """After a launch, the clusters are shown (PARITY E29). The list may lag behind, so this one is asked itself."""
    others = [found for found in await client.status() if found["name"] != cluster]
    views = sorted(others + await client.status([cluster]), key=lambda found: str(found["name"]))
    if views:
        view.say()
        view.clusters(views, to_stderr=True)


def _hints(result: dict[str, Any]) -> None:
    cluster, job = result["cluster"], result["job_id"]
    view.say()
    if job is not None:
        view.say(f"Logs:      skyflow logs {cluster} {job}")
    if not result["down"]:
        view.say(f"Run more:  skyflow exec {cluster} 'command'")
        view.say(f"Jobs:      skyflow queue {cluster}")
        view.say(f"Take down: skyflow down {cluster}")
