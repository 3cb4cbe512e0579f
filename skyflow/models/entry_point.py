"""What called a client, as everybody may read it: a command of skyflow's without its secrets, or a program's name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath

from skyflow.models.secret import REDACTED

MAX_ENTRY_POINT = 200
"""Characters that are kept of it."""

VALUED = ("--env", "--secret", "--config")
"""Flags with `NAME=VALUE` behind them: the value is nobody's business."""

_NAME = r"(?:[\w-]*[_-])?(?:token|secret|password|passwd|credentials?|key)(?:[_-][\w-]*)?"
_VALUE = r"""("[^"]*"|'[^']*'|\S+)"""
_SECRET = re.compile(
    rf"""(?<!\w) ( {_NAME}["']?\s*[=:]\s* | --?{_NAME}\s+ | bearer\s+ ) {_VALUE}""", re.IGNORECASE | re.VERBOSE
)
"""What follows a variable, a flag or a field whose name says that it is secret."""

_FLAG = re.compile(rf"--?{_NAME}", re.IGNORECASE)

_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def entry_point(argv: Sequence[str]) -> str:
    """What a client says of its caller.

    Args:
        argv: as in `sys.argv`.

    Returns:
        Of a command of skyflow's the whole line, with `<redacted>` for every value of `--env`, `--secret` and
        `--config`, and for what is named like a secret in the command that it runs (what is not named so is shown); of
        another program only its name, since nothing is known of its arguments. At most MAX_ENTRY_POINT characters.
    """
    program = PurePath(argv[0] if argv else "")
    if program.name != "skyflow" and program.parts[-3:] != ("skyflow", "cli", "main.py"):
        return cut("python" if program.name in ("", "-", "-c") else program.name)
    words, flag = ["skyflow"], ""
    for word in argv[1:]:
        words.append(_without_secrets(word, flag))
        flag = word
    return cut(shlex.join(words))


def cut(text: str) -> str:
    """In one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_ENTRY_POINT else f"{line[: MAX_ENTRY_POINT - 1]}…"


def _without_secrets(word: str, flag: str) -> str:
    """One argument; `flag` is the one before it."""
    own, is_flag, given = word.partition("=")
    if is_flag and own in VALUED:
        return f"{own}={_nameless(given)}"
    if flag in VALUED:
        return _nameless(word)
    if _FLAG.fullmatch(flag):
        return REDACTED
    return _LOGIN.sub(REDACTED, _SECRET.sub(rf"\1{REDACTED}", word))


def _nameless(pair: str) -> str:
    name, has_value, _ = pair.partition("=")
    return f"{name}={REDACTED}" if has_value else name
