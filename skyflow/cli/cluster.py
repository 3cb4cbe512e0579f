"""`skyflow status`, `queue`, `cancel`, `down`."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from skyflow.cli import view
from skyflow.cli.session import run
from skyflow.errors import ClusterDoesNotExist, ClusterNotUpError, SkyflowError, UsageError

if TYPE_CHECKING:
    from skyflow.client import Client


def status(patterns: list[str] | None, output: str, verbose: bool, ip: bool) -> None:
    """Prints the clusters, or the address of the head of one."""

    if ip and output == "json":
        raise UsageError("--ip prints an address; it goes without -o json, which has it as head_ip.")

    async def body(client: Client) -> None:
        found = await chosen(client, patterns)
        if ip:
            _print_ip(found)
        elif output == "json":
            view.as_json(found)
        elif found:
            view.clusters(found, verbose=verbose)
        else:
            view.say("No clusters. Make one: skyflow launch -c dev 'echo hello'")

    run(body, cleaning=True)


async def chosen(client: Client, patterns: list[str] | None) -> list[dict[str, Any]]:
    """The clusters with these names; `*` stands for others. Raises ClusterDoesNotExist if a name matches nothing."""
    if not patterns:
        return await client.status()
    if not any(is_pattern(pattern) for pattern in patterns):
        found = await client.status(patterns)
    else:
        every = await client.status()
        found = [one for one in every if any(fnmatchcase(one["name"], pattern) for pattern in patterns)]
    names = [str(one["name"]) for one in found]
    missing = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]
    if missing:
        raise ClusterDoesNotExist(f"Cluster {', '.join(missing)!r} does not exist. See: skyflow status")
    return found


def is_pattern(name: str) -> bool:
    """Whether a name stands for others."""
    return any(letter in name for letter in "*?[")


def _print_ip(found: list[dict[str, Any]]) -> None:
    if len(found) != 1:
        raise UsageError("--ip is for one cluster: skyflow status --ip NAME")
    if not found[0]["head_ip"]:
        raise ClusterNotUpError(f"Cluster {found[0]['name']!r} has no nodes yet.")
    print(found[0]["head_ip"])


def queue(patterns: list[str] | None, output: str, skip_finished: bool) -> None:
    """Prints the jobs of clusters."""

    async def body(client: Client) -> None:
        names = [one["name"] for one in await chosen(client, patterns)]
        rows = {name: await client.queue(name) for name in names}
        if skip_finished:
            rows = {name: [row for row in jobs if row["ended_at"] is None] for name, jobs in rows.items()}
        if output == "json":
            view.as_json([{"cluster": name, **row} for name, jobs in rows.items() for row in jobs])
            return
        if not rows:
            view.say("No clusters, so no jobs.")
        for name, jobs in rows.items():
            print(f"Jobs of cluster {name}:")
            view.jobs(jobs)

    run(body)


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
        globs = [name for name in names if is_pattern(name)]
        matched = [one["name"] for one in await chosen(client, globs)] if globs else []
        for name in dict.fromkeys([name for name in names if not is_pattern(name)] + matched):
            try:
                count = await client.down(name)
                view.say(f"Cluster {name} is down ({count} node(s) deleted). Its logs stay: skyflow logs {name}")
            except SkyflowError as error:
                failed.append(error)
        for other in failed[1:]:
            view.say(f"skyflow: {other}")
        if failed:
            raise failed[0]

    run(body, cleaning=True)
