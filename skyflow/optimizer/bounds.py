"""What every assignment costs at least, in all and with any one option: by passing messages, as TRW-S does.

A message from one task to another moves costs along their edge without changing what any assignment is worth:

    own(v, a)      + Σ messages to v (a)                    is never less than `least` says,
    pair(u, v, a, b) − message to v (b) − message to u (a)  is never negative, once the messages are `complete`,

so that the sum of the least of each is a lower bound, whatever the messages are. Sequential tree-reweighted message
passing (Kolmogorov, IEEE PAMI 28(10), 2006) finds messages for which it is high; on a forest, the highest there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import add, sub

from skyflow.optimizer.network import Network


class Bounds:
    """The messages of a network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.messages = {(u, v): [0] * len(network.own[v]) for u, v in network.tables}
        """From u to v: by option of v."""

    def round(self) -> tuple[list[int], list[int]]:
        """Passes messages through all tasks and back; each way finds an assignment."""
        forward = self._sweep(range(len(self.network.own)))
        backward = self._sweep(range(len(self.network.own) - 1, -1, -1))
        self.complete()
        return forward, backward

    def least(self) -> tuple[int, list[list[int]]]:
        """The lower bound, and those of each task's options.

        What the messages have taken from everything is common to all assignments. What is left is nowhere negative, so
        that the least of it on a spanning forest, which dynamic programming finds, can be added.
        """
        tables, messages = self.network.tables, self.messages
        count = len(self.network.own)
        beliefs = self.beliefs()
        below = [[cost - lowest for cost in belief] for belief in beliefs for lowest in [min(belief)]]
        parents = [
            max((one for one in self.network.neighbors[task] if one < task), default=-1) for task in range(count)
        ]
        told: list[list[int]] = [[] for _ in range(count)]
        for task in range(count - 1, -1, -1):
            if (parent := parents[task]) >= 0:
                costs = list(map(sub, below[task], messages[parent, task]))
                cheapest = [min(map(add, costs, row)) for row in tables[parent, task]]
                told[task] = list(map(sub, cheapest, messages[task, parent]))
                below[parent] = list(map(add, below[parent], told[task]))
        lower = sum(map(min, beliefs)) + sum(min(below[task]) for task in range(count) if parents[task] < 0)
        for task, parent in enumerate(parents):
            if parent >= 0:
                costs = list(map(sub, map(sub, below[parent], told[task]), messages[task, parent]))
                cheapest = [min(map(add, costs, row)) for row in tables[task, parent]]
                below[task] = list(map(add, below[task], map(sub, cheapest, messages[parent, task])))
        return lower, [[lower - lowest + cost for cost in costs] for costs in below for lowest in [min(costs)]]

    def beliefs(self) -> list[list[int]]:
        """Of each task, what its options cost together with the messages to it."""
        return [self._belief(task) for task in range(len(self.network.own))]

    def restrict(self, keep: Sequence[Sequence[int]]) -> None:
        """Leaves only these options, by their positions."""
        self.network = self.network.restrict(keep)
        self.messages = {(u, v): [old[p] for p in keep[v]] for (u, v), old in self.messages.items()}

    def replace(self, network: Network) -> None:
        """Goes on with a network that has the same options, and other costs: the messages are not complete then."""
        self.network = network
        self.messages = {(u, v): self.messages.get((u, v)) or [0] * len(network.own[v]) for u, v in network.tables}

    def slack(self, u: int, v: int) -> list[list[int]]:
        """What pairs of options cost once the messages are taken away: never negative, if those are complete."""
        to_u, to_v = self.messages[v, u], self.messages[u, v]
        table = self.network.tables[u, v]
        return [[cost - mine for cost in map(sub, row, to_v)] for row, mine in zip(table, to_u, strict=True)]

    def complete(self) -> None:
        """Lets the pairs give back what they have, to the later task first: `slack` is nowhere negative then."""
        network, messages = self.network, self.messages
        for u in range(len(network.own)):
            for v in network.neighbors[u]:
                if v > u:
                    messages[u, v] = [min(map(sub, row, messages[v, u])) for row in network.tables[v, u]]
                    messages[v, u] = [min(map(sub, row, messages[u, v])) for row in network.tables[u, v]]

    def _belief(self, task: int) -> list[int]:
        found = self.network.own[task]
        for other in self.network.neighbors[task]:
            found = list(map(add, found, self.messages[other, task]))
        return found

    def _sweep(self, order: range) -> list[int]:
        """Each task tells those behind it what they would cost it."""
        network, messages = self.network, self.messages
        found = [-1] * len(order)
        for task in order:
            costs = network.own[task]
            for other in network.neighbors[task]:
                is_found = found[other] >= 0
                costs = list(
                    map(add, costs, network.tables[other, task][found[other]] if is_found else messages[other, task])
                )
            found[task] = costs.index(min(costs))
            behind = [other for other in network.neighbors[task] if found[other] < 0]
            if not behind:
                continue
            parts = max(len(behind), len(network.neighbors[task]) - len(behind))
            share = [cost // parts for cost in self._belief(task)]
            for other in behind:
                told = list(map(sub, share, messages[other, task]))
                messages[task, other] = [min(map(add, told, row)) for row in network.tables[other, task]]
        return found
