"""A launch as its starter holds it, and the logs of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skyflow.errors import TemporalUnavailableError

if TYPE_CHECKING:
    from skyflow.client import Client
    from skyflow.store.log import LogReader

FOLLOW_SECONDS = 0.2
"""How often a follower looks for more, in seconds."""


@dataclass(frozen=True)
class LogChunk:
    """Some bytes of one rank's output."""

    unit: str
    """`<job>`, or `<job>-setup`."""
    rank: int
    data: bytes


@dataclass(frozen=True)
class Launch:
    """A launch (or exec) that was started. It goes on whether or not anybody holds this."""

    client: Client
    workflow_id: str
    cluster_name: str

    async def result(self) -> dict[str, Any]:
        """Waits for the end, through restarts of the server too.

        Returns:
            `cluster`, `uid`, `job_id`, `status`, `returncode`, `reason`, `num_nodes`, `offer`, `plan`, `down`.

        Raises:
            SkyflowError: the typed error that the launch ended with. A job that failed is no error: see `status`.
        """
        result: dict[str, Any] = await self.client.workflow_result(self.workflow_id)
        return result

    async def progress(self) -> dict[str, Any]:
        """How far it is: `cluster`, `uid`, `job_id`, `stages`, `attempts`, `plan`, `waiting_for`, `job_status`."""
        answer: dict[str, Any] = await self.client.workflow_query(self.workflow_id, "progress")
        return answer

    async def transfers(self) -> list[dict[str, Any]]:
        """What is being copied to the nodes at this moment: `what`, `sent`, `total` (bytes)."""
        pending = await self.client.pending_details(self.workflow_id)
        return [
            {"what": one["id"], "sent": one["details"][0], "total": one["details"][1]}
            for one in pending
            if one["activity"].startswith("sync") and len(one["details"]) == 2
        ]

    async def cancel(self, *, keep_nodes: bool = False) -> None:
        """Cancels it: its job is stopped, and the nodes that it made are deleted unless they are to be kept."""
        await self.client.workflow_signal(self.workflow_id, "cancel", {"keep_nodes": keep_nodes})

    async def logs(self) -> AsyncIterator[LogChunk]:
        """Output of setup and run as it arrives, until the launch ends."""
        result = asyncio.ensure_future(self.result())
        try:
            async for chunk in self.output(result):
                yield chunk
        finally:
            result.cancel()
            await asyncio.gather(result, return_exceptions=True)

    async def output(self, result: asyncio.Future[Any]) -> AsyncIterator[LogChunk]:
        """As `logs`, for a caller who waits for the result as well."""
        seen: dict[str, Any] = {}
        while not seen.get("job_id") and not result.done():
            await asyncio.wait({result}, timeout=FOLLOW_SECONDS)
            with suppress(TemporalUnavailableError):  # the result's own wait outlives the server; so does this
                seen = await self.progress()
        if seen.get("job_id"):
            reader = self.client.log_reader(self.cluster_name, seen["uid"])
            async for chunk in follow(reader, seen["job_id"], result.done, [result]):
                yield chunk


async def follow(
    reader: LogReader,
    job_id: int,
    done: Callable[[], bool],
    wake: list[asyncio.Future[Any]] | None = None,
    offsets: dict[tuple[str, int], int] | None = None,
) -> AsyncIterator[LogChunk]:
    """Output of a job's setup and run on all ranks, as it arrives.

    Args:
        reader: of the life of the cluster that the job belongs to.
        job_id: the job.
        done: whether the job is over. What is stored before this turned true is still yielded.
        wake: futures whose end is a reason to look at once.
        offsets: (unit, rank) → where to begin; kept up to date.
    """
    offsets = {} if offsets is None else offsets
    while True:
        last = done()
        for unit in (f"{job_id}-setup", f"{job_id}"):
            for rank in await reader.ranks(unit):
                at = offsets.get((unit, rank), 0)
                async for data in reader.follow(unit, rank, at, lambda: True):
                    at += len(data)
                    yield LogChunk(unit, rank, data)
                offsets[unit, rank] = at
        if last:
            return
        if wake:
            await asyncio.wait(wake, timeout=FOLLOW_SECONDS)
        else:
            await asyncio.sleep(FOLLOW_SECONDS)
