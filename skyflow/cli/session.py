"""One command's connection to Temporal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from skyflow.cli import view
from skyflow.client import Client
from skyflow.endpoint import is_configured, status
from skyflow.errors import UsageError
from skyflow.settings import Settings

T = TypeVar("T")


def run(body: Callable[[Client], Awaitable[T]], config: Sequence[str] = (), *, cleaning: bool = False) -> T:
    """Connects (starting the embedded server if need be), runs the body, and disconnects.

    Args:
        body: what to do.
        config: what `--config` says.
        cleaning: whether it goes on, with a warning, when a file of settings is wrong, if nothing has to be started.
    """

    async def connected() -> T:
        settings = _forgiving() if cleaning else Settings.load(overrides=config)
        async with Client.connect(settings, notice=lambda line: view.say(f"skyflow: {line}")) as client:
            return await body(client)

    return asyncio.run(connected())


def _forgiving() -> Settings:
    try:
        return Settings.load()
    except UsageError as error:
        settings = Settings.from_env()
        if not is_configured(os.environ) and status(settings) is None:
            raise  # a worker would be started without what the file says
        view.say(f"skyflow: {error} Going on without it.")
        return settings
