"""A network: what each option of each task costs, and what each pair of options of two related tasks costs on top.

Every amount is one integer, however many things it weighs against each other (`weight.py`), and an assignment is worth
the sum of its amounts. Options are named by their position in what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import add, itemgetter
from typing import Any

Table = list[list[int]]


class Network:
    """Does not change: what has fewer options is another one.

    Args:
        options: of each task, how its options are called outside.
        own: of each task, what each of its options costs.
        tables: of two related tasks, in both directions: a row for each option of the first, in which there is what it
            costs with each option of the second.
    """

    def __init__(self, options: list[list[int]], own: list[list[int]], tables: dict[tuple[int, int], Table]) -> None:
        self.options = options
        self.own = own
        self.tables = tables
        self.neighbors: list[list[int]] = [[] for _ in own]
        for one, other in tables:
            self.neighbors[one].append(other)

    @property
    def sizes(self) -> list[int]:
        return [len(options) for options in self.options]

    @property
    def work(self) -> int:
        """How many pairs of options there are."""
        sizes = self.sizes
        return sum(sizes[one] * sizes[other] for one, other in self.tables if one < other)

    def names(self, positions: Sequence[int]) -> list[int]:
        """How the options of an assignment are called outside."""
        return [options[position] for options, position in zip(self.options, positions, strict=True)]

    def value(self, positions: Sequence[int]) -> int:
        """What an assignment costs."""
        own = sum(costs[position] for costs, position in zip(self.own, positions, strict=True))
        pairs = self.tables.items()
        return own + sum(table[positions[u]][positions[v]] for (u, v), table in pairs if u < v)

    def costs(self, task: int, positions: Sequence[int]) -> list[int]:
        """What each option of a task costs, together with what the others have."""
        found = self.own[task]
        for other in self.neighbors[task]:
            found = list(map(add, found, self.tables[other, task][positions[other]]))
        return found

    def improve(self, positions: Sequence[int]) -> list[int]:
        """Changes one task after the other to its best, until that changes nothing."""
        best = list(positions)
        changed = True
        while changed:
            changed = False
            for task in range(len(best)):
                costs = self.costs(task, best)
                cheapest = min(costs)
                if cheapest < costs[best[task]]:
                    best[task] = costs.index(cheapest)
                    changed = True
        return best

    def restrict(self, keep: Sequence[Sequence[int]]) -> Network:
        """The same with only these options, by their positions."""
        picks = [pick(positions) for positions in keep]
        cut: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Table] = {}  # tables are shared: so are what is cut
        tables = {}
        for (u, v), table in self.tables.items():
            key = (id(table), tuple(keep[u]), tuple(keep[v]))
            if key not in cut:
                cut[key] = [picks[v](row) for row in picks[u](table)]
            tables[u, v] = cut[key]
        options = [pick(one) for pick, one in zip(picks, self.options, strict=True)]
        return Network(options, [pick(one) for pick, one in zip(picks, self.own, strict=True)], tables)


def pick(positions: Sequence[int]) -> Any:
    """Takes the elements at these positions out of a list, as a list."""
    if len(positions) == 1:
        (only,) = positions
        return lambda row: [row[only]]
    getter = itemgetter(*positions)
    return lambda row: list(getter(row))
