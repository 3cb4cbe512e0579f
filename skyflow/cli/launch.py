"""`skyflow launch` and `skyflow exec`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skyflow.cli import view
from skyflow.cli.follow import follow, snapshot_bar
from skyflow.cli.main import leave
from skyflow.cli.session import run
from skyflow.errors import CommandError, SkyflowError, UsageError
from skyflow.models import exit_code
from skyflow.models.task import Task, entrypoint, parse_env_option, read_env_file

if TYPE_CHECKING:
    from skyflow.client import Client
    from skyflow.handle import Launch


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


def launch(task: Task, cluster: str | None, output: str = "table", **options: Any) -> None:
    """Starts a launch and shows it until it ends. Leaves with the job's exit code."""
    if output == "json":
        if not options["dryrun"]:
            raise UsageError("-o json prints a plan: use it with --dryrun. Listings: skyflow status -o json")
        leave(run(lambda client: _print_plan(client, task, cluster)))
    leave(run(lambda client: _launch(client, task, cluster, options)))


def execute(task: Task, cluster: str, **options: Any) -> None:
    """Starts an exec and shows it until it ends. Leaves with the job's exit code."""
    leave(run(lambda client: _execute(client, task, cluster, options)))


async def _launch(client: Client, task: Task, cluster: str | None, options: dict[str, Any]) -> int:
    with snapshot_bar() as bar:
        handle = await client.launch(task, cluster, on_snapshot=bar, **options)
    if options["dryrun"]:
        view.say(f"Planning, and making nothing: {handle.workflow_id}")
    else:
        view.say(f"Launching on cluster {handle.cluster_name!r}: {handle.workflow_id}")
    return await _show(client, handle, task)


async def _print_plan(client: Client, task: Task, cluster: str | None) -> int:
    handle = await client.launch(task, cluster, dryrun=True)
    view.as_json((await handle.result())["plan"])
    return 0


async def _execute(client: Client, task: Task, cluster: str, options: dict[str, Any]) -> int:
    with snapshot_bar() as bar:
        handle = await client.exec(task, cluster, on_snapshot=bar, **options)
    return await _show(client, handle, task, brief=True)


async def _show(client: Client, handle: Launch, task: Task, brief: bool = False) -> int:
    cluster = handle.cluster_name
    try:
        result = await follow(handle, task.num_nodes, brief)
    except asyncio.CancelledError:
        view.say(f"\nDetached; it goes on. Come back: skyflow logs {cluster}   Cancel: skyflow cancel {cluster} --all")
        return exit_code.INTERRUPTED
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
    status = result["status"]  # none: there was nothing to run; PENDING: it was detached
    return 0 if status in ("", "PENDING") else exit_code.of_job(status)


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
