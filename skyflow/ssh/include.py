"""The user's own `~/.ssh/config`: read for names that are taken; one line is added to it, once, and nothing else."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from skyflow.ssh.entry import hosts, include_line, words_of


def user_config(home: Path) -> Path:
    """Where OpenSSH looks for it."""
    return home / ".ssh" / "config"


def taken_names(path: Path) -> set[str]:
    """The hosts that the user's own config has entries for. One that cannot be read has none."""
    return set(hosts(_read(path)))


def add_include(path: Path, ours: Path) -> bool:
    """Includes our config at the top of the user's, if it is nowhere in it. Returns whether that was to be done.

    Its permissions stay, and a link stays a link. Raises OSError.
    """
    text, line = _read(path, errors=True), include_line(ours)
    wanted = {ours, *map(Path, words_of(line)[1])}
    for keyword, words in map(words_of, text.splitlines()):
        if keyword == "include" and any(Path(word).expanduser() in wanted for word in words):
            return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = Path(os.path.realpath(path))  # a dotfile manager's, perhaps
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o600
    write(target, line + text, mode)
    return True


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replaces a file; whoever reads it sees the old or the new content, and nobody else the secrets in it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _read(path: Path, *, errors: bool = False) -> str:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError:
        if errors:
            raise
        return ""
