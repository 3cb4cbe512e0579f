"""What the shell offers when somebody presses Tab. Starts nothing, waits for nothing, and never complains."""

from __future__ import annotations

import asyncio
import os

from skyflow.client import Client
from skyflow.endpoint import is_configured, status
from skyflow.errors import SkyflowError
from skyflow.settings import Settings

SECONDS = 2.0


def cluster_names(incomplete: str) -> list[str]:
    """The clusters whose names begin so, if a server runs that can be asked."""

    async def ask() -> list[str]:
        async with asyncio.timeout(SECONDS), Client.connect() as client:
            return [one["name"] for one in await client.status() if one["name"].startswith(incomplete)]

    try:
        if not is_configured(os.environ) and status(Settings.from_env()) is None:
            return []
        return asyncio.run(ask())
    except (SkyflowError, TimeoutError, OSError):
        return []
