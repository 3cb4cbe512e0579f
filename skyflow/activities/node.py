"""Quick calls to nodes: start, stop and look."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio import activity

from skyflow import clouds
from skyflow.activities.context import Context
from skyflow.errors import NodeUnreachableError
from skyflow.models.calls import GangStart, NodeCalls, RecordCall, UnitRequest
from skyflow.models.job import LOST, STOPPED_WITH_GANG, Gang, JobRecord, RankEnd, run_unit
from skyflow.models.node import GangRef, Node
from skyflow.nodes import runner
from skyflow.nodes.connection import Connection
from skyflow.nodes.script import job_script
from skyflow.nodes.watch import drain
from skyflow.store.log import LogWriter, put_record
from skyflow.store.spec import get_spec

GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL."""

T = TypeVar("T")


class NodeActivities(NodeCalls):
    """Each call goes to all nodes of its gang at once."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @activity.defn
    async def start_gang(self, request: GangStart) -> None:
        """See NodeCalls."""
        gang, unit = request.gang, run_unit(request.job_id)
        spec = await get_spec(self.context.store, request.spec)

        async def start(connection: Connection) -> None:
            rank = connection.node.rank
            script = job_script(
                spec.run,
                spec.envs,
                gang,
                rank,
                task_id=spec.task_id,
                user=spec.user,
                num_gpus=spec.num_gpus,
                accelerator=request.accelerator,
                devices=request.devices.get(rank, ()),
            )
            await runner.start(connection, gang.uid, unit, script)

        await self._reach_all(gang)
        try:
            await self._on_all(gang, start)
        except NodeUnreachableError:
            raise  # tried again; what was started is found running then
        except Exception:
            await self._cancel(gang, unit, STOPPED_WITH_GANG)
            raise

    @activity.defn
    async def cancel_units(self, request: UnitRequest) -> None:
        """See NodeCalls."""
        await self._cancel(request.gang, request.unit, request.code)

    @activity.defn
    async def list_ended(self, request: UnitRequest) -> list[RankEnd]:
        """See NodeCalls. A node that its cloud says is stopped or gone has lost its rank."""
        gang = request.gang
        left = await self._running(gang)
        sink = LogWriter(self.context.store, gang.cluster, gang.uid)
        codes = await drain(left, await self.context.opener(gang), gang.uid, request.unit, sink)
        codes |= {node.rank: LOST for node in gang.nodes if node not in left}
        return [RankEnd(rank=rank, code=code) for rank, code in sorted(codes.items())]

    @activity.defn
    async def count_running(self, gang: GangRef) -> int:
        """See NodeCalls."""
        cloud = clouds.get(gang.cloud, self.context.settings)
        nodes = [status.node for status in await cloud.describe_nodes(gang) if status.state == "running"]

        async def count(connection: Connection) -> int:
            states = await runner.show(connection, gang.uid)
            return sum(1 for state in states.values() if state.state == "running")

        found = Gang(cluster=gang.cluster, uid=gang.uid, cloud=gang.cloud, host=gang.host, nodes=nodes)
        return sum(await self._on_all(found, count))

    @activity.defn
    async def record_job(self, call: RecordCall) -> None:
        """See NodeCalls."""
        job: JobRecord = call.job
        job.status, job.returncode, job.reason = call.end.status, call.end.returncode, call.end.reason
        row = job.model_dump(mode="json", exclude={"spec", "cancelling", "callback"})
        await put_record(self.context.store, call.cluster, call.uid, run_unit(job.id), row)

    async def _cancel(self, gang: Gang, unit: str, code: int) -> None:
        left = gang.model_copy(update={"nodes": await self._running(gang)})

        async def cancel(connection: Connection) -> None:
            await runner.cancel(connection, gang.uid, unit, GRACE_SECONDS, code)

        await self._on_all(left, cancel)

    async def _running(self, gang: Gang) -> list[Node]:
        states = await self.context.states(gang)
        return [node for node in gang.nodes if states[node.rank] == "running"]

    async def _reach_all(self, gang: Gang) -> None:
        """Before the first node starts anything, all of them can be reached."""

        async def nothing(connection: Connection) -> None:
            pass

        if len(gang.nodes) > 1:
            await self._on_all(gang, nothing)

    async def _on_all(self, gang: Gang, work: Callable[[Connection], Awaitable[T]]) -> list[T]:
        connect = await self.context.sure_opener(gang)

        async def one(node: Node) -> T:
            async with connect(node) as connection:
                return await work(connection)

        return await asyncio.gather(*(one(node) for node in gang.nodes))
