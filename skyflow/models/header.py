"""The header of a file with several tasks: whether they run one after the other or together (PARITY §2)."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skyflow.models.document import Document, Path, show
from skyflow.models.duration import check_seconds, show_seconds
from skyflow.models.field import check_name
from skyflow.models.shape import boolean, error, listing, mapping, record, text, written

GROUP_FIELDS = ("primary_tasks", "termination_delay", "inter_connection")
DEFAULT = "default"
"""The task that stands for all others in `termination_delay`."""

_MEMBER = re.compile(r"[a-zA-Z0-9_-]+")
_MEMBER_RULE = "Name must contain only alphanumeric characters, hyphens, and underscores."


class DagExecution(enum.Enum):
    """How the tasks of a graph run: one after the other (a pipeline), or together (a job group)."""

    SERIAL = "serial"
    PARALLEL = "parallel"


@dataclass(frozen=True)
class Header:
    """What the first document of several says about the others.

    Args:
        name: of the pipeline or group.
        execution: how the tasks run.
        primary_tasks: when they have ended, the others are ended; None: all are primary.
        termination_delay: seconds that the others are left then; for each task by name, or for all.
        inter_connection: whether the tasks of a group can reach each other by name.
    """

    name: str | None = None
    execution: DagExecution = DagExecution.SERIAL
    primary_tasks: tuple[str, ...] | None = None
    termination_delay: int | dict[str, int] | None = None
    inter_connection: bool | None = None

    def to_yaml_config(self) -> dict[str, Any]:
        """The document that means the same."""
        parallel = self.execution is DagExecution.PARALLEL
        delay: object = self.termination_delay
        if isinstance(delay, dict):
            delay = {task: show_seconds(seconds) for task, seconds in delay.items()}
        elif isinstance(delay, int):
            delay = show_seconds(delay)
        return written(
            {
                "name": self.name,
                "execution": self.execution.value if parallel else None,
                "primary_tasks": None if self.primary_tasks is None else list(self.primary_tasks),
                "termination_delay": delay,
                "inter_connection": self.inter_connection,
            }
        )


def is_header(config: object) -> bool:
    """Whether the first of several documents is a header, and not a task."""
    return isinstance(config, Mapping) and bool(config) and ("execution" in config or set(config) <= set(_FIELDS))


def check_header(document: Document, value: object, path: Path = ()) -> Header:
    """The header of a pipeline or a job group."""
    found = _HEADER(document, value, path)
    header = Header(**found)
    if header.execution is DagExecution.SERIAL:
        for field in GROUP_FIELDS:
            if field in found:
                raise error(
                    document,
                    (*path, field),
                    f"{field} is only for a job group; add 'execution: parallel', or leave it out.",
                )
        return header
    if header.name is None:
        raise error(document, path, "JobGroup header missing required fields: {'name'}")
    if not _MEMBER.fullmatch(header.name):
        raise error(document, (*path, "name"), f"Invalid job group name: {show(header.name)}. {_MEMBER_RULE}")
    return header


def check_members(document: Document, header: Header, members: Sequence[Document]) -> None:
    """Checks the tasks of a job group against its header: each has a name of its own, and those that it names exist.

    Args:
        document: of the header.
        header: of a job group.
        members: the documents of its tasks.

    Raises:
        InvalidTaskError: there is none, or a name is absent, wrong or there twice.
    """
    if not members:
        raise error(
            document, (), "JobGroup YAML must have at least 2 documents: header and at least one job definition."
        )
    names: list[str] = []
    for number, member in enumerate(members, 1):
        name = member.config.get("name") if isinstance(member.config, Mapping) else None
        if not isinstance(name, str):
            raise error(member, (), f'Job {number} in JobGroup must have a "name" field.')
        if not _MEMBER.fullmatch(name):
            raise error(member, ("name",), f"Invalid job name: {show(name)}. {_MEMBER_RULE}")
        if name in names:
            raise error(member, ("name",), f"Duplicate job name in JobGroup: {name}")
        names.append(name)
    for index, name in enumerate(header.primary_tasks or ()):
        if name not in names:
            raise error(
                document,
                ("primary_tasks", index),
                f"primary_tasks references unknown job: {show(name)}. Available jobs: {sorted(names)}",
            )
    delays = header.termination_delay if isinstance(header.termination_delay, dict) else {}
    for name in delays:
        if name not in (*names, DEFAULT):
            raise error(
                document,
                ("termination_delay", name),
                f"termination_delay references unknown job: {show(name)}. Available jobs: {sorted(names)} (or "
                '"default")',
            )


def _check_name(document: Document, value: Any, path: Path) -> str | None:
    return document.check(path, check_name, value)


def _check_execution(document: Document, value: Any, path: Path) -> DagExecution:
    modes = {mode.value: mode for mode in DagExecution}
    if not isinstance(value, str) or value not in modes:
        raise error(document, path, f"Invalid execution mode: {show(value)}. Valid options: {list(modes)}")
    return modes[value]


def _check_primary_tasks(document: Document, value: Any, path: Path) -> tuple[str, ...] | None:
    names = listing(text("the name of a task"), "a list of names of tasks")(document, value, path)
    return tuple(names) or None  # an empty list means all, as SkyPilot has it


def _check_delay(document: Document, value: Any, path: Path) -> int | dict[str, int]:
    if isinstance(value, Mapping):
        return mapping(check_seconds)(document, value, path)
    return check_seconds(document, value, path)


_FIELDS = {
    "name": _check_name,
    "execution": _check_execution,
    "primary_tasks": _check_primary_tasks,
    "termination_delay": _check_delay,
    "inter_connection": boolean,
}
_HEADER = record("header", _FIELDS, "execution: parallel")
