"""The search for the best assignment of a network: bounds first, then elimination, and a program for what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from operator import sub

from skyflow.optimizer.bounds import Bounds
from skyflow.optimizer.elimination import eliminate, plan_elimination
from skyflow.optimizer.network import Network
from skyflow.optimizer.price import Prices
from skyflow.optimizer.program import Amount, Program
from skyflow.optimizer.schedule import Schedule
from skyflow.optimizer.weight import Weights

EASY = 20
"""Elimination may take so many looks for each pair of options: a few rounds of messages would take as many."""
HARD = 4_000_000
"""Combinations of options that elimination looks at, at most: about a second."""
PATIENCE = 5
"""Rounds in which bounds may make no progress."""
PATIENCE_WITH_PRICES = 15
PROGRESS = 0.03
"""The share of the gap between the bounds, or of the options, that has to go for a round to be called progress."""


@dataclass(frozen=True)
class Deadline:
    """When an assignment must be over."""

    schedule: Schedule
    """Its options are those of the network, by position."""
    limit: int


class Search:
    """The best assignment so far, and the options that could still be in a better one.

    Args:
        network: of which.
        weights: where the amounts are in it.
        start: an assignment, by position, that keeps the deadline.
        deadline: if there is one.
    """

    def __init__(
        self, network: Network, weights: Weights, start: Sequence[int], deadline: Deadline | None = None
    ) -> None:
        self.network = network
        self.weights = weights
        self.deadline = deadline
        self.prices = None if deadline is None else Prices(deadline.limit)
        self.bounds = Bounds(network)
        """Of the network, with prices if there is a deadline."""
        self.best = list(start)
        self.upper = network.value(start)
        self._offer(network.improve(start))

    def run(self) -> list[int]:
        """The best assignment, by the names of its options."""
        idle, patience = 0, PATIENCE if self.deadline is None else PATIENCE_WITH_PRICES
        tried, lowest = 0, None
        while idle < patience:
            sizes = sum(self.network.sizes)
            if tried != sizes and plan_elimination(self.network).work <= EASY * self.network.work + sizes:
                if (found := self._eliminate()) is not None:
                    return found
                tried = sizes
            lower = self._round()
            rose = lowest is None or lower - lowest > PROGRESS * (self.upper - lower)
            fell = sizes - sum(self.network.sizes) > PROGRESS * sizes
            idle = 0 if rose or fell else idle + 1
            lowest = lower if lowest is None else max(lower, lowest)
        return self._eliminate() or self._program()

    def _round(self) -> int:
        """Passes messages, and drops options that are in no better assignment. Returns the lower bound."""
        found = self.bounds.round()
        for positions in found:
            self._offer(self.network.improve(positions))
        if self.prices is not None:
            for positions in found:
                self._offer(self.bounds.network.improve(positions))
        lower, keep = self._keep()
        if self.deadline is not None and self.prices is not None:
            cheapest = min(found, key=self.bounds.network.value)
            self.prices.change(self.deadline.schedule, cheapest, self.upper - lower)
        self._restrict(keep)
        return lower

    def _restrict(self, keep: Sequence[Sequence[int]]) -> None:
        self.best = [some.index(chosen) for some, chosen in zip(keep, self.best, strict=True)]
        if [len(some) for some in keep] != self.network.sizes:
            self.network = self.network.restrict(keep)
            self.bounds.restrict(keep)
            if self.deadline is not None:
                self.deadline = Deadline(self.deadline.schedule.restrict(keep), self.deadline.limit)
        if self.deadline is not None and self.prices is not None:
            self.bounds.replace(self.prices.apply(self.network, self.deadline.schedule))

    def _offer(self, positions: Sequence[int]) -> None:
        """Takes an assignment if it is better."""
        value = self.network.value(positions)
        if value < self.upper and self._accepts(positions):
            self.best, self.upper = list(positions), value

    def _accepts(self, positions: Sequence[int]) -> bool:
        return self.deadline is None or self.deadline.schedule.makespan(positions) <= self.deadline.limit

    def _keep(self) -> tuple[int, list[list[int]]]:
        """The lower bound, and the options that may be in a better assignment, or are in the best one."""
        lower, least = self.bounds.least()
        allowance = 0 if self.prices is None else self.prices.allowance
        upper = self.upper + allowance
        pairs = zip(least, self.best, strict=True)
        return lower - allowance, [
            [position for position, bound in enumerate(bounds) if bound < upper or position == chosen]
            for bounds, chosen in pairs
        ]

    def _eliminate(self) -> list[int] | None:
        """The best assignment, unless it takes too long to find it so, or the best does not keep the deadline."""
        plan = plan_elimination(self.network)
        if plan.work > HARD:
            return None
        found = eliminate(self.network, plan.order)
        return self.network.names(found) if self._accepts(found) else None

    # What is left

    def _program(self) -> list[int]:
        """The best assignment, by integer programs: one for each amount, the most important first."""
        if max(self.network.sizes) == 1:
            return self.network.names(self.best)
        program = Program(self.network.sizes, self._pairs())
        if self.deadline is not None:
            program.limit_makespan(self.deadline.schedule, self.deadline.limit)
        for amount in self._amounts():
            found = program.minimise(amount, self._accepts)
            if found is not None:
                self._offer(found)
        return self.network.names(self.best)

    def _pairs(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """The pairs of options that may be in a better assignment, or are in the best one."""
        self.bounds.complete()  # the prices may have changed since: then the beliefs would not be a lower bound
        beliefs = self.bounds.beliefs()
        gap = self.upper - sum(map(min, beliefs)) + (0 if self.prices is None else self.prices.allowance)
        over = [[cost - lowest for cost in belief] for belief in beliefs for lowest in [min(belief)]]
        timely = {} if self.deadline is None else self.deadline.schedule.pairs(self.deadline.limit)
        found = {}
        for u, v in sorted({(min(edge), max(edge)) for edge in [*self.bounds.network.tables, *timely]}):
            spare = [[gap - one - other for other in over[v]] for one in over[u]]
            if (u, v) in self.bounds.network.tables:
                spare = [[*map(sub, *rows)] for rows in zip(spare, self.bounds.slack(u, v), strict=True)]
            chosen = (self.best[u], self.best[v])
            pairs = timely.get((u, v)) or product(range(len(over[u])), range(len(over[v])))
            found[u, v] = [(a, b) for a, b in pairs if spare[a][b] > 0 or (a, b) == chosen]
        return found

    def _amounts(self) -> Iterator[Amount]:
        """What the program minimises, the most important first; of that, what the messages leave."""
        weights, network = self.weights, self.network
        for index, shift in enumerate(weights.shifts):
            own = [[weights.amount(cost, index) for cost in costs] for costs in network.own]
            tables = {
                (u, v): [[weights.amount(cost, index) for cost in row] for row in table]
                for (u, v), table in network.tables.items()
                if u < v
            }
            amount = Amount(own, tables)
            if index == 0:
                told = {pair: self.bounds.messages[pair] for pair in network.tables}
                amount = amount.told({pair: [cost >> shift for cost in costs] for pair, costs in told.items()})
            yield amount
