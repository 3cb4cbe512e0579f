"""The record of what was up."""

from __future__ import annotations

from temporalio import activity

from skyflow.activities.context import Context
from skyflow.models.calls import ClosingCall, LedgerCalls
from skyflow.models.usage import UpInterval
from skyflow.store import ledger, life


class LedgerActivities(LedgerCalls):
    """Writes to the store."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @activity.defn
    async def book_intervals(self, intervals: list[UpInterval]) -> None:
        """See LedgerCalls."""
        for interval in intervals:
            await ledger.book(self.context.store, interval)

    @activity.defn
    async def close_intervals(self, closing: ClosingCall) -> None:
        """See LedgerCalls."""
        await ledger.close(self.context.store, closing.cluster, closing.uid, closing.ended)
        await life.forget(self.context.store, closing.cluster, closing.uid)
