"""Heartbeats of all activities: so a dead worker is noticed at once, a cancel arrives, and progress can be seen."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

BEAT_SECONDS = 2.0

_details: ContextVar[list[Any]] = ContextVar("details")


def report(*details: Any) -> None:
    """What the next beats of this activity carry, for whoever looks at the workflow's pending activities."""
    _details.get()[:] = details


class HeartbeatInterceptor(Interceptor):
    """Beats while an activity runs."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See Interceptor."""
        return _Beating(next)


class _Beating(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        details: list[Any] = []
        _details.set(details)
        beating = asyncio.create_task(_beat(details))
        try:
            return await super().execute_activity(input)
        except asyncio.CancelledError:
            why = activity.cancellation_details()
            if why is None or not why.not_found:
                raise
            # Not a failure that the log should tell with a stack: nobody waits for the answer any more.
            raise ApplicationError("Its workflow has ended.", category=ApplicationErrorCategory.BENIGN) from None
        finally:
            beating.cancel()


async def _beat(details: list[Any]) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        activity.heartbeat(*details)
