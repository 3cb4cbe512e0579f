"""The integer program, in PuLP: an assignment as 0 or 1 of each option, and of each pair of options of related tasks.

The pairs need not be whole numbers: where the options are, they are. Bounds have settled nearly everything before; what
is minimised here is what they left open, scaled to `SPAN`, so that the solver's tolerances are a billionth of that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from typing import Any

from skyflow.errors import NotSupportedError
from skyflow.optimizer.network import Table
from skyflow.optimizer.schedule import Schedule

SPAN = 1000.0
TOLERANCE = 1e-6
"""What an amount that was minimised may grow again, at least, while the next one is."""
EXACT = ["primalTolerance 1e-9", "dualTolerance 1e-9", "integerTolerance 1e-9", "increment 1e-9"]
Pairs = Mapping[tuple[int, int], Iterable[tuple[int, int]]]
"""Of related tasks, the earlier first: the pairs of options that may be had, by position."""


@dataclass(frozen=True)
class Amount:
    """What is minimised: a sum over options, and over pairs of options."""

    own: list[list[int]]
    tables: dict[tuple[int, int], Table]

    def told(self, messages: Mapping[tuple[int, int], list[int]]) -> Amount:
        """The same for every assignment, with messages taken from the pairs and given to the options."""
        own = [list(costs) for costs in self.own]
        for (_, v), message in messages.items():
            own[v] = list(map(add, own[v], message))
        tables = {
            (u, v): [
                [cost - mine - theirs for cost, theirs in zip(row, messages[u, v], strict=True)]
                for row, mine in zip(table, messages[v, u], strict=True)
            ]
            for (u, v), table in self.tables.items()
        }
        return Amount(own, tables)

    def value(self, positions: Sequence[int]) -> int:
        own = sum(costs[position] for costs, position in zip(self.own, positions, strict=True))
        return own + sum(table[positions[u]][positions[v]] for (u, v), table in self.tables.items())


class Program:
    """One program, whose objectives come one after the other.

    Args:
        sizes: how many options each task has.
        pairs: of all tasks that an amount or a schedule relates.

    Raises:
        NotSupportedError: there is no solver.
    """

    def __init__(self, sizes: Sequence[int], pairs: Pairs) -> None:
        import pulp  # type: ignore[import-untyped]  # only here: hardly any plan needs it, and it takes a while

        self._pulp = pulp
        self._solver = _solver(pulp)
        self._problem = problem = pulp.LpProblem("assignment")
        self._options = [
            [problem.add_variable(f"x{task}_{option}", cat="Binary") for option in range(size)]
            for task, size in enumerate(sizes)
        ]
        for options in self._options:
            problem += pulp.lpSum(options) == 1
        self._pairs: dict[tuple[int, int], dict[tuple[int, int], Any]] = {}
        for (u, v), allowed in pairs.items():
            self._pairs[u, v] = found = {
                (a, b): problem.add_variable(f"y{u}_{a}_{v}_{b}", lowBound=0) for a, b in allowed
            }
            for side, task in enumerate((u, v)):
                mine: list[list[Any]] = [[] for _ in self._options[task]]
                for key, pair in found.items():
                    mine[key[side]].append(pair)
                for one, option in zip(mine, self._options[task], strict=True):
                    problem += pulp.lpSum(one) == option

    def minimise(self, amount: Amount, accepts: Callable[[Sequence[int]], bool]) -> list[int] | None:
        """An assignment that has the least of an amount, which does not grow from here on.

        Args:
            amount: what is minimised.
            accepts: looks at it more closely than the solver, whose numbers are not exact.

        Returns:
            None if there is none, or every one has the same.
        """
        terms, offset, span = self._terms(amount)
        if not span:
            return None
        scale = SPAN / span
        expression = self._pulp.lpSum(scale * number * variable for number, variable in terms)
        while (found := self._solve(expression)) is not None and not accepts(found):
            self._exclude(found)
        if found is not None:
            self._problem += expression <= scale * (amount.value(found) - offset) + max(scale / 2, TOLERANCE)
        return found

    def minimise_makespan(self, schedule: Schedule) -> list[int] | None:
        """An assignment that is over first."""
        end = self._problem.add_variable("end", lowBound=0)
        self._run(schedule, end, _scale(schedule))
        return self._solve(end + 0.0)

    def limit_makespan(self, schedule: Schedule, limit: int) -> None:
        """Allows only assignments that are over in time."""
        scale = _scale(schedule)
        self._run(schedule, (limit - schedule.lower) * scale, scale)

    def _exclude(self, positions: Sequence[int]) -> None:
        """Allows any assignment but this one."""
        chosen = [options[position] for options, position in zip(self._options, positions, strict=True)]
        self._problem += self._pulp.lpSum(chosen) <= len(chosen) - 1

    def _run(self, schedule: Schedule, end: Any, scale: float) -> None:
        """Lets each task begin when its parents' data are there.

        Times are counted from the earliest that is possible, so that they are small. What is known of the rest of
        the schedule tightens the program: an option's earliest start, and what must come after it.
        """
        lower = schedule.lower
        early = [
            min(map(sum, zip(starts, runs, strict=True)))
            for starts, runs in zip(schedule.starts, schedule.runs, strict=True)
        ]
        late = [self._problem.add_variable(f"late{task}", lowBound=0) for task in range(len(early))]
        for task, options in enumerate(self._options):
            own = zip(schedule.starts[task], schedule.runs[task], schedule.tails[task], options, strict=True)
            begin, rest = [], []
            for start, run, tail, option in own:
                begin.append((start + run - early[task]) * scale * option)
                rest.append((tail + early[task] - lower) * scale * option)
            self._problem += late[task] >= self._pulp.lpSum(begin)
            self._problem += end >= late[task] + self._pulp.lpSum(rest)
        for (parent, child), table in schedule.moves.items():
            shift = early[parent] - early[child]
            if (min(parent, child), max(parent, child)) in self._pairs:
                flip = parent > child
                pairs = self._pairs[min(parent, child), max(parent, child)].items()
                ends = [((b, a) if flip else (a, b), variable) for (a, b), variable in pairs]
                terms = [(shift + table[a][b] + schedule.runs[child][b]) * scale * one for (a, b), one in ends]
            else:
                runs = zip(schedule.runs[child], self._options[child], strict=True)
                terms = [(shift + run) * scale * option for run, option in runs]
            self._problem += late[child] >= late[parent] + self._pulp.lpSum(terms)

    def _terms(self, amount: Amount) -> tuple[list[tuple[int, Any]], int, int]:
        """What remains when what is the same for all assignments is taken away; that; and the most that remains."""
        terms, offset, span = [], 0, 0
        sums = [
            *([*zip(costs, options, strict=True)] for costs, options in zip(amount.own, self._options, strict=True)),
            *([(table[a][b], y) for (a, b), y in self._pairs[key].items()] for key, table in amount.tables.items()),
        ]
        for numbers in sums:
            lowest = min(number for number, _ in numbers)
            offset += lowest
            span += max(number for number, _ in numbers) - lowest
            terms += [(number - lowest, variable) for number, variable in numbers if number > lowest]
        return terms, offset, span

    def _solve(self, objective: Any) -> list[int] | None:
        """The best assignment, or None if there is none."""
        pulp, problem = self._pulp, self._problem
        problem.setObjective(objective)
        with tempfile.TemporaryDirectory(prefix="skyflow-") as folder:
            self._solver.tmpDir = folder
            try:
                status = problem.solve(self._solver)
            except pulp.PulpSolverError as error:
                raise NotSupportedError(f"{_NO_SOLVER} It said: {error}") from None
        if status != pulp.LpStatusOptimal:
            return None
        return [max(range(len(options)), key=lambda option: options[option].value()) for options in self._options]


_NO_SOLVER = (
    "This graph of tasks needs an integer program, and CBC, its solver, cannot be run on this machine: install the "
    "program `cbc` (coin-or-cbc), or leave the tasks fewer places to choose from."
)


def _scale(schedule: Schedule) -> float:
    """What a microsecond is in the program, so that the times in it are within `SPAN`."""
    return SPAN / max(1, *(max(schedule.through(task)) for task in schedule.order))


def _solver(pulp: Any) -> Any:
    """CBC: the one that comes with PuLP, or else the one of this machine."""
    bundled = getattr(pulp, "PULP_CBC_CMD", None)
    for path in ([bundled.pulp_cbc_path] if bundled else []) + [None]:
        solver = pulp.COIN_CMD(path=path, msg=False, threads=1, gapRel=0.0, gapAbs=0.0, options=EXACT)
        if solver.available():
            return solver
    raise NotSupportedError(_NO_SOLVER)
