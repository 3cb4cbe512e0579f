"""One command's connection to Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from skyflow.cli import view
from skyflow.client import Client

T = TypeVar("T")


def run(body: Callable[[Client], Awaitable[T]]) -> T:
    """Connects (starting the embedded server if need be), runs the body, and disconnects."""

    async def connected() -> T:
        async with Client.connect(notice=lambda line: view.say(f"skyflow: {line}")) as client:
            return await body(client)

    return asyncio.run(connected())
