"""Makes a user's own catalogs, from the clouds' price lists and from what is offered where."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from skyflow.catalog.file import write
from skyflow.catalog.library import own_file
from skyflow.catalog.table import Catalog
from skyflow.errors import NotSupportedError, SkyflowError

CLOUDS = ("aws", "gcp")
"""Clouds that have price lists. The module of the same name beside this one reads them."""

Progress = Callable[[str, int, int], None]
"""Is told what is read, how much of it is done, and how much there is; 0 if that is not known."""


def refresh(
    cloud: str, folder: Path, env: Mapping[str, str], progress: Progress = lambda what, done, all: None
) -> Catalog:
    """Reads everything anew and replaces the user's file. If anything fails, the old one stays as it is.

    Args:
        cloud: its name.
        folder: of the user's own catalogs; made if it is not there.
        env: the environment, for what a cloud's library does not read there itself.
        progress: is called now and then, from any thread.

    Raises:
        NotSupportedError: the cloud has no price list, or what is needed to read it is not installed.
        UsageError: there are no credentials.
        SkyflowError: the cloud refused, or could not be reached.
    """
    if cloud not in CLOUDS:
        raise NotSupportedError(f"{cloud!r} has no prices to be read; there are those of {', '.join(CLOUDS)}.")
    try:
        fetch = importlib.import_module(f"{__name__}.{cloud}").fetch
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("skyflow"):
            raise
        raise NotSupportedError(
            f"To read the prices of {cloud} needs the package {error.name!r}: "
            f"pip install 'skyflow-orchestrator[{cloud}]'."
        ) from error
    found: Catalog = fetch(env, progress)
    if not any(listing.price is not None for listing in found.listings):
        raise SkyflowError(f"{cloud} answered, but with no price at all; the catalog stays as it is.")
    path = own_file(cloud, folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(path, write(found))
    except OSError as error:
        raise SkyflowError(f"{path} cannot be written: {error.strerror}.") from error
    return found


def _replace(path: Path, text: str) -> None:
    """At every moment there is the old file or the new one, whole."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
