"""The synchronous API, shaped like SkyPilot's: blocking calls around the client."""

from __future__ import annotations

import asyncio
import copy
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from skyflow.client import Client
from skyflow.errors import UsageError
from skyflow.handle import Launch
from skyflow.later import not_yet
from skyflow.models import exit_code
from skyflow.models.argument import check_graceful, check_idle_rule
from skyflow.models.dag import Dag, OptimizeTarget, check_one_task, convert_to_dag
from skyflow.models.document import describe
from skyflow.models.idle import check_wait_for
from skyflow.models.log_line import LineMerger
from skyflow.models.name import cluster_workflow_id
from skyflow.models.resources import Resources
from skyflow.models.status import ClusterStatus, JobStatus, StatusRefreshMode
from skyflow.models.support import check_request
from skyflow.models.task import Task, check_blocked
from skyflow.settings import Settings

T = TypeVar("T")

PLAN_LINES = 20
"""Of a dry run's plan, as the command line shows on a terminal."""


@dataclass(frozen=True)
class ClusterHandle:
    """A cluster that was launched."""

    cluster_name: str
    uid: str
    num_nodes: int
    launched_resources: dict[str, Any]
    """The offer that it runs on; of `status`, what that shows of it."""


def launch(
    task: Task | Dag,
    cluster_name: str | None = None,
    retry_until_up: bool = False,
    idle_minutes_to_autostop: int | None = None,
    dryrun: bool = False,
    down: bool = False,
    stream_logs: bool = True,
    backend: object = None,
    optimize_target: OptimizeTarget | None = None,
    detach_setup: bool = False,
    detach_run: bool = False,
    no_setup: bool = False,
    handle: object = None,
    wait_for: str | None = None,
    clone_disk_from: str | None = None,
    fast: bool = False,
    resize: bool = False,
) -> tuple[int | None, ClusterHandle | None]:
    """Launches a task and waits for it (PARITY E30, C01).

    Returns:
        The job's id (None if there was nothing to run) and the cluster (None for a dry run). A job that failed is no
        error: see `queue`, or `tail_logs`, which returns its exit code.

    Raises:
        SkyflowError: one of `skyflow.errors`; CommandError if setup failed.
    """
    _refuse(backend=backend, handle=handle, detach_setup=detach_setup)
    _refuse(clone_disk_from=clone_disk_from, resize=resize)
    _check_type(OptimizeTarget, "OptimizeTarget.COST or TIME", optimize_target=optimize_target)
    _check_type(int, "a whole number", idle_minutes_to_autostop=idle_minutes_to_autostop)
    one = _one_task(task)
    idle = idle_minutes_to_autostop
    check_request(one, cluster_name, dryrun=dryrun, down=down, idle_minutes_to_autostop=idle, wait_for=wait_for)

    async def body(client: Client) -> tuple[int | None, ClusterHandle | None]:
        started = await client.launch(
            one,
            cluster_name,
            dryrun=dryrun,
            down=down,
            detach_run=detach_run,
            no_setup=no_setup,
            fast=fast,
            retry_until_up=retry_until_up,
            idle_minutes_to_autostop=idle,
            wait_for=wait_for,
            optimize_target=optimize_target,
        )
        return await _finish(started, one, stream_logs, dryrun)

    return _run(body)


def optimize(
    dag: Task | Dag,
    minimize: OptimizeTarget | None = None,
    blocked_resources: Resources | Iterable[Resources] | None = None,
    quiet: bool = False,
    enabled_clouds: str | Iterable[str] | None = None,
) -> Dag:
    """Finds the best place for each task, from the catalogs, and notes it as the task's `best_resources`.

    Args:
        dag: tasks; unlike with `launch`, these very tasks are changed.
        minimize: cost or time; what the settings say if not given.
        blocked_resources: what may not be used.
        quiet: print no plan.
        enabled_clouds: plan with these, whether they can be used from here or not.

    Returns:
        The same Dag; of a task, one with that task.

    Raises:
        ResourcesUnavailableError: there is no place for one of the tasks. Its `failover_history` is empty.
        NoCloudAccessError: no cloud can be used.
    """
    from skyflow import planner

    graph = dag if isinstance(dag, Dag) else Dag(dag.name) if isinstance(dag, Task) else convert_to_dag(dag)
    if isinstance(dag, Task):
        graph.add(dag)
    if not graph.tasks:
        raise UsageError(f"There is no task in {graph}.")
    settings = Settings.load()
    _check_type(OptimizeTarget, "OptimizeTarget.COST or TIME", minimize=minimize)
    target = settings.optimize_target if minimize is None else planner.TARGETS[minimize]
    names = [enabled_clouds] if isinstance(enabled_clouds, str) else enabled_clouds
    plan = planner.optimize(graph, target, settings, check_blocked(blocked_resources), names)
    if not quiet:
        print(planner.describe(plan))
    return graph


