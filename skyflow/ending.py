"""The end of a process that used Temporal's core, whose threads abort it when they come back to an interpreter that is
being torn down (temporalio/sdk-python issue 300)."""

from __future__ import annotations

import atexit
import functools
import os
import sys
import time
from contextlib import suppress
from typing import NoReturn

SETTLE_SECONDS = 0.02


def leave(code: int) -> NoReturn:
    """Ends a program of ours at once, without the interpreter's clean-up. It failed if its output cannot be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # its reader has seen enough
        pass
    except OSError as error:
        code = code or 1
        sys.stderr.write(f"skyflow: {error.strerror}.\n")
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


@functools.cache
def settle_at_exit() -> None:
    """In a program of somebody else: what the core still does for the last call is done before the clean-up begins."""
    atexit.register(time.sleep, SETTLE_SECONDS)
