"""An embedded server of its own for each test: real supervisor, real `temporal`, a stand-in for the worker."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyflow.endpoint import stop
from skyflow.settings import Settings

from .home import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "XDG_", "SKYFLOW_"))}
    env |= {"HOME": str(tmp_path), "SKYFLOW_HOME": str(tmp_path / ".skyflow")}
    home = Home(Settings.from_env(env), env)
    yield home
    if home.settings.home.is_dir():
        stop(home.settings)
    left = home.processes()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