def exec(
    task: Task | Dag,
    cluster_name: str,
    dryrun: bool = False,
    down: bool = False,
    stream_logs: bool = True,
    backend: object = None,
    detach_run: bool = False,
) -> tuple[int | None, ClusterHandle | None]:
    """Runs a task on a cluster that is up: syncs the workdir, runs; no setup, no file mounts (PARITY E32, C03).

    Raises:
        ClusterDoesNotExist, ClusterNotUpError: there is no such cluster, or it is not up.
    """
    _refuse(backend=backend)
    one = _one_task(task)
    check_request(one, cluster_name, dryrun=dryrun)

    async def body(client: Client) -> tuple[int | None, ClusterHandle | None]:
        handle = await client.exec(one, cluster_name, dryrun=dryrun, down=down, detach_run=detach_run)
        return await _finish(handle, one, stream_logs, dryrun)

    return _run(body)


def status(
    cluster_names: str | list[str] | None = None,
    refresh: bool | StatusRefreshMode = False,
    all_users: bool = True,
) -> list[dict[str, Any]]:
    """The clusters (PARITY C07): `name`, `handle`, `launched_at`, `last_use`, `status`, `autostop`, `to_down`, …

    `last_use` is the command (without secrets) or the program that launched on it, or started it, last.

    Args:
        cluster_names: only these; those that do not exist are left out.
        refresh: ask the clouds first.
        all_users: only true: everybody's are shown.
    """
    _refuse(all_users=not all_users)
    asked = bool(refresh) and refresh != StatusRefreshMode.NONE
    names = [cluster_names] if isinstance(cluster_names, str) else cluster_names
    found = _run(lambda client: client.status(names, refresh=asked))
    own = {"last_use": "", "metadata": {}}  # an earlier version's cluster has the first not, skyflow needs no second
    return [{**own, **row, "status": ClusterStatus(row["status"]), "handle": _handle(row)} for row in found]


def endpoints(cluster: str, port: int | None = None) -> dict[int, str]:
    """Where the open ports of a cluster's head node are reached: port → `HOST:PORT`.

    Raises:
        ClusterDoesNotExist, ClusterNotUpError: there is no such cluster, or it is not up.
        UsageError: it was not launched with this port.
    """
    return _run(lambda client: client.endpoints(cluster, port))


def queue(cluster_name: str, skip_finished: bool = False, all_users: bool = True) -> list[dict[str, Any]]:
    """The jobs of a cluster, newest first: `id`, `name`, `user`, `status`, `reason`, `returncode`, …

    Args:
        cluster_name: whose jobs.
        skip_finished: only those that have not ended.
        all_users: only true: everybody's are shown.
    """
    _refuse(all_users=not all_users)
    rows = _run(lambda client: client.queue(cluster_name))
    return [{**row, "status": JobStatus(row["status"])} for row in rows if not skip_finished or row["ended_at"] is None]


def cost_report(
    days: float | None = 30, jobs: bool = False, cluster_names: str | list[str] | None = None
) -> list[dict[str, Any]]:
    """What the clusters, or single jobs, have cost, the latest first: see `Client.cost_report`."""
    names = [cluster_names] if isinstance(cluster_names, str) else cluster_names
    return _run(lambda client: client.cost_report(days, jobs=jobs, cluster_names=names))


def adopt(dryrun: bool = False, deployment: str | None = None) -> dict[str, Any]:
    """Takes over the clusters that the store knows and Temporal does not: see `Client.adopt`.

    Only when that Temporal is lost: if it still lives, two own the same nodes.
    """
    return _run(lambda client: client.adopt(dryrun=dryrun, deployment=deployment))


def job_status(cluster_name: str, job_ids: list[int] | None = None) -> dict[int | None, JobStatus | None]:
    """Job → its status, None if there is no such job. The latest job if none is given; `{None: None}` without any."""
    found = {row["id"]: row["status"] for row in queue(cluster_name)}
    wanted = [next(iter(found), None)] if job_ids is None else job_ids
    return {job_id: found.get(job_id) for job_id in wanted}


