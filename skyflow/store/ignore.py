"""Which paths of a folder stay at home: `.skyignore` if the folder has one, otherwise what git would ignore."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from pathspec import GitIgnoreSpec

from skyflow.errors import InvalidTaskError
from skyflow.models.snapshot import name_bytes, name_text


@dataclass(frozen=True)
class IgnoreRules:
    """The rules in force in one folder, from the outermost to the innermost ignore file.

    As in git, the innermost file that says anything about a path decides, and within a file the last line that does.
    As in SkyPilot, a `.skyignore` in the root folder replaces all `.gitignore` files, and `.git` is carried along: only
    a `.skyignore` can leave it out.
    """

    file_name: str
    levels: tuple[tuple[int, GitIgnoreSpec], ...] = ()
    """Length of the prefix that a path loses before it is matched, and the patterns of one ignore file."""

    @classmethod
    def of_root(cls, root: bytes) -> IgnoreRules:
        """The rules of a folder that is about to be walked; `enter` its root first."""
        if os.path.isfile(os.path.join(root, b".skyignore")):
            return cls(".skyignore")
        exclude = _read(os.path.join(root, b".git", b"info", b"exclude"))
        return cls(".gitignore", ((0, exclude),) if exclude else ())

    def enter(self, root: bytes, folder: str, names: set[bytes]) -> IgnoreRules:
        """The rules inside a folder.

        Args:
            root: of the walk.
            folder: relative to the root; empty for the root itself.
            names: what the folder holds.
        """
        if self.file_name.encode() not in names:
            return self
        spec = _read(os.path.join(root, name_bytes(folder), self.file_name.encode()))
        prefix = len(folder) + 1 if folder else 0
        return replace(self, levels=(*self.levels, (prefix, spec))) if spec else self

    def ignores(self, path: str, is_folder: bool) -> bool:
        """Whether a path, relative to the root, stays at home. What an ignored folder holds need not be asked for."""
        if not self.levels or (self.file_name == ".gitignore" and ".git" in path.split("/")):
            return False
        for prefix, spec in reversed(self.levels):
            verdict = spec.check_file(path[prefix:] + "/" * is_folder).include
            if verdict is not None:
                return verdict
        return False


def _read(path: bytes) -> GitIgnoreSpec | None:
    try:
        with open(path, "rb") as file:
            lines = name_text(file.read()).splitlines()
        return GitIgnoreSpec.from_lines(lines) if lines else None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise InvalidTaskError(f"Cannot read the ignore file {name_text(path)!r}: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidTaskError(f"The ignore file {name_text(path)!r} has a line that is no pattern: {error}") from error
