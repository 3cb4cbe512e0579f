"""A document: what a YAML file or a plain dict says, with the line of everything in it, so that errors can name it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from skyflow.errors import InvalidTaskError, NotSupportedError, SkyflowError

Path = tuple[Any, ...]
"""Keys and indexes from the top of a document to one value."""

Value = TypeVar("Value")

SHOWN_CHARACTERS = 80


class Document:
    """One YAML document, or a plain dict, which has no lines.

    Args:
        config: what was read.
        name: of the file, as the user wrote it; empty if there is none.
        lines: path → line, counted from 1.
    """

    def __init__(self, config: object, name: str = "", lines: Mapping[Path, int] | None = None) -> None:
        self.config = config
        self.name = name
        self.lines = lines or {}

    def at(self, path: Path = ()) -> str:
        """`task.yaml:3: `, to be put before a message; `line 3: ` without a file; nothing for a plain dict."""
        # What came through an alias or a merge key has no line of its own: the nearest value around it has.
        known = (self.lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.lines)
        line = next(known, None)
        if line is None:
            return f"{self.name}: " if self.name else ""
        return f"{self.name}:{line}: " if self.name else f"line {line}: "

    def check(self, path: Path, checker: Callable[[Any], Value], value: object) -> Value:
        """What `checker` makes of a value; its errors get the line of the path."""
        try:
            return checker(value)
        except (InvalidTaskError, NotSupportedError) as error:
            raise type(error)(f"{self.at(path)}{error}") from None

    def check_items(self, path: Path, checker: Callable[[Any], Value], value: object) -> Value:
        """The same of a list or mapping; its errors get the line of the item that is wrong by itself."""
        try:
            return checker(value)
        except InvalidTaskError as error:
            raise type(error)(f"{self.at(_of_wrong_item(path, checker, value))}{error}") from None

    def fields(self, value: object, path: Path, schema: Schema) -> dict[str, Any]:
        """The fields of one mapping of the document. A field without a value counts as absent.

        Raises:
            InvalidTaskError: it is no mapping, or has a field that does not exist.
            NotSupportedError: it has a field that this version does not support yet.
        """
        if not isinstance(value, Mapping):
            raise InvalidTaskError(
                f"{self.at(path)}Invalid {schema.kind} YAML: expected fields such as {schema.example!r}, "
                f"found {describe(value)}."
            )
        # All names first: a typing error is told before a feature that is missing.
        for problem in (schema.unknown, schema.missing):
            for field in value:
                error = problem(field, value[field])
                if error:
                    raise type(error)(f"{self.at((*path, field))}{error}")
        return {field: given for field, given in value.items() if given is not None and field not in schema.dropped}


def _of_wrong_item(path: Path, checker: Callable[[Any], object], value: object) -> Path:
    """The path of the first item of a list or mapping that is wrong by itself; that of the whole if none is."""
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value if isinstance(value, list) else ())
    for key, item in pairs:
        try:
            checker({key: item} if isinstance(value, Mapping) else [item])
        except InvalidTaskError:
            return (*path, key)
    return path


class Schema:
    """Which fields a mapping may have.

    Args:
        kind: what it describes, as SkyPilot's errors call it: `task`, `resources`, `storage`.
        example: one field, for errors.
        fields: those that this version honours.
        later: those that SkyPilot has and this version has not.
        prefix: how to call the mapping when one of its fields is named: `resources.` for `resources.ports`.
        dropped: those that SkyPilot writes for itself and that say nothing more than the others.
        open: whether there may be others, as SkyPilot's plugins have; what is almost a known one is a typing error.
    """

    def __init__(
        self,
        kind: str,
        example: str,
        fields: Iterable[str],
        later: Iterable[str],
        prefix: str = "",
        dropped: Iterable[str] = (),
        open: bool = False,
    ) -> None:
        self.kind = kind
        self.example = example
        self.known = frozenset(fields)
        self.later = frozenset(later)
        self.prefix = prefix
        self.dropped = frozenset(dropped)
        self.open = open

    def unknown(self, field: object, value: object) -> SkyflowError | None:
        """The error for a field that does not exist, with SkyPilot's hint (PARITY §2)."""
        hint = self.hint(field)
        return InvalidTaskError(f"Invalid {self.kind} YAML: {hint}") if hint else None

    def hint(self, field: object) -> str | None:
        """What was probably meant by a field that does not exist; None if it does."""
        if field in self.known | self.later | self.dropped:
            return None
        import difflib  # only here: it costs the start of every command milliseconds

        close = difflib.get_close_matches(field, self.known | self.later, 1) if isinstance(field, str) else []
        if close:
            return f"Instead of {field!r}, did you mean {close[0]!r}?"
        return None if self.open and isinstance(field, str) else f"Found unsupported field {show(field)}."

    def missing(self, field: object, value: object) -> SkyflowError | None:
        """The error for a field that only a later version will have."""
        return not_yet(f"{self.prefix}{field}") if field in self.later and value is not None else None


def not_yet(what: str) -> NotSupportedError:
    """The error for a feature of SkyPilot that this version does not have."""
    return NotSupportedError(f"{what} is not supported by this version of skyflow yet; remove it from the task.")


def show(value: object) -> str:
    """A value in an error: on one line, not too long."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def describe(value: object) -> str:
    """A value of a wrong type in an error."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple | set):
        return "a list"
    return f"the {'string' if isinstance(value, str) else 'value'} {show(value)}"


def check_text(value: str, what: str) -> str:
    """Returns a text that a process can be given: no NUL, and valid Unicode. Otherwise InvalidTaskError."""
    if "\0" in value:
        raise InvalidTaskError(f"{what} contains a NUL character.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidTaskError(f"{what} is not valid UTF-8.") from None
    return value
