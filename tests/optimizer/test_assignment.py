"""The exact assignment against brute force, on random small graphs, for both targets; larger ones by other means."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyflow.optimizer import search
from skyflow.optimizer.assignment import assign
from skyflow.optimizer.problem import Edge, Move, Option, Problem, Target

AMOUNTS = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 7.0])


@st.composite
def problems(draw: st.DrawFn, max_tasks: int = 5, groups: int = 3) -> Problem:
    """Any small graph: chains, joins, parts that are not connected; moves that are not symmetric, and that are free."""
    count = draw(st.integers(1, max_tasks))
    option = st.builds(Option, cost=AMOUNTS, seconds=AMOUNTS, group=st.integers(0, groups - 1))
    tasks = [draw(st.lists(option, min_size=1, max_size=3)) for _ in range(count)]
    pairs = [(u, v) for v in range(count) for u in range(v)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    moves = [draw(table(groups)) for _ in range(2)]
    edges = [Edge(u, v, draw(st.sampled_from(moves))) for u, v in chosen]
    return Problem(tasks, edges, draw(st.sampled_from(["cost", "time"])))


@st.composite
def table(draw: st.DrawFn, groups: int) -> Move:
    """Free inside a group."""
    amounts = {
        pair: (0.0, 0.0) if pair[0] == pair[1] else (draw(AMOUNTS), draw(AMOUNTS))
        for pair in product(range(groups), repeat=2)
    }
    return lambda source, target: amounts[source, target]


def total_seconds(problem: Problem, assignment: list[int]) -> float:
    at = [options[index] for options, index in zip(problem.tasks, assignment, strict=True)]
    moves = sum(edge.move(at[edge.parent].group, at[edge.child].group)[1] for edge in problem.edges)
    return sum(option.seconds for option in at) + moves


def value(problem: Problem, assignment: list[int]) -> tuple[object, ...]:
    """What is minimised, in the order in which ties are broken."""
    cost = round(problem.cost(assignment), 6)
    if problem.target == "cost":
        return (cost, round(total_seconds(problem, assignment), 6), assignment)
    return (round(problem.makespan(assignment), 6), cost, assignment)


def best(problem: Problem) -> list[int]:
    return min(map(list, product(*(range(len(options)) for options in problem.tasks))), key=lambda a: value(problem, a))


@settings(max_examples=300, deadline=None)
@given(problems())
def test_it_is_what_brute_force_finds(problem: Problem) -> None:
    assert assign(problem) == best(problem)


@settings(max_examples=100, deadline=None)
@given(problems(max_tasks=5, groups=3))
def test_the_integer_program_alone_finds_it_too(problem: Problem) -> None:
    """Small graphs are decided before it is asked: here the ways that are quicker are blocked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "HARD", -1)
        patch.setattr(search, "EASY", -1)
        patch.setattr(search, "PATIENCE", 0)
        patch.setattr(search, "PATIENCE_WITH_PRICES", 0)
        assert assign(problem) == best(problem)


def test_pairs_are_dropped_by_bounds_that_hold_at_the_prices_of_now() -> None:
    """Prices change after the last round of messages; beliefs of before would rule out what is best."""
    rows: dict[tuple[int, int], list[list[tuple[float, float]]]] = {
        (2, 0): [[(0, 0), (2, 2), (2, 2)], [(2, 0), (0, 0), (2, 2)], [(2, 1), (0, 0), (0, 0)]],
        (2, 1): [[(0, 0), (0, 1), (0, 2)], [(0, 1), (0, 0), (2, 2)], [(2, 2), (0, 2), (0, 0)]],
        (0, 1): [[(0, 0), (0, 1), (0, 0)], [(2, 1), (0, 0), (0, 0)], [(1, 2), (2, 2), (0, 0)]],
    }
    edges = [Edge(u, v, lambda source, target, at=at: at[source][target]) for (u, v), at in rows.items()]  # type: ignore[misc]
    tasks = [[Option(0, 1, 0), Option(1, 2, 0)], [Option(0, 2, 2), Option(1, 1, 2)], [Option(1, 0, 1), Option(2, 0, 2)]]
    problem = Problem(tasks, edges, "time")
    assert assign(problem) == best(problem) == [0, 1, 1]


def test_the_program_sees_long_times_and_short_ones_together() -> None:
    """Weeks and microseconds, in one program: with times in seconds, its solver once found that nothing is feasible."""
    seconds = [
        [[0.0, 0.000278, 932706.106802], [0.000652, 0.0, 0.0], [0.000836, 0.000695, 0.0]],
        [[0.0, 814281.479514, 0.0], [423461.34555, 0.0, 0.0], [0.0, 652337.572128, 0.0]],
        [[0.0, 0.0, 0.0], [848411.261232, 0.0, 0.0], [0.0, 0.0, 0.0]],
    ]
    moves: list[Move] = [lambda source, target, rows=rows: (0.0, rows[source][target]) for rows in seconds]  # type: ignore[misc]
    first, second, third = moves
    edges = [
        *(Edge(3, child, first) for child in (0, 1, 2)),
        *(Edge(u, v, second) for u, v in ((3, 5), (3, 4), (1, 4), (1, 0), (5, 2))),
        *(Edge(u, v, third) for u, v in ((1, 5), (5, 0), (1, 2))),
        Edge(4, 2, first),
    ]
    tasks = [
        [Option(0, 0, 2)],
        [Option(0, 0, 1), Option(0, 78898.421314, 0)],
        [Option(0, 584143.877612, 2), Option(0, 145357.462954, 1), Option(0, 0, 1)],
        [Option(0, 847761.56476, 2), Option(0, 330570.264392, 1), Option(0, 0.000941, 2)],
        [Option(0, 0.000108, 0), Option(0, 0.000531, 1), Option(0, 0.000517, 2)],
        [Option(0, 343914.374756, 1), Option(0, 0.000968, 0), Option(0, 0.000445, 0)],
    ]
    problem = Problem(tasks, edges, "time")
    assert value(problem, assign(problem)) == value(problem, best(problem))


