"""Quick calls to nodes: start, stop and look."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from temporalio import activity

from skyflow import clouds
from skyflow.activities.context import Context
from skyflow.errors import NodeUnreachableError, SkyflowError
from skyflow.models.calls import GangStart, LeaseRequest, NodeCalls, RecordCall, UnitRequest, UnitsRequest
from skyflow.models.job import LOST, STOPPED_WITH_GANG, UNREAD, Gang, JobRecord, RankEnd, Units, job_of_unit, run_unit
from skyflow.models.node import GangRef, Node
from skyflow.nodes import runner
from skyflow.nodes.connection import Connection
from skyflow.nodes.script import job_script
from skyflow.nodes.watch import drain, ship_rest
from skyflow.store.log import LogWriter, put_record
from skyflow.store.spec import get_spec

GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL."""

NODE_SECONDS = 20.0
"""How long one node has to say who is logged in, so that those that answer are heard."""

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
        await self._cancel(request.gang, request.unit, request.code, request.grace)

    @activity.defn
    async def list_ended(self, request: UnitRequest) -> list[RankEnd]:
        """See NodeCalls. A node that its cloud says is gone has lost its rank; of one that is stopped, it is unread."""
        gang = request.gang
        states = await self.context.states(gang)
        left = [node for node in gang.nodes if states[node.rank] == "running"]
        sink = LogWriter(self.context.store, gang.cluster, gang.uid)
        codes = await drain(left, await self.context.opener(gang), gang.uid, request.unit, sink)
        away = [node.rank for node in gang.nodes if node not in left]
        codes |= {rank: UNREAD if states[rank] == "stopped" else LOST for rank in away}
        return [RankEnd(rank=rank, code=code) for rank, code in sorted(codes.items())]

    @activity.defn
    async def read_ends(self, request: UnitRequest) -> list[RankEnd]:
        """See NodeCalls."""
        gang = request.gang
        sink = LogWriter(self.context.store, gang.cluster, gang.uid)

        async def read(connection: Connection) -> list[RankEnd]:
            state = await ship_rest(connection, gang.uid, request.unit, sink)
            code = LOST if state is None else state.code
            at = None if state is None or state.end is None else float(state.end)
            return [] if code is None else [RankEnd(rank=connection.node.rank, code=code, at=at)]

        return [end for ends in await self._on_all(gang, read) for end in ends]

    @activity.defn
    async def count_running(self, gang: GangRef) -> int:
        """See NodeCalls."""
        cloud = clouds.get(gang.cloud, self.context.settings)
        nodes = [status.node for status in await cloud.describe_nodes(gang) if status.state == "running"]

        async def count(connection: Connection) -> int:
            states = await runner.show(connection, gang.uid)
            return sum(1 for state in states.values() if state.state == "running")

        found = Gang(
            cluster=gang.cluster,
            uid=gang.uid,
            cloud=gang.cloud,
            host=gang.host,
            deployment=gang.deployment,
            nodes=nodes,
        )
        return sum(await self._on_all(found, count))

    @activity.defn
    async def list_units(self, request: UnitsRequest) -> Units:
        """See NodeCalls."""
        gang = request.gang

        async def look(connection: Connection) -> dict[str, runner.UnitState]:
            return await runner.show(connection, gang.uid)

        units = Units()
        for node, states in zip(gang.nodes, await self._on_all(gang, look), strict=True):
            for unit, state in states.items():
                if (job_id := job_of_unit(unit)) is None:
                    continue
                units.highest = max(units.highest, job_id)
                if unit == run_unit(job_id) and (state.state == "running" or job_id >= request.first):
                    units.runs.setdefault(job_id, []).append(node.rank)
                    if state.state == "running" and job_id not in units.running:
                        units.running.append(job_id)
        return units

    @activity.defn
    async def lease_nodes(self, request: LeaseRequest) -> None:
        """See NodeCalls."""
        gang = request.gang
        power_off = clouds.get(gang.cloud, self.context.settings).capabilities.power_off

        async def tell(connection: Connection) -> None:
            await runner.lease(connection, gang.uid, request.seconds, power_off)

        await self._on_all(gang, tell)

    @activity.defn
    async def last_session(self, gang: Gang) -> float | None:
        """See NodeCalls."""
        connect = await self.context.opener(gang)

        async def ask(node: Node) -> int | None:
            with suppress(SkyflowError, TimeoutError):
                async with asyncio.timeout(NODE_SECONDS), connect(node) as connection:
                    return await runner.sessions(connection, gang.uid)
            return None

        answers = await asyncio.gather(*(ask(node) for node in gang.nodes))
        return min((answer for answer in answers if answer is not None), default=None)

    @activity.defn
    async def record_job(self, call: RecordCall) -> None:
        """See NodeCalls."""
        job: JobRecord = call.job
        job.status, job.returncode, job.reason = call.end.status, call.end.returncode, call.end.reason
        row = job.model_dump(mode="json", exclude={"spec", "cancelling", "callback"})
        row["unread"] = call.end.unread is not None
        await put_record(self.context.store, call.cluster, call.uid, run_unit(job.id), row)

    async def _cancel(self, gang: Gang, unit: str, code: int, grace: float | None = None) -> None:
        seconds = GRACE_SECONDS if grace is None else grace
        left = gang.model_copy(update={"nodes": await self._running(gang)})

        async def cancel(connection: Connection) -> None:
            await runner.cancel(connection, gang.uid, unit, seconds, code)

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
