"""How things are shown: tables, JSON, times, prices.

skyflow's own words go to stderr; stdout is for the output of jobs, and for listings.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from skyflow.cli.table import fits, records
from skyflow.cli.table import table as table
from skyflow.models.idle import LEASE_GRACE


def say(text: str = "") -> None:
    """One line to the user."""
    print(text, file=sys.stderr, flush=True)


def keep_awake(idle_minutes: int) -> None:
    """What to know about an idle rule that is carried out by the server of this machine."""
    minutes = idle_minutes + LEASE_GRACE // 60
    say(
        "skyflow: Timers and recovery are this machine's: keep it awake. While it sleeps, nodes with nothing to do "
        f"switch themselves off after {minutes} minutes."
    )


def as_json(value: Any) -> None:
    """A listing for programs."""
    print(json.dumps(value, indent=2, sort_keys=False))


def age(then: float | None) -> str:
    """`12 s ago`, `3 min ago`, `2 h ago`, `5 d ago`."""
    return "-" if then is None else f"{span(time.time() - then)} ago"


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def amount(size: float) -> str:
    """Bytes in their largest unit: `512 B`, `3.4 MB`."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"


def dollars(price: float | None) -> str:
    """An hourly price."""
    if price is None:
        return "-"
    return f"${price:,.0f}" if price >= 10_000 else f"${price:.4g}"


def clusters(views: Sequence[dict[str, Any]], *, to_stderr: bool = False, verbose: bool = False) -> None:
    """The table of `skyflow status`."""
    columns = ["NAME", "LAUNCHED", "RESOURCES", "INFRA", "STATUS", "AUTOSTOP", "JOBS"]
    rows = [
        [
            view["name"],
            age(view["launched_at"]),
            f"{view['num_nodes']} × {view['instance_type']}" if view["num_nodes"] else "-",
            view["place"] or "-",
            str(view["status"]),
            _autostop(view),
            str(view["active_jobs"]),
        ]
        for view in views
    ]
    reasons = [_reason(view) for view in views]
    if any(reasons):
        columns.append("REASON")
        rows = [[*row, reason] for row, reason in zip(rows, reasons, strict=True)]
    if verbose:
        columns += ["$/h", "CPUS", "GiB", "HEAD IP", "HOST", "ID", "LAST USE"]
        for row, view in zip(rows, views, strict=True):
            price = None if view["price"] is None else view["price"] * view["num_nodes"]
            row += [dollars(price), _number(view["cpus"]), _number(view["memory"])]
            row += [view["head_ip"] or "-", view["host"] or "-", view["uid"], view.get("last_use") or "-"]
    if verbose and not fits(columns, rows):
        records(columns, rows)
    else:
        table(columns, rows, to_stderr=to_stderr, whole=("NAME", "LAUNCHED", "STATUS", "JOBS"))


def _reason(view: dict[str, Any]) -> str:
    reasons = [view["reason"]] if view.get("reason") else []
    if since := view.get("unreachable_since"):
        reasons.append(f"cloud unreachable since {age(since)}")
    return "; ".join(reasons)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _autostop(view: dict[str, Any]) -> str:
    if view["autostop"] < 0:
        return "-"
    what, why = "down" if view["to_down"] else "stop", " (safety)" if view["safety"] else ""
    if (waits := view.get("wait_for")) not in (None, "jobs_and_ssh") and not view["safety"]:
        why = ", whatever runs" if waits == "none" else f" ({waits})"
    later = view.get("down_after")
    if view["status"] == "STOPPED" and later is not None:
        if view["idle_since"] is None:
            return f"down after {span(60 * later)}, once no job waits"
        return f"down in {span(view['idle_since'] + 60 * later - time.time())}"
    then = "" if later is None else f", down {span(60 * later)} later"
    if view["idle_since"] is None or view["status"] == "STOPPED":
        return f"{what} after {view['autostop']} min{then}{why}"
    return f"{what} in {span(view['idle_since'] + 60 * view['autostop'] - time.time())}{then}{why}"


def idle_rule(minutes: int, down: bool, down_after: int | None, wait_for: str | None) -> str:
    """What becomes of a cluster by the idle rule that it was just given: `stopped after 5 idle minutes`."""
    when = f"in {minutes} minute(s), whatever runs" if wait_for == "none" else f"after {minutes} idle minutes"
    then = "" if down_after is None else f", and taken down {span(down_after * 60)} later"
    return f"{'taken down' if down else 'stopped'} {when}{then}"


def jobs(rows: Sequence[dict[str, Any]]) -> None:
    """The table of `skyflow queue`."""
    now = time.time()
    shown = [
        [
            str(row["id"]),
            row["name"] or "-",
            row["user"] or "-",
            age(row["submitted_at"]),
            span((row["ended_at"] or now) - row["started_at"]) if row["started_at"] else "-",
            row["resources"],
            row["status"],
            row["reason"],
        ]
        for row in rows
    ]
    columns = ["ID", "NAME", "USER", "SUBMITTED", "DURATION", "RESOURCES", "STATUS", "REASON"]
    table(columns, shown, whole=("ID", "USER", "SUBMITTED", "DURATION", "STATUS"))


