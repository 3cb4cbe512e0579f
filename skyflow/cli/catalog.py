"""`skyflow catalog` and `skyflow gpus`: what the clouds have, at which price, and how old those prices are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyflow.catalog.gpu import COMMON, Accelerator, Node, accelerators, nodes
from skyflow.catalog.library import CLOUDS, load, own_file
from skyflow.catalog.table import Attachment, Catalog, Listing
from skyflow.cli import view
from skyflow.errors import SkyflowError, UsageError
from skyflow.models.place import check_infra
from skyflow.settings import Settings

if TYPE_CHECKING:
    from skyflow.catalog.refresh import Progress


def show(output: str) -> None:
    """Prints where each catalog comes from, how old it is, and how much it has."""
    settings = Settings.load()
    found = [_summary(_here(cloud, settings), settings.home / "catalog") for cloud in CLOUDS]
    if output == "json":
        view.as_json(found)
        return
    rows = [
        [
            one["cloud"],
            one["date"] or "-",
            "-" if one["age_days"] is None else f"{one['age_days']} d",
            f"{one['instance_types']:,}",
            str(one["regions"]),
            str(one["zones"]),
            f"{one['file'] or 'came with skyflow'} ({one['source']})",
        ]
        for one in found
    ]
    view.table(["CLOUD", "PRICES OF", "AGE", "TYPES", "REGIONS", "ZONES", "FROM"], rows)
    for one in found:
        for note in one["notes"]:
            view.say(f"{one['cloud']}: {note}")


def refresh(names: list[str]) -> None:
    """Reads prices from the clouds' own price lists: those that are named, or all that can be read from here.

    Raises:
        SkyflowError: a cloud that was named cannot be read; or none can.
    """
    from skyflow.catalog import refresh as reading  # here, because only this command needs it

    folder = Settings.load().home / "catalog"
    failed: list[SkyflowError] = []
    chosen = list(dict.fromkeys(names)) or list(reading.CLOUDS)
    for cloud in chosen:
        before = _before(cloud, folder)
        try:
            with _progress() as progress:
                found = reading.refresh(cloud, folder, os.environ, progress)
        except SkyflowError as error:
            if names:
                raise
            failed.append(error)
            view.say(f"{cloud}: {error}")
            continue
        types = len({listing.type.name for listing in found.listings})
        regions = len({listing.region for listing in found.listings})
        view.say(f"{cloud}: {types:,} instance types in {regions} regions, prices of {found.date} (before: {before}).")
        for note in found.notes:
            view.say(f"{cloud}: {note}")
    if len(failed) == len(chosen):
        raise type(failed[0])("No catalog was refreshed; those that there were are still used.")


def list_gpus(
    name: str | None, everything: bool, infra: str | None, all_regions: bool, verbose: bool, output: str
) -> None:
    """Prints the accelerators that there are; with a name, the nodes that have it.

    Raises:
        UsageError: no catalog has it, or two flags contradict each other.
    """
    cloud, region = _place(infra)
    settings = Settings.load()
    catalogs = [_here(cloud, settings)] if cloud else [load(one, settings.home / "catalog") for one in CLOUDS]
    if name is not None:
        if everything:
            raise UsageError("--all lists every kind of accelerator; it goes without a name.")
        _show_nodes(nodes(catalogs, name, region, by_region=all_regions), all_regions, verbose, output)
        return
    if all_regions:
        raise UsageError("--all-regions needs a name: skyflow gpus list A100 --all-regions")
    found = accelerators(catalogs, region)
    shown = found if everything else [one for one in found if one.name in COMMON]
    if output != "json" and not shown:
        view.say(
            f"There are no {'' if everything or not found else 'common '}accelerators in {infra or 'the catalogs'}."
        )
    else:
        _show_kinds(shown, verbose, output)
    if output != "json" and found:
        view.say(f"Nodes that have one: skyflow gpus list {found[0].name}")
        if not everything:
            view.say("Every kind, TPUs too: skyflow gpus list --all")


def _show_kinds(found: Sequence[Accelerator], verbose: bool, output: str) -> None:
    if output == "json":
        view.as_json([asdict(one) for one in found])
        return
    columns = ["ACCELERATOR", "COUNTS", "GiB EACH", "CLOUDS", "FROM $/h", "SPOT FROM"]
    rows = [
        [
            one.name,
            ", ".join(f"{count:g}" for count in one.counts),
            "-" if one.memory is None else f"{one.memory:g}",
            ", ".join(one.clouds),
            view.dollars(one.price),
            view.dollars(one.spot_price),
            *([str(len(one.regions))] if verbose else []),
        ]
        for one in sorted(found, key=lambda one: one.name not in COMMON)
    ]
    view.table([*columns, *(["REGIONS"] if verbose else [])], rows)


def _show_nodes(found: Sequence[Node], all_regions: bool, verbose: bool, output: str) -> None:
    if output == "json":
        view.as_json([asdict(one) for one in found])
        return
    several = len({one.accelerator for one in found}) > 1
    columns = ["DEVICES", "INFRA", "INSTANCE TYPE", "CPUS", "GiB", "$/h", "SPOT $/h"]
    rows = [
        [
            f"{one.accelerator}:{one.count:g}" if several else _devices(one),
            f"{one.cloud}/{one.region}",
            one.instance_type,
            f"{one.cpus:g}",
            f"{one.memory:g}",
            view.dollars(one.price),
            view.dollars(one.spot_price),
            *([one.spot_region or "-", one.arch, str(len(one.zones))] if verbose else []),
        ]
        for one in found
    ]
    more = ["SPOT REGION", "ARCH", "ZONES"] if verbose else []
    view.table([*columns, *more], rows)
    if not all_regions:
        view.say("Where each is cheapest; every region: --all-regions")


def _devices(one: Node) -> str:
    return f"{one.count:g}" + ("" if one.accelerator_memory is None else f" × {one.accelerator_memory:g} GiB")


def _here(cloud: str, settings: Settings) -> Catalog:
    """The catalog of a cloud; of one that this version can use, with what it has here, set up at will."""
    from skyflow import clouds  # here, because a list of GPUs needs only the catalogs

    catalog = load(cloud, settings.home / "catalog")
    if cloud not in clouds.names():
        return catalog
    return replace(catalog, listings=clouds.get(cloud, settings).catalog().listings)


def _place(infra: str | None) -> tuple[str | None, str | None]:
    cloud, region, zone = check_infra(infra) if infra else (None, None, None)
    if zone is not None:
        raise UsageError(f"--infra {infra}: prices are those of a region; leave the zone out.")
    return cloud, region


def _summary(catalog: Catalog, folder: Path) -> dict[str, Any]:
    places: list[Listing | Attachment] = [*catalog.listings, *catalog.attachments]
    own = own_file(catalog.cloud, folder)
    return {
        "cloud": catalog.cloud,
        "date": catalog.date or None,
        "age_days": _age(catalog.date),
        "instance_types": len({listing.type.name for listing in catalog.listings}),
        "regions": len({one.region for one in places}),
        "zones": len({zone for one in places for zone in one.zones}),
        "accelerators": len(catalog.accelerators),
        "file": str(own) if own.exists() else None,
        "source": catalog.source,
        "notes": list(catalog.notes),
    }


def _age(day: str) -> int | None:
    return (datetime.now(UTC).date() - date.fromisoformat(day)).days if day else None


def _before(cloud: str, folder: Path) -> str:
    """How old the prices were, in words. What is to be replaced may be damaged."""
    try:
        return load(cloud, folder).date or "none"
    except SkyflowError:
        return "a file that could not be read"


@contextmanager
def _progress() -> Iterator[Progress]:
    """Shows on a terminal how far it is."""
    if not sys.stderr.isatty():
        yield lambda what, done, all: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("…", total=None)
        yield lambda what, done, all: bar.update(task, description=what, completed=done, total=all or None)
