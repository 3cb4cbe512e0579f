"""How a refresh replaces the user's file: as a whole, or not at all."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from skyflow.catalog import refresh as package
from skyflow.catalog.library import load
from skyflow.catalog.refresh import CLOUDS, Progress, refresh
from skyflow.catalog.refresh import aws as aws_module
from skyflow.catalog.table import LACKS, Catalog, InstanceType, Listing
from skyflow.errors import NotSupportedError, SkyflowError


def catalog(price: float | None) -> Catalog:
    listings = [Listing(InstanceType("one", 1, 2), "east", ("a",), price, 0.1)]
    return Catalog("aws", listings, date="2026-11-24", lacks=LACKS["aws"])


def answer(monkeypatch: pytest.MonkeyPatch, found: Catalog | Exception) -> None:
    def fetch(env: Mapping[str, str], progress: Progress) -> Catalog:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(aws_module, "fetch", fetch)


def test_the_file_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "catalog"
    for price in (1, 2):
        answer(monkeypatch, catalog(price))
        assert refresh("aws", folder, {}) == load("aws", folder) == catalog(price)
    assert [file.name for file in folder.iterdir()] == ["aws.json"]
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("found", [SkyflowError("refused"), KeyError("a bug"), catalog(None), Catalog("aws", [])])
def test_if_it_fails_the_old_file_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: Catalog | Exception
) -> None:
    answer(monkeypatch, catalog(1))
    refresh("aws", tmp_path, {})
    before = (tmp_path / "aws.json").read_bytes()
    answer(monkeypatch, found)
    with pytest.raises(type(found) if isinstance(found, Exception) else SkyflowError):
        refresh("aws", tmp_path, {})
    assert (tmp_path / "aws.json").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["aws.json"]


def test_if_the_disk_is_full_the_old_file_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer(monkeypatch, catalog(1))
    refresh("aws", tmp_path, {})

    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(package.os, "fsync", fsync)
    answer(monkeypatch, catalog(2))
    with pytest.raises(SkyflowError, match="No space left"):
        refresh("aws", tmp_path, {})
    assert [one.price for one in load("aws", tmp_path).listings] == [1]
    assert [file.name for file in tmp_path.iterdir()] == ["aws.json"]


def test_a_damaged_file_does_not_stand_in_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "aws.json").write_text("damaged")
    answer(monkeypatch, catalog(1))
    refresh("aws", tmp_path, {})
    assert load("aws", tmp_path) == catalog(1)


@pytest.mark.parametrize("cloud", ["local", "azure"])
def test_a_cloud_without_a_price_list(tmp_path: Path, cloud: str) -> None:
    with pytest.raises(NotSupportedError, match="no prices to be read; there are those of aws, gcp"):
        refresh(cloud, tmp_path, {})


@pytest.mark.parametrize(("cloud", "package"), [("aws", "boto3"), ("gcp", "google.auth")])
def test_a_missing_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cloud: str, package: str
) -> None:
    assert cloud in CLOUDS
    monkeypatch.delitem(sys.modules, f"skyflow.catalog.refresh.{cloud}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotSupportedError, match=rf"{package}.*pip install 'skyflow-orchestrator\[{cloud}\]'"):
        refresh(cloud, tmp_path, {})