def events(rows: Sequence[dict[str, Any]]) -> None:
    """The table of `skyflow events`."""
    shown = [[f"{datetime.fromtimestamp(row['time']):%Y-%m-%d %H:%M:%S}", row["what"]] for row in rows]
    table(["WHEN", "WHAT"], shown, whole=("WHEN",))


def costs(rows: Sequence[dict[str, Any]]) -> None:
    """The table of `skyflow cost-report`, and the sum."""
    shown = [
        [
            row["name"],
            age(row["launched_at"]),
            span(row["duration"]),
            f"{row['num_nodes']} × {row['instance_type']}{' (spot)' if row['use_spot'] else ''}",
            row["place"],
            row["status"] or "-",
            dollars(row["hourly"]) if row["hourly"] else "-",
            f"${row['cost']:,.2f}",
        ]
        for row in rows
    ]
    columns = ["NAME", "LAUNCHED", "UP", "RESOURCES", "INFRA", "STATUS", "$/h", "COST"]
    table(columns, shown, whole=("NAME", "LAUNCHED", "UP", "STATUS", "$/h", "COST"))
    say(f"In all: ${sum(row['cost'] for row in rows):,.2f}")


def job_costs(rows: Sequence[dict[str, Any]]) -> None:
    """The table of `skyflow cost-report --jobs`, and the sum."""
    shown = [
        [
            row["cluster"],
            str(row["id"]),
            row["name"] or "-",
            age(row["started_at"]),
            span(row["duration"]),
            str(row["num_nodes"]),
            row["status"],
            f"${row['cost']:,.2f}",
        ]
        for row in rows
    ]
    columns = ["CLUSTER", "ID", "NAME", "STARTED", "RAN", "NODES", "STATUS", "COST"]
    table(columns, shown, whole=("CLUSTER", "ID", "STARTED", "RAN", "NODES", "STATUS", "COST"))
    say(f"In all: ${sum(row['cost'] for row in rows):,.2f}")


PLAN_ROWS = 20
"""Of a plan, on a terminal; a pipe gets all."""


def plan(offers: Sequence[dict[str, Any]], num_nodes: int, num_offers: int, why: dict[str, Any]) -> None:
    """The table of a plan: the offers, in the order in which they would be tried; and why that order.

    Args:
        offers: the first of them.
        num_nodes: how many nodes each is for.
        num_offers: how many there are.
        why: an Explanation.
    """
    shown = offers[:PLAN_ROWS] if sys.stdout.isatty() else offers
    rows = [[str(number), *_offer(offer, num_nodes)] for number, offer in enumerate(shown, 1)]
    table(["#", "INFRA", "RESOURCES", "ACCELERATORS", "CPUS", "GiB", "", "$/h"], rows)
    if (more := max(num_offers, len(offers)) - len(shown)) > 0:
        say(f"… and {more:,} more.")
    if why.get("chosen"):
        say(f"The first one is {why['chosen']}.")
    if why.get("next"):
        say("Other kinds: " + "; ".join(_kind(offer, num_nodes) for offer in why["next"]))
    if why.get("ruled_out"):
        say("Ruled out by " + "; by ".join(why["ruled_out"]))


def _offer(offer: dict[str, Any], num_nodes: int) -> list[str]:
    return [
        f"{offer['cloud']}/{offer['region']}/{offer['zone']}",
        f"{num_nodes} × {offer['instance_type']}",
        accelerators(offer),
        f"{offer['cpus']:g}",
        f"{offer['memory']:g}",
        "spot" if offer["use_spot"] else "",
        dollars(offer["price"] * num_nodes),
    ]


def _kind(offer: dict[str, Any], num_nodes: int) -> str:
    having = accelerators(offer)
    what = offer["instance_type"] + (f" ({having})" if having != "-" else "")
    return f"{what} on {offer['cloud']}, {dollars(offer['price'] * num_nodes)}"


def accelerators(offer: dict[str, Any]) -> str:
    """`A100:8`."""
    return ", ".join(f"{name}:{count:g}" for name, count in (offer.get("accelerators") or {}).items()) or "-"


def story(progress: dict[str, Any]) -> list[str]:
    """A launch, line by line: its stages, every place that was tried, and what each answered."""
    lines = []
    for stage in progress["stages"]:
        took = "" if stage["ended"] is None else f"  {stage['ended'] - stage['started']:.1f} s"
        lines.append(f"{stage['name']}{took}")
        if stage["name"] == "PROVISION":
            lines += [f"  {line}" for line in attempts(progress)]
    if progress["waiting_for"]:
        lines.append(f"waiting for {progress['waiting_for']}")
    return lines


def attempts(progress: dict[str, Any]) -> list[str]:
    """Every place that was tried, and what it answered."""
    return [
        f"{attempt['place']} {attempt['instance_type']}: "
        + (attempt["error"] or ("ok" if attempt["seconds"] else "…"))
        + (f"  ({attempt['seconds']:.1f} s)" if attempt["seconds"] else "")
        for attempt in progress["attempts"]
    ]
