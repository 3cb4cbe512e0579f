"""How things are shown: tables, times, prices. What skyflow says goes to stderr; stdout is for output and listings."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any


def say(text: str = "") -> None:
    """One line to the user."""
    print(text, file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, to_stderr: bool = False) -> None:
    """Prints a table. On a pipe, the lines are not cut."""
    from rich import box  # here, because a command that prints no table should not pay for it
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=to_stderr, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=to_stderr, highlight=False, width=200)
    shown = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rows:
        shown.add_row(*row)
    console.print(shown)


def age(then: float | None) -> str:
    """`12 s ago`, `3 min ago`, `2 h ago`, `5 d ago`."""
    return "-" if then is None else f"{span(time.time() - then)} ago"


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def clusters(views: Sequence[dict[str, Any]], *, to_stderr: bool = False) -> None:
    """The table of `skyflow status`."""
    rows = [
        [
            view["name"],
            age(view["launched_at"]),
            f"{view['num_nodes']} × {view['instance_type']}" if view["num_nodes"] else "-",
            view["place"] or "-",
            view["status"],
            _autostop(view),
            str(view["active_jobs"]),
        ]
        for view in views
    ]
    columns = ["NAME", "LAUNCHED", "RESOURCES", "INFRA", "STATUS", "AUTOSTOP", "JOBS"]
    table(columns, rows, to_stderr=to_stderr)


def _autostop(view: dict[str, Any]) -> str:
    if view["autostop"] < 0:
        return "-"
    return f"{view['autostop']} min (down{', safety' if view['safety'] else ''})"


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
            str(row["num_nodes"]),
            row["status"],
            row["reason"],
        ]
        for row in rows
    ]
    table(["ID", "NAME", "USER", "SUBMITTED", "DURATION", "NODES", "STATUS", "REASON"], shown)


def plan(offers: Sequence[dict[str, Any]], num_nodes: int) -> None:
    """The table of a dry run: every offer, in the order in which it would be tried."""
    rows = [
        [
            str(number),
            f"{offer['cloud']}/{offer['region']}/{offer['zone']}",
            f"{num_nodes} × {offer['instance_type']}",
            f"{offer['cpus']:g}",
            f"{offer['memory']:g}",
            f"${offer['price'] * num_nodes:.4g}",
        ]
        for number, offer in enumerate(offers, 1)
    ]
    table(["#", "INFRA", "RESOURCES", "CPUS", "GiB", "$/h"], rows)
