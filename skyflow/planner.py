"""Plans made on this machine: the catalogs that count here, and tasks on them. Asks no Temporal and no worker."""

from __future__ import annotations

import asyncio
import copy
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from skyflow import catalog, clouds
from skyflow.catalog.table import Catalog
from skyflow.errors import NoCloudAccessError
from skyflow.models.dag import Dag, OptimizeTarget
from skyflow.models.node import Offer
from skyflow.models.plan import Plan, PlanRequest, infeasible
from skyflow.models.planning import plan_request
from skyflow.models.resources import Resources
from skyflow.models.task import Task
from skyflow.optimizer.funnel import Candidate
from skyflow.optimizer.graph import GraphPlan, GraphTask, plan_graph
from skyflow.optimizer.ranking import Target, best_by_region, rank
from skyflow.settings import Settings


@dataclass(frozen=True)
class Market:
    """What a plan chooses from."""

    catalogs: Sequence[Catalog]
    """Of the clouds that can be used from here, or of those that were asked for."""
    others: Sequence[Catalog]
    """Of clouds that cannot be used from here, for what is to be had nowhere else."""


async def market(settings: Settings, names: Iterable[str] | None = None) -> Market:
    """The catalogs that count here.

    Args:
        settings: of this process.
        names: this cloud or these, whether they can be used from here or not; None: those that can.

    Raises:
        NoCloudAccessError: there is no cloud to plan with.
        NotSupportedError: there is no catalog of one of the names.
    """
    if names is not None:
        several = [names] if isinstance(names, str) else names
        return Market([_catalog(name, settings) for name in dict.fromkeys(name.lower() for name in several)], [])
    enabled = await clouds.enabled(settings)
    allowed = settings.allowed_clouds
    own = {cloud.name: cloud for cloud in enabled if allowed is None or cloud.name in allowed}
    others = [other for other in clouds.other_catalogs(settings, enabled) if allowed is None or other.cloud in allowed]
    if not own and not others:
        forbidden = f" {settings.sources['allowed_clouds']} allows only {', '.join(allowed)}." if allowed else ""
        raise NoCloudAccessError(f"No cloud can be used from here.{forbidden} See why: skyflow check")
    return Market([cloud.catalog() for cloud in own.values()], others)


def _catalog(name: str, settings: Settings) -> Catalog:
    """What a cloud has, whether it can be used from here or not."""
    if name in clouds.names():
        return clouds.get(name, settings).catalog()
    return catalog.load(name, settings.home / "catalog")


def plan_task(task: Task, market: Market, target: Target = "cost", limit: int | None = None) -> Plan:
    """Places for a task, best first; of clouds that cannot be used from here if no other has what it wants.

    Args:
        task: which.
        market: what there is.
        target: what the best place is.
        limit: how many places are told at most, of all that there are; None: as many as in an answer to a launch.

    Raises:
        ResourcesUnavailableError: there is no such place. Its history is empty.
    """
    request, hours = plan_request(task), _hours(task)
    request.limit = limit or request.limit
    found = rank(request, market.catalogs, target, hours)
    if not found.offers and market.others:
        found = rank(request, [*market.catalogs, *market.others], target, hours)
    if not found.offers:
        raise infeasible(found.explanation)
    return found


def plan_dag(dag: Dag, market: Market, target: Target = "cost", blocked: Sequence[Resources] = ()) -> GraphPlan:
    """The best place for each task of a graph, the traffic between them included.

    If one of them cannot be where this machine can make nodes, all of them are planned as if every cloud could be used.

    Args:
        dag: the tasks, and what comes after what.
        market: what to choose from.
        target: what is best.
        blocked: what may not be used, besides what each task blocks.

    Raises:
        ResourcesUnavailableError: there is no place for one of them.
    """
    requests = [plan_request(task, blocked=blocked) for task in dag.tasks]
    plans = _regions(dag, requests, market.catalogs, target)
    if not all(plan.offers for plan in plans) and market.others:
        plans = _regions(dag, requests, [*market.catalogs, *market.others], target)
    tasks = []
    for number, (task, request, plan) in enumerate(zip(dag.tasks, requests, plans, strict=True), 1):
        name = task.name or f"task-{number}"
        if not plan.offers:
            raise infeasible(plan.explanation, name if len(dag) > 1 else "the task")
        tasks.append(
            GraphTask(
                name=name,
                plan=plan,
                num_nodes=task.num_nodes,
                hours=_hours_of_offer(task),
                read=request.read,
                output_gib=outputs.gigabytes if (outputs := task.outputs) else 0.0,
            )
        )
    return plan_graph(tasks, dag.edge_indexes(), target)


