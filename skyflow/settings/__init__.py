"""The settings of one process: what they are, and the order in which sources fill them. Read once, by who starts it."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from skyflow.errors import UsageError
from skyflow.settings.file import CONFIG, Given, of_file, of_option, of_skypilot, project_file
from skyflow.settings.key import KEYS, Callbacks, Target, as_text, read, variable

DEFAULT = "default"
"""The source of a setting that nobody has set."""


@dataclass(frozen=True)
class Settings:
    """What can be set (docs/settings.md). Each field names its environment variable; its name is the key in a file.

    Later sources win: default, `~/.sky/config.yaml` (`allowed_clouds` only), `config.yaml` of skyflow's folder, the
    project's `.skyflow.yaml`, the environment, `--config`.
    """

    home: Path
    """Folder of everything skyflow keeps on this machine, an absolute path (SKYFLOW_HOME; default `~/.skyflow`).

    It says where the settings are, so only the environment can set it.
    """

    store: str
    """URL of the store: snapshots, logs, keys (SKYFLOW_STORE; default `file://<home>/store`).

    Client and worker must have the same one, so a project's file cannot set it.
    """

    check_seconds: float = 60
    """How often a workflow looks whether another one that it has not heard from is still there, in seconds, 0.1 or
    more (SKYFLOW_CHECK_SECONDS; default 60).

    A lost message costs at most this long. Cannot be switched off. The worker's, so a project's file cannot set it.
    """

    safety_minutes: int = 60
    """Idle minutes after which a cluster is taken down until the user's own autostop is set, or if setup fails, 1 or
    more (SKYFLOW_SAFETY_MINUTES; default 60).

    Cannot be switched off: a node that nobody thinks of must not bill for ever. The worker's, so a project's
    file cannot set it.
    """

    webhooks: tuple[str, ...] = ()
    """The http and https URLs that are told of every change of state of clusters and jobs (SKYFLOW_WEBHOOKS, separated
    by commas; default `none`; docs/hooks.md).

    The worker's, so a project's file cannot set it.
    """

    event_callbacks: Callbacks = "auto"
    """Whether workers run the `event_callback` of tasks: `on`, `off`, or `auto`, which is on with the embedded server,
    where the worker is the user's own, and off otherwise (SKYFLOW_EVENT_CALLBACKS; default `auto`).

    The worker's, so a project's file cannot set it.
    """

    allowed_clouds: tuple[str, ...] | None = None
    """The clouds that a launch may use (SKYFLOW_ALLOWED_CLOUDS, separated by commas; default `all`).

    None, written `all`, is every cloud that is enabled. The client's: it goes with the launch.
    """

    optimize_target: Target = "cost"
    """What the best place for a task is: the cheapest (`cost`) or the fastest (`time`) (SKYFLOW_OPTIMIZE_TARGET;
    default `cost`). The client's: it goes with the launch.
    """

    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Not a setting: field → where its value comes from. `default`, the name of a variable, `--config`, or
    `<file>:<line>`."""

    @property
    def server_dir(self) -> Path:
        """Database, log and address of the embedded Temporal server."""
        return self.home / "server"

    @property
    def local_dir(self) -> Path:
        """Nodes of the `local` cloud."""
        return self.home / "local"

    @property
    def git_dir(self) -> Path:
        """Clones of the workdirs that come from git. May be deleted at any time."""
        return self.home / "git"

    @property
    def ssh_dir(self) -> Path:
        """Config, keys and host keys for OpenSSH: what reaches the nodes of clusters that are up."""
        return self.home / "ssh"

    @classmethod
    def load(
        cls, env: Mapping[str, str] | None = None, cwd: Path | None = None, overrides: Sequence[str] = ()
    ) -> Settings:
        """The settings of a process that a user starts.

        Args:
            env: the environment; `os.environ` if not given.
            cwd: where the project's file is looked for; the working directory if not given.
            overrides: what `--config` says: paths of YAML files, or `key=value,key=value`.

        Raises:
            UsageError: something is wrong in one of the sources; names it, with the line.
        """
        env = os.environ if env is None else env
        home, user = _home(env), _user_home(env)
        folder = cwd or _working_directory() or home
        project = project_file(folder, user)
        return cls._of(
            env,
            chain(
                of_skypilot(user),
                of_file(home / CONFIG),
                of_file(project, of_project=True) if project else (),
                _of_environment(env),
                *(of_option(option, folder) for option in overrides),
            ),
        )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """The settings of a process that skyflow starts: it is told everything by its environment, and reads no file.

        So a file that is being edited cannot keep a worker from starting again.

        Raises:
            UsageError: a variable is wrong.
        """
        env = os.environ if env is None else env
        return cls._of(env, _of_environment(env))

    @classmethod
    def _of(cls, env: Mapping[str, str], found: Iterable[Given]) -> Settings:
        home = _home(env)
        last = {given.name: given for given in found}
        values = {"store": f"file://{home / 'store'}"} | {name: given.value for name, given in last.items()}
        sources = {name: last[name].source if name in last else DEFAULT for name in KEYS}
        sources = {"home": variable("home") if env.get(variable("home")) else DEFAULT} | sources
        return cls(home=home, **values, sources=sources)

    def environment(self) -> dict[str, str]:
        """The variables by which a worker that this process starts gets what it has to agree with."""
        names = ["home", *(name for name, key in KEYS.items() if key.shared)]
        return {variable(name): as_text(getattr(self, name)) for name in names}


def user_name() -> str:
    """Who runs this process; its number where that has no name (a container)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _of_environment(env: Mapping[str, str]) -> Iterator[Given]:
    for name in KEYS:
        if text := env.get(variable(name)):
            yield Given(name, read(name, text, f"The environment variable {variable(name)}"), variable(name))


def _home(env: Mapping[str, str]) -> Path:
    if (given := env.get(variable("home"))) and not os.path.isabs(given):
        raise UsageError(f"The environment variable {variable('home')} is {given!r}; it has to be an absolute path.")
    return Path(given or _user_home(env) / ".skyflow").absolute()


def _user_home(env: Mapping[str, str]) -> Path:
    return Path(env.get("HOME") or Path.home())


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # somebody deleted it
        return None
