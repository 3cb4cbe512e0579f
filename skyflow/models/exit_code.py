"""What a command leaves with, by the status of a job (PARITY §4.2). Without pydantic: every command imports this."""

from __future__ import annotations

SUCCEEDED = 0
FAILED = 100
NOT_FINISHED = 101
NOT_FOUND = 102
CANCELLED = 103
INTERRUPTED = 130

_UNFINISHED = ("INIT", "PENDING", "SETTING_UP", "RUNNING")
_FINISHED = {"SUCCEEDED": SUCCEEDED, "CANCELLED": CANCELLED}


def of_job(status: str) -> int:
    """0 if it succeeded, 103 if it was cancelled, 101 if it has not ended, else 100."""
    return NOT_FINISHED if status in _UNFINISHED else _FINISHED.get(status, FAILED)
