"""The scan of a folder: every path that a snapshot will hold, with what the file system says about it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from skyflow.errors import InvalidTaskError
from skyflow.models.snapshot import EntryKind, name_bytes, name_text
from skyflow.store.ignore import IgnoreRules

PERMISSIONS = 0o777
LINK_MODE = 0o777


class Stamp(NamedTuple):
    """What changes whenever a file's bytes do."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class Found(NamedTuple):
    """One path."""

    path: str
    kind: EntryKind
    mode: int
    stamp: Stamp
    target: str = ""
    """Of a link."""


@dataclass
class Scan:
    """Of a folder, or of a single file."""

    kind: Literal["f", "d"]
    root: bytes
    """The folder that the paths are relative to."""
    found: list[Found] = field(default_factory=list)
    """Sorted by path, so a folder comes before what it holds."""
    skipped: list[str] = field(default_factory=list)
    """Sockets, pipes and devices, which cannot be copied."""


def scan(source: bytes, leave_out: Collection[bytes] = (), *, ignore: bool = True) -> Scan:
    """Walks a folder (links to folders are not followed), or looks at one file.

    Args:
        source: its absolute path.
        leave_out: absolute paths that are passed over.
        ignore: whether ignore files are respected.

    Raises:
        InvalidTaskError: something cannot be read.
    """
    try:
        status = os.stat(source)
    except OSError as error:
        raise InvalidTaskError(f"Cannot read {name_text(source)!r}: {error.strerror}.") from error
    if stat.S_ISDIR(status.st_mode):
        result = Scan("d", source)
        _walk(result, IgnoreRules.of_root(source) if ignore else IgnoreRules(""), leave_out)
        result.found.sort()
        return result
    if not stat.S_ISREG(status.st_mode):
        raise InvalidTaskError(f"{name_text(source)!r} is neither a folder nor a regular file.")
    folder, name = os.path.split(source)
    return Scan("f", folder, [Found(name_text(name), "f", status.st_mode & PERMISSIONS, Stamp.of(status))])


def _walk(result: Scan, rules: IgnoreRules, leave_out: Collection[bytes]) -> None:
    waiting = [("", rules)]
    while waiting:
        folder, outer = waiting.pop()
        children = _children(result.root, folder)
        inner = outer.enter(result.root, folder, {child.name for child in children})
        prefix = f"{folder}/" if folder else ""
        for child in children:
            path = prefix + name_text(child.name)
            try:
                found = _look(child, path)
            except FileNotFoundError:  # gone since the folder was listed
                continue
            if child.path in leave_out:
                continue
            if inner.levels and inner.ignores(path, child.is_dir(follow_symlinks=False)):
                continue
            if found is None:
                result.skipped.append(path)
                continue
            result.found.append(found)
            if found.kind == "d":
                waiting.append((path, inner))


def _children(root: bytes, folder: str) -> list[os.DirEntry[bytes]]:
    path = os.path.join(root, name_bytes(folder))
    try:
        with os.scandir(path) as children:
            return list(children)
    except FileNotFoundError:  # gone since its parent was listed
        return []
    except OSError as error:
        raise InvalidTaskError(
            f"Cannot read the folder {name_text(path)!r}: {error.strerror}; make it readable or list it in .skyignore."
        ) from error


def _look(child: os.DirEntry[bytes], path: str) -> Found | None:
    status = child.stat(follow_symlinks=False)
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return Found(path, "f", mode & PERMISSIONS, Stamp.of(status))
    if stat.S_ISDIR(mode):
        return Found(path, "d", mode & PERMISSIONS, Stamp.of(status))
    if stat.S_ISLNK(mode):
        return Found(path, "l", LINK_MODE, Stamp.of(status), name_text(os.readlink(child.path)))
    return None
