"""Where Temporal is: the one that the environment configures, or the embedded one, started when it is not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from skyflow import __version__
from skyflow.embedded import NAMESPACE, Folder, Part, Record, Termination, find_temporal, last_line
from skyflow.errors import EmbeddedServerError, UsageError
from skyflow.settings import Settings

Notice = Callable[[str], None]

SUPERVISOR = (sys.executable, "-m", "skyflow.worker.supervisor")

READY_SECONDS = 60.0
"""How long a server may take to get ready. It takes 0.2 s; a machine that swaps takes longer."""

DRAIN_SECONDS = 20.0
"""How long a supervisor may take to drain its worker and stop, before it is killed."""

POLL_SECONDS = 0.01

_CONFIGURED_BY = ("ADDRESS", "NAMESPACE", "API_KEY", "PROFILE", "CONFIG_FILE")


class Starting(Protocol):
    """A server that is there, or is on its way."""

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """Returns as soon as the server answers. One that skyflow did not start is not waited for.

        Raises:
            EmbeddedServerError: the embedded server does not start.
        """


class Endpoint(Protocol):
    """One Temporal namespace."""

    @property
    def embedded(self) -> bool:
        """Whether it is skyflow's own server on this machine."""

    @property
    def address(self) -> str:
        """Host and port."""

    @property
    def namespace(self) -> str:
        """The namespace's name."""

    @property
    def ui(self) -> str | None:
        """URL of the Web UI, if known."""

    @property
    def store(self) -> str:
        """URL of the workers' store; empty if that is not known here."""

    def connect_config(self) -> dict[str, Any]:
        """What `temporalio.client.Client.connect` wants, as keyword arguments.

        Raises:
            UsageError: Temporal's configuration is wrong.
        """

    def start_if_needed(self, notice: Notice | None = None) -> Starting:
        """Sees to it that there is a server, and returns at once; `wait_ready` of the answer waits for it.

        Args:
            notice: is told in one line, once the server is ready, if it was started here.

        Raises:
            EmbeddedServerError: the folder cannot be written, or the `temporal` program is missing.
        """


class ConfiguredEndpoint:
    """The Temporal that the environment, or Temporal's configuration file, names. Nothing is started for it."""

    embedded = False
    ui = None
    store = ""

    def __init__(self, env: Mapping[str, str]) -> None:
        """Use `resolve`."""
        self._env = dict(env)

    @property
    def address(self) -> str:
        """See Endpoint."""
        return str(self._config["target_host"])

    @property
    def namespace(self) -> str:
        """See Endpoint."""
        return str(self._config["namespace"])

    def connect_config(self) -> dict[str, Any]:
        """See Endpoint."""
        return dict(self._config)

    def start_if_needed(self, notice: Notice | None = None) -> Starting:
        """See Endpoint."""
        return _NothingToStart()

    @cached_property
    def _config(self) -> dict[str, Any]:
        from temporalio.envconfig import ClientConfigProfile

        file = None if self._env.get("TEMPORAL_CONFIG_FILE") else _profile_file(self._env)
        try:
            profile = ClientConfigProfile.load(config_source=file, override_env_vars=self._env)
            config = profile.to_client_connect_config()
        except (RuntimeError, OSError) as error:
            raise UsageError(
                f"Temporal's configuration cannot be used: {error}. Correct the TEMPORAL_* variables"
                f"{f' or {file}' if file else ''}, or remove them to use the embedded server."
            ) from error
        return {"target_host": "localhost:7233", "namespace": NAMESPACE, **config}


class _NothingToStart:
    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """See Starting."""


class EmbeddedEndpoint:
    """The server of this machine. Where it is, is known once it is ready."""

    embedded = True
    namespace = NAMESPACE

    def __init__(self, settings: Settings, env: Mapping[str, str], supervisor: Sequence[str]) -> None:
        """Use `resolve`."""
        self._settings = settings
        self._env = env
        self._supervisor = supervisor
        self._folder = Folder(settings.server_dir)

    @property
    def address(self) -> str:
        """Host and port, as last recorded (it can change when the server starts again); empty if it never started."""
        return self._folder.read().address

    @property
    def ui(self) -> str | None:
        """URL of the Web UI, as last recorded."""
        return self._folder.read().ui or None

    @property
    def store(self) -> str:
        """See Endpoint."""
        return self._folder.read().store

    def connect_config(self) -> dict[str, Any]:
        """See Endpoint."""
        return {"target_host": self.address, "namespace": self.namespace}

    def start_if_needed(self, notice: Notice | None = None) -> Starting:
        """See Endpoint. A supervisor of another version is drained and replaced."""
        starting = _EmbeddedStarting(self._folder, self._supervisor, self._environment(), notice)
        starting.step()
        return starting

    def _environment(self) -> dict[str, str]:
        return {**self._env, **self._settings.environment()}


