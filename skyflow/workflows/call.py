"""How workflows call activities: queue, time limits and retries for each kind, and typed errors."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError, rebuild
    from skyflow.models.name import QueueKind, task_queue

if TYPE_CHECKING:
    from collections.abc import Callable


class Options(TypedDict, total=False):
    """The keyword arguments of `execute_activity_method` that depend on the kind of call."""

    task_queue: str
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: workflow.ActivityCancellationType


_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=300), maximum_interval=timedelta(seconds=15))

HEARTBEAT = timedelta(seconds=10)
"""After a worker's death, long activities start again this much later."""

_LIMITS: dict[QueueKind, Options] = {
    "quick": Options(start_to_close_timeout=timedelta(seconds=60)),
    "cloud": Options(
        start_to_close_timeout=timedelta(minutes=15),
        heartbeat_timeout=HEARTBEAT,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    ),
    "sync": Options(start_to_close_timeout=timedelta(hours=12), heartbeat_timeout=HEARTBEAT),
    "watch": Options(start_to_close_timeout=timedelta(days=30), heartbeat_timeout=HEARTBEAT),
}


def options(kind: QueueKind, host: str | None = None) -> Options:
    """What an activity of this kind is called with; with a host, on the queue that only its worker serves.

    Errors that a retry cannot help are not retried: the worker marks them so. Everything else is tried for ever.
    """
    return Options(task_queue=task_queue(kind, host), retry_policy=_RETRY, **_LIMITS[kind])


def typed(error: BaseException) -> BaseException:
    """The skyflow error inside a failed activity; any other exception as it is."""
    if isinstance(error, ActivityError) and isinstance(error.cause, ApplicationError):
        cause = error.cause
        details: dict[str, Any] = cause.details[0] if cause.details else {}
        return rebuild(cause.type, cause.message, details)
    return error


async def signal(workflow_id: str, name: str, *args: Any) -> bool:
    """Signals another workflow. False if it is not there any more: a fact that the sender's own checks deal with."""
    try:
        await workflow.get_external_workflow_handle(workflow_id).signal(name, args=list(args))
    except ApplicationError:
        return False
    return True


async def wait_for(what: Callable[[], bool], seconds: float) -> bool:
    """Waits until `what` holds, or for so many seconds. Says whether it holds."""
    try:
        await workflow.wait_condition(what, timeout=seconds)
    except TimeoutError:
        return False
    return True


def failed_for_good(error: BaseException) -> bool:
    """Whether an exception is the user's to hear of, not a bug of the workflow's code."""
    return isinstance(typed(error), SkyflowError)
