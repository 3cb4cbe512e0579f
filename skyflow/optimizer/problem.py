"""The problem: tasks with options, edges that move data, and what a choice of them costs and lasts.

Indices only: what an option is, is no business of the optimizer. Dollars and seconds become integers on the way in
(`nano`, `micro`), so that sums are exact, and equal is equal: two assignments tie if their rounded amounts do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Literal

Target = Literal["cost", "time"]
Move = Callable[[int, int], tuple[float, float]]
"""Dollars and seconds of moving data from one group to another."""


@dataclass(frozen=True, slots=True)
class Option:
    """A place where a task can run."""

    cost: float
    """US dollars of the run."""
    seconds: float
    """Of the run."""
    group: int
    """What moving data depends on: options of one group are the same to every edge."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Data that one task leaves for another, which begins when it has it."""

    parent: int
    child: int
    move: Move
    """Called once for a pair of groups. Edges that move the same amount should share one function."""


@dataclass(frozen=True)
class Problem:
    """What is to be assigned.

    Raises:
        ValueError: a task has no option, tasks wait for each other, or two edges join the same tasks.
    """

    tasks: Sequence[Sequence[Option]]
    """The options of each task, the preferred first: their order settles what is equal otherwise."""
    edges: Sequence[Edge]
    target: Target = "cost"
    order: tuple[int, ...] = field(init=False)
    """The tasks, parents before children."""

    def __post_init__(self) -> None:
        for index, options in enumerate(self.tasks):
            if not options:
                raise ValueError(f"task {index} has no option")
        if len({frozenset((edge.parent, edge.child)) for edge in self.edges}) < len(self.edges):
            raise ValueError("two edges join the same tasks")
        sorter = TopologicalSorter[int](dict.fromkeys(range(len(self.tasks)), ()))
        for edge in self.edges:
            sorter.add(edge.child, edge.parent)
        try:
            object.__setattr__(self, "order", tuple(sorter.static_order()))
        except CycleError as error:
            raise ValueError(f"tasks wait for each other: {error.args[1]}") from None

    def cost(self, assignment: Sequence[int]) -> float:
        """US dollars of all runs and moves."""
        at = [options[index] for options, index in zip(self.tasks, assignment, strict=True)]
        moves = sum(edge.move(at[edge.parent].group, at[edge.child].group)[0] for edge in self.edges)
        return sum(option.cost for option in at) + moves

    def makespan(self, assignment: Sequence[int]) -> float:
        """Seconds from the beginning to the end of the last task."""
        at = [options[index] for options, index in zip(self.tasks, assignment, strict=True)]
        after: list[list[Edge]] = [[] for _ in at]
        for edge in self.edges:
            after[edge.parent].append(edge)
        begin, end = [0.0] * len(at), [0.0] * len(at)
        for task in self.order:
            end[task] = begin[task] + at[task].seconds
            for edge in after[task]:
                moved = end[task] + edge.move(at[task].group, at[edge.child].group)[1]
                begin[edge.child] = max(begin[edge.child], moved)
        return max(end, default=0.0)


def nano(dollars: float) -> int:
    """In units of 10⁻⁹ dollars."""
    return round(dollars * 1e9)


def micro(seconds: float) -> int:
    """In units of 10⁻⁶ seconds."""
    return round(seconds * 1e6)
