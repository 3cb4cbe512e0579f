"""`skyflow optimize`, and `launch --dryrun` of several tasks: plans made here, without Temporal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from skyflow import planner
from skyflow.cli import view
from skyflow.cli.task import make_dag
from skyflow.errors import ResourcesUnavailableError
from skyflow.settings import Settings

if TYPE_CHECKING:
    from skyflow.cli.options import TaskOptions
    from skyflow.models.dag import Dag
    from skyflow.models.plan import Plan
    from skyflow.models.task import Task
    from skyflow.optimizer.graph import GraphPlan
    from skyflow.optimizer.ranking import Target


def optimize(words: list[str], options: TaskOptions, target: Target | None, clouds: list[str], output: str) -> None:
    """Prints the plan of a task, or of the tasks of a file."""
    show_dag(make_dag(words, options), options, output, target, clouds)


def show_dag(
    dag: Dag, options: TaskOptions, output: str, target: Target | None = None, clouds: list[str] | None = None
) -> None:
    """Prints where the tasks of a graph are best run, and what that costs."""
    settings = Settings.load(overrides=options.config)
    market = asyncio.run(planner.market(settings, clouds or None))
    goal = target or settings.optimize_target
    if len(dag) == 1:
        task = dag.tasks[0]
        plan = planner.plan_task(task, market, goal)
        _one(plan, task.num_nodes, output)
        names = {offer.cloud for offer in plan.offers}
    else:
        graph = planner.plan_dag(dag, market, goal)
        _several(graph, output)
        names = {task.offer.cloud for task in graph.tasks}
    _say_what_is_not_enabled(names, market)


def show_elsewhere(task: Task, options: TaskOptions, output: str, error: ResourcesUnavailableError) -> None:
    """Prints the plan of a dry run for which no cloud that is enabled has a place: what the others have.

    Raises:
        ResourcesUnavailableError: the given one, if they have none either.
    """
    settings = Settings.load(overrides=options.config)
    market = asyncio.run(planner.market(settings))
    try:
        plan = planner.plan_task(task, market, settings.optimize_target)
    except ResourcesUnavailableError:
        raise error from None
    shown = plan.model_dump()
    if output == "json":
        view.as_json(shown["offers"])
    else:
        view.plan(shown["offers"], task.num_nodes, plan.num_offers, shown["explanation"])
        view.say("Dry run: nothing was made.")
    _say_what_is_not_enabled({offer.cloud for offer in plan.offers}, market)


def _say_what_is_not_enabled(names: set[str], market: planner.Market) -> None:
    if strange := sorted(names - {catalog.cloud for catalog in market.catalogs}):
        view.say(f"Not enabled from here: {', '.join(strange)}. See: skyflow check")


def _one(plan: Plan, num_nodes: int, output: str) -> None:
    if output == "json":
        view.as_json(plan.model_dump())
        return
    shown = plan.model_dump()
    view.plan(shown["offers"], num_nodes, plan.num_offers, shown["explanation"])


def _several(graph: GraphPlan, output: str) -> None:
    if output == "json":
        view.as_json(_plain(graph))
        return
    rows = []
    for task in graph.tasks:
        offer = task.offer.model_dump()
        rows.append(
            [
                task.name,
                task.offer.place,
                f"{task.num_nodes} × {offer['instance_type']}",
                view.accelerators(offer),
                "spot" if offer["use_spot"] else "",
                f"{task.hours:g}",
                view.dollars(task.cost),
            ]
        )
    view.table(["TASK", "INFRA", "RESOURCES", "ACCELERATORS", "", "HOURS", "$"], rows)
    moved = [edge for edge in graph.edges if edge.gib]
    if moved:
        print()
        edges = [
            [edge.parent, edge.child, f"{edge.gib:g}", f"{edge.seconds:.0f}", view.dollars(edge.cost)] for edge in moved
        ]
        view.table(["FROM", "TO", "GiB", "SECONDS", "$"], edges)
    print()
    print(f"Total: {view.dollars(graph.total_cost)}, {graph.total_seconds / 3600:.2f} h from the first to the last.")


def _plain(graph: GraphPlan) -> dict[str, Any]:
    return {
        "tasks": [{**vars(task), "offer": task.offer.model_dump()} for task in graph.tasks],
        "edges": [vars(edge) for edge in graph.edges],
        "total_cost": graph.total_cost,
        "total_seconds": graph.total_seconds,
    }
