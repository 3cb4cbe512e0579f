"""The catalogs in the package say what is known of the clouds."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import skyflow.catalog
from skyflow.catalog.file import read, write
from skyflow.catalog.library import CLOUDS, load
from skyflow.catalog.table import Listing
from skyflow.models.accelerator import canonical

DATA = Path(skyflow.catalog.__file__).with_name("data")


def cheapest(cloud: str, accelerator: str, count: float) -> Listing:
    found = [one for one in load(cloud).find(accelerator) if one.type.accelerator_count == count]
    return min((one for one in found if one.price is not None), key=lambda one: one.price or 0)


@pytest.mark.parametrize(
    ("cloud", "accelerator", "count", "instance_type", "price"),
    [
        ("aws", "A100", 8, "p4d.24xlarge", 21.958),
        ("aws", "H100", 8, "p5.48xlarge", 55.04),
        ("aws", "H100", 1, "p5.4xlarge", 6.88),
        ("aws", "T4", 1, "g4dn.xlarge", 0.526),
        ("gcp", "A100", 8, "a2-highgpu-8g", 29.387),
        ("gcp", "H100", 8, "a3-highgpu-8g", 88.49),
        ("gcp", "tpu-v5litepod-8", 1, "v5litepod-8", 9.60),
        ("gcp", "tpu-v6e-8", 1, "v6e-8", 21.60),
        ("gcp", "tpu-v4-8", 1, "v4-8", 12.88),
    ],
)
def test_known_prices(cloud: str, accelerator: str, count: float, instance_type: str, price: float) -> None:
    found = cheapest(cloud, accelerator, count)
    assert (found.type.name, found.price) == (instance_type, pytest.approx(price, rel=1e-4))


@pytest.mark.parametrize(("cloud", "types", "regions", "zones"), [("aws", 209, 25, 80), ("gcp", 221, 44, 131)])
def test_nothing_is_lost(cloud: str, types: int, regions: int, zones: int) -> None:
    listings = [*load(cloud).listings, *load(cloud).attachments]
    assert len({one.type.name for one in load(cloud).listings}) == types
    assert len({one.region for one in listings}) == regions
    assert len({zone for one in listings for zone in one.zones}) == zones


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_listing_is_whole(cloud: str) -> None:
    catalog = load(cloud)
    for one in [*catalog.listings, *catalog.attachments]:
        assert one.zones and one.region
        assert cloud == "local" or (
            (one.price is None or one.price > 0) and (one.spot_price is None or one.spot_price > 0)
        )
        assert (one.price, one.spot_price) != (None, None), one
    for one in catalog.listings:
        assert one.type.cpus > 0 and one.type.memory > 0 and one.type.arch in ("x86_64", "arm64")
        assert (one.type.accelerator is None) == (one.type.accelerator_count == 0)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_zone_of_a_type_has_one_price(cloud: str) -> None:
    places = [(one.type.name, zone) for one in load(cloud).listings for zone in one.zones]
    assert len(places) == len(set(places))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_accelerators_have_canonical_names(cloud: str) -> None:
    assert [name for name in load(cloud).accelerators if canonical(name) != name] == []


def test_blank_prices_are_none() -> None:
    """What has no public price is not free."""
    unpriced = {one.type.name for cloud in CLOUDS for one in load(cloud).listings if one.price is None}
    assert {"p5e.48xlarge", "trn2.48xlarge", "a3-ultragpu-8g", "a4-highgpu-8g"} <= unpriced
    assert all(one.spot_price for one in load("aws").listings if one.type.name == "p5e.48xlarge")


def test_zones_of_aws_are_ids_with_their_default_names() -> None:
    catalog = load("aws")
    zones = {zone for one in catalog.listings for zone in one.zones}
    assert zones == set(catalog.zone_names)
    assert catalog.zone_names["use1-az1"] == "us-east-1b"
    assert catalog.zone_names["euw2-az1"] == "eu-west-2c"


def test_a_tpu_is_a_whole_slice() -> None:
    (found,) = {one.type for one in load("gcp").find("tpu-v5litepod-8")}
    assert (found.name, found.accelerator_count, found.cpus, found.accelerator_memory) == ("v5litepod-8", 1, 224, 128)


def test_local_costs_nothing() -> None:
    catalog = load("local")
    assert {one.zones for one in catalog.listings} == {("local-a", "local-b")}
    assert {(one.price, one.spot_price) for one in catalog.listings} == {(0, 0)}
    assert len(catalog.listings) == 27


@pytest.mark.parametrize("cloud", CLOUDS)
def test_files_are_as_a_refresh_writes_them(cloud: str) -> None:
    text = (DATA / f"{cloud}.json").read_text()
    assert write(read(text)) == text
    assert text.count('["') >= len(load(cloud).listings)


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_dates_and_doubts_are_told(cloud: str) -> None:
    assert load(cloud).date.startswith("2026-0")
    assert any("indicative" in note for note in load(cloud).notes)


def test_the_data_is_small() -> None:
    files = list(DATA.iterdir())
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) < 120_000
    assert sum(file.stat().st_size for file in files) < 1_000_000
