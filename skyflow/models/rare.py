"""The fields of a task that few tasks have: each is checked by a module of its own, imported when a task has it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from skyflow.errors import InvalidTaskError
from skyflow.models.document import Document, Path, Schema, check_text, describe
from skyflow.models.env import substitute_deep

CHECKS = {
    "secrets": "secret:check_secrets",
    "managed_secrets": "secret:check_managed_secrets",
    "service": "service:check_service",
    "pool": "pool:check_pool",
    "config": "override:check_config",
    "volumes": "volume:check_volumes",
    "inputs": "transfer:check_transfer",
    "outputs": "transfer:check_transfer",
    "event_callback": "hook:check_event_callback",
    "api_server_access": "shape:boolean",
    "docker_image": "rare:check_docker_image",
    "storage_mounts": "rare:check_storage_mounts",
}
"""Field → module in this package, and the function that checks a value."""

_CLASSES = {
    "secrets": "Secrets", "service": "Service", "pool": "Pool", "config": "Overrides", "inputs": "Transfer",
    "outputs": "Transfer",
}  # fmt: skip
"""Field → class in the same module, of which Python code may give a value."""

RARE = tuple(field for field in CHECKS if field != "storage_mounts")
"""Those that a task YAML names so. Storage mounts stand among the file mounts there."""

_SUBSTITUTED = ("service", "volumes")
_SCHEMA = Schema("task", "run: echo hello", CHECKS, ())


class RareFields:
    """The rare fields of one task that have a value, checked.

    Args:
        document: what they come from.
        given: field → value, not checked yet.
    """

    def __init__(self, document: Document, given: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = {}
        fields = document.fields(given, (), _SCHEMA)
        for field, value in fields.items():
            if (checked := check(document, field, value)) is not None:
                self._values[field] = checked
        self._check_together(document)

    def get(self, field: str) -> Any:
        """The value of a field as its own class, or None."""
        return self._values.get(field)

    def set(self, field: str, value: Any) -> None:
        """Replaces a field; None removes it. Raises InvalidTaskError if the value is wrong, and changes nothing."""
        before = dict(self._values)
        self._values.pop(field, None)
        try:
            if value is not None:
                self._values[field] = check(Document(None), field, value)
            self._check_together(Document(None))
        except InvalidTaskError:
            self._values = before
            raise

    def names(self) -> list[str]:
        """The fields that have a value."""
        return list(self._values)

    def to_yaml_config(self, *, reveal_secrets: bool = False) -> dict[str, Any]:
        """The fields of a task YAML from which the same values come. Storage mounts are not among them."""
        config = {}
        for field in RARE:
            if (value := self._values.get(field)) is not None:
                config[field] = value.to_yaml_config(reveal=reveal_secrets) if field == "secrets" else _plain(value)
        return config

    def _check_together(self, document: Document) -> None:
        if "service" in self._values and "pool" in self._values:
            raise InvalidTaskError(f"{document.at(('pool',))}Cannot set both service and pool in the same task.")


def check(document: Document, field: str, value: Any) -> Any:
    """The value of one field as its own class; one that is of that class already is kept."""
    module, _, name = CHECKS[field].partition(":")
    home = import_module(f"skyflow.models.{module}")
    if field in _CLASSES and isinstance(value, getattr(home, _CLASSES[field])):
        return value
    return getattr(home, name)(document, value, (field,))


def fill_in(document: Document, field: str, value: Any, envs: Mapping[str, str]) -> Any:
    """A value with the task's variables, where SkyPilot fills them in (PARITY §2)."""
    if field not in _SUBSTITUTED:
        return value
    return document.check((field,), lambda given: substitute_deep(given, envs), value)


def check_docker_image(document: Document, value: object, path: Path) -> str:
    """The image of a task that runs in a container on this machine (PARITY K06)."""
    if not isinstance(value, str) or not value:
        raise InvalidTaskError(
            f"{document.at(path)}docker_image must be the name of an image, found {describe(value)}."
        )
    return document.check(path, lambda given: check_text(given, "docker_image"), value)


def check_storage_mounts(document: Document, value: object, path: Path) -> dict[str, Any]:
    """Path on the nodes → Storage, as Python code gives them (PARITY K16)."""
    from skyflow.models.mount import check_target
    from skyflow.models.storage import Storage

    if not isinstance(value, Mapping):
        raise InvalidTaskError(f"storage_mounts must be a mapping of paths to Storage, found {describe(value)}.")
    for target, storage in value.items():
        if not isinstance(storage, Storage):
            raise InvalidTaskError(f"storage_mounts[{target!r}] must be a Storage, found {describe(storage)}.")
    return {check_target(target): storage for target, storage in value.items()}


def _plain(value: Any) -> Any:
    """Plain JSON of a value, or of all values in it."""
    if hasattr(value, "to_yaml_config"):
        return value.to_yaml_config()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
