"""`skyflow status`, `queue`, `logs`, `cancel`, `down`."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from skyflow.cli import view
from skyflow.cli.main import INTERRUPTED, leave
from skyflow.cli.session import run
from skyflow.errors import ClusterDoesNotExist, SkyflowError, UsageError
from skyflow.models.log_line import LineMerger

if TYPE_CHECKING:
    from skyflow.client import Client

EXIT_NOT_FINISHED = 101
EXIT_CANCELLED = 103


def status(names: list[str] | None) -> None:
    """Prints the clusters."""

    async def body(client: Client) -> None:
        found = await client.status(names or None)
        missing = [name for name in names or [] if name not in {view["name"] for view in found}]
        if found:
            view.clusters(found)
        elif not missing:
            view.say("No clusters. Make one: skyflow launch -c dev 'echo hello'")
        if missing:
            raise ClusterDoesNotExist(f"Cluster {', '.join(missing)!r} does not exist. See: skyflow status")

    run(body)


def queue(names: list[str] | None) -> None:
    """Prints the jobs of clusters."""

    async def body(client: Client) -> None:
        chosen = names or [cluster["name"] for cluster in await client.status()]
        if not chosen:
            view.say("No clusters, so no jobs.")
        for name in chosen:
            rows = await client.queue(name)
            print(f"Jobs of cluster {name}:")
            view.jobs(rows)

    run(body)


def logs(cluster: str, job_id: int | None, follow: bool, rank: int | None) -> None:
    """Prints the output of a job. Leaves with the job's exit code, 101 if it has not ended."""

    async def body(client: Client) -> int:
        job = await client.job(cluster, job_id)
        merger = LineMerger(1 if rank is not None else job["num_nodes"])
        try:
            async for chunk in client.logs(cluster, job["id"], follow=follow):
                if rank is None or chunk.rank == rank:
                    sys.stdout.buffer.write(merger.feed(chunk.unit, chunk.rank, chunk.data))
                    sys.stdout.buffer.flush()
        except asyncio.CancelledError:
            return INTERRUPTED
        sys.stdout.buffer.write(merger.flush())
        sys.stdout.buffer.flush()
        job = await client.job(cluster, job["id"])
        if job["ended_at"] is None:
            return 0 if not follow else EXIT_NOT_FINISHED
        return {"SUCCEEDED": 0, "CANCELLED": EXIT_CANCELLED}.get(job["status"], 100)

    leave(run(body))


def cancel(cluster: str, job_ids: list[int] | None, all_jobs: bool) -> None:
    """Cancels jobs."""
    if not job_ids and not all_jobs:
        raise UsageError(f"Say which jobs (skyflow cancel {cluster} 1 2) or all of them (--all).")

    async def body(client: Client) -> None:
        chosen = await client.cancel(cluster, None if all_jobs else job_ids)
        if chosen:
            view.say(f"Cancelling job(s) {', '.join(map(str, chosen))} on cluster {cluster}.")
        else:
            view.say(f"Nothing to cancel on cluster {cluster}: the jobs have ended.")

    run(body)


def down(names: list[str], yes: bool) -> None:
    """Deletes the nodes of clusters. Asks first if a person is there."""
    if not yes and sys.stdin.isatty():
        import typer

        typer.confirm(f"Delete the nodes of {', '.join(names)}?", default=True, abort=True, err=True)

    async def body(client: Client) -> None:
        failed: list[SkyflowError] = []
        for name in names:
            try:
                count = await client.down(name)
                view.say(f"Cluster {name} is down ({count} node(s) deleted). Its logs stay: skyflow logs {name}")
            except SkyflowError as error:
                failed.append(error)
        for other in failed[1:]:
            view.say(f"skyflow: {other}")
        if failed:
            raise failed[0]

    run(body)
