"""`skyflow status`, `queue`, `cancel`, `stop`, `start`, `autostop`, `down`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from skyflow.cli import view
from skyflow.cli.session import run
from skyflow.errors import ClusterDoesNotExist, ClusterNotUpError, SkyflowError, UsageError
from skyflow.models.argument import check_graceful, check_idle_rule
from skyflow.models.autostop import DEFAULT_IDLE_MINUTES
from skyflow.models.idle import check_wait_for

if TYPE_CHECKING:
    from skyflow.client import Client

PATIENCE = 20.0
"""Seconds after which somebody who waits is told that they need not."""

NAMED = 5
"""Of several clusters in one sentence."""


def status(patterns: list[str] | None, output: str, verbose: bool, ip: bool, refresh: bool) -> None:
    """Prints the clusters, or the address of the head of one."""

    if ip and output == "json":
        raise UsageError("--ip prints an address; it goes without -o json, which has it as head_ip.")

    async def body(client: Client) -> None:
        found = await chosen(client, patterns)
        if refresh and found:
            found = await client.status([one["name"] for one in found], refresh=True)
        if ip:
            _print_ip(found)
        elif output == "json":
            view.as_json(found)
        elif found:
            view.clusters(found, verbose=verbose)
        elif count := await client.count_lost():
            known = f"The store knows of {count} cluster(s) that this Temporal does not have."
            view.say(f"No clusters. {known} If theirs was lost: skyflow adopt")
        else:
            view.say("No clusters. Make one: skyflow launch -c dev 'echo hello'")
        from skyflow.cli.ssh import keep

        await keep(client)

    run(body, cleaning=True)


def show_endpoints(patterns: list[str] | None, output: str, port: int | None) -> None:
    """Prints where the ports of one cluster are reached: of this one the address, or all of them."""

    async def body(client: Client) -> None:
        found = await chosen(client, patterns)
        if len(found) != 1:
            raise UsageError("--endpoint is for one cluster: skyflow status --endpoint 8080 NAME")
        endpoints = await client.endpoints(found[0]["name"], port)
        if output == "json":
            view.as_json(endpoints)
        elif port is not None:
            print(endpoints[port])
        elif endpoints:
            for one, address in endpoints.items():
                print(f"{one}: {address}")
        else:
            view.say(f"Cluster {found[0]['name']} has no open ports. They are given at its launch: --ports 8080")

    run(body)


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


def events(cluster: str, output: str) -> None:
    """Prints what happened to a cluster."""

    async def body(client: Client) -> None:
        rows = await client.events(cluster)
        if output == "json":
            view.as_json(rows)
        else:
            view.events(rows)

    run(body)


def cost_report(names: list[str] | None, days: int | None, output: str, jobs: bool) -> None:
    """Prints what the clusters, or their jobs, have cost."""

    async def body(client: Client) -> None:
        rows = await client.cost_report(days, jobs=jobs, cluster_names=names or None)
        if output == "json":
            view.as_json(rows)
        elif rows and jobs:
            view.job_costs(rows)
        elif rows:
            view.costs(rows)
        else:
            view.say(f"Nothing {'ran' if jobs else 'was up'}" + (f" within {days} days." if days else "."))

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


def stop(
    names: list[str] | None, every: bool, yes: bool, graceful: bool = False, graceful_timeout: int | None = None
) -> None:
    """Stops clusters."""
    check_graceful(graceful, graceful_timeout)

    async def one(client: Client, name: str) -> str:
        await client.stop(name, graceful=graceful, graceful_timeout=graceful_timeout)
        return f"Cluster {name} is stopped; its disks are kept. Start it again: skyflow start {name}"

    _each(names, every, yes, "Stop {}?", one)


def start(
    names: list[str] | None,
    every: bool,
    yes: bool,
    idle_minutes: int | None,
    down: bool,
    retry_until_up: bool,
    wait_for: str | None,
    force: bool = False,
) -> None:
    """Starts stopped clusters."""
    check_idle_rule(idle_minutes, down)

    async def one(client: Client, name: str) -> str:
        more: list[str] = []
        started = await client.start(
            name,
            idle_minutes_to_autostop=idle_minutes,
            down=down,
            retry_until_up=retry_until_up,
            wait_for=wait_for,
            force=force,
            notice=more.append,
        )
        what = f"Cluster {name} is up with {started} node(s)." if started else f"Cluster {name} is up already."
        return " ".join([what, *more])

    _each(names, every, yes, "Start {}?", one)


def autostop(
    names: list[str] | None,
    every: bool,
    yes: bool,
    idle_minutes: int | None,
    off: bool,
    down: bool,
    wait_for: str | None,
    down_after: str | None = None,
) -> None:
    """Sets the idle rule of clusters."""
    if off and (down or wait_for or idle_minutes is not None or down_after is not None):
        raise UsageError("--cancel goes with none of --idle-minutes, --down, --down-after and --wait-for.")
    minutes = -1 if off else DEFAULT_IDLE_MINUTES if idle_minutes is None else idle_minutes
    later, said = check_idle_rule(minutes, down, down_after), False
    wait_for = check_wait_for(wait_for)

    async def one(client: Client, name: str) -> str:
        nonlocal said
        await client.autostop(name, minutes, down, wait_for, down_after=later)
        if minutes < 0:
            return f"Cluster {name} has no idle rule any more."
        cancel = f"Cancel it: skyflow autostop {name} --cancel"
        shown = None if later is None else await client.shown(name)
        if later is not None and shown and shown.get("status") == "STOPPED":
            return f"Cluster {name} is taken down when it has been stopped for {view.span(later * 60)}. {cancel}"
        if client.endpoint.embedded and not said:
            view.keep_awake(minutes)
        said = True
        rule = view.idle_rule(minutes, down, later, wait_for)
        return f"Cluster {name} is {rule}. {cancel}"

    _each(names, every, yes, None, one)


def down(
    names: list[str] | None,
    every: bool,
    yes: bool,
    purge: bool = False,
    graceful: bool = False,
    graceful_timeout: int | None = None,
) -> None:
    """Deletes the nodes of clusters."""
    check_graceful(graceful, graceful_timeout)

    async def one(client: Client, name: str) -> str:
        from skyflow.cli.ssh import forget

        left: list[str] = []
        count = await client.down(
            name, purge=purge, graceful=graceful, graceful_timeout=graceful_timeout, notice=left.append
        )
        await forget(client, name)
        return (
            left[0] if left else f"Cluster {name} is down ({count} node(s) deleted). Its logs stay: skyflow logs {name}"
        )

    question = "Forget {}, also if the cloud does not delete the nodes?" if purge else "Delete the nodes of {}?"
    _each(names, every, yes, question, one)


async def _at_once(client: Client, names: list[str], one: Callable[[Client, str], Awaitable[str]]) -> int:
    """Does something with all of the clusters at once, and says of each what became of it as soon as it is known.

    Returns:
        The worst exit code: the highest.
    """
    doing = {asyncio.create_task(_tell(client, name, one)): name for name in names}
    try:
        _, late = await asyncio.wait(doing, timeout=PATIENCE)
        if late:
            _say_patience([name for task, name in doing.items() if task in late])
        return max(await asyncio.gather(*doing))
    except asyncio.CancelledError:
        if left := [name for task, name in doing.items() if not task.done()]:
            several = "clusters" if len(left) > 1 else "cluster"
            view.say(f"\nWhat has begun goes on: {several} {_listed(left)}. See: skyflow status")
        raise
    finally:
        for task in doing:
            task.cancel()


async def _tell(client: Client, name: str, one: Callable[[Client, str], Awaitable[str]]) -> int:
    try:
        view.say(await one(client, name))
    except SkyflowError as error:
        view.say(f"skyflow: {error}")
        return error.exit_code
    return 0


def _say_patience(names: list[str]) -> None:
    """Whoever has waited may go."""
    which, who, where = f"Clusters {_listed(names)}", "They go on", "status"
    if len(names) == 1:
        which, who, where = f"Cluster {names[0]}", "It goes on", f"events {names[0]}"
    view.say(f"{which}: this takes longer. {who}, also if you press Ctrl-C. See: skyflow {where}")


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _each(
    patterns: list[str] | None,
    every: bool,
    yes: bool,
    question: str | None,
    one: Callable[[Client, str], Awaitable[str]],
) -> None:
    """Does something with each of the clusters, at once; one that fails stops no other. Asks, if somebody is there.

    Raises:
        typer.Exit: with the worst exit code, if not all went well.
    """
    if bool(patterns) == every:
        raise UsageError("Say which clusters, or --all.")

    async def body(client: Client) -> int:
        globs = [pattern for pattern in patterns or [] if is_pattern(pattern)]
        matched = [view["name"] for view in await chosen(client, globs)] if globs or every else []
        names = list(dict.fromkeys([*(name for name in patterns or [] if not is_pattern(name)), *matched]))
        if not names:
            view.say("No clusters.")
            return 0
        if question and not yes and sys.stdin.isatty():
            import typer

            typer.confirm(question.format(", ".join(names)), default=True, abort=True, err=True)
        return await _at_once(client, names, one)

    if code := run(body, cleaning=True):
        import typer

        raise typer.Exit(code)
