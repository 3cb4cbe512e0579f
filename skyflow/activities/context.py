"""What the activities of one worker share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from temporalio import activity
from temporalio.client import Client

from skyflow.nodes.connection import Connections
from skyflow.settings import Settings
from skyflow.store.store import Store


@dataclass(frozen=True)
class Context:
    """The tools of one worker process."""

    settings: Settings
    client: Client
    store: Store
    connections: Connections
    deployment: str
    """Id of this namespace's deployment: part of every name and tag made from here."""
    search_attributes: bool
    """Whether the namespace has skyflow's search attributes."""


BEAT_SECONDS = 2.0


@asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """Beats while the body runs, so that a dead worker is noticed and a cancel arrives."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(BEAT_SECONDS)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
