"""Bulk bytes from the store to nodes."""

from __future__ import annotations

from temporalio import activity

from skyflow.activities.context import Context
from skyflow.errors import UsageError
from skyflow.models.calls import SyncCalls, SyncReport, SyncRequest
from skyflow.nodes.sync import sync
from skyflow.store.reader import SnapshotReader


class SyncActivities(SyncCalls):
    """One snapshot onto one node."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @activity.defn
    async def sync_workdir(self, request: SyncRequest) -> SyncReport:
        """See SyncCalls."""
        return await self._sync(request)

    @activity.defn
    async def sync_file_mounts(self, request: SyncRequest) -> SyncReport:
        """See SyncCalls."""
        return await self._sync(request)

    async def _sync(self, request: SyncRequest) -> SyncReport:
        context, gang = self.context, request.gang
        if request.store and request.store.rstrip("/") != context.settings.store.rstrip("/"):
            raise UsageError(
                f"The client's store is {request.store}, this worker's is {context.settings.store}: "
                "set SKYFLOW_STORE to the same URL for both."
            )
        connect = await context.sure_opener(gang)
        async with connect(gang.nodes[0]) as connection:
            result = await sync(connection, SnapshotReader(context.store), request.ref, request.target)
        return SyncReport(sent_files=result.sent_files, sent_bytes=result.sent_bytes, deleted=result.deleted)
