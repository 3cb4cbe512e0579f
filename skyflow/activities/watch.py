"""Long calls to nodes: the watch of a cluster, and setup."""

from __future__ import annotations

from temporalio import activity

from skyflow.activities.context import Context
from skyflow.errors import CommandError
from skyflow.models.calls import SetupRequest, UnitEvent, WatchCalls, WatchReport, WatchRequest
from skyflow.models.job import setup_unit
from skyflow.nodes import runner
from skyflow.nodes.script import setup_script
from skyflow.nodes.watch import watch
from skyflow.store.log import LogWriter


class WatchActivities(WatchCalls):
    """They hold a slot for as long as something runs."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @activity.defn
    async def watch_nodes(self, request: WatchRequest) -> WatchReport:
        """See WatchCalls."""
        gang = request.gang
        connect = await self.context.opener(gang)
        sink = LogWriter(self.context.store, gang.cluster, gang.uid)
        result = await watch(gang.nodes, connect, gang.uid, request.cursors, sink)
        ended = [UnitEvent(rank=e.rank, unit=e.unit, code=e.code) for e in result.events]
        silent = sorted(far.rank for far in result.unreachable)
        states = await self.context.states(gang) if silent else {}
        gone = [rank for rank in silent if states[rank] == "gone"]
        stopped = [rank for rank in silent if states[rank] == "stopped"]
        return WatchReport(cursors=result.cursors, ended=ended, gone=gone, stopped=stopped)

    @activity.defn
    async def run_setup(self, request: SetupRequest) -> None:
        """See WatchCalls."""
        gang, unit = request.gang, setup_unit(request.job_id)
        node = next(node for node in gang.nodes if node.rank == request.rank)
        connect = await self.context.sure_opener(gang)
        async with connect(node) as connection:
            script = setup_script(
                request.setup, request.envs, gang, request.rank, task_id=request.task_id, user=request.user
            )
            await runner.start(connection, gang.uid, unit, script)
            end = await runner.wait(connection, gang.uid, unit)
        if end.code != 0:
            raise CommandError(
                f"Setup failed with exit code {end.code} on node {request.rank} of {gang.cluster!r}.",
                returncode=end.code,
                job_id=request.job_id,
            )
