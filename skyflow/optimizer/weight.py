"""Weights: how several amounts become one integer, so that what matters less decides only between equals.

The upper bits are dollars, then may come seconds, and the lowest are the order of the options, task by task. Each
amount has bits enough for its sum over everything, so that the amounts of an assignment stand in its value as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skyflow.optimizer.network import Network, Table

DIGIT_BITS = 16
"""Of the order, where it is minimised in parts."""


@dataclass(frozen=True)
class Weights:
    """Where the amounts are."""

    shifts: tuple[int, ...]
    """Of the amounts, the most important first: each has the bits from here to where the one before it begins."""

    def amount(self, weight: int, index: int) -> int:
        """One of the amounts in a weight."""
        upper = weight >> self.shifts[index]
        return upper if index == 0 else upper & ((1 << self.shifts[index - 1] - self.shifts[index]) - 1)


def weigh(
    own: list[list[int]], tables: Mapping[tuple[int, int], Table], ranks: list[list[int]], low_bits: int = 0
) -> tuple[Network, Weights]:
    """A network in which the order of the options settles what is equal otherwise.

    Args:
        own: of each task, what its options cost.
        tables: what pairs of them cost, by parent and child.
        ranks: of each task, how its options come one after the other: the lower, the more preferred.
        low_bits: how many of the bits of what they cost belong to a less important amount.
    """
    widths = [(len(task) - 1).bit_length() for task in ranks]
    order = left = sum(widths)
    weighed = []
    for task, costs, width in zip(ranks, own, widths, strict=True):
        left -= width
        places = {rank: place << left for place, rank in enumerate(sorted(task))}
        weighed.append([cost << order | places[rank] for rank, cost in zip(task, costs, strict=True)])
    both: dict[tuple[int, int], Table] = {}
    shared: dict[int, tuple[Table, Table]] = {}
    for (parent, child), table in tables.items():
        if not any(map(any, table)):
            continue
        if id(table) not in shared:
            known: dict[int, int] = {}
            rows = [[known.setdefault(cost, cost << order) for cost in row] for row in table]
            shared[id(table)] = rows, [list(column) for column in zip(*rows, strict=True)]
        both[parent, child], both[child, parent] = shared[id(table)]
    digits = range(order - DIGIT_BITS, 0, -DIGIT_BITS)
    shifts = [order + low_bits, *([order] if low_bits else []), *digits, *([0] if order else [])]
    options = [list(range(len(task))) for task in ranks]
    return Network(options, weighed, both), Weights(tuple(shifts))
