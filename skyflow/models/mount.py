"""File mounts: which local file or folder goes where on the nodes, and what may not (PARITY §2)."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from skyflow.errors import InvalidTaskError
from skyflow.models.document import check_text, describe, show

WORKDIR_TARGET = "~/sky_workdir"

_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


def check_target(target: object) -> str:
    """Where something goes on the nodes. Raises InvalidTaskError."""
    if not isinstance(target, str) or not target:
        raise InvalidTaskError(f"file_mounts: a destination must be a path on the nodes, found {describe(target)}.")
    check_text(target, f"file_mounts: the destination {show(target)}")
    if _URI.match(target):
        raise InvalidTaskError(f"file_mounts: the destination {show(target)} must be a path on the nodes, not a URI.")
    if target.endswith("/"):
        raise InvalidTaskError(f"file_mounts: the destination {show(target)} may not end with '/'; leave that off.")
    if target.startswith("~") and target != "~" and not target.startswith("~/"):
        raise InvalidTaskError(f"file_mounts: the destination {show(target)} may only start with '~/'.")
    return target


def check_source(target: str, source: object) -> str:
    """What goes to a target: a local path, or the URI of a bucket or file. Looks at its form only.

    Raises:
        InvalidTaskError: it is neither.
    """
    where = f"file_mounts[{show(target)}]"
    if isinstance(source, Mapping) or hasattr(source, "to_yaml_config"):
        raise InvalidTaskError(f"{where} is a storage; give it to set_storage_mounts, as a Storage.")
    if not isinstance(source, str) or not source:
        raise InvalidTaskError(f"{where} must be a local path, a URI or a storage object, found {describe(source)}.")
    check_text(source, where)
    if source.endswith("/") and not is_uri(source):
        raise InvalidTaskError(f"{where}: the source {show(source)} may not end with '/'; leave that off.")
    return source


def is_uri(source: str) -> bool:
    """Whether a source is a bucket or URL, not a path of this machine."""
    return bool(_URI.match(source))


def check_mounts(mounts: object) -> dict[str, str]:
    """Target → source, both in the right form."""
    if not isinstance(mounts, Mapping):
        raise InvalidTaskError(f"file_mounts must be a mapping of destination to source, found {describe(mounts)}.")
    return {check_target(target): check_source(target, source) for target, source in mounts.items()}


def check_mount(target: str, source: Any, *, has_workdir: bool) -> None:
    """Looks at the file system. Raises InvalidTaskError if a source is absent or contradicts itself.

    Args:
        target: path on the nodes.
        source: a local path, a URI or a Storage.
        has_workdir: whether the task has one; then nothing else may go there.
    """
    if has_workdir and posixpath.normpath(target) == WORKDIR_TARGET:
        raise InvalidTaskError(
            "Cannot mount ~/sky_workdir as both the workdir and file_mounts contains it as the target."
        )
    where = f"file_mounts[{show(target)}]"
    if not isinstance(source, str):
        try:
            source.validate(target)
        except InvalidTaskError as error:
            raise type(error)(f"{where}: {error}") from None
    elif not is_uri(source) and not os.path.exists(os.path.expanduser(source)):
        raise InvalidTaskError(f"{where}: the source {show(source)} does not exist; check the path.")