class _EmbeddedStarting:
    """The way to a ready server: each step looks once and does the one thing that is due."""

    def __init__(self, folder: Folder, supervisor: Sequence[str], env: dict[str, str], notice: Notice | None) -> None:
        self._folder = folder
        self._supervisor = supervisor
        self._env = env
        self._notice = notice
        self._spawned = False
        self._log_start = 0
        self._replaced = Termination(DRAIN_SECONDS)

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """See Starting."""
        deadline = time.monotonic() + timeout
        while (record := self.step()) is None:
            if time.monotonic() > deadline:
                raise self._failed("server", "did not get ready in time")
            time.sleep(POLL_SECONDS)
        if self._spawned and self._notice is not None:
            self._notice(
                f"Started Temporal at {record.address} (Web UI {record.ui}) and a worker in the background; "
                "`skyflow server stop` ends them."
            )
        self._notice = None

    def step(self) -> Record | None:
        """The record of a server that is ready, else None."""
        lock = self._folder.lock()
        if lock is not None:
            try:
                self._start(lock)
            except OSError as error:
                raise EmbeddedServerError(
                    f"The background server cannot be started in {self._folder.path}: {error.strerror or error}. "
                    "Correct that, then try again."
                ) from error
            finally:
                os.close(lock)  # the supervisor holds a copy
            return None
        record = self._folder.read()
        if record.state == "stopping" or not record.is_alive():
            return None
        if record.version != __version__:
            self._replaced.press(record)
            return None
        if record.state == "failed":
            raise EmbeddedServerError(record.error)
        return record if record.state == "ready" else None

    def _start(self, lock: int) -> None:
        record = self._folder.read()
        if self._spawned:
            if record.state == "failed":
                raise EmbeddedServerError(record.error)
            raise self._failed("supervisor", "ended while it started")
        find_temporal(os.get_exec_path(self._env))
        # Nobody may take the record of an earlier server for this one's. Its address is kept, and so are its children.
        self._folder.write(replace(record, state="starting", pid=0, version=__version__, error=""))
        log = self._folder.open_log("supervisor")
        self._log_start = os.fstat(log).st_size
        try:
            # The shell ends at once and leaves the supervisor to init: no zombie of a client that lives long.
            subprocess.run(
                ["/bin/sh", "-c", '"$@" &', "sh", *self._supervisor, str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=self._folder.path,
                pass_fds=[lock],
                start_new_session=True,
                check=True,
            )
        finally:
            os.close(log)
        self._spawned = True

    def _failed(self, part: Part, what: str) -> EmbeddedServerError:
        path = self._folder.log(part)
        line = last_line(path, self._log_start if part == "supervisor" else 0)
        return EmbeddedServerError(
            f"The background {part} {what}{f': {line}' if line else ''} (log: {path}). "
            "Run `skyflow server stop`, then try again."
        )


def resolve(
    settings: Settings, env: Mapping[str, str] | None = None, *, supervisor: Sequence[str] = SUPERVISOR
) -> Endpoint:
    """Where Temporal is. Starts nothing, connects to nothing.

    Args:
        settings: of this process.
        env: the environment; `os.environ` if not given.
        supervisor: the command of the embedded server's supervisor; the descriptor of its lock is added to it.
    """
    env = os.environ if env is None else env
    if is_configured(env):
        return ConfiguredEndpoint(env)
    return EmbeddedEndpoint(settings, env, supervisor)


def is_configured(env: Mapping[str, str]) -> bool:
    """Whether Temporal's own environment configuration says where Temporal is."""
    names = [name for name, value in env.items() if value and name.startswith("TEMPORAL_")]
    if any(name.startswith("TEMPORAL_TLS") or name.removeprefix("TEMPORAL_") in _CONFIGURED_BY for name in names):
        return True
    return _profile_file(env) is not None


def is_loopback(address: str) -> bool:
    """Whether `host:port` is on this machine: then clients and workers share its folders."""
    import ipaddress

    host = address.removeprefix("http://").removeprefix("https://").rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def plain_reason(error: Exception) -> str:
    """Why a connection failed, out of what Temporal's core prints of its insides."""
    text = str(error)
    if told := re.findall(r'(?:message|error): "(.+?)"', text):
        return str(told[-1])
    if tls := re.search(r"kind: InvalidData, error: (\w.*?) }", text):
        return f"TLS failed: {tls[1]}"
    return text


def _profile_file(env: Mapping[str, str]) -> Path | None:
    """Temporal's configuration file at its default place, if there is one."""
    home = Path(env.get("HOME") or Path.home())
    if sys.platform == "darwin":
        folder = home / "Library" / "Application Support"
    else:
        configured = Path(env.get("XDG_CONFIG_HOME") or "")
        folder = configured if configured.is_absolute() else home / ".config"
    file = folder / "temporalio" / "temporal.toml"
    return file if file.is_file() else None


# What `skyflow server` does


def start(settings: Settings, env: Mapping[str, str] | None = None, notice: Notice | None = None) -> Record:
    """Starts the embedded server if it does not run, and waits until it is ready.

    Raises:
        EmbeddedServerError: it does not start.
    """
    endpoint = EmbeddedEndpoint(settings, os.environ if env is None else env, SUPERVISOR)
    endpoint.start_if_needed(notice).wait_ready()
    return Folder(settings.server_dir).read()


def status(settings: Settings) -> Record | None:
    """What the supervisor says about itself; None if none runs."""
    folder = Folder(settings.server_dir)
    return folder.read() if folder.is_held() else None


def stop(settings: Settings, patience: float = DRAIN_SECONDS) -> bool:
    """Drains the worker and stops the server, by force after `patience` seconds. Local nodes and their jobs go on.

    Returns:
        Whether one ran.
    """
    folder = Folder(settings.server_dir)
    if not folder.path.is_dir():
        return False
    ending = Termination(patience)
    deadline = time.monotonic() + 2 * patience
    ran = False
    while (lock := folder.lock()) is None:
        ran = True
        ending.press(folder.read())
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"The background server in {folder.path} does not end; end process {folder.read().pid}."
            )
        time.sleep(POLL_SECONDS)
    try:
        folder.end_leftovers()
        folder.write(replace(folder.read(), state="stopped", pid=0))
    finally:
        os.close(lock)
    return ran


def log_path(settings: Settings, part: Part = "supervisor") -> Path:
    """The log of the supervisor, the server or the worker."""
    return Folder(settings.server_dir).log(part)