def cancel(
    cluster_name: str, all: bool = False, job_ids: list[int] | None = None, all_users: bool = False
) -> list[int]:
    """Cancels jobs of a cluster: these, or all, whoever's they are. Returns those that had not ended yet."""
    if not all and not all_users and not job_ids:
        raise UsageError("Say which jobs (job_ids=[…]) or all of them (all=True).")
    return _run(lambda client: client.cancel(cluster_name, None if all or all_users else job_ids))


def stop(cluster_name: str, purge: bool = False, graceful: bool = False, graceful_timeout: int | None = None) -> None:
    """Stops a cluster; its disks and the jobs that wait are kept (PARITY C04).

    Args:
        cluster_name: of the cluster.
        purge: it counts as stopped also if the cloud does not do it, until the cloud is asked the next time.
        graceful: jobs have longer to end by themselves after SIGTERM.
        graceful_timeout: how long, in seconds; 10 minutes if not given.

    Raises:
        ClusterDoesNotExist, ClusterNotUpError: there is no such cluster, or it is being made.
        ClusterChangeError: the cloud refused; a RuntimeError.
        NotSupportedError: its nodes cannot be stopped.
    """
    check_graceful(graceful, graceful_timeout)
    _run(
        lambda client: client.stop(
            cluster_name, purge=purge, graceful=graceful, graceful_timeout=graceful_timeout, notice=_say
        )
    )


def start(
    cluster_name: str,
    idle_minutes_to_autostop: int | None = None,
    retry_until_up: bool = False,
    down: bool = False,
    force: bool = False,
    wait_for: str | None = None,
) -> ClusterHandle:
    """Starts a stopped cluster where it was; one that is up stays as it is (PARITY C05).

    Args:
        cluster_name: of the cluster.
        idle_minutes_to_autostop: its idle rule from now on; if not given, the one from before counts again.
        retry_until_up: when its place cannot give the nodes now, wait and try again.
        down: with idle minutes: take it down instead of stopping it.
        force: also if it seems to be up: the cloud starts what does not run.
        wait_for: not supported yet.

    Raises:
        ClusterDoesNotExist: there is no such cluster.
        ClusterNotUpError: it has lost nodes.
        ResourcesUnavailableError: its place cannot give the nodes now.
        UsageError: `down` or `wait_for` without idle minutes.
    """
    check_idle_rule(idle_minutes_to_autostop, down)

    async def body(client: Client) -> ClusterHandle:
        await client.start(
            cluster_name,
            idle_minutes_to_autostop=idle_minutes_to_autostop,
            down=down,
            retry_until_up=retry_until_up,
            wait_for=wait_for,
            force=force,
            notice=_say,
        )
        found = await client.workflow_query(cluster_workflow_id(cluster_name), "hardware")
        return ClusterHandle(cluster_name, found["uid"], found["num_nodes"], found["offer"])

    return _run(body)


def autostop(
    cluster_name: str,
    idle_minutes: int,
    down: bool = False,
    wait_for: str | None = None,
    down_after: int | str | None = None,
) -> None:
    """Stops a cluster, or takes it down, after so many idle minutes; negative: never. The last one counts (C09).

    Args:
        cluster_name: of the cluster.
        idle_minutes: how long it must have been idle.
        down: take it down instead of stopping it.
        wait_for: not supported yet.
        down_after: take it down when it has been stopped for so long: minutes, or such as "24h". (Not SkyPilot's.)

    Raises:
        ClusterDoesNotExist, ClusterNotUpError: there is no such cluster, or it is not up.
        NotSupportedError: its nodes cannot be stopped (without `down`).
        UsageError: `wait_for` is none of `jobs_and_ssh` (the default), `jobs`, `none`.
    """
    check_wait_for(wait_for)
    check_idle_rule(idle_minutes, down, down_after)
    _run(lambda client: client.autostop(cluster_name, idle_minutes, down, wait_for, down_after=down_after))


def down(cluster_name: str, purge: bool = False, graceful: bool = False, graceful_timeout: int | None = None) -> None:
    """Takes a cluster down (PARITY C06).

    Args:
        cluster_name: of the cluster.
        purge: it is gone also if the cloud does not delete its nodes. That goes on being tried.
        graceful: jobs have longer to end by themselves after SIGTERM.
        graceful_timeout: how long, in seconds; 10 minutes if not given.

    Raises:
        ClusterDoesNotExist: there is no such cluster.
        ClusterChangeError: the cloud refused; a RuntimeError. It is tried again now and then.
    """
    check_graceful(graceful, graceful_timeout)
    _run(
        lambda client: client.down(
            cluster_name, purge=purge, graceful=graceful, graceful_timeout=graceful_timeout, notice=_say
        )
    )


