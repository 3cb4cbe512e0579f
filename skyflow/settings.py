"""The settings of one process, read from the environment once, by whoever starts the process."""

from __future__ import annotations

import getpass
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skyflow.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """Where things are on this machine. Each field names the environment variable that sets it."""

    home: Path
    """Folder of everything skyflow keeps on this machine (SKYFLOW_HOME; default `~/.skyflow`)."""

    store: str
    """URL of the store: snapshots, logs, keys (SKYFLOW_STORE; default `file://<home>/store`)."""

    check_seconds: float
    """How often a workflow looks whether another one that it has not heard from is still there, in seconds
    (SKYFLOW_CHECK_SECONDS; default 60). A lost message costs at most this long."""

    safety_minutes: int
    """Idle minutes after which a cluster is taken down until the user's own autostop is set, or if setup fails
    (SKYFLOW_SAFETY_MINUTES; default 60)."""

    @property
    def server_dir(self) -> Path:
        """Database, log and address of the embedded Temporal server."""
        return self.home / "server"

    @property
    def local_dir(self) -> Path:
        """Nodes of the `local` cloud."""
        return self.home / "local"

    @classmethod
    def from_env(cls, env: dict[str, str] | None = None) -> Settings:
        """Reads the environment (`os.environ` if not given). Raises UsageError for a number that is none."""
        env = dict(os.environ) if env is None else env
        home = Path(env.get("SKYFLOW_HOME") or Path(env.get("HOME") or Path.home()) / ".skyflow").absolute()
        return cls(
            home=home,
            store=env.get("SKYFLOW_STORE") or f"file://{home / 'store'}",
            check_seconds=_number(env, "SKYFLOW_CHECK_SECONDS", 60, at_least=0.1),
            safety_minutes=int(_number(env, "SKYFLOW_SAFETY_MINUTES", 60, at_least=1)),
        )


def user_name() -> str:
    """Who runs this process; its number where that has no name (a container)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _number(env: Mapping[str, str], name: str, default: float, *, at_least: float) -> float:
    text = env.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not at_least <= value < math.inf:
        raise UsageError(f"The environment variable {name} is {text!r}; it has to be a number, {at_least:g} or more.")
    return value
