"""What happens on the nodes of a cluster: a watch tells while something may happen; otherwise their cloud is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import CloudCalls, WatchCalls, WatchReport, WatchRequest
    from skyflow.models.cluster import ClusterState
    from skyflow.models.cluster_facts import TIDY_LOOKS
    from skyflow.models.job import RankEnd, run_unit
    from skyflow.models.name import job_workflow_id
    from skyflow.models.node import NodeStatus
    from skyflow.models.operation import Action
    from skyflow.workflows.call import call, is_being_cancelled, signal, wait_for

Do = Callable[[list[Action]], None]
"""Takes what follows from an event."""
Now = Callable[[], float]
"""Epoch seconds."""

LINGER = 10.0
"""Seconds that the watch goes on after the last job: it ships what that printed last."""

ASK_SECONDS = 30.0
"""How long a cloud has to say how the nodes are."""


async def watch(state: ClusterState, do: Do, now: Now) -> None:
    """One long activity at a time, as long as something may happen on the nodes."""
    while True:
        await workflow.wait_condition(state.is_watched)
        request = WatchRequest(gang=state.gang(), cursors=state.cursors)
        life = state.uid
        watching = asyncio.create_task(
            call(
                WatchCalls.watch_nodes,
                request,
                f"watch {len(request.gang.nodes)} node(s)",
                kind="watch",
                host=request.gang.host,
            )
        )
        try:
            await _until_unwatched(state, watching, life)
            report = await watching
        except (SkyflowError, ActivityError, asyncio.CancelledError) as error:
            if is_being_cancelled():  # the cluster closes, or continues as new
                watching.cancel()
                return
            if not is_cancelled_exception(error):
                workflow.logger.warning("the watch failed: %s", error)
                await workflow.sleep(timedelta(seconds=state.check_seconds), summary="until the next watch")
            continue
        if life == state.uid:
            await _take(state, report, do, now)


async def _until_unwatched(state: ClusterState, watching: asyncio.Task[WatchReport], life: str) -> None:
    """Returns when the watch has come back, or cancels it when there is nothing left to be seen, or other nodes."""
    nodes = state.reached()

    def is_needed() -> bool:
        return state.uid == life and state.is_watched()

    def is_old() -> bool:
        return is_needed() and state.reached() != nodes

    while not watching.done():
        await workflow.wait_condition(lambda: watching.done() or not is_needed() or is_old())
        if is_old():
            watching.cancel()
            return
        if state.uid == life and await wait_for(
            lambda: watching.done() or is_needed(), LINGER, "for the last of the logs"
        ):
            continue
        watching.cancel()
        return


async def _take(state: ClusterState, report: WatchReport, do: Do, now: Now) -> None:
    life = state.uid
    for job in state.active_jobs():
        ends = [RankEnd(rank=e.rank, code=e.code) for e in report.ended if e.unit == run_unit(job.id)]
        if ends and job.ranks:
            do(state.ranks_ended(job.id, [end.rank for end in ends], now()))
            await signal(job_workflow_id(state.name, state.uid, job.id), "rank_ended", ends)
    if life != state.uid:
        return
    state.cursors = {**state.cursors, **report.cursors}
    if report.gone or report.stopped:
        do(state.nodes_away(report.gone, report.stopped, now()))


async def look_at_nodes(state: ClusterState, do: Do, now: Now) -> None:
    """Asks the cloud. Control-path trouble says nothing about the nodes."""
    changes, found = state.changes, list[NodeStatus]()
    try:
        for place in state.places if state.nodes else []:
            found += await call(
                CloudCalls.describe_nodes,
                state.tag(place),
                f"how are the nodes in {place.cloud}?",
                kind="cloud",
                host=place.host,
                seconds=ASK_SECONDS,
            )
    except (SkyflowError, ActivityError) as error:
        if is_being_cancelled():
            raise
        workflow.logger.warning("the cloud could not be asked: %s", error)
        state.unreachable_since = state.unreachable_since or now()
        return
    state.unreachable_since = None
    if changes == state.changes:  # otherwise it may be from before what was done meanwhile
        do(state.observe(found, now()))
        strays = state.strays(found)
        if state.may_have_strays():
            state.untidy = TIDY_LOOKS if strays else max(0, state.untidy - 1)
        await _clear_away(state, strays)


async def _clear_away(state: ClusterState, strays: list[str]) -> None:
    """Deletes nodes that nobody will ever use. If it fails, the next look finds them again."""
    for place in state.places if strays else []:
        gang = state.tag(place).model_copy(update={"ids": strays})
        what = f"delete {', '.join(strays)}: whoever made them is gone"
        try:
            await call(CloudCalls.delete_nodes, gang, what, kind="cloud", host=place.host, seconds=ASK_SECONDS)
        except (SkyflowError, ActivityError) as error:
            if is_being_cancelled():
                raise
            workflow.logger.warning("%s could not be deleted: %s", strays, error)
