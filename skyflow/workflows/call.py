"""How workflows call activities: queue, time limits and retries for each kind, and typed errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypedDict, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import rebuild
    from skyflow.models.name import QueueKind, task_queue

P = TypeVar("P")
R = TypeVar("R")


class Limits(TypedDict, total=False):
    """The keyword arguments of `execute_activity_method` that depend on the kind of call."""

    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    cancellation_type: workflow.ActivityCancellationType


_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=300), maximum_interval=timedelta(seconds=15))

HEARTBEAT = timedelta(seconds=6)
"""After a worker's death, its activities start again this much later."""

LIMITS: dict[QueueKind, Limits] = {
    "quick": Limits(start_to_close_timeout=timedelta(seconds=90), heartbeat_timeout=HEARTBEAT),
    "cloud": Limits(
        start_to_close_timeout=timedelta(minutes=15),
        heartbeat_timeout=HEARTBEAT,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    ),
    "sync": Limits(start_to_close_timeout=timedelta(hours=12), heartbeat_timeout=HEARTBEAT),
    "watch": Limits(start_to_close_timeout=timedelta(days=30), heartbeat_timeout=HEARTBEAT),
}


LONGEST_PAUSE = 60
"""Times the first pause. A workflow that asks once a minute for ever ends at the server's limit of events: in days."""


def pauses(first: float) -> Iterator[float]:
    """Ever longer waits, in seconds, for whoever asks now and then for what a message should have told it."""
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE * first)


CHECKS_APART = 10
"""Check intervals before the first look at something that does nothing."""

CALM = 240
"""Check intervals between two such looks at the most. Who asks for thousands of clusters must ask rarely."""


SPREAD = 0.25
"""How much longer or shorter they are, so that those that began together do not go on together."""

FIRST_WORD = CHECKS_APART * (1 + SPREAD) + 1
"""Check intervals within which whoever looks at itself so has done it for the first time, and has said so."""


def calm_pause(check_seconds: float, looks: int) -> float:
    """Seconds before the next look at something that stays as it is; each three times as long as the last.

    Args:
        check_seconds: the check interval.
        looks: how many there were.
    """
    apart: int = min(CHECKS_APART * 3 ** min(looks, 9), CALM)
    return check_seconds * apart * workflow.random().uniform(1 - SPREAD, 1 + SPREAD)


async def call(
    method: Callable[[Any, P], Awaitable[R]],
    request: P,
    summary: str,
    *,
    kind: QueueKind = "quick",
    host: str | None = None,
    seconds: float | None = None,
) -> R:
    """Runs one activity, tried for ever (or for so many seconds) unless a retry cannot help.

    Args:
        method: one of the signatures in `skyflow.models.calls`.
        request: its argument.
        summary: one line for the Web UI.
        kind: what the task queue is sized for.
        host: the host whose worker must run it, if not any worker can.
        seconds: give up after so long.

    Raises:
        SkyflowError: the typed error that the activity raised.
    """
    try:
        with heeding_cancels():
            return await workflow.execute_activity_method(
                method,
                request,
                summary=summary,
                task_queue=task_queue(kind, host),
                retry_policy=_RETRY,
                schedule_to_close_timeout=None if seconds is None else timedelta(seconds=seconds),
                **LIMITS[kind],
            )
    except ActivityError as error:
        cause = error.cause
        if not isinstance(cause, ApplicationError):
            raise  # cancelled, or out of time
        raise rebuild(cause.type, cause.message, cause.details[0] if cause.details else {}) from error


async def signal(workflow_id: str, name: str, *args: Any) -> bool:
    """Signals another workflow. False if it is not there any more: a fact that the sender's own checks deal with."""
    if not workflow_id:  # of the launch of a job that only the nodes knew: the server refuses to be asked
        return False
    try:
        with heeding_cancels():
            await workflow.get_external_workflow_handle(workflow_id).signal(name, args=list(args))
    except ApplicationError:
        return False
    return True


async def cancel_workflow(workflow_id: str) -> None:
    """Cancels another workflow, if it is there."""
    try:
        await workflow.get_external_workflow_handle(workflow_id).cancel()
    except ApplicationError:
        workflow.logger.info("%s is over already", workflow_id)


async def start_child(run: Callable[[Any, P], Awaitable[Any]], request: P, workflow_id: str, summary: str) -> None:
    """Starts a workflow that outlives this one and reports by signal. One that was started before is as good."""
    try:
        handle = await workflow.start_child_workflow(
            run,
            request,
            id=workflow_id,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary=summary,
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("%s was started before", workflow_id)
        return
    handle.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # its end is not ours to raise


LONG_HISTORY = 100
"""Events after which a workflow that mostly waits begins a new history. The server suggests it after thousands. But who
wakes rarely has left the worker's memory, and is replayed from its first event each time: about 0.2 ms for each."""


def history_is_long() -> bool:
    """Whether a workflow that mostly waits should begin a new one."""
    info = workflow.info()
    return info.is_continue_as_new_suggested() or info.get_current_history_length() > LONG_HISTORY


def is_being_cancelled() -> bool:
    """Whether somebody cancelled the running task, also if what it awaited came back in spite of that."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def raise_if_cancelled() -> None:
    """For whoever awaited something that comes back in spite of a cancel with an error, or began after it."""
    if is_being_cancelled():
        raise asyncio.CancelledError


@contextmanager
def heeding_cancels() -> Iterator[None]:
    """For a block that awaits what may come back in spite of a cancel, with a result: the cancel is raised then."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    yield
    if task and task.cancelling() > before:
        raise asyncio.CancelledError


async def to_the_end(work: Coroutine[Any, Any, R]) -> R:
    """Awaits work that has to be done also if the running task is cancelled meanwhile. That is raised after it."""
    task = asyncio.ensure_future(work)
    try:
        await workflow.wait_condition(task.done)
    except asyncio.CancelledError:
        await workflow.wait_condition(task.done)
        task.result()
        raise
    return task.result()


async def wait_for(what: Callable[[], bool], seconds: float, summary: str) -> bool:
    """Waits until `what` holds, or for so many seconds. Says whether it holds.

    Args:
        what: looks at the workflow's state.
        seconds: how long.
        summary: one line for the Web UI: what is waited for.
    """
    try:
        await workflow.wait_condition(what, timeout=seconds, timeout_summary=summary)
    except TimeoutError:
        return False
    return True
