"""`skyflow logs`: the output of jobs, and the story of how a cluster came to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyflow.cli import view
from skyflow.cli.follow import RUNNING_SECONDS, Lines, Output
from skyflow.cli.session import run
from skyflow.ending import leave
from skyflow.errors import ClusterDoesNotExist, JobDoesNotExist, TemporalUnavailableError, UsageError
from skyflow.models import exit_code
from skyflow.workflow_client import WorkflowAbsentError

if TYPE_CHECKING:
    from skyflow.client import Client
    from skyflow.handle import Launch

FOLDER = Path("~/sky_logs")
"""Where `--sync-down` puts logs, as SkyPilot does."""


def check_flags(modes: dict[str, bool], *, tail: int, rank: int | None, job_ids: list[int]) -> None:
    """Refuses flags that would be ignored.

    Args:
        modes: what is asked for instead of output, by flag.
        tail: of `--tail`.
        rank: of `--worker`.
        job_ids: the jobs.

    Raises:
        UsageError: two flags contradict each other.
    """
    given = [flag for flag, is_given in modes.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} are two things: give one of them.")
    if given and (tail or rank is not None):
        raise UsageError(f"{given[0]} goes without {'--tail' if tail else '--worker'}, which is about output.")
    if modes["--provision"] and job_ids:
        raise UsageError("--provision is about a cluster; it goes without jobs.")


def logs(cluster: str, job_ids: list[int], *, follow: bool, tail: int, rank: int | None) -> None:
    """Prints the output of a job. Leaves with the job's exit code, 101 if it has not ended."""
    if len(job_ids) > 1:
        raise UsageError("Say one job, or copy the logs of several with --sync-down.")
    if tail < 0:
        raise UsageError("--tail is a number of lines; 0 is all of them.")

    async def body(client: Client) -> int:
        output = Output()
        job = await client.job(cluster, job_ids[0] if job_ids else None)
        if rank is not None and not 0 <= rank < job["num_nodes"]:
            raise UsageError(f"Job {job['id']} has no rank {rank}: it runs on {job['num_nodes']} node(s), from 0 on.")
        try:
            async with _telling_what_it_waits_for(client, job) if follow else nullcontext():
                async for data in client.output(cluster, job, follow=follow, tail=tail, rank=rank):
                    output.write(data)
        except asyncio.CancelledError:
            return exit_code.INTERRUPTED
        job = await client.job(cluster, job["id"])
        code = exit_code.of_job(job["status"])
        if code == exit_code.NOT_FINISHED:
            return code if follow else 0
        if code:
            output.close()
            view.say(f"Job {job['id']} {job['status']}: {job['reason'] or 'it left no reason'}")
        return code

    leave(run(body))


@asynccontextmanager
async def _telling_what_it_waits_for(client: Client, job: dict[str, Any]) -> AsyncIterator[None]:
    waiting = asyncio.ensure_future(_say_what_it_waits_for(client, job))
    try:
        yield
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def _say_what_it_waits_for(client: Client, job: dict[str, Any]) -> None:
    """Until its launch has nodes: which places have none, and when they are tried again."""
    screen = Lines(brief=True)
    while job["launch"] and job["started_at"] is None and job["ended_at"] is None:
        with suppress(TemporalUnavailableError):
            progress = await client.attach(job["launch"]).progress()
            screen.show(progress, [])
            if progress["stages"] and progress["stages"][-1]["name"] not in ("OPTIMIZE", "PROVISION"):
                return
        await asyncio.sleep(RUNNING_SECONDS)


def status(cluster: str, job_ids: list[int]) -> None:
    """Prints the status of jobs. Leaves with the exit code of the first: 0, 100, 101, 102 (no such job) or 103."""

    async def body(client: Client) -> int:
        codes = []
        for job_id in _or_latest(job_ids):
            try:
                job = await client.job(cluster, job_id)
            except (JobDoesNotExist, ClusterDoesNotExist) as error:
                view.say(f"skyflow: {error}")
                codes.append(exit_code.NOT_FOUND)
                continue
            print(f"Job {job['id']}: {job['status']}")
            if job["reason"]:
                view.say(job["reason"])
            codes.append(exit_code.of_job(job["status"]))
        return codes[0]

    leave(run(body))


def sync_down(cluster: str, job_ids: list[int]) -> None:
    """Copies the logs of jobs (the latest if none is given) to this machine, a file for each rank."""

    async def body(client: Client) -> None:
        for job_id in _or_latest(job_ids):
            job = await client.job(cluster, job_id)
            folder = FOLDER.expanduser() / cluster / f"{job['uid']}-{job['id']}"
            folder.mkdir(parents=True, exist_ok=True)
            reader = client.log_reader(cluster, job["uid"])
            for unit, name in ((f"{job['id']}-setup", "setup"), (f"{job['id']}", "run")):
                for rank in await reader.ranks(unit):
                    (folder / f"{name}-{rank}.log").write_bytes(await reader.read(unit, rank))
            print(folder)

    run(body)


def _or_latest(job_ids: list[int]) -> Sequence[int | None]:
    return job_ids or [None]


def provision(cluster: str) -> None:
    """Prints how the nodes of a cluster were looked for: which places were tried, and what each answered.

    Raises:
        ClusterDoesNotExist: Temporal remembers no such launch.
    """

    async def body(client: Client) -> None:
        launch, progress = await _search(client, cluster)
        print(launch.workflow_id)
        for line in view.story(progress):
            print(line)
        if error := await client.workflow_failure(launch.workflow_id):
            view.say(f"skyflow: {error}")

    run(body)


async def _search(client: Client, cluster: str) -> tuple[Launch, dict[str, Any]]:
    """The launch that made the nodes, or else the latest that looked for some; and how far it came."""
    found = await client.status([cluster])
    maker = found[0]["made_by"] if found else ""
    for launch in [client.attach(maker)] if maker else await client.launches(cluster):
        with suppress(WorkflowAbsentError):
            progress = await launch.progress()
            # A dry run plans, too, but reserves no cluster.
            if progress["uid"] and any(stage["name"] == "OPTIMIZE" for stage in progress["stages"]):
                return launch, progress
    raise ClusterDoesNotExist(
        f"Temporal remembers no launch that looked for nodes for cluster {cluster!r}: there was none, or it is longer "
        f"ago than Temporal keeps. What is left of its jobs: skyflow logs {cluster}"
    )
