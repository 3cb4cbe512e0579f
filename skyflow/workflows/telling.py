"""Tells those who listen what has changed with a cluster, beside the cluster's work and for as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError
    from skyflow.models.calls import ListenerCalls
    from skyflow.models.change import CallbackSpec, Change, Listener, Told, mark_told
    from skyflow.models.cluster import ClusterState
    from skyflow.models.task import Task
    from skyflow.workflows.call import call, is_being_cancelled, pauses, wait_for

BATCH = 50
"""Changes that are told in one activity."""

FIRST_PAUSE = 10.0
"""Seconds before the second try; each next one waits twice as long, up to ten minutes."""

CALL_SECONDS = 24 * 3600.0
"""How long one activity is tried. What it could not tell until then is too old."""


class Telling:
    """Two listeners, each told in order and at its own pace.

    Args:
        state: of the cluster: what is to be told, and what was.
        now: epoch seconds.
    """

    def __init__(self, state: ClusterState, now: Callable[[], float]) -> None:
        self._state = state
        self._now = now
        self._at_work: set[Listener] = set()

    def tasks(self) -> list[asyncio.Task[None]]:
        """What has to run beside the cluster's loop."""
        listeners: tuple[Listener, ...] = ("webhook", "callback")
        return [asyncio.create_task(self._tell(listener)) for listener in listeners]

    def is_at_work(self) -> bool:
        """Whether an activity tells at this moment. Another one beside it would say the same things once more."""
        return bool(self._at_work)

    def is_done(self) -> bool:
        """Whether everybody was told everything."""
        return not self._state.unposted and not self._state.uncalled

    async def _tell(self, listener: Listener) -> None:
        first = min(FIRST_PAUSE, self._state.check_seconds)
        waits = pauses(first)
        pause = next(waits)
        while True:
            await workflow.wait_condition(lambda: bool(self._state.untold(listener)))
            batch = self._state.untold(listener)[:BATCH]
            known = self._state.noted
            self._at_work.add(listener)
            try:
                told = await self._call(listener, batch)
            except (SkyflowError, ActivityError, asyncio.CancelledError) as error:
                if is_being_cancelled():
                    return
                told = Told(number=0, trouble=str(error))
            self._at_work.discard(listener)
            mark_told(self._state, listener, told.number, self._now())
            if self._state.forgotten:
                workflow.logger.warning("%d changes were not told: too many or too old", self._state.forgotten)
                self._state.forgotten = 0
            if told.number >= batch[0].number:
                waits = pauses(first)
                pause = next(waits)
            if told.trouble:
                workflow.logger.warning("the %s could not be told: %s", listener, told.trouble)
                # Something new is tried at once: of several receivers, only one may be away. That such a try fails,
                # too, says nothing of how long they have been away: only a pause that was waited out is doubled.
                has_news = partial(self._has_news, listener, known)
                if not await wait_for(has_news, pause, f"until the {listener} is told again"):
                    pause = next(waits)

    def _has_news(self, listener: Listener, known: int) -> bool:
        return any(change.number > known for change in self._state.untold(listener))

    async def _call(self, listener: Listener, batch: list[Change]) -> Told:
        summary = f"tell the {listener}: " + ", ".join(_title(change) for change in batch[:3])
        if listener == "webhook":
            return await call(ListenerCalls.post_changes, batch, summary, kind="watch", seconds=CALL_SECONDS)
        await call(ListenerCalls.run_callbacks, batch, summary, kind="watch", seconds=CALL_SECONDS)
        return Told(number=batch[-1].number)


async def keep_callback(task: Task, cluster: str, launch: str) -> None:
    """A launch keeps its script in the store before it has a job that the script could have to be run for.

    Raises:
        NotSupportedError: the workers do not run such scripts.
    """
    spec = CallbackSpec(
        cluster=cluster,
        launch=launch,
        script=task.event_callback or "",
        task_name=task.name or "",
        envs=task.envs,
        task_id=run_name(cluster),
    )
    await call(ListenerCalls.keep_callback, spec, "keep the event_callback")


def run_name(cluster: str) -> str:
    """SkyPilot's id of the run that this launch is, without the number of its job."""
    return f"sky-{workflow.info().start_time:%Y-%m-%d-%H-%M-%S-%f}_{cluster}"


def _title(change: Change) -> str:
    who = f"job {change.job_id}" if change.job_id is not None else change.kind
    return f"{who} {change.after}"
