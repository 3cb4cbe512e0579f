"""`skyflow check`: which clouds can be used from here."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from skyflow import clouds
from skyflow.cli import view
from skyflow.errors import NoCloudAccessError, UsageError
from skyflow.settings import Settings


def check(names: list[str], verbose: bool, output: str) -> None:
    """Prints a row a cloud. Raises NoCloudAccessError if none can be used."""
    settings = Settings.load()
    found = asyncio.run(clouds.access(settings))
    wanted = [name.partition("/")[0].lower() for name in names]
    for name in wanted:
        if name not in found:
            raise UsageError(f"There is no cloud {name!r} in this version of skyflow; there are: {', '.join(found)}.")
    chosen = {name: one for name, one in found.items() if not wanted or name in wanted}
    allowed = settings.allowed_clouds
    if output == "json":
        view.as_json([{"cloud": name, **asdict(one)} for name, one in chosen.items()])
    else:
        rows = []
        for name, one in chosen.items():
            forbidden = allowed is not None and name not in allowed
            state = "not allowed" if forbidden else "enabled" if one.enabled else "not enabled"
            why = f"allowed_clouds: {settings.sources['allowed_clouds']}" if forbidden else one.reason
            row = [name, state, one.identity or "-", " ".join(part for part in (why, one.advice) if part) or "-"]
            rows.append([*row, ", ".join(one.capabilities) or "-"] if verbose else row)
        view.table(["CLOUD", "", "AS", "WHY, AND WHAT TO DO", *(["CAN"] if verbose else [])], rows)
    if not any(one.enabled for one in chosen.values()):
        raise NoCloudAccessError(f"None of these can be used from here: {', '.join(chosen)}.")
