"""One command's connection to Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from skyflow.cli import view
from skyflow.client import Client
from skyflow.settings import Settings

T = TypeVar("T")


def run(body: Callable[[Client], Awaitable[T]], config: Sequence[str] = ()) -> T:
    """Connects (starting the embedded server if need be), runs the body, and disconnects.

    Args:
        body: what to do.
        config: what `--config` says.
    """

    async def connected() -> T:
        settings = Settings.load(overrides=config)
        async with Client.connect(settings, notice=lambda line: view.say(f"skyflow: {line}")) as client:
            return await body(client)

    return asyncio.run(connected())
