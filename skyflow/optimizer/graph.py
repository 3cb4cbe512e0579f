"""The plan of a graph: the best place for each task, what it costs there, and what moving data between them costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from skyflow.catalog.egress import Place, egress
from skyflow.models.node import Offer
from skyflow.models.plan import Plan, Read
from skyflow.optimizer.assignment import assign
from skyflow.optimizer.problem import Edge, Move, Option, Problem, Target


@dataclass(frozen=True)
class GraphTask:
    """A task of a graph, with the places that it can choose from."""

    name: str
    plan: Plan
    num_nodes: int = 1
    hours: Callable[[Offer], float] = lambda offer: 1.0
    """How long it runs there."""
    read: Read | None = None
    """What it reads from a bucket."""
    output_gib: float = 0.0
    """What each task after it reads."""

    def cost(self, offer: Offer) -> float:
        """US dollars of its nodes there."""
        return offer.price * self.num_nodes * self.hours(offer)


@dataclass(frozen=True)
class PlannedTask:
    name: str
    offer: Offer
    num_nodes: int
    hours: float
    cost: float
    """US dollars of its nodes."""


@dataclass(frozen=True)
class PlannedEdge:
    """Data that moves: between two tasks, or from a bucket (whose cloud is the parent) to the task that reads it."""

    parent: str
    child: str
    gib: float
    cost: float
    """US dollars."""
    seconds: float


@dataclass(frozen=True)
class GraphPlan:
    tasks: list[PlannedTask]
    edges: list[PlannedEdge] = field(default_factory=list)
    total_cost: float = 0.0
    """US dollars of nodes and traffic."""
    total_seconds: float = 0.0
    """From the beginning to the end of the last task."""


def plan_graph(tasks: Sequence[GraphTask], edges: Sequence[tuple[int, int]], target: Target = "cost") -> GraphPlan:
    """The best assignment, exactly: the cheapest, or the one that is over first.

    Args:
        tasks: each with at least one offer.
        edges: pairs of positions, the parent first.
        target: what is best.
    """
    regions: dict[tuple[str, str], int] = {}
    for task in tasks:
        for offer in task.plan.offers:
            regions.setdefault((offer.cloud, offer.region), len(regions))
    places = [Place(*region) for region in regions]
    moves = _Moves(places)
    options = [[_option(task, offer, regions) for offer in task.plan.offers] for task in tasks]
    problem = Problem(options, [Edge(u, v, moves.of(tasks[u].output_gib)) for u, v in edges], target)
    assignment = assign(problem)
    chosen = [task.plan.offers[index] for task, index in zip(tasks, assignment, strict=True)]
    return GraphPlan(*_told(tasks, edges, chosen), problem.cost(assignment), problem.makespan(assignment))


class _Moves:
    """What moving so many GiB costs and lasts, between regions by number."""

    def __init__(self, places: list[Place]) -> None:
        self._places = places
        self._known: dict[float, Move] = {}

    def of(self, gib: float) -> Move:
        """One function for each amount, so that each pair of regions is looked up once."""
        if gib not in self._known:

            def move(source: int, target: int, gib: float = gib) -> tuple[float, float]:
                return egress(self._places[source], self._places[target], gib)

            self._known[gib] = move
        return self._known[gib]


def _option(task: GraphTask, offer: Offer, regions: dict[tuple[str, str], int]) -> Option:
    """With what it reads from a bucket: that depends on the task's own place only."""
    dollars, seconds = _read(task, offer)
    run = task.hours(offer) * 3600
    return Option(task.cost(offer) + dollars, run + seconds, regions[offer.cloud, offer.region])


def _read(task: GraphTask, offer: Offer) -> tuple[float, float]:
    if (read := task.read) is None:
        return 0.0, 0.0
    return egress(Place(read.cloud), Place(offer.cloud, offer.region), read.gib)


def _told(
    tasks: Sequence[GraphTask], edges: Sequence[tuple[int, int]], chosen: list[Offer]
) -> tuple[list[PlannedTask], list[PlannedEdge]]:
    planned = [
        PlannedTask(task.name, offer, task.num_nodes, task.hours(offer), task.cost(offer))
        for task, offer in zip(tasks, chosen, strict=True)
    ]
    moved = [
        PlannedEdge(f"{task.read.cloud} bucket", task.name, task.read.gib, *_read(task, offer))
        for task, offer in zip(tasks, chosen, strict=True)
        if task.read is not None
    ]
    for u, v in edges:
        source, target = (Place(chosen[i].cloud, chosen[i].region) for i in (u, v))
        gib = tasks[u].output_gib
        moved.append(PlannedEdge(tasks[u].name, tasks[v].name, gib, *egress(source, target, gib)))
    return planned, moved
