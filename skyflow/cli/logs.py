"""`skyflow logs`: the output of jobs, and the story of how a cluster came to be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skyflow.cli import view
from skyflow.cli.follow import write
from skyflow.cli.session import run
from skyflow.ending import leave
from skyflow.errors import ClusterDoesNotExist, ClusterNotUpError, JobDoesNotExist, UsageError
from skyflow.models import exit_code

if TYPE_CHECKING:
    from skyflow.client import Client

FOLDER = Path("~/sky_logs")
"""Where `--sync-down` puts logs, as SkyPilot does."""


def logs(cluster: str, job_ids: list[int], *, follow: bool, tail: int, rank: int | None) -> None:
    """Prints the output of a job. Leaves with the job's exit code, 101 if it has not ended."""
    if len(job_ids) > 1:
        raise UsageError("Say one job, or copy the logs of several with --sync-down.")
    if tail < 0:
        raise UsageError("--tail is a number of lines; 0 is all of them.")

    async def body(client: Client) -> int:
        job = await client.job(cluster, job_ids[0] if job_ids else None)
        if rank is not None and not 0 <= rank < job["num_nodes"]:
            raise UsageError(f"Job {job['id']} has no rank {rank}: it runs on {job['num_nodes']} node(s), from 0 on.")
        try:
            async for data in client.output(cluster, job, follow=follow, tail=tail, rank=rank):
                write(data)
        except asyncio.CancelledError:
            return exit_code.INTERRUPTED
        code = exit_code.of_job((await client.job(cluster, job["id"]))["status"])
        return 0 if code == exit_code.NOT_FINISHED and not follow else code

    leave(run(body))


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
    """Prints how the nodes of a cluster were found: which places were tried, and what each answered."""

    async def body(client: Client) -> None:
        found = await client.status([cluster])
        if not found:
            raise ClusterDoesNotExist(f"Cluster {cluster!r} does not exist. See: skyflow status")
        if not (launch := found[0]["made_by"]):
            raise ClusterNotUpError(f"Cluster {cluster!r} has no nodes yet. See: skyflow status")
        print(launch)
        for line in view.story(await client.attach(launch).progress()):
            print(line)

    run(body)
