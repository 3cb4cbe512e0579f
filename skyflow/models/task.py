"""A task: what to run, with what, on how many nodes. SkyPilot's `Task`; `task_source.py` reads it from YAML."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from skyflow.errors import InvalidTaskError, NotSupportedError
from skyflow.models.block import check_block
from skyflow.models.choice import Choice, check_resources
from skyflow.models.document import Document, Path, Schema, describe, show
from skyflow.models.env import check_envs
from skyflow.models.feature import CloudFeature
from skyflow.models.field import (
    RunFunction,
    check_folder,
    check_name,
    check_name_form,
    check_num_nodes,
    check_run,
    check_script,
    check_workdir,
)
from skyflow.models.mount import check_mount, check_mounts, is_uri
from skyflow.models.rare import RARE, RareFields
from skyflow.models.resources import Resources

if TYPE_CHECKING:
    from skyflow.models.filled import Filled
    from skyflow.models.secret import Secret
    from skyflow.models.storage import Storage
    from skyflow.models.transfer import Transfer

Pairs = Mapping[str, Any] | list[tuple[str, Any]] | None
"""Names and values, as a dict or as pairs."""

collecting: ContextVar[Any] = ContextVar("collecting", default=None)
"""The Dag whose `with` block is being executed: a task made there belongs to it."""

HOURS = 1.0
"""How long a task is taken to run if nobody says (PARITY §4.6)."""


class Task:
    """What to run, with what, on how many nodes.

    Args:
        name: letters and digits, joined by `.`, `_` or `-`.
        setup: shell commands, run on every node before `run`.
        run: shell commands, run on every node; a list is joined with newlines. A function is called here, once a node,
            with its rank and the symbolic addresses of all, and returns the commands of that node.
        envs: environment variables of setup and run, as a dict or as pairs.
        workdir: local folder that becomes `~/sky_workdir` on the nodes, where setup and run are executed; or `url` and
            `ref` of a git repository.
        num_nodes: how many nodes; 1 if not given.
        file_mounts: path on the nodes → local file or folder, or the URI of a bucket.
        resources: of each node; a set of them is any, a list is in that order.
        blocked_resources: what may not be used.
        rare: see RareFields.

    Raises:
        InvalidTaskError: a value is wrong.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        setup: str | None = None,
        run: str | list[str] | RunFunction | None = None,
        envs: Pairs = None,
        workdir: str | Mapping[str, str] | None = None,
        num_nodes: int | None = None,
        file_mounts: Mapping[str, str] | None = None,
        resources: Resources | Mapping[str, Any] | Iterable[Resources] | None = None,
        blocked_resources: Iterable[Resources] | None = None,
        **rare: Any,
    ) -> None:
        self.name = check_name(name)
        self.setup = check_script("setup", setup)
        self.run = check_run(_join_lines(run))
        self.envs: dict[str, str] = check_envs(envs)
        self.workdir = check_workdir(workdir)
        self.num_nodes = check_num_nodes(num_nodes)
        self.file_mounts: dict[str, str] | None = None
        self.set_file_mounts(file_mounts)
        self.resources: Choice = check_resources(resources)
        self.blocked_resources: list[Resources] = check_blocked(blocked_resources)
        for field in rare:
            if hint := _ARGUMENTS.hint(field):
                raise InvalidTaskError(f"Task has no such argument. {hint}")
        self.rare = RareFields(Document(None), rare)
        self.best_resources: Any = None
        """A place that was chosen beforehand; the optimizer is not asked then (PARITY E17)."""
        self._seconds: Callable[[Any], float] | None = None
        self._filled: Filled | None = None
        self._place = Document(None)
        self._read: dict[Path, object] = {}
        dag = collecting.get()
        if dag is not None:
            dag.add(self)

    # From and to YAML

    @classmethod
    def from_yaml(
        cls, yaml_path: str | os.PathLike[str], env_overrides: Pairs = None, secrets_overrides: Pairs = None
    ) -> Task:
        """The task of a YAML file.

        Args:
            yaml_path: of the file.
            env_overrides: variables that replace those of the file (`--env`), as a dict or as pairs.
            secrets_overrides: values of secrets, the same (`--secret`).

        Raises:
            InvalidTaskError: something in it is wrong; names the file and the line.
        """
        from skyflow.models import task_source, yaml_source  # only here: a shell command needs no YAML parser

        document = task_source.check_not_empty(yaml_source.read_file(yaml_path))
        return task_source.read_task(document, env_overrides, secrets_overrides)

    @classmethod
    def from_yaml_str(cls, yaml_str: str, env_overrides: Pairs = None, secrets_overrides: Pairs = None) -> Task:
        """The task of a YAML text. An empty one is an empty task."""
        from skyflow.models import task_source, yaml_source  # as in from_yaml

        document = yaml_source.read_text(yaml_str)
        found = Document({}) if document.config is None else document
        return task_source.read_task(found, env_overrides, secrets_overrides)

    @classmethod
    def from_yaml_config(
        cls, config: Mapping[str, Any], env_overrides: Pairs = None, secrets_overrides: Pairs = None
    ) -> Task:
        """The task of a dict with the keys of a task YAML. Does not look at the file system."""
        from skyflow.models import task_source  # which imports this module

        return task_source.read_task(Document(config), env_overrides, secrets_overrides)

    def to_yaml_config(self, *, reveal_secrets: bool = False) -> dict[str, Any]:
        """The dict from which `from_yaml_config` makes the same task: plain JSON.

        Values of secrets are left out, unless `reveal_secrets`: such a dict is read again only with them.
        """
        storage_mounts = {path: storage.to_yaml_config() for path, storage in self.storage_mounts.items()}
        fields: dict[str, Any] = {
            "name": self.name,
            "resources": self.resources.to_yaml_config() or None,
            "num_nodes": self.num_nodes if self.num_nodes != 1 else None,
            "envs": dict(self.envs) or None,
            "workdir": self.workdir,
            "file_mounts": {**(self.file_mounts or {}), **storage_mounts} or None,
            "setup": self.setup,
            "run": self.script(),
            "blocked_resources": [one.to_yaml_config() for one in self.blocked_resources] or None,
            **self.rare.to_yaml_config(reveal_secrets=reveal_secrets),
        }
        config = {field: value for field, value in fields.items() if value is not None}
        return config if self._filled is None or reveal_secrets else self._filled.hide(config)

    def remember_filled(self, values: Mapping[str, str], written: Task | None) -> None:
        """Notes which values of secrets were filled in when it was read, and the task without them, if there is one."""
        from skyflow.models.filled import Filled  # rare

        filled = self.to_yaml_config()
        self._filled = Filled(values, filled, {} if written is None else written.to_yaml_config())

    def remember_place(self, document: Document) -> None:
        """Notes where it was read, so that `validate` can name the line of what is still as it was then."""
        self._place = Document(None, document.name, document.lines)
        self._read = self._parts()

    def script(self) -> str | None:
        """The commands of `run`; of a function, those that it returns. Raises InvalidTaskError if it fails."""
        if not callable(self.run):
            return self.run
        from skyflow.models import symbolic  # rare

        return symbolic.script_of(self.run, self.num_nodes)

    def validate(self) -> None:
        """Checks everything again, because attributes can be set, and looks at the local paths.

        Raises:
            InvalidTaskError: a value is wrong, or a local path does not exist.
        """
        trouble: InvalidTaskError
        try:
            return self._validate()
        except InvalidTaskError as error:
            if self._filled is None:
                raise
            trouble = type(error)(self._filled.redact(str(error)))
        raise trouble  # not from the error, which may tell the value of a secret

    def _validate(self) -> None:
        check_script("setup", self.setup)
        check_run(self.run)
        check_num_nodes(self.num_nodes)
        check_envs(self.envs)
        check_mounts(self.file_mounts or {})
        for path, value in self._parts().items():
            place = self._place if self._read.get(path) == value else Document(None)
            place.check(path, lambda given, path=path: self._validate_part(path, given), value)  # type: ignore[misc]

    def _parts(self) -> dict[Path, object]:
        """What `validate` can only tell when everything is known: path in a task YAML → value."""
        mounts = {**(self.file_mounts or {}), **self.storage_mounts}
        parts: dict[Path, object] = {("name",): self.name, ("workdir",): self.workdir}
        return parts | {("file_mounts", target): source for target, source in mounts.items()}

    def _validate_part(self, path: Path, value: Any) -> None:
        match path:
            case ("name",):
                check_name_form(check_name(value))
            case ("workdir",):
                check_folder(check_workdir(value))
            case (_, target):
                check_mount(target, value, has_workdir=self.workdir is not None)

    # Setters; each returns the task

    def set_resources(self, resources: Resources | Mapping[str, Any] | Iterable[Resources] | None) -> Task:
        """Replaces the resources: one, a dict, a set (any of them) or a list (in that order; PARITY K11)."""
        self.resources = check_resources(resources)
        return self

    def set_resources_override(self, override_params: Mapping[str, Any]) -> Task:
        """Replaces fields of every set of resources (PARITY K12)."""
        self.resources = self.resources.override(override_params)
        return self

    def update_envs(self, envs: Pairs) -> Task:
        """Adds environment variables, or replaces their values (PARITY K10)."""
        self.envs.update(check_envs(envs))
        return self

    def update_secrets(self, secrets: Pairs) -> Task:
        """Adds secrets, or replaces their values."""
        from skyflow.models.secret import Secrets, check_secret_values  # rare

        own = self.rare.get("secrets") or Secrets()
        self.rare.set("secrets", own.update(check_secret_values(secrets)))
        return self

    def set_workdir(self, workdir: str | Mapping[str, str] | None) -> Task:
        """Replaces the workdir: a local folder, or `url` and `ref` of a git repository."""
        self.workdir = check_workdir(workdir)
        return self

    def set_file_mounts(self, file_mounts: Mapping[str, str] | None) -> Task:
        """Replaces the file mounts; None removes them (PARITY K14)."""
        self.file_mounts = None if file_mounts is None else check_mounts(file_mounts)
        return self

    def update_file_mounts(self, file_mounts: Mapping[str, str]) -> Task:
        """Adds file mounts, or replaces their sources (PARITY K15)."""
        self.file_mounts = (self.file_mounts or {}) | check_mounts(file_mounts)
        return self

    def set_storage_mounts(self, storage_mounts: Mapping[str, Storage] | None) -> Task:
        """Replaces the storage mounts; None removes them (PARITY K16)."""
        self.rare.set("storage_mounts", None if storage_mounts == {} else storage_mounts)
        return self

    def update_storage_mounts(self, storage_mounts: Mapping[str, Storage]) -> Task:
        """Adds storage mounts, or replaces them (PARITY K16)."""
        if not isinstance(storage_mounts, Mapping):
            return self.set_storage_mounts(storage_mounts)
        return self.set_storage_mounts({**self.storage_mounts, **storage_mounts})

    def set_volumes(self, volumes: Mapping[str, Any] | None) -> Task:
        """Replaces the volumes; None removes them."""
        self.rare.set("volumes", volumes)
        return self

    def set_service(self, service: Any) -> Task:
        """What the task serves (PARITY K13). Held and written to YAML; this version cannot serve yet."""
        self.rare.set("service", service)
        return self

    def set_inputs(self, inputs: str, estimated_size_gigabytes: float) -> Task:
        """The bucket that the task reads, and how much of it: counts for where it is best run."""
        self.rare.set("inputs", {inputs: estimated_size_gigabytes})
        return self

    def set_outputs(self, outputs: str, estimated_size_gigabytes: float) -> Task:
        """The bucket that the task writes, and how much: counts for where the next task is best run."""
        self.rare.set("outputs", {outputs: estimated_size_gigabytes})
        return self

    def set_time_estimator(self, func: Callable[[Resources], float]) -> Task:
        """Says how long the task runs, in seconds, on launchable resources. Without it, it is one hour."""
        if not callable(func):
            raise InvalidTaskError(f"A time estimator must be a function of Resources, found {describe(func)}.")
        self._seconds = func
        return self

    # What it is

    def estimate_hours(self, resources: Resources | None) -> float:
        """How long the task runs on these resources, in hours.

        Raises:
            InvalidTaskError: what the task's own estimator says is no time.
        """
        if self._seconds is None:
            return HOURS
        seconds = self._seconds(resources)
        if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
            raise InvalidTaskError(f"The time estimator of {self} must return seconds, found {show(seconds)}.")
        return seconds / 3600

    @property
    def has_time_estimator(self) -> bool:
        return self._seconds is not None

    @property
    def storage_mounts(self) -> dict[str, Storage]:
        """Path on the nodes → storage."""
        return dict(self.rare.get("storage_mounts") or {})

    @property
    def volumes(self) -> dict[str, Any]:
        """Path on the nodes → volume, as a task YAML has it: its name, or a mapping."""
        volumes = self.rare.get("volumes") or {}
        return {target: volume.to_yaml_config() for target, volume in volumes.items()}

    @property
    def use_spot(self) -> bool:
        """Whether some of its resources are spot."""
        return any(one.use_spot for one in self.resources)

    @property
    def secrets(self) -> dict[str, Secret | None]:
        """Name → secret, whose value is never shown; None if it has none yet."""
        found = self.rare.get("secrets")
        return {} if found is None else {**found.values, **dict.fromkeys(found.missing)}

    @property
    def service(self) -> Any:
        """What the task serves, if it does."""
        return self.rare.get("service")

    @property
    def inputs(self) -> Transfer | None:
        """What it reads from a bucket."""
        found: Transfer | None = self.rare.get("inputs")
        return found

    @property
    def outputs(self) -> Transfer | None:
        """What it writes, which the tasks after it read."""
        found: Transfer | None = self.rare.get("outputs")
        return found

    @property
    def docker_image(self) -> str | None:
        """Held for programs that set it (PARITY K06)."""
        image: str | None = self.rare.get("docker_image")
        return image

    @property
    def event_callback(self) -> str | None:
        """A script that is run when the task changes its state (PARITY K08)."""
        callback: str | None = self.rare.get("event_callback")
        return callback

    @property
    def need_spot_recovery(self) -> bool:
        """Whether it wants to be recovered when its nodes are taken away, as only managed jobs are (PARITY E08)."""
        return any(one.job_recovery is not None and one.job_recovery.enabled for one in self.resources)

    def is_controller_task(self) -> bool:
        """Never: managed jobs and services need no node of their own here (PARITY K17)."""
        return False

    @property
    def spot_task(self) -> None:
        """The task that a controller runs; there is none (PARITY K19)."""

    def get_required_cloud_features(self) -> set[CloudFeature]:
        """What a cloud must be able to do for the task, whichever resources are chosen (PARITY K18)."""
        features = set.intersection(*(one.features() for one in self.resources))
        if self.num_nodes > 1:
            features.add(CloudFeature.MULTI_NODE)
        if self.storage_mounts:
            features.add(CloudFeature.STORAGE_MOUNTING)
        return features

    def get_local_to_remote_file_mounts(self) -> dict[str, str] | None:
        """Path on the nodes → local path, or None if there are no file mounts (PARITY K19)."""
        if not self.file_mounts:
            return None
        return {target: source for target, source in self.file_mounts.items() if not is_uri(source)}

    def sync_storage_mounts(self) -> None:
        """Uploads what storage mounts need (PARITY K19). Nothing to do without them; not in this version with them."""
        if self.storage_mounts:
            raise NotSupportedError("Storage mounts are not supported by this version of skyflow yet.")

    def __rshift__(self, other: Task) -> Task:
        """`a >> b`: b comes after a, in the Dag whose `with` block this is in. Returns b, so that it can go on."""
        dag = collecting.get()
        if dag is None:
            raise InvalidTaskError("`task >> task` only works inside of `with Dag() as dag:`; or use dag.add_edge.")
        dag.add_edge(self, other)
        return other

    def __repr__(self) -> str:
        # Not the environment variables: some of them may be secret, and this ends up in logs.
        shown = {field: value for field in ("name", "run") if (value := getattr(self, field)) is not None}
        return f"Task({', '.join(f'{field}={show(value)}' for field, value in shown.items())})"


FIELDS = (
    "name",
    "setup",
    "run",
    "envs",
    "workdir",
    "num_nodes",
    "file_mounts",
    "resources",
    "blocked_resources",
    *RARE,
)


_ARGUMENTS = Schema("task", "run: echo hello", (*FIELDS, "storage_mounts"), ())


def _join_lines(run: object) -> object:
    """The lines of a script that Python code gave as a list."""
    return "\n".join(run) if isinstance(run, list) and all(isinstance(line, str) for line in run) else run


def check_blocked(blocked: object) -> list[Resources]:
    """What may not be used, as Python code may give it: one Resources, some of them, or None."""
    several = isinstance(blocked, Iterable)
    found: list[Any] = [] if blocked is None else list(blocked) if several else [blocked]  # type: ignore[call-overload]
    for one in found:
        if not isinstance(one, Resources):
            raise InvalidTaskError(f"blocked_resources must be a list of Resources, found {describe(one)}.")
    return [check_block(one) for one in found]
