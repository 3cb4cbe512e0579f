"""Tells those who listen what has changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from temporalio import activity

from skyflow.activities.context import Context
from skyflow.errors import NotSupportedError
from skyflow.listeners import callback, webhook
from skyflow.models.calls import ListenerCalls
from skyflow.models.change import CallbackSpec, Change, Told
from skyflow.store import told

THREADS = 16
"""POSTs at once. They have threads of their own, so that a receiver that is silent delays nothing else."""

TELL_SECONDS = 60.0
"""After so long, what is left waits for the next call."""


class ListenerActivities(ListenerCalls):
    """Webhooks and callbacks, as this worker's settings have them."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._threads = ThreadPoolExecutor(THREADS, "webhook")

    @activity.defn
    async def post_changes(self, changes: list[Change]) -> Told:
        """See ListenerCalls."""
        urls = self.context.settings.webhooks
        all_told = await asyncio.gather(*(self._post(url, changes) for url in urls))
        return min(all_told, key=lambda one: one.number, default=Told(number=changes[-1].number))

    async def _post(self, url: str, changes: list[Change]) -> Told:
        """Tells one webhook, in order, until it does not acknowledge."""
        began, number = time.monotonic(), changes[0].number - 1
        for _, life in groupby(changes, lambda change: change.uid):
            last = None
            for change in life:
                if last is None:
                    last = await told.read(self.context.store, change, url)
                if change.number > last:
                    if time.monotonic() - began > TELL_SECONDS:
                        return Told(number=number)
                    trouble = await webhook.post(self._threads, url, change.body(), self.context.webhook_secret)
                    if trouble:
                        return Told(number=number, trouble=trouble)
                    await told.note(self.context.store, change, url)
                number = change.number
        return Told(number=number)

    @activity.defn
    async def keep_callback(self, spec: CallbackSpec) -> None:
        """See ListenerCalls."""
        if self.context.callback_env is None:
            raise NotSupportedError(
                "event_callback: the workers here run no scripts of tasks. Remove it, or set event_callbacks: on "
                "(SKYFLOW_EVENT_CALLBACKS) for the workers."
            )
        await told.put_callback(self.context.store, spec)

    @activity.defn
    async def run_callbacks(self, changes: list[Change]) -> None:
        """See ListenerCalls. Jobs do not wait for each other's."""
        env = self.context.callback_env
        if env is None:
            activity.logger.warning("event_callbacks are off on this worker: %d were not run", len(changes))
            return
        jobs: dict[str, list[Change]] = {}
        for change in changes:
            jobs.setdefault(change.workflow_id, []).append(change)
        await asyncio.gather(*(self._call(mine, env) for mine in jobs.values()))

    async def _call(self, changes: list[Change], env: Mapping[str, str]) -> None:
        store = self.context.store
        spec = await told.get_callback(store, changes[0])
        for change in changes:
            if await told.has_run(store, change):
                continue
            result = await callback.run(spec, change, env)
            await told.note_run(store, change, result.model_dump_json().encode())
            if result.returncode != 0:
                how = "took too long" if result.returncode is None else f"ended with {result.returncode}"
                activity.logger.warning("the event_callback of job %s for %s %s", change.job_id, change.after, how)
