"""The YAML loader: text → documents that know the line of everything in them. Safe, strict and bounded.

It builds from the parser's events instead of yaml.safe_load, because that forgets lines, lets the last of two equal
keys win, and follows nesting and aliases as far as the stack and the memory reach.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from skyflow.errors import InvalidTaskError, SkyflowError
from skyflow.models.document import Document, Path, describe, show

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000
"""Values of a document, every alias counted with all that it stands for."""
MAX_DEPTH = 50
MAX_NUMBER = (1 << 63) - 1

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is 10 × faster, but not everywhere

_STR = "tag:yaml.org,2002:str"
_PLAIN_TAGS = (None, "!", _STR, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_WORDS = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")
"""`<<` and `=` where they are values: plain words."""


def read_file(path: str | os.PathLike[str]) -> Document:
    """The one document of a YAML file; its `config` is None if there is nothing in it.

    Raises:
        InvalidTaskError: the file cannot be read, is not valid YAML, or has several documents.
    """
    return _only(read_documents(path))


def read_text(text: str, name: str = "") -> Document:
    """The one document of a text. See `read_file`; `name` is what errors call the text."""
    return _only(read_texts(text, name))


def read_documents(path: str | os.PathLike[str]) -> list[Document]:
    """The documents of a YAML file that hold something; an empty one if none does.

    Raises:
        InvalidTaskError: the file cannot be read, or is not valid YAML.
    """
    if not isinstance(path, str | os.PathLike):
        raise InvalidTaskError(f"A task YAML is named by its path, found {describe(path)}.")
    name = os.fspath(path)
    try:
        with open(os.path.expanduser(name), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InvalidTaskError(f"Task YAML {name!r} does not exist; check the path.") from None
    except IsADirectoryError:
        raise InvalidTaskError(f"Task YAML {name!r} is a folder; name the file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidTaskError(f"Task YAML {name!r} cannot be read: {reason}.") from None
    try:
        return read_texts(data.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidTaskError(f"{name}:{line}: not UTF-8 text, so not a task YAML.") from None


def read_texts(text: str, name: str = "") -> list[Document]:
    """The documents of a text. See `read_documents`; `name` is what errors call the text."""
    if not isinstance(text, str):
        raise InvalidTaskError(f"A task YAML is a string, found {describe(text)}.")
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise InvalidTaskError(f"{Document(None, name, {(): line}).at()}not valid Unicode text.") from None
    if len(data) > MAX_BYTES:
        raise InvalidTaskError(f"{Document(None, name).at()}too large for a task YAML: more than 1 MiB.")
    try:
        found = [document for document in _Reader(data, name).documents() if document.config is not None]
    except yaml.YAMLError as error:
        raise _syntax_error(error, data, name) from None
    return found or [Document(None, name)]


def _only(documents: list[Document]) -> Document:
    if len(documents) > 1:
        raise InvalidTaskError(
            f"{documents[1].at()}one task is expected here, and the file has several YAML documents (a pipeline or a "
            "job group)."
        )
    return documents[0]


class _Reader:
    """Reads one stream. The recursion is over nesting, which is bounded."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self.loader = _Loader(data)
        self.lines: dict[Path, int] = {}
        self.anchors: dict[str, tuple[object, int]] = {}
        self.count = 0

    def documents(self) -> Iterator[Document]:
        self.loader.get_event()
        while not self.loader.check_event(yaml.StreamEndEvent):
            self.loader.get_event()
            self.lines, self.anchors = {}, {}
            yield Document(self.value(()), self.name, self.lines)
            self.loader.get_event()

    def value(self, path: Path, depth: int = 0) -> object:
        event = self.loader.get_event()
        self.lines.setdefault(path, event.start_mark.line + 1)
        before = self.count
        self.spend(1, event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                alias = self.show(path, f"*{event.anchor}")
                raise self.error(event, f"the alias {alias} stands for nothing that comes before it.")
            value, size = self.anchors[event.anchor]
            self.spend(size, event)
            return value
        if depth >= MAX_DEPTH:
            raise self.error(event, f"nested more than {MAX_DEPTH} levels deep.")
        self.check_tag(event, path)
        if isinstance(event, yaml.ScalarEvent):
            value = self.scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self.sequence(path, depth)
        else:
            value = self.mapping(path, depth)
        if event.anchor:
            self.anchors[event.anchor] = (value, self.count - before)
        return value

    def scalar(self, event: Any, path: Path = ()) -> object:
        tag: Any = event.tag
        if tag in (None, "!"):
            tag = self.loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag in _PLAIN_TAGS or tag in _WORDS:
            return event.value
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark)
        try:
            value: object = self.loader.construct_object(node)
            if not isinstance(value, int) or abs(value) <= MAX_NUMBER:
                return value
        except (ValueError, OverflowError):  # 2024-99-99, or a number of 5,000 digits
            pass
        kind = tag.rpartition(":")[2]
        raise self.error(event, f"{self.show(path, show(event.value))} is not a valid {kind}; put it in quotes.")

    def sequence(self, path: Path, depth: int) -> list[object]:
        found: list[object] = []
        while not self.loader.check_event(yaml.SequenceEndEvent):
            found.append(self.value((*path, len(found)), depth + 1))
        self.loader.get_event()
        return found

    def mapping(self, path: Path, depth: int) -> dict[object, object]:
        own: dict[object, object] = {}
        merged: dict[object, object] = {}
        while not self.loader.check_event(yaml.MappingEndEvent):
            event = self.loader.get_event()
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent):
                raise self.error(event, "the name of a field must be a plain word.")
            self.check_tag(event)
            if event.value == "<<" and event.implicit[0]:
                merged |= self.merge(path, depth, event)
                continue
            key = self.scalar(event)
            if key in own:
                first = self.lines[(*path, key)]
                raise self.error(
                    event, f"Duplicate key {show(key)} in YAML at line {line}; it is also at line {first}."
                )
            self.lines[(*path, key)] = line
            own[key] = self.value((*path, key), depth + 1)
        self.loader.get_event()
        return merged | own

    def merge(self, path: Path, depth: int, event: Any) -> dict[object, object]:
        """The value of a merge key `<<`. Of several mappings, the first that has a key decides."""
        value = self.value((*path, "<<"), depth + 1)
        found: dict[object, object] = {}
        for part in reversed(value if isinstance(value, list) else [value]):
            if not isinstance(part, Mapping):
                raise self.error(event, "<< must stand before a mapping, or a list of mappings.")
            found |= part
        return found

    def check_tag(self, event: Any, path: Path = ()) -> None:
        if event.tag not in _PLAIN_TAGS:
            tag = self.show(path, show(event.tag))
            raise self.error(event, f"the tag {tag} is not allowed in a task YAML.")

    def show(self, path: Path, words: str) -> str:
        """The words of an error; under `secrets`, where they may be a secret, `***`."""
        return "***" if path[:1] == ("secrets",) else words

    def spend(self, values: int, event: Any) -> None:
        self.count += values
        if self.count > MAX_VALUES:
            raise self.error(event, f"more than {MAX_VALUES:,} values, aliases included; too large for a task YAML.")

    def error(self, event: Any, message: str) -> SkyflowError:
        where = Document(None, self.name, {(): event.start_mark.line + 1}).at()
        return InvalidTaskError(f"{where}{message}")


def _syntax_error(error: yaml.YAMLError, data: bytes, name: str) -> SkyflowError:
    """The parser's own words, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line = error.problem_mark.line + 1
        problem = " ".join(part for part in (error.context, error.problem) if part)
    else:  # a control character
        line = data.count(b"\n", 0, getattr(error, "position", 0)) + 1
        problem = str(getattr(error, "reason", error))
    line = min(line, data.rstrip().count(b"\n") + 1)  # what is open at the end counts as wrong on the last line
    where = Document(None, name, {(): line}).at()
    return InvalidTaskError(f"{where}Invalid YAML: {' '.join(problem.split())}.")
