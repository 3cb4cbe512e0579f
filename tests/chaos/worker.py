"""The product's worker, which kills itself where a test says: a file `<activity>.<before|after>` in a folder.

That it is dead is noticed in half the time, because there are a hundred deaths.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from skyflow.settings import Settings
from skyflow.worker.main import run
from skyflow.workflows.call import HEARTBEAT, LIMITS


class Deaths(Interceptor):
    """Each file is one death."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See Interceptor."""
        return _Mortal(next, self.folder)


class _Mortal(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, folder: Path) -> None:
        super().__init__(next)
        self.folder = folder

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        name = activity.info().activity_type
        self.die(f"{name}.before")
        result = await super().execute_activity(input)
        self.die(f"{name}.after")
        return result

    def die(self, when: str) -> None:
        try:
            (self.folder / when).rename(self.folder / f"{when}.done")
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    for limits in LIMITS.values():
        limits["heartbeat_timeout"] = HEARTBEAT / 2
    asyncio.run(run(Settings.from_env(), [Deaths(Path(sys.argv[1]))]))
