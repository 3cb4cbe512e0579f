"""`python -m skyflow.worker`: a worker in the foreground, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import sys

from skyflow.ending import leave
from skyflow.errors import SkyflowError
from skyflow.settings import Settings
from skyflow.worker.main import run

if __name__ == "__main__":
    try:
        asyncio.run(run(Settings.from_env()))
    except SkyflowError as error:
        print(f"skyflow worker: {error}", file=sys.stderr)
        leave(error.exit_code)
    leave(0)
