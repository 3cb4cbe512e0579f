"""A graph of tasks: what runs after what."""

from __future__ import annotations

import copy
import enum
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

from skyflow.errors import InvalidTaskError
from skyflow.models.document import describe
from skyflow.models.task import Pairs, Task, collecting

if TYPE_CHECKING:
    import os

    from skyflow.models.header import Header


class OptimizeTarget(enum.Enum):
    """What the best place is: the cheapest, or the fastest."""

    COST = 0
    TIME = 1


class Dag:
    """A graph of tasks. Those that are made inside `with Dag() as dag:` belong to it, and `a >> b` joins them.

    Args:
        name: of the pipeline or job group.
        header: what a file says of its tasks together.
    """

    def __init__(self, name: str | None = None, header: Header | None = None) -> None:
        self.name = name
        self.header = header
        self.tasks: list[Task] = []
        self.edges: list[tuple[Task, Task]] = []
        self._tokens: list[Token[Any]] = []

    @classmethod
    def from_yaml(
        cls, path: str | os.PathLike[str], env_overrides: Pairs = None, secrets_overrides: Pairs = None
    ) -> Dag:
        """The tasks of a YAML file: one, a pipeline (each after the one before it), or a job group.

        Args:
            path: of the file.
            env_overrides: variables that replace those of every task (`--env`).
            secrets_overrides: values of secrets, the same (`--secret`).

        Raises:
            InvalidTaskError: something in it is wrong; names the file and the line.
        """
        from skyflow.models import dag_source, yaml_source  # as in Task.from_yaml

        return dag_source.read_dag(yaml_source.read_documents(path), env_overrides, secrets_overrides)

    @classmethod
    def from_yaml_str(cls, text: str, env_overrides: Pairs = None, secrets_overrides: Pairs = None) -> Dag:
        """The same of a text."""
        from skyflow.models import dag_source, yaml_source  # as in Task.from_yaml

        return dag_source.read_dag(yaml_source.read_texts(text), env_overrides, secrets_overrides)

    def to_yaml_configs(self) -> list[dict[str, Any]]:
        """The documents from which the same tasks come.

        Raises:
            InvalidTaskError: the edges are not those that documents can say.
        """
        tasks = [task.to_yaml_config() for task in self.tasks]
        header = {} if self.header is None else self.header.to_yaml_config()
        if "execution" not in header and not self.is_chain():
            raise InvalidTaskError(f"{self} cannot be written as YAML: its tasks do not run one after the other.")
        if not header and (self.header is not None or self._begins_like_a_header(tasks)):
            header = {"execution": "serial"}
        return [header, *tasks] if header else tasks

    def _begins_like_a_header(self, tasks: list[dict[str, Any]]) -> bool:
        from skyflow.models.header import is_header  # rare

        return len(tasks) > 1 and is_header(tasks[0])

    def add(self, task: Task) -> None:
        """Adds a task, once. Raises InvalidTaskError if it is none."""
        if not isinstance(task, Task):
            raise InvalidTaskError(f"A Dag is of tasks, found {describe(task)}.")
        if not any(one is task for one in self.tasks):
            self.tasks.append(task)

    def remove(self, task: Task) -> None:
        """Removes a task, and the edges that it has."""
        self._check_member(task)
        self.tasks = [one for one in self.tasks if one is not task]
        self.edges = [edge for edge in self.edges if task not in edge]

    def add_edge(self, parent: Task, child: Task) -> None:
        """Lets one task run after another.

        Raises:
            InvalidTaskError: one is not in the graph, or they would wait for each other.
        """
        self._check_member(parent)
        self._check_member(child)
        if (parent, child) in self.edges:
            return
        if parent is child or parent in self._after(child):
            raise InvalidTaskError(f"{parent} cannot come before {child}: they would wait for each other.")
        self.edges.append((parent, child))

    def edge_indexes(self) -> list[tuple[int, int]]:
        """The edges as positions in `tasks`."""
        index = {id(task): position for position, task in enumerate(self.tasks)}
        return [(index[id(parent)], index[id(child)]) for parent, child in self.edges]

    def is_chain(self) -> bool:
        """Whether the tasks come one after the other, in one line."""
        children = [child for _, child in self.edges]
        parents = [parent for parent, _ in self.edges]
        once = all(len({id(one) for one in side}) == len(side) for side in (children, parents))
        return once and len(self.edges) == max(0, len(self.tasks) - 1)

    def get_graph(self) -> dict[Task, list[Task]]:
        """Each task with those that come after it."""
        graph: dict[Task, list[Task]] = {task: [] for task in self.tasks}
        for parent, child in self.edges:
            graph[parent].append(child)
        return graph

    def _after(self, task: Task) -> list[Task]:
        """All that come after a task."""
        children = self.get_graph()
        found: dict[Task, None] = {}
        waiting = [task]
        while waiting:
            for child in children[waiting.pop()]:
                if child not in found:
                    found[child] = None
                    waiting.append(child)
        return list(found)

    def _check_member(self, task: Task) -> None:
        if not any(one is task for one in self.tasks):
            raise InvalidTaskError(f"{task} is not in {self}; add it first.")

    def __getstate__(self) -> dict[str, Any]:
        """A copy is outside of every `with` block, also one that is made in it (PARITY E03)."""
        return {**self.__dict__, "_tokens": []}

    def __len__(self) -> int:
        return len(self.tasks)

    def __enter__(self) -> Dag:
        self._tokens.append(collecting.set(self))
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