def test_the_integer_program_is_really_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    own = search.Program.__init__

    def init(self: search.Program, *arguments: object) -> None:
        asked.append(arguments)
        own(self, *arguments)  # type: ignore[arg-type]

    for name in ("HARD", "EASY", "PATIENCE", "PATIENCE_WITH_PRICES"):
        monkeypatch.setattr(search, name, -1)
    monkeypatch.setattr(search.Program, "__init__", init)
    costs = [[0.3, 0.2, 0.25], [0.2, 0.3, 0.2], [0.3, 0.25, 0.2], [0.2, 0.2, 0.3]]
    move: Move = lambda source, target: (0.0 if source == target else 0.05 + 0.01 * (source - target), 0.0)  # noqa: E731
    tasks = [[Option(cost, 1, group) for group, cost in enumerate(row)] for row in costs]
    problem = Problem(tasks, [Edge(u, v, move) for v in range(4) for u in range(v)])
    assert assign(problem) == best(problem)
    assert asked


@settings(max_examples=50, deadline=None)
@given(problems(max_tasks=6, groups=4))
def test_the_same_problem_has_the_same_answer(problem: Problem) -> None:
    assert assign(problem) == assign(problem)


def grid(tasks: int, groups: int, behind: int, target: Target = "cost", gib: float = 50) -> Problem:
    """Tasks that each depend on the ones before; prices that differ by group, traffic that costs."""

    def move(source: int, target: int) -> tuple[float, float]:
        if source == target:
            return 0.0, 0.0
        same_cloud = (source < groups // 3) == (target < groups // 3)
        return gib * (0.02 if same_cloud else 0.09 + 0.001 * source), gib * 0.8

    options = [
        [Option(0.2 + 0.1 * (t % 5) + 0.004 * ((7 * g + 3 * t) % groups), 3600.0 + g % 3, g) for g in range(groups)]
        for t in range(tasks)
    ]
    edges = [Edge(u, v, move) for v in range(tasks) for u in range(max(0, v - behind), v)]
    return Problem(options, edges, target)


def chain_by_dynamic_programming(problem: Problem) -> float:
    """The least cost of a chain, by the plainest of ways."""
    best = [option.cost for option in problem.tasks[0]]
    for index, options in enumerate(problem.tasks[1:]):
        before = problem.tasks[index]
        move = problem.edges[index].move
        best = [
            option.cost + min(cost + move(one.group, option.group)[0] for cost, one in zip(best, before, strict=True))
            for option in options
        ]
    return min(best)


def test_a_long_chain() -> None:
    problem = grid(50, 69, 1)
    assert problem.cost(assign(problem)) == pytest.approx(chain_by_dynamic_programming(problem), abs=1e-6)


@pytest.mark.parametrize("gib", [0, 0.1, 1, 50])
def test_a_graph_is_at_least_as_good_as_what_a_local_search_finds(gib: float) -> None:
    problem = grid(12, 20, 2, gib=gib)
    found = problem.cost(assign(problem))
    for start in range(20):
        at = [start] * 12
        improved = True
        while improved:
            improved = False
            for task, option in product(range(12), range(20)):
                other = [*at[:task], option, *at[task + 1 :]]
                if problem.cost(other) < problem.cost(at) - 1e-9:
                    at, improved = other, True
        assert found <= problem.cost(at) + 1e-6


def test_the_fastest_of_a_graph_is_no_slower_than_any_single_group() -> None:
    problem = grid(10, 12, 2, "time")
    found = problem.makespan(assign(problem))
    assert found <= min(problem.makespan([group] * 10) for group in range(12)) + 1e-6


def test_a_join_waits_for_its_slowest_parent() -> None:
    free: Move = lambda source, target: (0.0, 0.0)  # noqa: E731  one line says it all
    tasks = [[Option(1, 10, 0), Option(5, 1, 0)], [Option(1, 5, 0), Option(9, 1, 0)], [Option(1, 1, 0)]]
    edges = [Edge(0, 2, free), Edge(1, 2, free)]
    assert assign(Problem(tasks, edges, "cost")) == [0, 0, 0]
    assert assign(Problem(tasks, edges, "time")) == [1, 1, 0]
    assert assign(Problem([tasks[0][:1], *tasks[1:]], edges, "time")) == [0, 0, 0]


def test_wrong_problems() -> None:
    free: Move = lambda source, target: (0.0, 0.0)  # noqa: E731  as above
    one = [Option(1, 1, 0)]
    for tasks, edges, message in (
        ([one, []], [], "task 1 has no option"),
        ([one, one], [Edge(0, 1, free), Edge(0, 1, free)], "two edges join the same tasks"),
        ([one, one, one], [Edge(0, 1, free), Edge(1, 2, free), Edge(2, 0, free)], "wait for each other"),
    ):
        with pytest.raises(ValueError, match=message):
            Problem(tasks, edges)


def test_the_solver_is_imported_only_when_it_is_needed() -> None:
    program = "import sys, skyflow.optimizer.graph; print('pulp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
