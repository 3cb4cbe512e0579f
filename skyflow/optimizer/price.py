"""Prices of time: what keeps a deadline is looked for among what is cheap once lateness costs something.

A deadline relates all tasks of a path, which a network cannot say. But if each second of a path costs a price, and the
seconds that the deadline allows are given back, then whatever keeps the deadline costs no more than before: so what is
a lower bound with prices is one without. (A Lagrangean relaxation; the prices are found by its subgradients.)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from operator import add

from skyflow.optimizer.network import Network, Table
from skyflow.optimizer.schedule import Schedule

FRACTION_BITS = 32
"""Prices are fractions of what one unit of cost is for a microsecond, of so many bits."""


class Prices:
    """The prices, by path.

    Args:
        limit: the deadline.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._paths: dict[tuple[int, ...], int] = {}

    @property
    def allowance(self) -> int:
        """What is given back, rounded up."""
        return -(-self.limit * sum(self._paths.values()) >> FRACTION_BITS)

    def change(self, schedule: Schedule, positions: Sequence[int], gap: int) -> None:
        """Makes dearer what is late in an assignment, and cheaper what is early.

        Args:
            schedule: what the positions belong to.
            positions: a cheap assignment at the prices of now.
            gap: by how much the lower bound could rise.
        """
        self._paths.setdefault(tuple(schedule.critical(positions)), 0)
        late = {path: schedule.length(path, positions) - self.limit for path in self._paths}
        late = {path: seconds for path, seconds in late.items() if seconds > 0 or self._paths[path]}
        if not (squares := sum(seconds * seconds for seconds in late.values())):
            return
        for path, seconds in late.items():
            self._paths[path] = max(0, self._paths[path] + (gap * seconds << FRACTION_BITS) // squares)

    def apply(self, network: Network, schedule: Schedule) -> Network:
        """The same network with prices."""
        tasks: dict[int, int] = {}
        edges: dict[tuple[int, int], int] = {}
        for path, price in self._paths.items():
            for task in path if price else ():
                tasks[task] = tasks.get(task, 0) + price
            for edge in pairwise(path) if price else ():
                edges[edge] = edges.get(edge, 0) + price
        own = [
            [cost + (price * run >> FRACTION_BITS) for cost, run in zip(costs, runs, strict=True)]
            for price, costs, runs in (
                (tasks.get(task, 0), network.own[task], schedule.runs[task]) for task in range(len(network.own))
            )
        ]
        tables = dict(network.tables)
        for (parent, child), price in edges.items():
            moves = schedule.moves[parent, child]
            if any(map(any, moves)):
                extra: Table = [[price * seconds >> FRACTION_BITS for seconds in row] for row in moves]
                if (parent, child) in tables:
                    extra = [[*map(add, *rows)] for rows in zip(extra, tables[parent, child], strict=True)]
                tables[parent, child] = extra
                tables[child, parent] = [list(column) for column in zip(*extra, strict=True)]
        return Network(network.options, own, tables)
