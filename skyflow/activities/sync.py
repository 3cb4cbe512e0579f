"""Bytes from the store to nodes."""

from __future__ import annotations

from contextlib import AsyncExitStack

from temporalio import activity

from skyflow.activities.bulk import sync_in_process
from skyflow.activities.context import Context
from skyflow.activities.heartbeat import report
from skyflow.models.calls import SyncCalls, SyncReport, SyncRequest
from skyflow.nodes.connection import enter_all
from skyflow.nodes.sync import SyncResult, TooMuchError, sync_all
from skyflow.store.key import client_key
from skyflow.store.reader import SnapshotReader

BULK_BYTES = 64 << 20
"""More than this, for all nodes together, is sent by a process of its own."""


class SyncActivities(SyncCalls):
    """One snapshot onto all nodes of a gang."""

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
        context.check_store(request.store)
        try:
            results = await self._sync_here(request)
        except TooMuchError:
            key = await client_key(context.store, gang.cluster, gang.uid)
            results = await sync_in_process(
                context.settings.store, gang.nodes, key.private, request.ref, request.target, report
            )
        return SyncReport(
            sent_files=sum(result.sent_files for result in results),
            sent_bytes=sum(result.sent_bytes for result in results),
            deleted=sum(result.deleted for result in results),
        )

    async def _sync_here(self, request: SyncRequest) -> list[SyncResult]:
        connect = await self.context.sure_opener(request.gang)
        async with AsyncExitStack() as stack:
            connections = await enter_all(stack, [connect(node) for node in request.gang.nodes])
            reader = SnapshotReader(self.context.store)
            return await sync_all(connections, reader, request.ref, request.target, progress=report, at_most=BULK_BYTES)
