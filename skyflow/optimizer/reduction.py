"""What is left of a problem without options that can be replaced by others in every assignment that has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import le

from skyflow.optimizer.network import Table
from skyflow.optimizer.problem import Move, Problem, micro, nano

TIME_BITS = 64
"""Of the seconds, where they are the lower part of an integer whose upper part are dollars."""

Amounts = tuple[int, ...]


@dataclass(frozen=True)
class Measure:
    """What must not get worse when an option is replaced."""

    amounts: Callable[[int, int], Amounts]
    """Of dollars and seconds; several, if they cannot be weighed against each other. The first is what is minimised."""
    is_ordered: bool
    """Whether among equals, only one that is preferred may replace another."""


COST = Measure(lambda dollars, seconds: (dollars << TIME_BITS | seconds,), is_ordered=True)
SECONDS = Measure(lambda dollars, seconds: (seconds,), is_ordered=False)
COST_AND_SECONDS = Measure(lambda dollars, seconds: (dollars, seconds), is_ordered=True)


@dataclass(frozen=True, slots=True)
class Choice:
    """An option with its amounts."""

    amounts: Amounts
    index: int
    group: int

    @property
    def key(self) -> tuple[int, int]:
        """What it is chosen by."""
        return self.amounts[0], self.index


Held = dict[int, list[Choice]]
"""What each task that has any has in one group."""


class Reduction:
    """The options of each task that are left, and their amounts.

    Args:
        problem: of which.
        measure: what is minded.
    """

    def __init__(self, problem: Problem, measure: Measure) -> None:
        self.problem = problem
        self.measure = measure
        self.tasks = [self._best_of_groups(task) for task in range(len(problem.tasks))]
        """What is left of each task, by group: so tasks that have the same groups share tables."""
        self._moves: dict[Move, dict[tuple[int, int], Amounts]] = {edge.move: {} for edge in problem.edges}
        self._stand_ins: dict[int, int] = {}
        """Group → the one that is taken in its stead."""

    @property
    def options(self) -> list[list[int]]:
        """The same as indices."""
        return [[choice.index for choice in task] for task in self.tasks]

    def indices(self, positions: Sequence[int]) -> list[int]:
        """The options of an assignment."""
        return [task[position].index for task, position in zip(self.tasks, positions, strict=True)]

    def cheapest(self) -> list[int]:
        """What costs each task least, by position."""
        return [min(range(len(task)), key=lambda place: task[place].key) for task in self.tasks]

    def locate(self, assignment: Sequence[int]) -> list[int]:
        """Where an assignment is in what is left, by position: or one that is as good, if it was folded."""
        found = []
        for task, index in enumerate(assignment):
            group = self.problem.tasks[task][index].group
            while group in self._stand_ins:
                group = self._stand_ins[group]
            places = [place for place, choice in enumerate(self.tasks[task]) if choice.group == group]
            found.append(min(places, key=lambda place: self.tasks[task][place].amounts[::-1]))
        return found

    def together(self) -> tuple[int, list[int]] | None:
        """The best assignment by the first amount that has all tasks in one group, if a group has them all.

        Returns:
            Its first amounts, added up, and its options.
        """
        tasks = [{one.group: one for one in sorted(task, key=lambda one: one.key, reverse=True)} for task in self.tasks]
        found = []
        for group in set[int].intersection(*map(set[int], tasks)):
            cost = sum(task[group].amounts[0] for task in tasks)
            cost += sum(self._move(edge.move, group, group)[0] for edge in self.problem.edges)
            found.append((cost, [task[group].index for task in tasks]))
        return min(found, default=None)

    def drop_above(self, limit: int) -> None:
        """Drops every choice with which an assignment cannot be within the limit, even if moves are free."""
        least = [min(choice.amounts[0] for choice in task) for task in self.tasks]
        spare = limit - sum(least)
        pairs = zip(self.tasks, least, strict=True)
        self.tasks = [[one for one in task if one.amounts[0] - lowest <= spare] for task, lowest in pairs]

    def fold(self) -> None:
        """Drops groups in whose stead another can be taken, wherever it is taken, without anything getting worse."""
        held: dict[int, Held] = {}
        for task, choices in enumerate(self.tasks):
            for choice in choices:
                held.setdefault(choice.group, {}).setdefault(task, []).append(choice)
        widest = sorted(held, key=lambda group: (-len(held[group]), _cheapest(held[group]), group))
        tables = self._tables(widest)
        gone: set[int] = set()
        for mine in reversed(range(len(widest))):
            for other in range(len(widest)):
                if other == mine or other in gone or not self._replaces(held[widest[other]], held[widest[mine]]):
                    continue
                if all(_is_nearer(table, other, mine) for table in tables):
                    gone.add(mine)
                    self._stand_ins[widest[mine]] = widest[other]
                    break
        self.tasks = [[choice for choice in task if choice.group not in self._stand_ins] for task in self.tasks]

    def own(self, layer: int = 0) -> list[list[int]]:
        """One of the amounts of what is left of each task."""
        return [[choice.amounts[layer] for choice in task] for task in self.tasks]

    def tables(self, layer: int = 0) -> dict[tuple[int, int], Table]:
        """One of the amounts of each edge, by parent and child."""
        groups = [tuple(choice.group for choice in task) for task in self.tasks]
        shared: dict[object, Table] = {}
        found = {}
        for edge in self.problem.edges:
            key = edge.move, groups[edge.parent], groups[edge.child]
            if key not in shared:
                _, rows, columns = key
                shared[key] = [[self._move(edge.move, row, column)[layer] for column in columns] for row in rows]
            found[edge.parent, edge.child] = shared[key]
        return found

    def _best_of_groups(self, task: int) -> list[Choice]:
        """Without those that another one of the same group replaces."""
        amounts = self.measure.amounts
        options = enumerate(self.problem.tasks[task])
        choices = [Choice(amounts(nano(one.cost), micro(one.seconds)), index, one.group) for index, one in options]
        best: dict[int, list[Choice]] = {}
        for choice in sorted(choices, key=lambda one: one.key):
            kept = best.setdefault(choice.group, [])
            if not any(_is_no_more(one.amounts, choice.amounts) for one in kept):
                kept.append(choice)
        return [choice for group in sorted(best) for choice in best[group]]

    def _replaces(self, held: Held, others: Held) -> bool:
        """Whether one group's choices can be taken in another's stead, where moves are not minded."""
        return others.keys() <= held.keys() and all(
            any(
                _is_no_more(mine.amounts, choice.amounts) and (mine.key < choice.key or not self.measure.is_ordered)
                for mine in held[task]
            )
            for task, choices in others.items()
            for choice in choices
        )

    def _tables(self, groups: Sequence[int]) -> list[Table]:
        """What moves between groups cost: of every kind of move and every amount, in both directions."""
        found = []
        for move in self._moves:
            amounts = [[self._move(move, source, target) for target in groups] for source in groups]
            for layer in range(len(self.measure.amounts(0, 0))):
                table = [[cell[layer] for cell in row] for row in amounts]
                found += [table, [list(column) for column in zip(*table, strict=True)]]
        return found

    def _move(self, move: Move, source: int, target: int) -> Amounts:
        known = self._moves[move]
        found = known.get((source, target))
        if found is None:
            dollars, seconds = move(source, target)
            found = known[source, target] = self.measure.amounts(nano(dollars), micro(seconds))
        return found


def _is_no_more(amounts: Amounts, others: Amounts) -> bool:
    return all(map(le, amounts, others))


def _cheapest(held: Held) -> int:
    return sum(min(choice.amounts[0] for choice in choices) for choices in held.values())


def _is_nearer(table: Table, mine: int, other: int) -> bool:
    """Whether moves from one group cost no more than those from another, which would be moved along with it."""
    row, others = table[mine], table[other]
    if row[mine] > others[other]:
        return False
    after = other + 1
    return all(map(le, row[:other], others[:other])) and all(map(le, row[after:], others[after:]))
