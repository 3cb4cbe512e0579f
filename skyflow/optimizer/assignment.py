"""The exact assignment of options to the tasks of a graph: the cheapest, or the one that is over first."""

from __future__ import annotations

from collections.abc import Sequence

from skyflow.optimizer.network import pick
from skyflow.optimizer.problem import Problem
from skyflow.optimizer.program import Program
from skyflow.optimizer.reduction import COST, COST_AND_SECONDS, SECONDS, TIME_BITS, Reduction
from skyflow.optimizer.schedule import Schedule
from skyflow.optimizer.search import Deadline, Search
from skyflow.optimizer.weight import weigh


def assign(problem: Problem) -> list[int]:
    """The index of the best option of each task.

    With the target `cost`: the least dollars of all runs and moves; among equals, the least seconds of all runs and
    moves together; then the options that come first, task by task. With the target `time`: the least makespan; among
    equals, the least dollars; then the same order.

    Raises:
        NotSupportedError: the problem needs an integer program, and there is no solver on this machine.
    """
    if problem.target == "cost":
        return _cheapest(problem)
    limit, found = _shortest(problem)
    return _cheapest_within(problem, limit, found)


def _cheapest(problem: Problem) -> list[int]:
    reduction = Reduction(problem, COST)
    together = reduction.together()
    if together is not None:
        reduction.drop_above(together[0])
    reduction.fold()
    network, weights = weigh(reduction.own(), reduction.tables(), reduction.options, TIME_BITS)
    start = reduction.cheapest() if together is None else reduction.locate(together[1])
    return reduction.indices(Search(network, weights, start).run())


def _shortest(problem: Problem) -> tuple[int, list[int]]:
    """The least makespan, in microseconds, and an assignment that has it."""
    reduction = Reduction(problem, SECONDS)
    reduction.fold()
    schedule = Schedule(problem.order, reduction.own(), reduction.tables())
    together = reduction.together()
    best = schedule.find() if together is None else reduction.locate(together[1])
    limit = schedule.makespan(best)
    while (narrowed := schedule.narrow(limit - 1)) is not None:
        schedule = narrowed
        found = schedule.find()
        if schedule.makespan(found) >= limit:
            found = Program(schedule.sizes, schedule.pairs(limit - 1)).minimise_makespan(schedule) or found
        if schedule.makespan(found) >= limit:
            break
        best, limit = schedule.names(found), schedule.makespan(found)
    return limit, reduction.indices(best)


def _cheapest_within(problem: Problem, limit: int, start: Sequence[int]) -> list[int]:
    """The cheapest assignment of those that last no longer than the limit, as one that is known does."""
    reduction = Reduction(problem, COST_AND_SECONDS)
    reduction.fold()
    schedule = Schedule(problem.order, reduction.own(1), reduction.tables(1)).narrow(limit)
    assert schedule is not None, "the start is within the limit"
    picks = [pick(options) for options in schedule.options]
    own = [one(costs) for one, costs in zip(picks, reduction.own(), strict=True)]
    tables = {(u, v): [picks[v](row) for row in picks[u](table)] for (u, v), table in reduction.tables().items()}
    never = 1 + sum(map(max, own)) + sum(max(map(max, table)) for table in tables.values())
    for (u, v), table in tables.items():
        for a, b in schedule.late(u, v, limit):
            table[a][b] = never
    ranks = [one(options) for one, options in zip(picks, reduction.options, strict=True)]
    network, weights = weigh(own, tables, ranks)
    positions = [options.index(name) for options, name in zip(schedule.options, reduction.locate(start), strict=True)]
    deadline = Deadline(Schedule(problem.order, schedule.runs, schedule.moves), limit)
    return reduction.indices(schedule.names(Search(network, weights, positions, deadline).run()))
