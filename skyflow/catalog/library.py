"""The catalogs that there are: those in the package, and the user's own, which `skyflow catalog refresh` writes."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from skyflow.catalog.file import NewerFormatError, read
from skyflow.catalog.table import Catalog
from skyflow.errors import NotSupportedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

CLOUDS = ("aws", "gcp", "local")
"""Clouds that have a catalog in the package."""

_PACKAGED = os.path.join(os.path.dirname(__file__), "data")


def load(cloud: str, folder: Path | None = None) -> Catalog:
    """The catalog of a cloud; read once, and again when the file has changed.

    Args:
        cloud: its name.
        folder: where the user's own catalogs are, usually `Settings.home / "catalog"`. One that is there wins over the
            one in the package.

    Raises:
        NotSupportedError: there is none of this cloud.
        UsageError: the user's own cannot be read.
    """
    if cloud not in CLOUDS:
        raise NotSupportedError(f"There is no catalog of {cloud!r}; there is one of {', '.join(CLOUDS)}.")
    if folder is not None and (own := _identity(os.path.join(folder, f"{cloud}.json"))):
        return _own(cloud, *own)
    return _packaged(cloud)


def own_file(cloud: str, folder: Path) -> Path:
    """Where a user's own catalog is, if there is one."""
    return folder / f"{cloud}.json"


def _identity(path: str) -> tuple[str, int, int, int] | None:
    """What differs when a file has changed; None if there is no file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return path, found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=len(CLOUDS))
def _packaged(cloud: str) -> Catalog:
    with open(os.path.join(_PACKAGED, f"{cloud}.json"), "rb") as file:
        return read(file.read())


@lru_cache(maxsize=len(CLOUDS))
def _own(cloud: str, path: str, *identity: int) -> Catalog:
    again = f"write it anew: skyflow catalog refresh {cloud}; or remove it, for the prices that came with skyflow."
    try:
        with open(path, "rb") as file:
            found = read(file.read())
    except NewerFormatError as error:
        raise UsageError(f"{path} was written by a newer skyflow ({error}); upgrade, or {again}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({' '.join(str(error).split())}); {again}") from None
    if found.cloud != cloud:
        raise UsageError(f"{path} is the catalog of {found.cloud!r}; {again}")
    return found
