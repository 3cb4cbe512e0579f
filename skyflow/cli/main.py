"""The entry point: version, exit codes, and one clear line for every error that a user can cause."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from skyflow import __version__
from skyflow.ending import leave
from skyflow.errors import SkyflowError
from skyflow.models.exit_code import INTERRUPTED


def main() -> NoReturn:
    """`skyflow …`. Leaves with the documented exit code (docs/exit-codes.md)."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"skyflow {__version__}")
        leave(0)
    from skyflow.cli.app import app

    try:
        ended = app(standalone_mode=False)
        code = ended if isinstance(ended, int) else 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SkyflowError as error:
        print(f"skyflow: {error}", file=sys.stderr)
        code = error.exit_code
    except BrokenPipeError:  # the reader of our output is gone: `skyflow logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        code = _usage(error)
    leave(code)


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
    print(f"{where}: {error.format_message()} See: {where} --help", file=sys.stderr)  # type: ignore[attr-defined]
    return 2


if __name__ == "__main__":
    main()
