"""Variable elimination: the best assignment of a network in which few tasks hang together closely.

A task is replaced by what its best option costs for each combination of its neighbors' options, which joins those. On
a chain or forest that is dynamic programming, without any loss of speed; on a dense graph it is as much as to try all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import add

from skyflow.optimizer.network import Network


@dataclass(frozen=True)
class Elimination:
    """An order in which tasks are eliminated, and how many combinations of options that looks at."""

    order: list[int]
    work: int


def plan_elimination(network: Network) -> Elimination:
    """Takes the task next that needs the least work, as far as one step shows."""
    sizes = network.sizes
    near = [set(neighbors) for neighbors in network.neighbors]
    left, order, work = set(range(len(sizes))), [], 0
    while left:
        found, task = min((math.prod(sizes[other] for other in near[one]) * sizes[one], one) for one in left)
        work += found
        order.append(task)
        left.remove(task)
        for other in near[task]:
            near[other] |= near[task]
            near[other] -= {other, task}
    return Elimination(order, work)


@dataclass(frozen=True)
class _Factor:
    """What a task costs, by option, for each combination of others' options."""

    scope: tuple[int, ...]
    """The others."""
    rows: list[list[int]]
    """One for each combination, the last of the scope changing fastest."""


def eliminate(network: Network, order: Sequence[int]) -> list[int]:
    """The best assignment, as positions; the first of equals."""
    sizes = network.sizes
    rank = {task: index for index, task in enumerate(order)}
    waiting: list[list[_Factor]] = [[_Factor((), [costs])] for costs in network.own]
    for (u, v), table in network.tables.items():
        if rank[v] < rank[u]:
            waiting[v].append(_Factor((u,), table))
    for task in order:
        scope = sorted(
            {other for factor in waiting[task] for other in factor.scope}, key=rank.__getitem__, reverse=True
        )
        best = _best(waiting[task], scope, sizes)
        if scope:
            # the one that goes next is last in the scope, so the rows are its own already
            *others, following = scope
            width = sizes[following]
            rows = [best[start : start + width] for start in range(0, len(best), width)]
            waiting[following].append(_Factor(tuple(others), rows))
    positions = [-1] * len(sizes)
    for task in reversed(order):
        costs = [0] * sizes[task]
        for factor in waiting[task]:
            costs = list(map(add, costs, factor.rows[_row(factor.scope, positions, sizes)]))
        positions[task] = costs.index(min(costs))
    return positions


def _row(scope: tuple[int, ...], positions: list[int], sizes: list[int]) -> int:
    row = 0
    for task in scope:
        row = row * sizes[task] + positions[task]
    return row


def _best(factors: list[_Factor], scope: list[int], sizes: list[int]) -> list[int]:
    """What the best option costs, for each combination of the options of the scope."""
    depth = {task: index for index, task in enumerate(scope, 1)}
    ready: list[list[_Factor]] = [[] for _ in range(len(scope) + 1)]
    for factor in factors:
        ready[max((depth[task] for task in factor.scope), default=0)].append(factor)
    positions = [0] * len(sizes)
    found: list[int] = []

    def go(level: int, costs: list[int]) -> None:
        if level == len(scope):
            found.append(min(costs))
            return
        task = scope[level]
        if level == len(scope) - 1 and len(ready[-1]) == 1:
            (factor,) = ready[-1]
            positions[task] = 0
            start = _row(factor.scope, positions, sizes)
            found.extend(min(map(add, costs, row)) for row in factor.rows[start : start + sizes[task]])
            return
        for position in range(sizes[task]):
            positions[task] = position
            longer = costs
            for factor in ready[level + 1]:
                longer = list(map(add, longer, factor.rows[_row(factor.scope, positions, sizes)]))
            go(level + 1, longer)

    first, *others = ready[0]
    costs = first.rows[0]
    for factor in others:
        costs = list(map(add, costs, factor.rows[0]))
    go(0, costs)
    return found
