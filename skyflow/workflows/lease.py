"""The lease of a cluster's nodes, and who is logged in on them: what a cluster tells and asks beside its run loop."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import LeaseRequest, NodeCalls
    from skyflow.models.cluster import ClusterState
    from skyflow.models.job import Gang
    from skyflow.workflows.call import call, is_being_cancelled, pauses, raise_if_cancelled, wait_for

SETTLING = 1 / 12
"""Check intervals until a change is told: a launch that has just made nodes is busy with them, and sets its own rule
soon."""

TELL_SECONDS = 60.0
"""How long the nodes are tried to be told at a time."""

TELLING = "telling"
"""Instead of what they were told, while they are being told it."""

ASK_SECONDS = 30.0
"""How long the nodes have to say who is logged in."""


async def keep_leases(state: ClusterState) -> None:
    """Tells the nodes their lease whenever that has changed, for as long as it takes. Nobody waits for it."""
    waits = pauses(state.check_seconds)
    while True:
        await workflow.wait_condition(state.is_lease_due)
        settling = timedelta(seconds=SETTLING * state.check_seconds)
        await workflow.sleep(settling, summary="until the nodes are told their lease")
        if not state.is_lease_due():
            continue
        lease, gang, state.leased = state.lease(), state.gang(), TELLING
        seconds = None if lease == "none" else int(lease)
        summary = f"lease of {len(gang.nodes)} node(s): {lease}" + ("" if seconds is None else " s")
        request = LeaseRequest(gang=gang, seconds=seconds)
        try:
            await call(NodeCalls.lease_nodes, request, summary, host=gang.host, seconds=TELL_SECONDS)
        except (SkyflowError, ActivityError, asyncio.CancelledError) as error:
            if is_being_cancelled():
                return
            workflow.logger.warning("the nodes could not be told their lease: %s", error)
            change = partial(_has_changed, state, lease)
            await wait_for(change, next(waits), "until the nodes are told their lease again")
            continue
        waits = pauses(state.check_seconds)
        if state.leased == TELLING:  # nothing happened meanwhile that they have to be told anew for
            state.leased = lease


def _has_changed(state: ClusterState, lease: str) -> bool:
    """Whether something happened since the nodes could not be told this lease."""
    return not state.is_lease_due() or state.lease() != lease or state.leased != TELLING


async def last_session(gang: Gang) -> float | None:
    """How many seconds ago a user was last seen to be logged in: 0 is now, None is never.

    Also None if the nodes cannot be asked: if nobody can reach them, they would be kept, and paid for, for ever.
    """
    try:
        return await call(NodeCalls.last_session, gang, "is anybody logged in?", host=gang.host, seconds=ASK_SECONDS)
    except (SkyflowError, ActivityError) as error:
        raise_if_cancelled()
        workflow.logger.warning("the nodes of %s could not say who is logged in: %s", gang.cluster, error)
        return None