def _regions(dag: Dag, requests: list[PlanRequest], catalogs: Sequence[Catalog], target: Target) -> list[Plan]:
    """For each task, the best offers of each region. Tasks that want the same, as many do, are ranked once."""
    found: list[Plan] = []
    known: dict[object, Plan] = {}
    for task, request in zip(dag.tasks, requests, strict=True):
        wish = task if task.has_time_estimator else request.model_dump_json()
        if wish not in known:
            known[wish] = best_by_region(request, catalogs, target, _hours(task))
        found.append(known[wish])
    return found


def optimize(
    dag: Dag, target: Target, settings: Settings, blocked: Sequence[Resources], names: Iterable[str] | None
) -> GraphPlan:
    """Plans a graph and notes the chosen place in each task, as `best_resources`."""
    found = plan_dag(dag, asyncio.run(market(settings, names)), target, blocked)
    for task, planned in zip(dag.tasks, found.tasks, strict=True):
        task.best_resources = as_resources(planned.offer, task)
    return found


FASTEST = 20
"""How many kinds of nodes a launch is given that wants the fastest. More would not fit into a task."""

TARGETS: dict[OptimizeTarget, Target] = {OptimizeTarget.COST: "cost", OptimizeTarget.TIME: "time"}


async def fastest_first(task: Task, settings: Settings) -> Task:
    """A copy of a task that wants the fastest kinds of nodes in their order, and what the task itself wants after them.

    The task's estimator is code, which stays here.
    """
    plan = plan_task(task, await market(settings), "time", limit=sys.maxsize)
    kinds: dict[tuple[object, ...], Offer] = {}
    for offer in plan.offers:
        kind = (offer.choice, offer.cloud, offer.instance_type, *offer.accelerators.items(), offer.use_spot)
        kinds.setdefault(kind, offer)
    fastest = []
    for offer in islice(kinds.values(), FASTEST):
        wanted = task.resources[offer.choice]
        fastest.append(as_resources(offer, task).copy(region=wanted.region, zone=wanted.zone))
    planned = copy.deepcopy(task)
    planned.set_resources([*fastest, *task.resources])
    return planned


def describe(plan: GraphPlan) -> str:
    """A plan in a few lines of text."""
    lines = [
        f"{task.name}: {task.num_nodes} × {task.offer.instance_type} in {task.offer.place}"
        f"{' (spot)' if task.offer.use_spot else ''}, {task.hours:g} h, ${task.cost:.4g}"
        for task in plan.tasks
    ]
    lines += [
        f"{edge.parent} → {edge.child}: {edge.gib:g} GiB, {edge.seconds:.0f} s, ${edge.cost:.4g}"
        for edge in plan.edges
        if edge.gib
    ]
    return "\n".join([*lines, f"Total: ${plan.total_cost:.4g}, {plan.total_seconds / 3600:.2f} h"])


def as_resources(offer: Offer, task: Task) -> Resources:
    """The resources of a task, launchable: with the place that was chosen."""
    chosen = task.resources[offer.choice]
    return chosen.copy(
        cloud=offer.cloud,
        region=offer.region,
        zone=offer.zone,
        instance_type=offer.instance_type,
        accelerators=offer.accelerators or None,
        use_spot=offer.use_spot,
    )


def _hours(task: Task) -> Callable[[Candidate], float]:
    """How long a task runs on a candidate; asked once for each kind of node."""
    known: dict[tuple[object, ...], float] = {}

    def hours(candidate: Candidate) -> float:
        node, cloud = candidate.listing.type, candidate.catalog.cloud
        kind = (cloud, node.name, node.accelerator, node.accelerator_count, candidate.use_spot)
        if kind not in known:
            accelerators = {node.accelerator: node.accelerator_count} if node.accelerator else None
            known[kind] = task.estimate_hours(
                Resources(cloud, node.name, accelerators, use_spot=candidate.use_spot or None)
            )
        return known[kind]

    return hours if task.has_time_estimator else lambda candidate: task.estimate_hours(None)


def _hours_of_offer(task: Task) -> Callable[[Offer], float]:
    if not task.has_time_estimator:
        return lambda offer: task.estimate_hours(None)
    return lambda offer: task.estimate_hours(
        Resources(offer.cloud, offer.instance_type, offer.accelerators or None, use_spot=offer.use_spot or None)
    )
