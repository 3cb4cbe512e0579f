"""`skyflow adopt`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from skyflow.adoption import describe, nothing
from skyflow.cli import view
from skyflow.cli.session import run
from skyflow.errors import UsageError

if TYPE_CHECKING:
    from skyflow.client import Client

WARNING = (
    "If the Temporal that they belonged to still lives somewhere, adopt nothing: two would own the same nodes, stop "
    "them and delete them. Use that Temporal instead: set TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE."
)


def adopt(deployment: str | None, yes: bool, output: str) -> None:
    """Shows which clusters are lost, asks, and takes them over."""

    async def body(client: Client) -> None:
        shown = await client.adopt(dryrun=True, deployment=deployment)
        if output == "json" and not yes:
            view.as_json(shown)
            return
        if not shown["adopted"] and not shown["over"]:
            if output == "json":
                view.as_json(shown)
            _tell(shown, nothing(shown, deployment))
            return
        if output != "json":
            _table(shown["adopted"])
        if not yes:
            _tell(shown, "")
            _confirm(len(shown["adopted"]))
        lives = [one["uid"] for part in ("adopted", "over") for one in shown[part]]
        done = await client.adopt(deployment=deployment, lives=lives)
        if yes:  # else they were told before the question
            done["left"] = [*shown["left"], *done["left"]]
        if output == "json":
            view.as_json(done)
        names = ", ".join(one["cluster"] for one in done["adopted"])
        none = "What the ledger had open of them has ended." if done["over"] else "Nothing was adopted."
        _tell(done, f"Adopted: {names}. See: skyflow status" if names else none)

    run(body)


def _confirm(count: int) -> None:
    view.say(WARNING)
    if not sys.stdin.isatty():
        raise UsageError("Nothing was adopted: there is nobody to ask. To go ahead: skyflow adopt --yes")
    import typer

    question = f"Adopt {count} cluster(s)?" if count else "End what the ledger has of them?"
    typer.confirm(question, default=False, abort=True, err=True)


def _tell(adoption: dict[str, Any], last: str) -> None:
    for line in [*describe(adoption), *([last] if last else [])]:
        view.say(line)


def _table(lives: list[dict[str, Any]]) -> None:
    if not lives:
        return
    columns = ["NAME", "RESOURCES", "INFRA", "NODES", "$/h", "JOBS", "DEPLOYMENT"]
    rows = [
        [
            one["cluster"],
            f"{one['num_nodes']} × {one['instance_type'] or '?'}",
            one["place"] or "-",
            f"{one['stopped']} stopped" if one["stopped"] else "running",
            view.dollars(one["price"] * one["num_nodes"]),
            str(one["jobs"]),
            one["owner"],
        ]
        for one in lives
    ]
    view.table(columns, rows)
