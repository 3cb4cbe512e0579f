"""A task: what to run, with what, on how many nodes. SkyPilot's task YAML and `Task`, the common part of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from skyflow.errors import InvalidTaskError, NotSupportedError, UsageError
from skyflow.models.document import Document, Schema, describe, show
from skyflow.models.env import check_env, check_envs, parse_env_option, read_env_file, substitute
from skyflow.models.field import (
    check_folder,
    check_name,
    check_name_form,
    check_num_nodes,
    check_run,
    check_setup,
    check_workdir,
)
from skyflow.models.mount import check_mounts, check_mounts_exist
from skyflow.models.resources import Resources, check_resources

__all__ = ["Task", "collecting", "entrypoint", "parse_env_option", "read_env_file"]

FIELDS = ("name", "setup", "run", "envs", "workdir", "num_nodes", "file_mounts", "resources")
LATER_FIELDS = (
    "api_server_access", "blocked_resources", "config", "docker_image", "event_callback", "execution", "experimental",
    "file_mounts_mapping", "inputs", "inter_connection", "managed_secrets", "outputs", "pool", "primary_tasks",
    "secrets", "service", "storage_mounts", "termination_delay", "volume_mounts", "volumes",
)  # fmt: skip

SCHEMA = Schema("task", "run: echo hello", FIELDS, LATER_FIELDS)

COMMAND_NAME = "sky-cmd"
"""Name of a task that was given as a shell command."""

collecting: ContextVar[list[Task] | None] = ContextVar("collecting", default=None)
"""The tasks of the `with Dag():` block that is being executed: a task made there belongs to it."""


class Task:
    """What to run, with what, on how many nodes.

    Args:
        name: letters and digits, joined by `.`, `_` or `-`.
        setup: shell commands, run on every node before `run`.
        run: shell commands, run on every node; a list is joined with newlines.
        envs: environment variables of setup and run, as a dict or as pairs.
        workdir: local folder that becomes `~/sky_workdir` on the nodes, where setup and run are executed.
        num_nodes: how many nodes; 1 if not given.
        file_mounts: path on the nodes → local file or folder.
        resources: of each node.
        later: fields of SkyPilot that this version does not support yet; refused by name.

    Raises:
        InvalidTaskError: a value is wrong.
        NotSupportedError: a field, or a kind of value, is not supported yet.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        setup: str | None = None,
        run: str | list[str] | None = None,
        envs: Mapping[str, Any] | list[tuple[str, Any]] | None = None,
        workdir: str | None = None,
        num_nodes: int | None = None,
        file_mounts: Mapping[str, str] | None = None,
        resources: Resources | Mapping[str, Any] | None = None,
        **later: object,
    ) -> None:
        Document(None).fields(later, (), SCHEMA)
        self.name = check_name(name)
        self.setup = check_setup(setup)
        self.run = check_run(_join_lines(run))
        self.envs: dict[str, str] = check_envs(envs)
        self.workdir = check_workdir(workdir)
        self.num_nodes = check_num_nodes(num_nodes)
        self.file_mounts: dict[str, str] | None = None
        self.set_file_mounts(file_mounts)
        self.resources = check_resources(resources)
        self.best_resources: Any = None
        """A place that was chosen beforehand; the optimizer is not asked then (PARITY E17)."""
        tasks = collecting.get()
        if tasks is not None:
            tasks.append(self)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], envs: Mapping[str, str] | None = None) -> Task:
        """The task of a YAML file.

        Args:
            path: of the file.
            envs: variables that replace those of the file (`--env`).

        Raises:
            InvalidTaskError: something in it is wrong; names the file and the line.
            NotSupportedError: a field, or a kind of value, is not supported yet.
        """
        from skyflow.models import yaml_source  # only here: a shell command needs no YAML parser

        document = yaml_source.read_file(path)
        if document.config in (None, {}, []):
            raise InvalidTaskError(f"Task YAML {os.fspath(path)!r} is empty or contains no task definition.")
        return cls._from_document(document, envs)

    @classmethod
    def from_yaml_str(cls, text: str, envs: Mapping[str, str] | None = None) -> Task:
        """The task of a YAML text. An empty one is an empty task."""
        from skyflow.models import yaml_source  # as in from_yaml

        document = yaml_source.read_text(text)
        return cls() if document.config is None else cls._from_document(document, envs)

    @classmethod
    def from_yaml_config(cls, config: Mapping[str, Any], envs: Mapping[str, str] | None = None) -> Task:
        """The task of a dict with the keys of a task YAML. Does not look at the file system."""
        return cls._from_document(Document(config), envs)

    @classmethod
    def _from_document(cls, document: Document, overrides: Mapping[str, str] | None) -> Task:
        given = document.fields(document.config, (), SCHEMA)
        envs = _read_envs(document, given.get("envs"), check_envs(overrides))
        if isinstance(given.get("workdir"), str):
            given["workdir"] = substitute(given["workdir"], envs)
        checks = {
            "name": check_name,
            "setup": check_setup,
            "run": check_run,
            "workdir": check_workdir,
            "num_nodes": check_num_nodes,
        }
        fields: dict[str, Any] = {
            field: document.check((field,), check, given[field]) for field, check in checks.items() if field in given
        }
        mounts = _read_mounts(document, given.get("file_mounts"), envs)
        resources = Resources.from_document(document, given.get("resources"), ("resources",))
        return cls(**fields, envs=envs, file_mounts=mounts, resources=resources)

    def to_yaml_config(self) -> dict[str, Any]:
        """The dict from which `from_yaml_config` makes the same task: plain JSON."""
        fields: dict[str, Any] = {
            "name": self.name,
            "resources": self.resources.to_yaml_config() or None,
            "num_nodes": self.num_nodes if self.num_nodes != 1 else None,
            "envs": dict(self.envs) or None,
            "workdir": self.workdir,
            "file_mounts": dict(self.file_mounts) if self.file_mounts else None,
            "setup": self.setup,
            "run": self.run,
        }
        return {field: value for field, value in fields.items() if value is not None}

    def validate(self) -> None:
        """Checks everything again, because attributes can be set, and looks at the local paths.

        Raises:
            InvalidTaskError: a value is wrong, or a local path does not exist.
            NotSupportedError: a kind of value is not supported yet.
        """
        check_name_form(check_name(self.name))
        check_setup(self.setup)
        check_run(self.run)
        check_num_nodes(self.num_nodes)
        check_envs(self.envs)
        if check_workdir(self.workdir) is not None:
            check_folder(self.workdir or "")
        check_mounts_exist(check_mounts(self.file_mounts or {}), self.workdir)

    def set_resources(self, resources: Resources | Mapping[str, Any] | Iterable[Resources] | None) -> Task:
        """Replaces the resources (PARITY K11). A choice of several is not supported yet."""
        self.resources = check_resources(resources)
        return self

    def update_envs(self, envs: Mapping[str, Any] | list[tuple[str, Any]] | None) -> Task:
        """Adds environment variables, or replaces their values (PARITY K10)."""
        self.envs.update(check_envs(envs))
        return self

    def set_file_mounts(self, file_mounts: Mapping[str, str] | None) -> Task:
        """Replaces the file mounts; None removes them (PARITY K14)."""
        self.file_mounts = None if file_mounts is None else check_mounts(file_mounts)
        return self

    def update_file_mounts(self, file_mounts: Mapping[str, str]) -> Task:
        """Adds file mounts, or replaces their sources (PARITY K15)."""
        self.file_mounts = (self.file_mounts or {}) | check_mounts(file_mounts)
        return self

    def get_local_to_remote_file_mounts(self) -> dict[str, str] | None:
        """Path on the nodes → local path, or None if there are no file mounts (PARITY K19)."""
        return dict(self.file_mounts) if self.file_mounts else None

    def __repr__(self) -> str:
        # Not the environment variables: some of them may be secret, and this ends up in logs.
        shown = {field: value for field in ("name", "run") if (value := getattr(self, field)) is not None}
        return f"Task({', '.join(f'{field}={show(value)}' for field, value in shown.items())})"


