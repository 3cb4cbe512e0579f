"""What a cluster keeps in the store beside its work, so that it outlives Temporal's database; and its way back."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models import life
    from skyflow.models.calls import ClosingCall, LedgerCalls, LifeCalls, NodeCalls, UnitsRequest
    from skyflow.models.cluster import ClusterState
    from skyflow.models.job import Units
    from skyflow.workflows.call import call, is_being_cancelled, wait_for

ASK_SECONDS = 60.0
"""How long the nodes of an adopted cluster have to say what runs there."""


async def keep(state: ClusterState) -> None:
    """Keeps the store's picture of the cluster true, for as long as it takes: nothing waits for it but the end."""
    while True:
        await workflow.wait_condition(lambda: bool(state.ended) or state.kept != state.edition)
        await wait_for(lambda: bool(state.ended), life.KEEP_SECONDS, "until what has changed is kept in the store")
        try:
            if state.ended:
                uid, ended = next(iter(state.ended.items()))
                closing = ClosingCall(cluster=state.name, uid=uid, ended=ended)
                await call(LedgerCalls.close_intervals, closing, "store: this life of the cluster is over")
                del state.ended[uid]
            else:
                state.kept = await call(LifeCalls.keep_life, state.name, "store: keep what the cluster is")
        except (SkyflowError, ActivityError, asyncio.CancelledError) as error:
            if is_being_cancelled():
                return
            workflow.logger.warning("what the cluster is could not be kept: %s", error)
            await workflow.sleep(timedelta(seconds=state.check_seconds), summary="until it is tried again")


async def book(state: ClusterState) -> None:
    """Brings the ledger up to date, for as long as it takes: the store may be away while the cluster works."""
    while True:
        await workflow.wait_condition(lambda: bool(state.unbooked))
        batch = list(state.unbooked)
        ended = sum(1 for interval in batch if interval.ended)
        try:
            await call(LedgerCalls.book_intervals, batch, f"ledger: {len(batch) - ended} up, {ended} ended")
        except (SkyflowError, ActivityError, asyncio.CancelledError) as error:
            if is_being_cancelled():
                return
            workflow.logger.warning("the ledger could not be written: %s", error)
            await workflow.sleep(timedelta(seconds=state.check_seconds), summary="until it is tried again")
            continue
        state.unbooked = state.unbooked[len(batch) :]


async def ask_units(state: ClusterState) -> Units | None:
    """What the nodes of an adopted cluster know of its jobs; None if they cannot say."""
    gang = state.gang() if state.runs() else None
    if gang is None or not gang.nodes:
        return None
    request = UnitsRequest(gang=gang, first=min([job.id for job in state.active_jobs()], default=state.next_job))
    try:
        return await call(
            NodeCalls.list_units, request, "which jobs do the nodes know?", host=gang.host, seconds=ASK_SECONDS
        )
    except (SkyflowError, ActivityError) as error:
        workflow.logger.warning("the nodes of %s could not say what runs there: %s", state.name, error)
        return None
