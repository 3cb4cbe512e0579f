"""Whose catalog it is: the package's, or the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyflow.catalog.file import FORMAT, write
from skyflow.catalog.library import load
from skyflow.catalog.table import Catalog, InstanceType, Listing
from skyflow.errors import NotSupportedError, UsageError


def own(folder: Path, price: float, cloud: str = "aws") -> Path:
    file = folder / "aws.json"
    file.write_text(write(Catalog(cloud, [Listing(InstanceType("one", 1, 2), "east", ("a",), price, None)])))
    return file


def test_the_package_has_one_read_once() -> None:
    assert load("aws") is load("aws")


def test_a_folder_without_one(tmp_path: Path) -> None:
    assert load("aws", tmp_path) is load("aws")
    assert load("aws", tmp_path / "absent") is load("aws")


def test_the_users_own_wins_over_that_of_the_package(tmp_path: Path) -> None:
    own(tmp_path, 7)
    assert [one.price for one in load("aws", tmp_path).listings] == [7]
    assert load("gcp", tmp_path) is load("gcp")
    assert len(load("aws").listings) > 1000


def test_it_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    file = own(tmp_path, 7)
    first = load("aws", tmp_path)
    assert load("aws", tmp_path) is first
    file.unlink()
    own(tmp_path, 88)
    assert [one.price for one in load("aws", tmp_path).listings] == [88]
    file.unlink()
    assert load("aws", tmp_path) is load("aws")


def test_an_unknown_cloud() -> None:
    with pytest.raises(NotSupportedError, match="'azure'; there is one of aws, gcp, local"):
        load("azure")


@pytest.mark.parametrize("damage", ["", "not JSON", '{"format": 1}', '{"format": 1, "types": {"a": {}}}', "\x00"])
def test_a_damaged_one_says_what_to_do(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "aws.json"
    file.write_text(damage)
    with pytest.raises(UsageError, match="skyflow catalog refresh aws; or remove it") as raised:
        load("aws", tmp_path)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_one_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "aws.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="cannot be read"):
        load("aws", tmp_path)


def test_one_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "aws.json").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        load("aws", tmp_path)


def test_one_of_a_newer_version(tmp_path: Path) -> None:
    file = own(tmp_path, 7)
    file.write_text(file.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'))
    with pytest.raises(UsageError, match=r"newer skyflow.*upgrade"):
        load("aws", tmp_path)


def test_one_of_another_cloud(tmp_path: Path) -> None:
    own(tmp_path, 7, cloud="gcp")
    with pytest.raises(UsageError, match="catalog of 'gcp'"):
        load("aws", tmp_path)
