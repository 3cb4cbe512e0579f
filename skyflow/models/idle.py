"""What keeps a cluster from being idle, and how long its nodes wait for somebody to do something about it."""

from __future__ import annotations

from skyflow.errors import UsageError
from skyflow.models.document import describe

WAIT_FOR = ("jobs_and_ssh", "jobs", "none")
"""What keeps a cluster alive: jobs and SSH sessions, jobs only, nothing. The first is the default."""

LEASE_GRACE = 600
"""Seconds that nodes give an idle rule which is due, before they switch themselves off."""

UNREAD_MINUTES = 24 * 60
"""What a job printed last is kept so long on nodes that switched themselves off before anybody had heard of its end."""


def check_wait_for(value: object, name: str = "wait_for") -> str | None:
    """One of WAIT_FOR, in whatever case, or None. Otherwise UsageError, which names the argument."""
    if value is None:
        return None
    if isinstance(value, str) and value.lower() in WAIT_FOR:
        return value.lower()
    raise UsageError(f"{name} must be one of {', '.join(WAIT_FOR)}, found {describe(value)}.")
