"""The entry point: version, exit codes, and one clear line for every error that a user can cause."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

from skyflow import __version__
from skyflow.ending import leave
from skyflow.errors import SkyflowError
from skyflow.models.exit_code import INTERRUPTED


def main() -> NoReturn:
    """`skyflow …`. Leaves with the documented exit code (docs/exit-codes.md)."""
    _open_what_is_closed()
    try:
        code = _run()
    except SystemExit as stop:
        nobody_reads = isinstance(stop.__context__, BrokenPipeError)  # `skyflow logs | head`: click and rich end so
        code = 0 if nobody_reads else stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SkyflowError as error:
        print(f"skyflow: {error}", file=sys.stderr)
        code = error.exit_code
    except OSError as error:  # a full disk, a folder that may not be written
        what = f"{error.filename}: " if error.filename else ""
        print(f"skyflow: {what}{error.strerror or error}.", file=sys.stderr)
        code = 1
    except Exception as error:
        code = _usage(error)
    leave(code)


def _run() -> int:
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"skyflow {__version__}")
        return 0
    from skyflow.cli.app import app

    ended = app(standalone_mode=False)
    return ended if isinstance(ended, int) else 0


def _open_what_is_closed() -> None:
    """Without this, the next file or socket that is opened would be taken for the output: `skyflow status >&-`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  it stays open


def _usage(error: Exception) -> int:
    """A wrong flag or argument: the parser's own words, in one line. Anything else is a bug and keeps its traceback."""
    import typer

    if isinstance(error, typer.Abort):
        print("skyflow: aborted", file=sys.stderr)
        return INTERRUPTED
    # Typer brings its own copy of click, or uses the installed one, by version: its public names lead to the right one.
    _, usage_error, click_exception, *_ = typer.BadParameter.__mro__
    if not isinstance(error, click_exception):
        raise error
    if not str(error):  # no command: the help was shown
        return 2
    context = getattr(error, "ctx", None) if isinstance(error, usage_error) else None
    where = context.command_path if context else "skyflow"
    print(f"{where}: {_sentence(error)} See: {where} --help", file=sys.stderr)
    return 2


def _sentence(error: Any) -> str:
    """What the parser says, with the value that it is about."""
    message = str(error.format_message()).replace("Value error, ", "")
    if validation := getattr(error.__cause__, "errors", None):  # pydantic's, which keeps the value to itself
        value = repr(validation()[0]["input"])
        message += "" if value in message else f" (it is {value})"
    return message if message.endswith((".", "?")) else f"{message}."


if __name__ == "__main__":
    main()