def tail_logs(
    cluster_name: str, job_id: int | None = None, follow: bool = True, tail: int = 0, output_stream: object = None
) -> int:
    """Prints the output of a job. Returns its exit code; 101 if it has not ended.

    Args:
        cluster_name: whose job.
        job_id: the latest if not given.
        follow: go on until it has ended.
        tail: begin with so many lines; 0 is all.
        output_stream: not supported yet.
    """
    _refuse(output_stream=output_stream)
    _check_type(int, "a number of lines", tail=tail)
    if tail < 0:
        raise UsageError(f"tail must be a number of lines, found the value {tail}.")

    async def body(client: Client) -> int:
        job = await client.job(cluster_name, job_id)
        async for data in client.output(cluster_name, job, follow=follow, tail=tail):
            _write(data)
        job = await client.job(cluster_name, job["id"])
        return exit_code.of_job(job["status"])

    return _run(body)


def get(request: T) -> T:
    """What it is given: SkyPilot's calls return a request at once, and `get` waits for it; here every call waits."""
    return request


def stream_and_get(request: T) -> T:
    """What it is given, as `get`: the calls print what there is to be seen."""
    return request


def _handle(row: dict[str, Any]) -> ClusterHandle:
    resources = {name: row.get(name) for name in ("place", "instance_type", "cpus", "memory", "price")}
    return ClusterHandle(row["name"], row["uid"], row["num_nodes"], resources)


async def _finish(
    handle: Launch, task: Task, stream_logs: bool, dryrun: bool
) -> tuple[int | None, ClusterHandle | None]:
    if stream_logs:
        merger = LineMerger(task.num_nodes)
        async for chunk in handle.logs():
            _write(merger.feed(chunk.unit, chunk.rank, chunk.data))
        _write(merger.flush())
    result = await handle.result()
    if dryrun:
        if stream_logs:
            print(_describe_plan(result, task))
        return None, None
    cluster = ClusterHandle(result["cluster"], result["uid"], result["num_nodes"], result["offer"])
    return result["job_id"], cluster


def _describe_plan(result: dict[str, Any], task: Task) -> str:
    """What a dry run found, a line a place."""
    if there := result["offer"]:
        return f"It would run on cluster {result['cluster']!r}: {_describe_offer(there, result['num_nodes'])}"
    shown = [_describe_offer(offer, task.num_nodes) for offer in result["plan"][:PLAN_LINES]]
    more = result["num_offers"] - len(shown)
    return "\n".join([*shown, *([f"… and {more:,} more."] if more > 0 else [])])


def _describe_offer(offer: dict[str, Any], num_nodes: int) -> str:
    place = f"{offer['cloud']}/{offer['region']}/{offer['zone']}"
    price = f"${offer['price'] * num_nodes:.4g}/h"
    return f"{num_nodes} × {offer['instance_type']} in {place}{' (spot)' if offer['use_spot'] else ''}, {price}"


def _one_task(entrypoint: object) -> Task:
    """The caller's task is never changed (PARITY E03, E07)."""
    return copy.deepcopy(check_one_task(convert_to_dag(entrypoint)))


def _refuse(**options: object) -> None:
    for name, value in options.items():
        if value:
            raise not_yet(name, name)


def _check_type(kind: type, must: str, **arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise UsageError(f"{name} must be {must}, found {describe(value)}.")


def _write(data: bytes) -> None:
    if not data:
        return
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:  # a notebook
        sys.stdout.write(data.decode(errors="replace"))
    else:
        sys.stdout.flush()
        stream.write(data)
    sys.stdout.flush()


def _say(line: str) -> None:
    print(f"skyflow: {line}", file=sys.stderr)


def _run(body: Callable[[Client], Awaitable[T]]) -> T:
    async def connected() -> T:
        async with Client.connect(notice=_say) as client:
            return await body(client)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(connected())
    return _in_thread(connected())


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    """For callers inside an event loop, such as a notebook."""
    answer: list[T] = []
    trouble: list[BaseException] = []

    def target() -> None:
        try:
            answer.append(asyncio.run(work))
        except BaseException as error:
            trouble.append(error)

    thread = threading.Thread(target=target, name="skyflow")
    thread.start()
    thread.join()
    if trouble:
        raise trouble[0]
    return answer[0]
