"""Secrets of a task: values that no message, log or repr shows, and references to values that are kept elsewhere.

No error of this module shows a value, nor what may be one: whoever writes a secret in the wrong place has still
written a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from skyflow.errors import InvalidTaskError
from skyflow.models.document import Document, Path, check_text, show
from skyflow.models.env import ENV_KEY
from skyflow.models.shape import spell

PREFIX = "secrets:"
SCOPES = ("personal", "workspace", "global")
REDACTED = "<redacted>"


class Secret:
    """A value that is only shown when it is asked for by `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A secret is not pickled; reveal() it where it is needed.")


@dataclass(frozen=True)
class SecretRef:
    """A secret that is kept elsewhere.

    Args:
        name: of the secret, and of the environment variable that gets its value.
        scope: one of SCOPES, or None for the nearest.
        mount_path: where on the nodes it becomes a file, instead of a variable.
    """

    name: str
    scope: str | None = None
    mount_path: str | None = None

    @property
    def spelled(self) -> str:
        """As it is written under `secrets`: `secrets:global.NAME`."""
        return f"{PREFIX}{self.scope}.{self.name}" if self.scope else f"{PREFIX}{self.name}"

    def to_yaml_config(self) -> str | dict[str, dict[str, str]]:
        """The entry of `managed_secrets` that means the same."""
        return self.spelled if self.mount_path is None else {self.spelled: {"mount_path": self.mount_path}}


@dataclass(frozen=True)
class Secrets:
    """The `secrets` of a task.

    Args:
        values: name → value, for those that are given.
        wanted: names without a value: `--secret NAME` gives it, or somebody who keeps secrets.
        refs: secrets that are kept elsewhere, named as such.
    """

    values: dict[str, Secret] = field(default_factory=dict)
    wanted: tuple[str, ...] = ()
    refs: tuple[SecretRef, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The names that have no value here."""
        return (*self.wanted, *(ref.name for ref in self.refs if ref.name not in self.values))

    def update(self, values: Mapping[str, Secret]) -> Secrets:
        """These secrets with other values, or more of them (`--secret`)."""
        wanted = tuple(name for name in self.wanted if name not in values)
        return Secrets({**self.values, **values}, wanted, self.refs)

    def reveal(self) -> dict[str, str]:
        """Name → value in plain text, of those that are given."""
        return {name: value.reveal() for name, value in self.values.items()}

    def to_yaml_config(self, *, reveal: bool = False) -> dict[str, str | None] | list[str]:
        """The `secrets` section that means the same; without `reveal`, `<redacted>` stands for every value."""
        if self.refs and not self.values and not self.wanted:
            return [ref.spelled for ref in self.refs]
        values = {name: value.reveal() if reveal else REDACTED for name, value in self.values.items()}
        return values | dict.fromkeys(self.wanted) | dict.fromkeys(ref.spelled for ref in self.refs)


def check_secrets(document: Document, value: object, path: Path) -> Secrets:
    """A mapping of names to values, null for a value that comes from elsewhere; or a list of `secrets:NAME`."""
    if isinstance(value, Mapping):
        return _check_mapping(document, value, path)
    if isinstance(value, list | tuple):
        refs = [_check_item(document, item, (*path, index)) for index, item in enumerate(value)]
        return Secrets(refs=tuple(dict.fromkeys(refs)))
    raise InvalidTaskError(
        f"{document.at(path)}{spell(path)} must be a mapping of names to values, or a list of {PREFIX}NAME."
    )


def check_secret(key: object, value: object) -> tuple[str, Secret]:
    """One secret with a value. Raises InvalidTaskError (PARITY K10 has the same for environment variables)."""
    if not isinstance(key, str):
        raise InvalidTaskError("Secret keys must be strings.")
    if not ENV_KEY.fullmatch(key):
        # Not what comes behind the =: it may be the value.
        raise InvalidTaskError(f"Invalid secret key: {show(key.partition('=')[0])}")
    if value is None or isinstance(value, bytes | Mapping | list | tuple | set):
        raise InvalidTaskError(f"Secret variable {key!r} must have a plain value.")
    if value == REDACTED:
        raise InvalidTaskError(
            f"Secret variable {key!r} is {REDACTED!r}: its value was left out when the task was written; give it."
        )
    return key, Secret(check_text(str(value), f"Secret variable {key!r}"))


def check_secret_values(secrets: object) -> dict[str, Secret]:
    """Secrets as Python code may give them: a dict, pairs, or None."""
    pairs = list(secrets.items()) if isinstance(secrets, Mapping) else [] if secrets is None else secrets
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
    ):
        raise InvalidTaskError(f"secrets must be List[Tuple[str, str]] or Dict[str, str]. Got: {type(secrets)}")
    checked = [check_secret(key, value.reveal() if isinstance(value, Secret) else value) for key, value in pairs]
    if len(dict(checked)) != len(checked):
        raise InvalidTaskError("Duplicate secret keys provided.")
    return dict(checked)


def check_managed_secrets(document: Document, value: object, path: Path) -> tuple[SecretRef, ...]:
    """A list of names of secrets that are kept elsewhere, or of `{name: {mount_path: …}}`."""
    if not isinstance(value, list | tuple):
        raise InvalidTaskError(f"{document.at(path)}{spell(path)} must be a list of names of secrets.")
    return tuple(dict.fromkeys(_check_managed(document, one, (*path, index)) for index, one in enumerate(value)))


def _check_mapping(document: Document, section: Mapping[Any, Any], path: Path) -> Secrets:
    values: dict[str, Secret] = {}
    wanted: list[str] = []
    refs: list[SecretRef] = []
    for key, value in section.items():
        if isinstance(key, str) and key.startswith(PREFIX):
            refs.append(_check_ref(document, key, (*path, key)))
            if value is not None:
                raise InvalidTaskError(
                    f"{document.at((*path, key))}Invalid secret {key!r}: secret references (secrets: prefix) must have "
                    "a null value in dict form. To provide an inline secret value, remove the 'secrets:' prefix."
                )
        else:
            name, secret = document.check((*path, key), _check_pair, (key, "" if value is None else value))
            if value is None:
                wanted.append(name)
            else:
                values[name] = secret
    return Secrets(values, tuple(wanted), tuple(dict.fromkeys(refs)))


def _check_pair(pair: tuple[object, object]) -> tuple[str, Secret]:
    return check_secret(*pair)


def _check_item(document: Document, item: object, path: Path) -> SecretRef:
    if not isinstance(item, str) or not item.startswith(PREFIX):
        raise InvalidTaskError(
            f"{document.at(path)}Invalid secret in array form: entry {path[-1] + 1}. Array items must use the secrets: "
            "prefix (e.g., secrets:HF_TOKEN). For inline secrets with values, use dict form: "
            'secrets: {MY_SECRET: "value"}'
        )
    return _check_ref(document, item, path)


def _check_ref(document: Document, spelled: str, path: Path) -> SecretRef:
    name = spelled.removeprefix(PREFIX)
    scope, dot, rest = name.partition(".")
    scoped = bool(dot) and scope in SCOPES
    name = rest if scoped else name
    if not name or any(not character.isprintable() or character.isspace() for character in name):
        raise InvalidTaskError(
            f"{document.at(path)}A secret reference must be {PREFIX}NAME, or {PREFIX}SCOPE.NAME with one of the scopes "
            f"{', '.join(SCOPES)}."
        )
    return SecretRef(name, scope if scoped else None)


def _check_managed(document: Document, value: Any, path: Path) -> SecretRef:
    if isinstance(value, str):
        return _check_ref(document, value, path)
    [(name, options)] = value.items() if isinstance(value, Mapping) and len(value) == 1 else [(None, None)]
    if not isinstance(name, str) or not isinstance(options, Mapping):
        raise InvalidTaskError(f"{document.at(path)}{spell(path)} must be a name, or {{name: {{mount_path: …}}}}.")
    here = (*path, name)
    ref = _check_ref(document, name, here)
    if set(options) - {"mount_path"}:
        raise InvalidTaskError(f"{document.at(here)}{spell(path)}: a managed secret has one option, mount_path.")
    mount_path = options.get("mount_path")
    what = f"{spell(path)}: mount_path"
    if mount_path is None:
        return ref
    if not isinstance(mount_path, str) or not mount_path:
        raise InvalidTaskError(f"{document.at(here)}{what} must be a path on the nodes.")
    return replace(ref, mount_path=document.check(here, lambda given: check_text(given, what), mount_path))
