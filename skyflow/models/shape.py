"""Shapes: what a value in a section of a task may be. Small checkers, put together to larger ones.

A checker gets the document, the value and its path, and returns the value that counts, or raises an InvalidTaskError
of one line that names the file, the line and the field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from skyflow.errors import InvalidTaskError
from skyflow.models.document import Document, Path, Schema, check_text, describe, show

MAX_DEPTH = 60
"""Levels of a free-form value, those above it counted."""
MAX_NUMBER = (1 << 63) - 1

Found_co = TypeVar("Found_co", covariant=True)
Found = TypeVar("Found")

_WORD = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Checker(Protocol[Found_co]):
    """What a value may be: returns the one that counts, or raises InvalidTaskError."""

    def __call__(self, document: Document, value: Any, path: Path, /) -> Found_co: ...


def spell(path: Path) -> str:
    """How an error calls a field: `service.replica_policy.min_replicas`, `file_mounts['/data'].mode`."""
    name = ""
    for key in path:
        word = isinstance(key, str) and _WORD.fullmatch(key)
        name += f".{key}" if word and name else str(key) if word else f"[{show(key)}]"
    return name or "the value"


def error(document: Document, path: Path, message: str) -> InvalidTaskError:
    """An error at a place of the document."""
    return InvalidTaskError(f"{document.at(path)}{message}")


def wrong(document: Document, path: Path, must: str, value: object) -> InvalidTaskError:
    """The error for a value that is something else than it must be."""
    return error(document, path, f"{spell(path)} must be {must}, found {describe(value)}.")


def text(must: str = "a string", *, form: re.Pattern[str] | None = None, empty: bool = False) -> Checker[str]:
    """A string that a process can be given; of this form, if one is given."""

    def check(document: Document, value: Any, path: Path) -> str:
        if not isinstance(value, str) or not (value or empty) or (form and not form.fullmatch(value)):
            raise wrong(document, path, must, value)
        return document.check(path, lambda given: check_text(given, spell(path)), value)

    return check


def boolean(document: Document, value: Any, path: Path) -> bool:
    """True or false, and nothing that is taken for it."""
    if not isinstance(value, bool):
        raise wrong(document, path, "true or false", value)
    return value


def integer(least: int = 0, most: int = MAX_NUMBER) -> Checker[int]:
    """A whole number in this range."""
    must = f"a whole number, {least} or more" if most == MAX_NUMBER else f"a whole number from {least} to {most}"

    def check(document: Document, value: Any, path: Path) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise wrong(document, path, must, value)
        return value

    return check


def number(least: float | None = 0) -> Checker[float]:
    """A finite number that is not less than this one."""
    must = "a number" if least is None else f"a number, {least} or more"

    def check(document: Document, value: Any, path: Path) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not _is_finite(value):
            raise wrong(document, path, must, value)
        if least is not None and value < least:
            raise wrong(document, path, must, value)
        return value

    return check


def _is_finite(value: float) -> bool:
    return abs(value) <= MAX_NUMBER if isinstance(value, int) else math.isfinite(value)


def choice(names: Iterable[str]) -> Checker[str]:
    """One of these names, in capital or small letters; it is returned as it is spelled here."""
    spelled = {name.lower(): name for name in names}

    def check(document: Document, value: Any, path: Path) -> str:
        found = spelled.get(value.lower()) if isinstance(value, str) else None
        if found is None:
            raise wrong(document, path, f"one of {', '.join(spelled.values())}", value)
        return found

    return check


def either(must: str, *options: tuple[type, Checker[Found]]) -> Checker[Found]:
    """The checker for the type of the value. True is no number."""

    def check(document: Document, value: Any, path: Path) -> Found:
        for kind, checker in options:
            if isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
                return checker(document, value, path)
        raise wrong(document, path, must, value)

    return check


def nullable(checker: Checker[Found]) -> Checker[Found | None]:
    """The same, or null."""
    return lambda document, value, path: None if value is None else checker(document, value, path)


def listing(
    item: Checker[Found], must: str = "a list", *, least: int = 0, most: int | None = None
) -> Checker[list[Found]]:
    """A list of such items, that many of them."""

    def check(document: Document, value: Any, path: Path) -> list[Found]:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise wrong(document, path, must, value)
        if most is not None and len(value) > most:
            raise error(document, path, f"{spell(path)} has {len(value)} entries; {most} at most.")
        return [item(document, one, (*path, index)) for index, one in enumerate(value)]

    return check


def mapping(item: Checker[Found], must: str = "a mapping") -> Checker[dict[str, Found]]:
    """A mapping of any names to such values."""

    def check(document: Document, value: Any, path: Path) -> dict[str, Found]:
        if not isinstance(value, Mapping):
            raise wrong(document, path, must, value)
        return {check_key(document, key, path): item(document, one, (*path, key)) for key, one in value.items()}

    return check


def check_key(document: Document, key: object, path: Path) -> str:
    """A name in the mapping at this path."""
    if not isinstance(key, str) or not key:
        raise error(document, (*path, key), f"{spell(path)}: the name {show(key)} must be a string; put it in quotes.")
    return document.check((*path, key), lambda given: check_text(given, f"{spell(path)}: the name {show(key)}"), key)


def record(
    kind: str, fields: Mapping[str, Checker[Any]], example: str, required: Iterable[str] = (), *, open: bool = False
) -> Checker[Any]:
    """A mapping of these fields to what each of them may be. One without a value counts as absent.

    Args:
        kind: how errors call it: `Invalid service YAML: …`.
        fields: name → what it may be.
        example: one field, for errors.
        required: those that must be there.
        open: whether there may be others: anything, held as it is.
    """
    schema = Schema(kind, example, fields, (), open=open)

    def check(document: Document, value: Any, path: Path) -> dict[str, Any]:
        given = document.fields(value, path, schema)
        for field in required:
            if field not in given:
                raise error(document, path, f"Invalid {kind} YAML: {field!r} is a required property.")
        return {field: fields.get(field, plain)(document, one, (*path, field)) for field, one in given.items()}

    return check


def plain(document: Document, value: Any, path: Path) -> Any:
    """Whatever JSON can say; a copy of it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(empty=True)(document, value, path)
    if isinstance(value, int | float):
        return number(least=None)(document, value, path)
    if not isinstance(value, Mapping | list | tuple):
        raise wrong(document, path, "text, a number, true, false, a list or a mapping", value)
    if len(path) >= MAX_DEPTH:
        raise error(document, path, f"{spell(path[:1])} is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, Mapping):
        return {check_key(document, key, path): plain(document, one, (*path, key)) for key, one in value.items()}
    return [plain(document, one, (*path, index)) for index, one in enumerate(value)]


free: Checker[dict[str, Any]] = either("a mapping", (Mapping, plain))
"""A mapping that some other program reads."""


def written(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value, as they are written to YAML."""
    return {field: value for field, value in fields.items() if value is not None}
