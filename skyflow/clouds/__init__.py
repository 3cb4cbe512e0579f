"""The clouds: one module each behind one small Protocol. This registry imports a cloud when it is asked for."""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from skyflow.errors import NotSupportedError
from skyflow.models import place

if TYPE_CHECKING:
    from skyflow.catalog.table import Catalog
    from skyflow.clouds.protocol import Cloud, CloudAccess
    from skyflow.settings import Settings

_CLOUDS = {"local": "skyflow.clouds.local.cloud:LocalCloud"}
"""Name → module and class. An extra of the distribution has the name of its cloud."""


def names() -> list[str]:
    """The names of all clouds that this version knows."""
    return sorted(_CLOUDS)


def get(name: str, settings: Settings) -> Cloud:
    """The cloud of this name.

    Raises:
        NotSupportedError: there is no such cloud, or what it needs is not installed.
    """
    if name not in _CLOUDS:
        raise NotSupportedError(
            f"There is no cloud {name!r} in this version of skyflow; there is {', '.join(names())}."
        )
    module, _, cls = _CLOUDS[name].partition(":")
    try:
        cloud: type[Cloud] = getattr(importlib.import_module(module), cls)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("skyflow"):
            raise
        raise NotSupportedError(
            f"Cloud {name!r} needs the package {error.name!r}: pip install 'skyflow-orchestrator[{name}]'."
        ) from error
    return cloud(settings)


async def access(settings: Settings) -> dict[str, CloudAccess]:
    """Whether each cloud can be used from here, and if not: why, and what to do."""
    from skyflow import catalog
    from skyflow.clouds.protocol import CloudAccess  # as in _check

    known = sorted({*names(), *catalog.CLOUDS})
    planned = CloudAccess(enabled=False, reason="Its prices are known, but this version cannot make nodes there yet.")

    async def check(name: str) -> CloudAccess:
        return await _check(name, settings) if name in _CLOUDS else planned

    return dict(zip(known, await asyncio.gather(*map(check, known)), strict=True))


async def enabled(settings: Settings) -> list[Cloud]:
    """The clouds that can be used from here."""
    return [get(name, settings) for name, found in (await access(settings)).items() if found.enabled]


def other_catalogs(settings: Settings, enabled: list[Cloud]) -> list[Catalog]:
    """What the clouds have that cannot be used from here: for a plan, and for a better message."""
    from skyflow import catalog

    own = {cloud.name for cloud in enabled}
    return [catalog.load(name, settings.home / "catalog") for name in catalog.CLOUDS if name not in {*own, *_CLOUDS}]


def is_reachable(host: str | None, settings: Settings) -> bool:
    """Whether the nodes of an offer of this host (None: of no host) can be reached from here. Imports no cloud."""
    if host is None:
        return True
    from skyflow.clouds.local.folder import Folder  # of the one cloud that is host-bound

    return host == Folder(settings.local_dir).host_id()


async def _check(name: str, settings: Settings) -> CloudAccess:
    from skyflow.clouds.protocol import CloudAccess  # not at the top: the host of local nodes starts without pydantic

    try:
        cloud = get(name, settings)
    except NotSupportedError as error:
        return CloudAccess(enabled=False, reason=str(error))
    return replace(await cloud.check(), capabilities=cloud.capabilities.names())


def __getattr__(name: str) -> Any:
    """`clouds.AWS()`, for programs that name a cloud so (PARITY R01)."""
    if name in (*place.CLASSES, "K8s"):
        return getattr(place, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if TYPE_CHECKING:
    from skyflow.clouds.local.cloud import LocalCloud

    _conforming: list[type[Cloud]] = [LocalCloud]
