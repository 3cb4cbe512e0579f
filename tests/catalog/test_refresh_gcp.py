"""Reading Google with the unmodified google-cloud-compute and google-auth, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skyflow.catalog.library import load
from skyflow.catalog.refresh import refresh
from skyflow.catalog.table import Catalog
from skyflow.errors import SkyflowError, UsageError
from skyflow.models.accelerator import is_tpu
from tests.catalog.fake_gcp import SKUS, FakeGcp, machine_type, sku

HERE, THERE = "us-east1", "europe-west1"
N1_4 = machine_type("n1-standard-4", 4, 15360)
N1_96 = machine_type("n1-standard-96", 96, 368640)


def some() -> FakeGcp:
    a100 = [{"guestAcceleratorType": "nvidia-tesla-a100", "guestAcceleratorCount": 8}]
    h100 = [{"guestAcceleratorType": "nvidia-h100-80gb", "guestAcceleratorCount": 8}]
    tpu = [{"guestAcceleratorType": "ct5lp", "guestAcceleratorCount": 4}]
    return FakeGcp(
        skus=[
            sku("N1 Predefined Instance Core running in Americas", 0.031611, HERE),
            sku("N1 Predefined Instance Ram running in Americas", 0.004237, HERE),
            sku("N1 Predefined Instance Core running in EMEA", 0.034773, THERE),
            sku("N1 Predefined Instance Ram running in EMEA", 0.004661, THERE),
            sku("Spot Preemptible N1 Predefined Instance Core running in Americas", 0.007, HERE, usage="Preemptible"),
            sku("Spot Preemptible N1 Predefined Instance Ram running in Americas", 0.001, HERE, usage="Preemptible"),
            sku("A2 Instance Core running in Americas", 0.031611, HERE),
            sku("A2 Instance Ram running in Americas", 0.004237, HERE),
            sku("Nvidia Tesla A100 GPU running in Americas", 2.933908, HERE),
            sku("Nvidia Tesla T4 GPU running in Americas", 0.35, HERE),
            sku(
                "Nvidia Tesla T4 GPU attached to Spot Preemptible VMs running in Americas",
                0.14,
                HERE,
                usage="Preemptible",
            ),
            sku("Nvidia Tesla P100 GPU running in Americas", 1.46, HERE),
            sku("C4A Arm Instance Core running in Americas", 0.03, HERE),
            sku("C4A Arm Instance Ram running in Americas", 0.004, HERE),
        ],
        machine_types={
            "us-east1-b": [
                N1_4,
                N1_96,
                machine_type("a2-highgpu-8g", 96, 696320, accelerators=a100),
                machine_type("a3-highgpu-8g", 208, 1916928, accelerators=h100, bundledLocalSsds={"partitionCount": 16}),
                machine_type("c4a-standard-2", 2, 8192, architecture="ARM64"),
                machine_type("f1-micro", 1, 614, isSharedCpu=True),
                machine_type("ct5lp-hightpu-4t", 112, 196608, accelerators=tpu),
                machine_type("n1-standard-8", 8, 30720, deprecated={"state": "DEPRECATED"}),
            ],
            "us-east1-c": [N1_4, N1_96],
            "europe-west1-b": [N1_4],
            "us-south1-ai1b": [N1_4],
        },
        accelerator_types={
            "us-east1-b": ["nvidia-tesla-t4", "nvidia-tesla-p100", "nvidia-tesla-a100", "ct5lp"],
            "us-east1-c": ["nvidia-tesla-t4", "nvidia-tesla-p100", "nvidia-tesla-t4-vws"],
            "europe-west1-b": ["nvidia-tesla-t4"],
        },
    )


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """What a refresh made of all that there is."""
    folder = tmp_path_factory.mktemp("gcp")
    with some().serve() as url:
        refresh("gcp", folder, environment(url))
    return load("gcp", folder)


@pytest.fixture
def gcp() -> Iterator[tuple[FakeGcp, dict[str, str]]]:
    fake = some()
    with fake.serve() as url:
        yield fake, environment(url)


def environment(url: str) -> dict[str, str]:
    return {"SKYFLOW_GCP_ENDPOINT": url, "GOOGLE_CLOUD_PROJECT": "my-project"}


Row = tuple[str, tuple[str, ...], float | None, float | None]


def rows(catalog: Catalog, name: str) -> list[Row]:
    return [(one.region, one.zones, one.price, one.spot_price) for one in catalog.listings if one.type.name == name]


def test_prices_by_region(catalog: Catalog) -> None:
    assert rows(catalog, "n1-standard-4") == [
        ("europe-west1", ("europe-west1-b",), pytest.approx(0.209007), None),
        ("us-east1", ("us-east1-b", "us-east1-c"), pytest.approx(0.189999), pytest.approx(0.043)),
    ]


def test_a_machine_with_gpus_is_priced_as_a_whole(catalog: Catalog) -> None:
    ((region, zones, price, spot_price),) = rows(catalog, "a2-highgpu-8g")
    assert (region, zones, price, spot_price) == (HERE, ("us-east1-b",), pytest.approx(29.387, abs=1e-3), None)
    (kind,) = {one.type for one in catalog.find("A100")}
    assert (kind.accelerator_count, kind.accelerator_memory, kind.cpus, kind.memory) == (8, 40, 96, 680)


@pytest.mark.parametrize("name", ["a3-highgpu-8g", "f1-micro", "ct5lp-hightpu-4t", "n1-standard-8"])
def test_what_has_no_price_or_no_use_is_left_out(catalog: Catalog, name: str) -> None:
    assert rows(catalog, name) == []


def test_zones_for_the_few_are_left_out(catalog: Catalog) -> None:
    assert "us-south1-ai1b" not in {zone for one in catalog.listings if one.type.name[0] == "n" for zone in one.zones}


def test_arm(catalog: Catalog) -> None:
    assert {one.type.arch for one in catalog.listings if one.type.name == "c4a-standard-2"} == {"arm64"}


def test_gpus_are_added_to_n1_machines(catalog: Catalog) -> None:
    found = {(one.type.name, one.type.accelerator_count): one for one in catalog.find("T4")}
    assert set(found) == {("n1-standard-4", 1), ("n1-standard-4", 2), ("n1-standard-4", 4), ("n1-standard-96", 4)}
    two = found["n1-standard-4", 2]
    assert (two.zones, two.price) == (("us-east1-b", "us-east1-c"), pytest.approx(0.889999))
    assert two.spot_price == pytest.approx(0.323)


def test_limits_of_single_zones(catalog: Catalog) -> None:
    found = {one.type.name: one.zones for one in catalog.find("P100") if one.type.accelerator_count == 4}
    assert set(found["n1-standard-96"]) == {"us-east1-b"}


def test_tpus_are_those_of_the_package(catalog: Catalog) -> None:
    packaged = {one for one in load("gcp").listings if is_tpu(one.type.accelerator or "")}
    assert packaged
    assert {one for one in catalog.listings if is_tpu(one.type.accelerator or "")} == packaged
    assert any("TPU" in note for note in catalog.notes)


def test_every_list_is_read_to_its_end(gcp: tuple[FakeGcp, dict[str, str]], tmp_path: Path) -> None:
    fake, env = gcp
    told: list[tuple[str, int, int]] = []
    refresh("gcp", tmp_path, env, lambda *words: told.append(words))
    aggregated = "/compute/v1/projects/my-project/aggregated"
    assert fake.asked.count(SKUS) == 3
    assert fake.asked.count(f"{aggregated}/machineTypes") == 4
    assert fake.asked.count(f"{aggregated}/acceleratorTypes") == 3
    assert [done for _, done, _ in told] == [0, 1, 2, 3]


def test_a_passing_fault_is_outlasted(gcp: tuple[FakeGcp, dict[str, str]], tmp_path: Path) -> None:
    fake, env = gcp
    fake.refusals["skus"] = [(503, "Later.")]
    assert rows(refresh("gcp", tmp_path, env), "n1-standard-4")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("skus", r"Google refused its price list \(403\): Cloud Billing API has not been used"),
        ("machineTypes", "Google could not be read: 403 .*Cloud Billing API has not been used"),
        ("acceleratorTypes", "Google could not be read: 403 .*Cloud Billing API has not been used"),
    ],
)
def test_a_refusal_fails(gcp: tuple[FakeGcp, dict[str, str]], tmp_path: Path, what: str, message: str) -> None:
    fake, env = gcp
    fake.refusals[what] = [(403, "Cloud Billing API has not been used")] * 9
    with pytest.raises(SkyflowError, match=message):
        refresh("gcp", tmp_path / "catalog", env)
    assert not (tmp_path / "catalog").exists()


def test_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(UsageError, match=r"no credentials for Google .*: run `gcloud auth application-default login`"):
        refresh("gcp", tmp_path, {})


def test_no_project(gcp: tuple[FakeGcp, dict[str, str]], tmp_path: Path) -> None:
    _, env = gcp
    del env["GOOGLE_CLOUD_PROJECT"]
    with pytest.raises(UsageError, match="set GOOGLE_CLOUD_PROJECT"):
        refresh("gcp", tmp_path, env)
