"""Reading AWS with an unmodified boto3, over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skyflow.catalog.library import load
from skyflow.catalog.refresh import refresh
from skyflow.catalog.table import Catalog
from skyflow.errors import SkyflowError, UsageError
from tests.catalog.fake_aws import FakeAws

ODDITIES = {
    "odd.metal": {"BareMetal": True},
    "odd.fpga": {"FpgaInfo": {"TotalFpgaMemoryInMiB": 1}},
    "odd.media": {"MediaAcceleratorInfo": {"TotalMediaMemoryInMiB": 1}},
    "odd.mac": {"ProcessorInfo": {"SupportedArchitectures": ["x86_64_mac"]}},
}


def kind(cpus: int, mib: int, *archs: str, **more: Any) -> dict[str, Any]:
    processor = {"SupportedArchitectures": list(archs or ("x86_64",))}
    return {"VCpuInfo": {"DefaultVCpus": cpus}, "MemoryInfo": {"SizeInMiB": mib}, "ProcessorInfo": processor, **more}


def gpus(name: str, count: int, mib: int, **more: Any) -> dict[str, Any]:
    return {"GpuInfo": {"Gpus": [{"Name": name, "Count": count, "MemoryInfo": {"SizeInMiB": mib}, **more}]}}


def neurons(name: str, count: int, mib: int) -> dict[str, Any]:
    return {"NeuronInfo": {"NeuronDevices": [{"Name": name, "Count": count, "MemoryInfo": {"SizeInMiB": mib}}]}}


ACCELERATED: dict[str, tuple[dict[str, Any], str, float, float | None]] = {
    "p4de.24xlarge": (gpus("A100", 8, 81920), "A100-80GB", 8, 80),
    "p3dn.24xlarge": (gpus("V100", 8, 32768), "V100-32GB", 8, 32),
    "p3.2xlarge": (gpus("V100", 1, 16384), "V100", 1, 16),
    "p5.48xlarge": (gpus("H100", 8, 81920), "H100", 8, 80),
    "p6-b300.48xlarge": (gpus("B300", 8, 275041), "B300", 8, 268.59),
    "g5g.xlarge": (gpus("T4g", 1, 16384), "T4g", 1, 16),
    "g4ad.16xlarge": (gpus("Radeon Pro V520", 4, 8192), "RadeonProV520", 4, 8),
    "dl1.24xlarge": (gpus("Gaudi HL-205", 8, 32768), "Gaudi", 8, 32),
    "new.xlarge": (gpus("Something New", 1, 1024), "SomethingNew", 1, 1),
    "inf2.24xlarge": (neurons("Inferentia2", 6, 32768), "Inferentia2", 6, 32),
    "inf1.6xlarge": (
        {"InferenceAcceleratorInfo": {"Accelerators": [{"Name": "Inferentia", "Count": 4}]}},
        "Inferentia",
        4,
        None,
    ),
}
"""Instance type → what EC2 says of its accelerators, and what that means."""


def some() -> FakeAws:
    """Two regions, and a few types."""
    return FakeAws(
        zones={
            "us-east-1": {"use1-az1": "us-east-1c", "use1-az2": "us-east-1a", "use1-az4": "us-east-1b"},
            "eu-west-1": {"euw1-az1": "eu-west-1a"},
        },
        types={
            "c5.12xlarge": kind(48, 98304),
            "c5.2xlarge": kind(8, 16384, "i386", "x86_64"),
            "m7g.large": kind(2, 8192, "arm64"),
            "p4d.24xlarge": kind(96, 1179648, **gpus("A100", 8, 40960)),
            "g6.xlarge": kind(4, 16384, **gpus("L4", 1, 22888)),
            "trn2.48xlarge": kind(192, 2097152, **neurons("Trainium2", 16, 98304)),
        },
        offered={
            "c5.12xlarge": ["use1-az1", "use1-az2", "euw1-az1"],
            "c5.2xlarge": ["use1-az4", "use1-az1", "use1-az2"],
            "m7g.large": ["use1-az1"],
            "p4d.24xlarge": ["use1-az2"],
            "g6.xlarge": ["euw1-az1"],
            "trn2.48xlarge": ["use1-az4"],
        },
        prices={
            ("c5.12xlarge", "us-east-1"): "2.0400000000",
            ("c5.12xlarge", "eu-west-1"): "2.3040000000",
            ("c5.2xlarge", "us-east-1"): "0.3400000000",
            ("m7g.large", "us-east-1"): "0.0816000000",
            ("p4d.24xlarge", "us-east-1"): "21.9576420000",
            ("trn2.48xlarge", "us-east-1"): "0.0000000000",
        },
        spot=[
            ("c5.2xlarge", "us-east-1c", "0.1500", "2026-11-24T00:00:00.000Z"),
            ("c5.2xlarge", "us-east-1c", "0.1400", "2026-11-23T00:00:00.000Z"),
            ("c5.2xlarge", "us-east-1a", "0.1500", "2026-11-24T00:00:00.000Z"),
            ("c5.2xlarge", "us-east-1b", "0.2000", "2026-11-24T00:00:00.000Z"),
            ("trn2.48xlarge", "us-east-1b", "4.5000", "2026-11-24T00:00:00.000Z"),
        ],
    )


def with_rare_types(fake: FakeAws) -> FakeAws:
    added = {name: kind(8, 16384) | what for name, (what, *_) in ACCELERATED.items()}
    added |= {name: kind(8, 16384) | what for name, what in ODDITIES.items()}
    added["odd.part"] = kind(8, 16384) | gpus("L4", 1, 2861, GpuPartitionSize=0.125)
    fake.types |= added
    fake.offered |= {name: ["use1-az1"] for name in added}
    fake.prices |= {(name, "us-east-1"): "1.0" for name in added}
    return fake


@contextmanager
def served(fake: FakeAws, home: Path) -> Iterator[pytest.MonkeyPatch]:
    """The environment in which boto3 finds this AWS, and a user of it."""
    with fake.serve() as url, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("AWS_ENDPOINT_URL_EC2", url)
        patch.setenv("AWS_ENDPOINT_URL_PRICING", url)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield patch


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """What a refresh made of all that there is."""
    folder = tmp_path_factory.mktemp("aws")
    with served(with_rare_types(some()), folder):
        refresh("aws", folder / "catalog", os.environ)
    return load("aws", folder / "catalog")


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[FakeAws]:
    fake = some()
    with served(fake, tmp_path):
        yield fake


Row = tuple[str, tuple[str, ...], float | None, float | None]


def rows(catalog: Catalog, name: str) -> list[Row]:
    return [(one.region, one.zones, one.price, one.spot_price) for one in catalog.listings if one.type.name == name]


def test_prices_by_region(catalog: Catalog) -> None:
    assert rows(catalog, "c5.12xlarge") == [
        ("eu-west-1", ("euw1-az1",), 2.304, None),
        ("us-east-1", ("use1-az1", "use1-az2"), 2.04, None),
    ]


def test_zones_are_grouped_by_their_newest_spot_price(catalog: Catalog) -> None:
    assert rows(catalog, "c5.2xlarge") == [
        ("us-east-1", ("use1-az1", "use1-az2"), 0.34, 0.15),
        ("us-east-1", ("use1-az4",), 0.34, 0.2),
    ]


def test_what_has_no_price_is_not_free(catalog: Catalog) -> None:
    """The price list says 0 for what is not sold by the hour. With no spot price either, it is not there."""
    assert rows(catalog, "trn2.48xlarge") == [("us-east-1", ("use1-az4",), None, 4.5)]
    assert rows(catalog, "g6.xlarge") == []


def test_zone_names_are_those_of_the_account(catalog: Catalog) -> None:
    assert catalog.zone_names["use1-az1"] == "us-east-1c"


def test_it_says_when_and_where_it_was_read(catalog: Catalog) -> None:
    age = datetime.now(UTC) - datetime.fromisoformat(catalog.date).replace(tzinfo=UTC)
    assert 0 <= age.total_seconds() < 2 * 86400
    assert "EC2" in catalog.source


@pytest.mark.parametrize("name", ACCELERATED)
def test_accelerators(catalog: Catalog, name: str) -> None:
    (found,) = {one.type for one in catalog.listings if one.type.name == name}
    assert (found.accelerator, found.accelerator_count, found.accelerator_memory) == ACCELERATED[name][1:]


def test_specifications(catalog: Catalog) -> None:
    kinds = {one.type.name: one.type for one in catalog.listings}
    small, arm = kinds["c5.2xlarge"], kinds["m7g.large"]
    assert (small.cpus, small.memory, small.arch, small.accelerator) == (8, 16, "x86_64", None)
    assert arm.arch == "arm64"
    assert list(kinds)[:2] == ["c5.2xlarge", "c5.12xlarge"]


@pytest.mark.parametrize("name", [*ODDITIES, "odd.part"])
def test_what_no_task_can_use_is_left_out(catalog: Catalog, name: str) -> None:
    assert rows(catalog, name) == []


def test_a_region_that_is_closed_to_the_account_is_left_out(aws: FakeAws, tmp_path: Path) -> None:
    aws.refusals["DescribeInstanceTypes", "eu-west-1"] = (403, "UnauthorizedOperation")
    refresh("aws", tmp_path, os.environ)
    found = load("aws", tmp_path)
    assert {one.region for one in found.listings} == {"us-east-1"}
    assert any("eu-west-1" in note for note in found.notes)


def test_if_all_are_closed_it_fails(aws: FakeAws, tmp_path: Path) -> None:
    for region in aws.zones:
        aws.refusals["DescribeAvailabilityZones", region] = (403, "UnauthorizedOperation")
    with pytest.raises(SkyflowError, match="AWS refused DescribeAvailabilityZones: UnauthorizedOperation: It is so"):
        refresh("aws", tmp_path, os.environ)


@pytest.mark.parametrize(
    ("operation", "region"), [("DescribeRegions", "us-east-1"), ("DescribeSpotPriceHistory", "eu-west-1")]
)
def test_any_other_refusal_fails(aws: FakeAws, tmp_path: Path, operation: str, region: str) -> None:
    aws.refusals[operation, region] = (400, "InvalidParameterValue")
    with pytest.raises(SkyflowError, match=f"AWS refused {operation}: InvalidParameterValue"):
        refresh("aws", tmp_path / "catalog", os.environ)
    assert not (tmp_path / "catalog").exists()


def test_the_price_list_needs_a_right_of_its_own(aws: FakeAws, tmp_path: Path) -> None:
    aws.refusals["GetProducts", "us-east-1"] = (400, "AccessDeniedException")
    with pytest.raises(SkyflowError, match="AWS refused GetProducts: AccessDeniedException"):
        refresh("aws", tmp_path, os.environ)


def test_no_credentials(aws: FakeAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UsageError, match=r"no credentials for AWS \(.*\): run `aws configure`"):
        refresh("aws", tmp_path, os.environ)
    assert aws.asked == []


def test_an_unknown_profile(aws: FakeAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UsageError, match="nobody"):
        refresh("aws", tmp_path, os.environ)


def test_nobody_answers(aws: FakeAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:9")
    with pytest.raises(SkyflowError, match="AWS could not be read: Could not connect"):
        refresh("aws", tmp_path, os.environ)


def test_every_list_is_read_to_its_end(aws: FakeAws, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    refresh("aws", tmp_path, os.environ, lambda *words: told.append(words))
    assert aws.asked.count(("DescribeInstanceTypes", "us-east-1")) == 3
    assert aws.asked.count(("GetProducts", "us-east-1")) == 3
    assert aws.asked.count(("GetProducts", "eu-west-1")) == 1
    assert told == [("regions of AWS", done, 2) for done in range(3)]
