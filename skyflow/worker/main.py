"""A worker process: connects, learns what its namespace has, serves until it is told to stop."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from temporalio.client import Client
from temporalio.worker import Interceptor

from skyflow import clouds
from skyflow.activities.context import Context
from skyflow.embedded import MARK
from skyflow.endpoint import Endpoint, is_loopback, plain_reason, resolve
from skyflow.errors import TemporalUnavailableError
from skyflow.nodes.connection import Connections
from skyflow.settings import Settings
from skyflow.store.store import check_reachable, open_store
from skyflow.worker.converter import data_converter
from skyflow.worker.deployment import ensure_deployment, has_search_attributes, keep_history
from skyflow.worker.worker import serve, workers

PATIENCE = 60.0
"""Seconds a worker waits for a server that does not answer yet."""


WEBHOOK_SECRET = "SKYFLOW_WEBHOOK_SECRET"
"""Environment variable of the key that signs what webhooks are sent. It is no setting, so that no file has it."""

COLLECT_EVERY = 50_000
"""Objects between two looks of the garbage collector: a sync makes hundreds of thousands that it would look through.
It looks at the old ones often enough: a workflow that left the cache is garbage only they hold."""


M_ARENA_MAX = -8
"""Of malloc.h."""


def calm_collector() -> None:
    """Leaves what was imported alone, and looks more rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 5, 3)


def share_arenas() -> None:
    """Keeps the threads of Temporal's core from having an arena of memory each, which they seldom give back (glibc)."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_ARENA_MAX, 2)


async def run(settings: Settings, interceptors: Sequence[Interceptor] = ()) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        TemporalUnavailableError: the server does not answer.
        UsageError: the store cannot be shared with this server's other clients.
    """
    share_arenas()
    calm_collector()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    endpoint = resolve(settings)
    client = await _connect(endpoint)
    check_reachable(settings.store, is_loopback(endpoint.address))
    supervised = MARK in os.environ
    if supervised:
        await keep_history(client)
    context = Context(
        settings=settings,
        client=client,
        store=open_store(settings.store),
        connections=Connections(),
        deployment=await ensure_deployment(client),
        search_attributes=await has_search_attributes(client),
        webhook_secret=os.environ.get(WEBHOOK_SECRET, ""),
        callback_env=_callback_env(settings, supervised),
    )
    hosts = sorted({cloud.host for cloud in await clouds.enabled(settings) if cloud.host})
    print(f"serving {endpoint.address}, and host {', '.join(hosts)}", file=sys.stderr, flush=True)
    try:
        await serve(workers(context, hosts, interceptors), stop)
    finally:
        context.connections.close()


def _callback_env(settings: Settings, supervised: bool) -> dict[str, str] | None:
    """The environment of callbacks, if they run here: this process's, without what is only its own."""
    if settings.event_callbacks == "off" or (settings.event_callbacks == "auto" and not supervised):
        return None
    return {name: value for name, value in os.environ.items() if name not in (MARK, WEBHOOK_SECRET)}


async def _connect(endpoint: Endpoint) -> Client:
    await asyncio.to_thread(endpoint.start_if_needed().wait_ready)
    config: dict[str, Any] = endpoint.connect_config()
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await Client.connect(**config, data_converter=data_converter)
        except RuntimeError as error:
            if time.monotonic() > deadline:
                raise TemporalUnavailableError(
                    f"The Temporal server at {config['target_host']} does not answer ({plain_reason(error)})."
                ) from error
            await asyncio.sleep(0.05)
