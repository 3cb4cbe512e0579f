"""Hooks: scripts that run on the nodes before a cluster stops, is taken down, or a node is taken away (PARITY §2)."""

from __future__ import annotations

from typing import Any, TypedDict

from skyflow.models.document import Document, Path
from skyflow.models.shape import choice, error, integer, listing, record, spell, text

EVENTS = ("stop", "preemption", "down")
MAX_HOOKS = 32
MAX_RUN_BYTES = 16 << 10
DEFAULT_TIMEOUT = 3600
"""Seconds."""


class Hook(TypedDict):
    """One script. It is plain JSON, because it travels as it is."""

    run: str
    events: list[str]
    """What it runs before: some of EVENTS."""
    timeout: int
    """Seconds after which it is ended and the event goes on."""


def check_hooks(document: Document, value: object, path: Path) -> list[Hook]:
    """The hooks of a cluster, in the order in which they run; what each leaves out is filled in."""
    return _HOOKS(document, value, path)


def check_event_callback(document: Document, value: object, path: Path) -> str:
    """The script that runs on a worker whenever the state of the task's job changes (PARITY K08)."""
    return text("a shell script")(document, value, path)


def _check_run(document: Document, value: Any, path: Path) -> str:
    run = text("a shell script")(document, value, path)
    size = len(run.encode())
    if size > MAX_RUN_BYTES:
        raise error(
            document,
            path,
            f"{spell(path)} has {size} bytes; {MAX_RUN_BYTES} at most. Put the script into the workdir and call it.",
        )
    return run


def _check_events(document: Document, value: Any, path: Path) -> list[str]:
    events = listing(choice(EVENTS), f"a list of {', '.join(EVENTS)}", least=1)(document, value, path)
    if len(set(events)) < len(events):
        raise error(document, path, f"{spell(path)} names an event twice.")
    return events


_FIELDS = record(
    "hook", {"run": _check_run, "events": _check_events, "timeout": integer(least=1)}, "run: ./save.sh", ["run"]
)


def _check_hook(document: Document, value: Any, path: Path) -> Hook:
    found = _FIELDS(document, value, path)
    return Hook(
        run=found["run"], events=found.get("events", list(EVENTS)), timeout=found.get("timeout", DEFAULT_TIMEOUT)
    )


_HOOKS = listing(_check_hook, "a list of hooks", most=MAX_HOOKS)
