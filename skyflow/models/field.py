"""The plain fields of a task: what each may hold. Each check returns the value that counts, or raises."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

from skyflow.errors import InvalidTaskError
from skyflow.models.document import Document, Schema, check_text, describe, show

NAME = re.compile(r"[a-zA-Z0-9]+(?:[._-]{1,2}[a-zA-Z0-9]+)*")
MAX_NAME = 200
"""Characters. A name is part of the summaries of workflows, which Temporal limits."""

RunFunction = Callable[[int, list[str]], str | None]
"""From the rank of a node and the addresses of all, the commands of that node (PARITY K02)."""

_GIT = Schema("workdir", "url", ("url", "ref"), ())


def check_name(name: object) -> str | None:
    """The name of a task, by its type: the rest is for `check_name_form`, once flags have had their say."""
    if name is not None and not isinstance(name, str):
        raise InvalidTaskError(f"name must be a string, found {describe(name)}; put it in quotes.")
    return name


def check_name_form(name: str | None) -> None:
    """What the name of a task may hold (PARITY §2)."""
    if name is not None and (len(name) > MAX_NAME or not NAME.fullmatch(name)):
        raise InvalidTaskError(
            f"Invalid task name {show(name)}: it must be letters and digits, joined by one or two of '.', '_' and '-', "
            f"{MAX_NAME} characters at most."
        )


def check_script(field: str, script: object) -> str | None:
    """A shell script."""
    if script is not None and not isinstance(script, str):
        raise InvalidTaskError(f"{field} must be a shell script (str). Got {type(script)}")
    return None if script is None else check_text(script, field)


def check_run(run: object) -> str | RunFunction | None:
    """The script that is the job, or a function that gives one for each node."""
    return run if callable(run) else check_script("run", run)


def check_num_nodes(num_nodes: object) -> int:
    """How many nodes; 1 if nothing is said."""
    if num_nodes is None:
        return 1
    if not isinstance(num_nodes, int) or isinstance(num_nodes, bool) or num_nodes <= 0:
        raise InvalidTaskError(f"num_nodes should be a positive int. Got: {show(num_nodes)}")
    return num_nodes


def check_workdir(workdir: object, document: Document | None = None) -> str | dict[str, str] | None:
    """The path of the workdir, or `url` and `ref` of a git repository. Whether it exists is not looked at here."""
    document = document or Document(None)
    if isinstance(workdir, Mapping):
        return _check_git(document, workdir)
    if workdir is not None and (not isinstance(workdir, str) or not workdir):
        raise InvalidTaskError(
            f"{document.at(('workdir',))}workdir must be the path of a local folder, or url and ref of a git "
            f"repository, found {describe(workdir)}."
        )
    return None if workdir is None else document.check(("workdir",), lambda path: check_text(path, "workdir"), workdir)


def _check_git(document: Document, workdir: Mapping[str, object]) -> dict[str, str]:
    given = document.fields(workdir, ("workdir",), _GIT)
    if "url" not in given:
        raise InvalidTaskError(f"{document.at(('workdir',))}workdir from git needs a url.")
    for field, value in given.items():
        at = document.at(("workdir", field))
        if not isinstance(value, str) or not value.strip() or value.startswith("-"):
            what = "the address of a git repository" if field == "url" else "a branch, a tag or a commit"
            raise InvalidTaskError(f"{at}workdir.{field} must be {what}, found {describe(value)}.")
        check_text(value, f"{at}workdir.{field}")
    return given


def check_folder(workdir: object) -> None:
    """Looks at the file system. Raises InvalidTaskError if the workdir is a path, and no folder is there."""
    if not isinstance(workdir, str):
        return
    path = os.path.expanduser(workdir)
    if not os.path.exists(path):
        raise InvalidTaskError(f"Workdir {workdir!r} does not exist; check the path.")
    if not os.path.isdir(path):
        raise InvalidTaskError(f"Workdir {workdir!r} is not a folder, or a symbolic link to one.")