def entrypoint(words: list[str], envs: Mapping[str, str] | None = None) -> Task:
    """The task that the words of a command line mean: one task YAML, or a shell command.

    Args:
        words: a path that ends in .yaml or .yml, or is a file that holds a mapping; otherwise a command, whose words
            are joined with spaces.
        envs: variables that replace those of the task (`--env`).

    Raises:
        UsageError: there are no words.
        InvalidTaskError, NotSupportedError: as `Task.from_yaml`.
    """
    text = " ".join(words).strip()
    if not text:
        raise UsageError("Nothing to run: give a task YAML or a shell command.")
    exists = os.path.isfile(os.path.expanduser(text))
    if text.lower().endswith((".yaml", ".yml")):
        if exists or len(text.split()) == 1:  # otherwise a command that ends so: cat task.yaml
            return Task.from_yaml(text, envs)
    elif exists and _holds_mapping(text):
        return Task.from_yaml(text, envs)
    return Task(COMMAND_NAME, run=text, envs=check_envs(envs))


def _holds_mapping(path: str) -> bool:
    from skyflow.models import yaml_source  # as in Task.from_yaml

    try:
        return isinstance(yaml_source.read_file(path).config, Mapping)
    except (InvalidTaskError, NotSupportedError):  # a script or a program, so a command
        return False


def _read_envs(document: Document, section: object, overrides: dict[str, str]) -> dict[str, str]:
    """The `envs` of a document. One without a value must be among the overrides."""
    if section is None:
        return overrides
    if not isinstance(section, Mapping):
        raise InvalidTaskError(
            f"{document.at(('envs',))}envs must be a mapping of names to values, found {describe(section)}."
        )
    checked = [
        document.check(("envs", key), _check_pair, (key, overrides.get(key, value))) for key, value in section.items()
    ]
    return dict(checked) | overrides


def _read_mounts(document: Document, section: object, envs: dict[str, str]) -> dict[str, str] | None:
    """The `file_mounts` of a document, with the variables filled in."""
    if section is None:
        return None
    if not isinstance(section, Mapping):
        return document.check(("file_mounts",), check_mounts, section)
    mounts: dict[str, str] = {}
    for key, value in section.items():
        path = ("file_mounts", key)
        target, source = (substitute(part, envs) if isinstance(part, str) else part for part in (key, value))
        if target in mounts:
            raise InvalidTaskError(f"{document.at(path)}file_mounts: the destination {show(target)} is there twice.")
        mounts |= document.check(path, check_mounts, {target: source})
    return mounts


def _check_pair(pair: tuple[object, object]) -> tuple[str, str]:
    return check_env(*pair)


def _join_lines(run: object) -> object:
    """The lines of a script that Python code gave as a list."""
    return "\n".join(run) if isinstance(run, list) and all(isinstance(line, str) for line in run) else run
