"""The files that hold settings, and `--config`: which there are, and every value in them with the place where it is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from skyflow.errors import UsageError
from skyflow.settings.key import CLOUDS, KEYS, Value, check_name, read, variable

if TYPE_CHECKING:
    from yaml import YAMLError

CONFIG = "config.yaml"
PROJECT = ".skyflow.yaml"
SKYPILOT = Path(".sky") / "config.yaml"
SKYPILOT_KEYS = ("allowed_clouds",)
"""Those of SkyPilot's file that mean the same here."""
MAX_BYTES = 1 << 20

_NULL = ("", "~", "null", "Null", "NULL")
_NEXT_PAIR = re.compile(r",(?=\s*[a-zA-Z_][\w.]*\s*=)")


class Given(NamedTuple):
    """A setting that some source has."""

    name: str
    value: Any
    source: str
    """Which source, and the line: `/home/ada/.skyflow/config.yaml:3`."""


class _Entry(NamedTuple):
    line: int
    name: str
    value: Value


def of_skypilot(folder: Path) -> Iterator[Given]:
    """What SkyPilot's own file says that means the same here. It is somebody else's: what we do not know is no error.

    Raises:
        UsageError: it is no YAML, or what we would read is wrong: better than to use a cloud that is not allowed.
    """
    path = folder / SKYPILOT
    try:
        data = _read(path)
    except UsageError:
        return
    for line, name, value in _entries(data, path):
        if name in SKYPILOT_KEYS and value != "":
            if isinstance(value, list) and value:  # it may name clouds that are newer than this
                value = [cloud for cloud in value if cloud.strip().lower() in CLOUDS] or ["local"]
            clouds = read(name, value, f"{path}:{line}: {name}")
            # SkyPilot has no cloud of this name, so its file cannot say anything about it.
            yield Given(name, clouds and tuple(dict.fromkeys((*clouds, "local"))), f"{path}:{line}")


def of_file(path: Path, *, of_project: bool = False) -> Iterator[Given]:
    """What a file of skyflow's says; nothing if there is none.

    Args:
        path: of the file.
        of_project: whether it is a project's. One worker serves all projects, so such a file cannot set what the worker
            has to agree with; and a repository that somebody cloned must not say where their files are sent.

    Raises:
        UsageError: it cannot be read, or something in it is wrong: names the first line that is.
    """
    first: dict[str, int] = {}
    for line, name, value in _entries(_read(path), path):
        at = f"{path}:{line}: "
        check_name(name, at)
        if name in first:
            raise UsageError(f"{at}{name} is there twice; it is also at line {first[name]}.")
        first[name] = line
        if of_project and KEYS[name].shared:
            raise UsageError(
                f"{at}{name} is also the worker's, which serves every project: set it in {CONFIG} of skyflow's folder, "
                f"or by {variable(name)}."
            )
        if value != "":
            yield Given(name, read(name, value, f"{at}{name}"), f"{path}:{line}")


def of_option(option: str, cwd: Path) -> Iterator[Given]:
    """What one `--config` says: the path of a file, or `key=value,key=value`.

    Raises:
        UsageError: it is neither, or something in it is wrong.
    """
    path = cwd / os.path.expanduser(option)
    if "=" not in option or os.path.isfile(path):
        if not option or not os.path.exists(path):
            raise UsageError(f"--config {option!r}: there is no such file; give a YAML file, or key=value.")
        yield from of_file(path)
        return
    for pair in _NEXT_PAIR.split(option):
        name, _, value = (part.strip() for part in pair.partition("="))
        check_name(name, "--config: ")
        yield Given(name, read(name, value, f"--config: {name}"), "--config")


def project_file(cwd: Path, home: Path) -> Path | None:
    """The project's file: of the folder, or the nearest one above it, but not above a git root or the user's home."""
    cwd, home = cwd.resolve(), home.resolve()
    for folder in (cwd, *cwd.parents):
        if os.path.exists(folder / PROJECT):
            return folder / PROJECT
        if folder == home or os.path.exists(folder / ".git"):
            return None
    return None


def _read(path: Path) -> bytes:
    """The whole file; nothing if there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is too large for a file of settings: more than 1 MiB.")
    return data


def _entries(data: bytes, path: Path) -> Iterator[_Entry]:
    """The top of a YAML file, pair by pair as it is parsed: of two errors in it, the first is found first."""
    if not data.strip():
        return
    import yaml  # only here: most machines have no such file

    events: Iterator[Any] = iter(yaml.parse(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    try:
        yield from _pairs(events, path)
    except yaml.YAMLError as error:
        raise _syntax_error(error, data, path) from None


def _pairs(events: Iterator[Any], path: Path) -> Iterator[_Entry]:
    import yaml

    begun = False
    anchors: dict[str, Value] = {}
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent) and begun:
            raise UsageError(f"{path}:{_line(event)}: a file of settings is one YAML document.")
        if not isinstance(event, yaml.NodeEvent):
            continue
        begun = True
        if isinstance(event, yaml.MappingStartEvent):
            while not isinstance(key := next(events), yaml.MappingEndEvent):
                name = _value(events, anchors, key)
                yield _Entry(_line(key), name if isinstance(name, str) else "?", _value(events, anchors))
        elif _value(events, anchors, event) != "":  # a file of nothing but comments has one empty value
            raise UsageError(f"{path}:{_line(event)}: settings are lines such as `optimize_target: time`.")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _value(events: Iterator[Any], anchors: dict[str, Value], start: Any = None) -> Value:
    """One value, whatever is in it; empty for none. Does not recurse, whatever a file holds.

    Args:
        events: of the parser, from this value on.
        anchors: name → what an alias of that name stands for; those in this value are added.
        start: the first event, if it was taken already.
    """
    import yaml

    event: Any = start or next(events)
    around: list[tuple[str | None, list[Value] | None]] = []  # anchor and items of what is open; None of a mapping
    while True:
        value: Value
        if isinstance(event, yaml.CollectionStartEvent):
            around.append((event.anchor, [] if isinstance(event, yaml.SequenceStartEvent) else None))
            event = next(events)
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, items = around.pop()
            texts = [item for item in items or () if isinstance(item, str)]
            value = texts if items is not None and len(texts) == len(items) else None
        elif isinstance(event, yaml.AliasEvent):
            anchor, value = None, anchors.get(str(event.anchor))
        else:
            null = not around and event.implicit[0] and event.value in _NULL
            anchor, value = event.anchor, "" if null else str(event.value)
        if anchor is not None:
            anchors[anchor] = value
        if not around:
            return value
        if (items := around[-1][1]) is not None:
            items.append(value)
        event = next(events)


def _syntax_error(error: YAMLError, data: bytes, path: Path) -> UsageError:
    """The parser's own words, in one line."""
    mark = getattr(error, "problem_mark", None)
    position = mark.line if mark is not None else data.count(b"\n", 0, getattr(error, "position", 0))
    line = min(position, data.rstrip().count(b"\n")) + 1  # what is open at the end counts as wrong on the last line
    words = [getattr(error, name, None) for name in ("context", "problem", "reason")]
    problem = " ".join(str(word) for word in words if word) or str(error)
    return UsageError(f"{path}:{line}: invalid YAML: {' '.join(problem.split())}.")
