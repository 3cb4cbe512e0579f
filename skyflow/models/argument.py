"""What can be known of a stop, a start, a down or an idle rule before any server is asked."""

from __future__ import annotations

from skyflow.errors import InvalidTaskError, UsageError
from skyflow.models.document import Document, describe
from skyflow.models.duration import MAX_MINUTES, MAX_YEARS, check_minutes


def check_graceful(graceful: bool, graceful_timeout: int | None) -> dict[str, object]:
    """The fields of a request that say how long jobs have to end by themselves.

    Raises:
        UsageError: the timeout is no number of seconds, or stands alone.
    """
    check_whole("graceful_timeout", graceful_timeout)
    if graceful_timeout is not None and graceful_timeout < 0:
        raise UsageError(f"graceful_timeout (--graceful-timeout) must be seconds, found {graceful_timeout}.")
    if graceful_timeout is not None and not graceful:
        raise UsageError("graceful_timeout (--graceful-timeout) goes with graceful (--graceful).")
    return {"graceful": graceful, "graceful_timeout": graceful_timeout}


def check_idle_rule(minutes: int | None, down: bool, down_after: int | str | None = None) -> int | None:
    """Returns `down_after` in minutes.

    Args:
        minutes: idle minutes; negative: no rule.
        down: take the cluster down instead of stopping it.
        down_after: minutes, or such as "24h", after which the stopped cluster is taken down.

    Raises:
        UsageError: it says two things, or what is no time.
    """
    check_whole("idle minutes", minutes)
    check_idle_minutes(minutes)
    if minutes is None and down:
        raise UsageError("down needs idle minutes (--idle-minutes-to-autostop) when a cluster is started.")
    if minutes is not None and minutes < 0 and (down or down_after is not None):
        what = "down" if down else "down_after"
        raise UsageError(
            f"Negative idle minutes mean that the cluster stays, and {what} that it goes: say one of them."
        )
    if down and down_after is not None:
        raise UsageError("down_after (--down-after) is for a cluster that is stopped: it goes without down (--down).")
    try:
        return None if down_after is None else check_minutes(Document({}), down_after, ("down_after",))
    except InvalidTaskError as error:
        raise UsageError(str(error)) from None


def check_idle_minutes(minutes: int | None) -> None:
    """Whether a timer can hold them. Raises UsageError."""
    if minutes is not None and minutes > MAX_MINUTES:
        raise UsageError(f"idle minutes must be {MAX_MINUTES} at most ({MAX_YEARS} years); negative: never.")


def check_whole(name: str, value: object) -> None:
    """Whether an argument is a whole number, or not given. Raises UsageError."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise UsageError(f"{name} must be a whole number, found {describe(value)}.")
