"""The schedule: when each option of each task can begin at the earliest, and must have begun at the latest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise, product
from operator import add

from skyflow.optimizer.network import Table, pick


class Schedule:
    """What runs and moves last, for the options that are left.

    Args:
        order: the tasks, parents before children.
        runs: of each task, how long each of its options runs.
        moves: by parent and child: a row for each option of the parent.
        options: of each task, how its options are called outside; if nothing else is said, by position.
    """

    def __init__(
        self,
        order: Sequence[int],
        runs: list[list[int]],
        moves: Mapping[tuple[int, int], Table],
        options: list[list[int]] | None = None,
    ) -> None:
        self.order = order
        self.options = options or [list(range(len(run))) for run in runs]
        self.runs = runs
        self.moves = moves
        self.parents: list[list[int]] = [[] for _ in runs]
        self.children: list[list[int]] = [[] for _ in runs]
        for parent, child in moves:
            self.parents[child].append(parent)
            self.children[parent].append(child)

    @property
    def sizes(self) -> list[int]:
        return [len(options) for options in self.options]

    @property
    def lower(self) -> int:
        """What every assignment lasts at least."""
        return max((min(self.through(task)) for task in self.order), default=0)

    def through(self, task: int) -> list[int]:
        """What an assignment lasts at least that has one of the task's options, for each of them."""
        return list(map(add, map(add, self.starts[task], self.runs[task]), self.tails[task]))

    def makespan(self, positions: Sequence[int]) -> int:
        """What an assignment lasts."""
        return max(self._finish(positions), default=0)

    def critical(self, positions: Sequence[int]) -> list[int]:
        """The tasks, one after the other, that make an assignment last so long."""
        finish = self._finish(positions)
        task = finish.index(max(finish))
        path = [task]
        while self.parents[task]:
            task = max(self.parents[task], key=lambda one: finish[one] + self._move(one, path[-1], positions))
            path.append(task)
        return path[::-1]

    def length(self, path: Sequence[int], positions: Sequence[int]) -> int:
        """What the tasks of a path and the moves between them last."""
        runs = sum(self.runs[task][positions[task]] for task in path)
        return runs + sum(self._move(parent, child, positions) for parent, child in pairwise(path))

    def find(self) -> list[int]:
        """An assignment in which each task has what looks best once its parents have theirs."""
        found, finish = [0] * len(self.runs), [0] * len(self.runs)
        for task in self.order:
            ends = list(map(add, self._ready(task, found, finish), self.runs[task]))
            whole = list(map(add, ends, self.tails[task]))
            found[task] = whole.index(min(whole))
            finish[task] = ends[found[task]]
        return found

    def narrow(self, limit: int) -> Schedule | None:
        """Without the options that are in no assignment within the limit, as far as one can see.

        Returns:
            None if there is no such assignment.
        """
        schedule = self
        while True:
            keep = [
                [position for position, whole in enumerate(schedule.through(task)) if whole <= limit]
                for task in range(len(schedule.runs))
            ]
            if not all(keep):
                return None
            if [len(kept) for kept in keep] == schedule.sizes:
                return schedule
            schedule = schedule.restrict(keep)

    def restrict(self, keep: Sequence[Sequence[int]]) -> Schedule:
        """With only these options, by their positions."""
        picks = [pick(positions) for positions in keep]
        runs = [one(run) for one, run in zip(picks, self.runs, strict=True)]
        moves = {(u, v): [picks[v](row) for row in picks[u](table)] for (u, v), table in self.moves.items()}
        options = [one(options) for one, options in zip(picks, self.options, strict=True)]
        return Schedule(self.order, runs, moves, options)

    def names(self, positions: Sequence[int]) -> list[int]:
        """How the options of an assignment are called outside."""
        return [options[position] for options, position in zip(self.options, positions, strict=True)]

    def pairs(self, limit: int) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """The pairs of options that may be within the limit, of all tasks between which moves last.

        Returns:
            By tasks, the earlier by index first.
        """
        found = {}
        for edge, table in self.moves.items():
            if any(map(any, table)):
                u, v = min(edge), max(edge)
                late = set(self.late(u, v, limit))
                every = product(range(len(self.runs[u])), range(len(self.runs[v])))
                found[u, v] = [pair for pair in every if pair not in late]
        return found

    def late(self, one: int, other: int, limit: int) -> Iterator[tuple[int, int]]:
        """The pairs of options of two tasks with which no assignment is within the limit, as far as one can see."""
        for parent, child in ((one, other), (other, one)):
            rest = list(map(add, self.runs[child], self.tails[child]))
            for a, row in enumerate(self.moves.get((parent, child), [])):
                end = self.starts[parent][a] + self.runs[parent][a]
                for b, whole in enumerate(map(add, row, rest)):
                    if end + whole > limit:
                        yield (a, b) if parent == one else (b, a)

    def _move(self, parent: int, child: int, positions: Sequence[int]) -> int:
        return self.moves[parent, child][positions[parent]][positions[child]]

    def _finish(self, positions: Sequence[int]) -> list[int]:
        """When each task of an assignment ends."""
        finish = [0] * len(self.runs)
        for task in self.order:
            ends = (finish[parent] + self._move(parent, task, positions) for parent in self.parents[task])
            finish[task] = max(ends, default=0) + self.runs[task][positions[task]]
        return finish

    def _ready(self, task: int, positions: Sequence[int], finish: Sequence[int]) -> list[int]:
        """When each option of a task can begin, its parents' being settled."""
        ready = [0] * len(self.runs[task])
        for parent in self.parents[task]:
            end = finish[parent]
            ready = [
                max(one, end + move)
                for one, move in zip(ready, self.moves[parent, task][positions[parent]], strict=True)
            ]
        return ready

    @cached_property
    def starts(self) -> list[list[int]]:
        """The earliest start of each option: each parent is where that suits this one best."""
        starts = [[0] * len(runs) for runs in self.runs]
        for task in self.order:
            for parent in self.parents[task]:
                ends = list(map(add, starts[parent], self.runs[parent]))
                columns = zip(*self.moves[parent, task], strict=True)
                starts[task] = [
                    max(one, min(map(add, ends, column))) for one, column in zip(starts[task], columns, strict=True)
                ]
        return starts

    @cached_property
    def tails(self) -> list[list[int]]:
        """What must at least come after the end of each option."""
        tails = [[0] * len(runs) for runs in self.runs]
        for task in reversed(self.order):
            for child in self.children[task]:
                rest = list(map(add, self.runs[child], tails[child]))
                rows = self.moves[task, child]
                tails[task] = [max(one, min(map(add, rest, row))) for one, row in zip(tails[task], rows, strict=True)]
        return tails
