"""`skyflow launch` and `skyflow exec`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from skyflow.cli import view
from skyflow.cli.follow import follow, snapshot_bar
from skyflow.cli.session import run
from skyflow.cli.task import make_dag, make_task
from skyflow.ending import leave
from skyflow.errors import CommandError, ResourcesUnavailableError, SkyflowError, UsageError
from skyflow.models import exit_code
from skyflow.models.support import check_request
from skyflow.models.task import Task

if TYPE_CHECKING:
    from skyflow.cli.options import TaskOptions
    from skyflow.client import Client
    from skyflow.handle import Launch


def launch(
    words: list[str], options: TaskOptions, cluster: str | None, output: str, start_only: bool, **flags: Any
) -> None:
    """Starts a launch and shows it until it ends. Leaves with the job's exit code."""
    if output == "json" and not flags["dryrun"]:
        raise UsageError("-o json prints a plan: use it with --dryrun. Listings: skyflow status -o json")
    if flags["dryrun"]:
        dag = make_dag(words, options)
        if len(dag) == 1:
            _check(dag.tasks[0], cluster, flags)
            leave(_plan(dag.tasks[0], options, cluster, output))
        from skyflow.cli.plan import show_dag  # rare

        show_dag(dag, options, output)
        return
    task = make_task(words, options)
    _check(task, cluster, flags)
    leave(run(lambda client: _launch(client, task, cluster, start_only, flags), options.config))


def execute(words: list[str], options: TaskOptions, cluster: str, start_only: bool, **flags: Any) -> None:
    """Starts an exec and shows it until it ends. Leaves with the job's exit code."""
    task = make_task(words, options)
    check_request(task, cluster, dryrun=flags["dryrun"])
    leave(run(lambda client: _execute(client, task, cluster, start_only, flags), options.config))


def _check(task: Task, cluster: str | None, flags: dict[str, Any]) -> None:
    idle = flags["idle_minutes_to_autostop"]
    check_request(
        task,
        cluster,
        dryrun=flags["dryrun"],
        down=flags["down"],
        idle_minutes_to_autostop=idle,
        wait_for=flags["wait_for"],
    )


async def _launch(client: Client, task: Task, cluster: str | None, start_only: bool, flags: dict[str, Any]) -> int:
    idle = _idle_minutes(task, flags) if client.endpoint.embedded else None
    is_new = cluster is None or await client.shown(cluster) is None
    with snapshot_bar() as bar:
        handle = await client.launch(task, cluster, on_snapshot=bar, **flags)
    view.say(f"Launching on cluster {handle.cluster_name!r}: {handle.workflow_id}")
    if idle is not None and is_new:
        view.keep_awake(idle)
    if start_only:
        return _started(handle)
    return await _show(client, handle, task)


def _idle_minutes(task: Task, flags: dict[str, Any]) -> int | None:
    """Of the rule that the user asked for, if any."""
    minutes, own = flags["idle_minutes_to_autostop"], task.resources[0].autostop
    if minutes is None and own is not None and own.enabled:
        return own.idle_minutes
    if minutes is None:
        return 0 if flags["down"] else None
    return minutes if minutes >= 0 else None


def _started(handle: Launch) -> int:
    """What `--async` leaves behind: the id, for programs, and how to come back."""
    print(handle.workflow_id)
    view.say(f"Started. Its output: skyflow logs {handle.cluster_name}")
    return 0


def _plan(task: Task, options: TaskOptions, cluster: str | None, output: str) -> int:
    """Shows what the worker would do; if only clouds that are not enabled have it, what they have."""

    async def body(client: Client) -> None:
        handle = await client.launch(task, cluster, dryrun=True)
        if output != "json":
            view.say(f"Planning, and making nothing: {handle.workflow_id}")
        _show_plan(await handle.result(), task, output)

    try:
        run(body, options.config)
    except ResourcesUnavailableError as error:
        from skyflow.cli.plan import show_elsewhere  # rare

        show_elsewhere(task, options, output, error)
    return 0


def _show_plan(result: dict[str, Any], task: Task, output: str = "table") -> None:
    there, num_nodes = result["offer"], result["num_nodes"]
    if output == "json":
        view.as_json([there] if there else result["plan"])
        return
    if there:
        place = f"{there['cloud']}/{there['region']}/{there['zone']}"
        print(f"It would run on cluster {result['cluster']!r}: {num_nodes} × {there['instance_type']} in {place}.")
    else:
        view.plan(result["plan"], task.num_nodes, result.get("num_offers", 0), result.get("explanation") or {})
    view.say("Dry run: nothing was made.")


async def _execute(client: Client, task: Task, cluster: str, start_only: bool, flags: dict[str, Any]) -> int:
    with snapshot_bar() as bar:
        handle = await client.exec(task, cluster, on_snapshot=bar, **flags)
    if flags["dryrun"]:
        _show_plan(await handle.result(), task)
        return 0
    if start_only:
        return _started(handle)
    return await _show(client, handle, task, brief=True)


async def _show(client: Client, handle: Launch, task: Task, brief: bool = False) -> int:
    cluster = handle.cluster_name
    keeping = _Keeping(client, cluster)
    try:
        result = await follow(handle, task.num_nodes, brief, keeping.begin)
    except asyncio.CancelledError:
        view.say(f"\nDetached; it goes on. Come back: skyflow logs {cluster}   Cancel: skyflow cancel {cluster} --all")
        return exit_code.INTERRUPTED
    except SkyflowError as error:
        if isinstance(error, CommandError) and error.job_id is not None:
            await _status(client, cluster)
        raise
    if result["job_id"] is not None:
        _say_job(result)
    await keeping.end(result["down"])
    if not brief:
        await _status(client, cluster)
    _hints(result)
    status = result["status"]  # none: there was nothing to run; PENDING: it was detached
    return 0 if status in ("", "PENDING") else exit_code.of_job(status)


class _Keeping:
    """The SSH config during a launch: as soon as there are nodes they are in it, not only when the job has ended."""

    def __init__(self, client: Client, cluster: str) -> None:
        self._client = client
        self._cluster = cluster
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """The nodes are there. An exec, whose cluster was there before, finds everything done."""
        from skyflow.access import ssh_folder
        from skyflow.cli.ssh import keep

        if self._task is None and not ssh_folder(self._client.settings).has(self._cluster):
            self._task = asyncio.create_task(keep(self._client, self._cluster))

    async def end(self, is_down: bool) -> None:
        """The launch is over, and the nodes may be."""
        from skyflow.cli.ssh import forget

        if not is_down:
            self.begin()
        if self._task is not None:
            await self._task
        if is_down:
            await forget(self._client, self._cluster)


def _say_job(result: dict[str, Any]) -> None:
    status = result["status"].replace("PENDING", "submitted")  # it was detached: by now it may run, or have ended
    line = f"Job {result['job_id']} {status or 'submitted'}"
    reason = result["reason"].removeprefix("Cancelled.")
    view.say(f"{line}: {reason}" if reason else f"{line}.")


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
