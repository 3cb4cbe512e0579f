"""A graph of tasks: one task, for now."""

from __future__ import annotations

import copy
import enum
from contextvars import Token
from types import TracebackType

from skyflow.models.task import Task, collecting


class OptimizeTarget(enum.Enum):
    """What the best place is: the cheapest, or the fastest."""

    COST = 0
    TIME = 1


class Dag:
    """A graph of tasks. Those that are made inside `with Dag() as dag:` belong to it."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.tasks: list[Task] = []
        self._tokens: list[Token[list[Task] | None]] = []

    def add(self, task: Task) -> None:
        """Adds a task."""
        self.tasks.append(task)

    def __len__(self) -> int:
        return len(self.tasks)

    def __enter__(self) -> Dag:
        self._tokens.append(collecting.set(self.tasks))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        collecting.reset(self._tokens.pop())

    def __repr__(self) -> str:
        return f"Dag(name={self.name!r}, tasks={self.tasks!r})"


def convert_to_dag(entrypoint: object) -> Dag:
    """The graph that a caller of launch or exec means: a copy, so that the caller's object never changes.

    Raises:
        TypeError: it is neither a Task nor a Dag (PARITY E01, E02).
    """
    if isinstance(entrypoint, str):
        raise TypeError(
            "Expected a sky.Task or sky.Dag but received a string.\n"
            "If you meant to run a command, make it a Task's run command:\n\n"
            "    task = sky.Task(run=command)\n\n"
            "The command can then be run as:\n\n"
            "    sky.launch(task)"
        )
    if not isinstance(entrypoint, Task | Dag):
        raise TypeError(f"Expected a sky.Task or sky.Dag but received argument of type: {type(entrypoint)}")
    copied = copy.deepcopy(entrypoint)
    if isinstance(copied, Dag):
        return copied
    dag = Dag(copied.name)
    dag.add(copied)
    return dag


def check_one_task(dag: Dag) -> Task:
    """The one task of a graph (PARITY E07). Raises AssertionError if there are more, or none."""
    if len(dag) != 1:
        raise AssertionError(f"We support 1 task for now. {dag}")
    return dag.tasks[0]
