"""Environment variables of a task: their rules, where they may come from, and their substitution in paths."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from skyflow.errors import InvalidTaskError, UsageError
from skyflow.models.document import check_text, describe, show

ENV_KEY = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
MAX_ENV_FILE_BYTES = 1 << 20

_REFERENCE = re.compile(r"\$(?:\{([a-zA-Z_][a-zA-Z0-9_]*)\}|([a-zA-Z_][a-zA-Z0-9_]*))")

# One entry of a dotenv file. A value in quotes may span lines; a `#` after a space starts a comment.
_ENTRY = re.compile(
    r"""[^\S\n]* (?:export[^\S\n]+)? (?P<key>[^=\#'"\s]+) [^\S\n]* = [^\S\n]*
    (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<plain>(?!['"])(?:(?!\s\#)[^\n])*) )
    [^\S\n]* (?:\#[^\n]*)? (?:\n|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_NOTHING = re.compile(r"[^\S\n]*(?:#[^\n]*)?(?:\n|\Z)")
_ESCAPE = r"\\(?P<escaped>.)"
_VARIABLE = r"\$\{(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)(?::-(?P<default>[^}]*))?\}"
_IN_PLAIN = re.compile(_VARIABLE)
_IN_QUOTES = re.compile(f"{_ESCAPE}|{_VARIABLE}", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\", "$": "$"}


def check_env(key: object, value: object) -> tuple[str, str]:
    """One variable, its value as text. Raises InvalidTaskError, with SkyPilot's words (PARITY K10, §2)."""
    if not isinstance(key, str):
        raise InvalidTaskError(f"Env keys must be strings. Got: {show(key)}")
    if not ENV_KEY.fullmatch(key):
        raise InvalidTaskError(f"Invalid env key: {show(key)}")
    if value is None:
        raise InvalidTaskError(
            f"Environment variable {key!r} is None. Please set a value for it in task YAML or with --env flag. "
            f'To set it to be empty, use an empty string ({key}: "" in task YAML or --env {key}="" in CLI).'
        )
    if isinstance(value, bytes | Mapping | list | tuple | set):
        raise InvalidTaskError(f"Environment variable {key!r} must have a plain value, found {describe(value)}.")
    return key, check_text(str(value), f"Environment variable {key!r}")


def check_envs(envs: object) -> dict[str, str]:
    """The variables given as a dict, as pairs, or not at all (PARITY K10)."""
    if envs is None:
        return {}
    if isinstance(envs, Mapping):
        pairs: list[Any] = list(envs.items())
    elif isinstance(envs, list | tuple) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in envs):
        pairs = list(envs)
    else:
        raise InvalidTaskError(f"envs must be List[Tuple[str, str]] or Dict[str, str]. Got: {type(envs)}")
    checked = [check_env(key, value) for key, value in pairs]
    if len(dict(checked)) != len(checked):
        raise InvalidTaskError("Duplicate env keys provided.")
    return dict(checked)


def substitute(text: str, envs: Mapping[str, str]) -> str:
    """`$VAR` and `${VAR}` replaced by the task's variables; those that it does not have stay as they are."""
    return _REFERENCE.sub(lambda found: envs.get(found[1] or found[2], found[0]), text)


def substitute_deep(value: Any, envs: Mapping[str, str]) -> Any:
    """The same in every string of a value, the names of its mappings included; a copy.

    Raises:
        InvalidTaskError: two names of a mapping become the same.
    """
    if isinstance(value, str):
        return substitute(value, envs)
    if isinstance(value, list | tuple):
        return [substitute_deep(item, envs) for item in value]
    if not isinstance(value, Mapping):
        return value
    filled: dict[Any, Any] = {}
    for key, item in value.items():
        name = substitute(key, envs) if isinstance(key, str) else key
        if name in filled:  # not told: a secret may have been filled in
            raise InvalidTaskError(f"The variables in {show(key)} make it a name that is there already.")
        filled[name] = substitute_deep(item, envs)
    return filled


def parse_env_option(option: str, environ: Mapping[str, str] | None = None, flag: str = "--env") -> tuple[str, str]:
    """The variable that `--env K=V` (or another flag) sets; `--env K` takes it from this environment.

    Raises:
        UsageError: the name is wrong, or the variable is not set here.
    """
    key, equals, value = option.partition("=")
    if not equals:
        environ = os.environ if environ is None else environ
        if key in environ:
            value = environ[key]
        elif ENV_KEY.fullmatch(key):
            raise UsageError(
                f"{flag} {key}: {key} is not set in this environment; set it, or write {flag} {key}=VALUE."
            )
    try:
        return check_env(key, value)
    except InvalidTaskError as error:
        raise UsageError(f"{flag} {key}: {error}") from None


def read_env_file(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a dotenv file: `K=V`, `export K=V`, comments, quotes, `${OTHER}` and `${OTHER:-default}`.

    In single quotes everything stands for itself. The last of two equal names counts. A reference means an earlier
    variable of the file, or one of this environment.

    Raises:
        UsageError: the file cannot be read, or a line is wrong; names the line.
    """
    name = os.fspath(path)
    try:
        with open(os.path.expanduser(name), "rb") as file:
            data = file.read(MAX_ENV_FILE_BYTES + 1)
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise UsageError(f"Env file {name!r} is not UTF-8 text.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"Env file {name!r} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if len(data) > MAX_ENV_FILE_BYTES:
        raise UsageError(f"Env file {name!r} is larger than 1 MiB.")
    return _parse_dotenv(text, name, os.environ if environ is None else environ)


def _parse_dotenv(text: str, name: str, environ: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}

    def resolve(part: re.Match[str]) -> str:
        groups = part.groupdict()
        if groups.get("escaped"):
            return _ESCAPED.get(groups["escaped"], part[0])
        return found.get(groups["name"], environ.get(groups["name"])) or groups["default"] or ""

    position = 0
    while position < len(text):
        if blank := _NOTHING.match(text, position):
            position = blank.end()
            continue
        line = text.count("\n", 0, position) + 1
        entry = _ENTRY.match(text, position)
        if not entry:
            raise UsageError(f"{name}:{line}: expected NAME=VALUE, with every quote closed.")
        value = entry["single"]
        if entry["double"] is not None:
            value = _IN_QUOTES.sub(resolve, entry["double"])
        elif entry["plain"] is not None:
            value = _IN_PLAIN.sub(resolve, entry["plain"].rstrip())
        try:
            found.update([check_env(entry["key"], value)])
        except InvalidTaskError as error:
            raise UsageError(f"{name}:{line}: {error}") from None
        position = entry.end()
    return found
