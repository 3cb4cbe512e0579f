"""What the descriptions in Google's price list mean."""

from __future__ import annotations

import pytest

from skyflow.catalog.refresh.sku import Machine, Rates
from tests.catalog.fake_gcp import sku

WHERE = "us-central1"
A2 = [
    sku("A2 Instance Core running in Americas", 0.031611, WHERE),
    sku("A2 Instance Ram running in Americas", 0.004237, WHERE),
    sku("Nvidia Tesla A100 GPU running in Americas", 2.933908, WHERE),
    sku("Nvidia Tesla A100 80GB GPU running in Americas", 3.93, WHERE),
]


def price(machine: Machine, *skus: dict[str, object], spot: bool = False, region: str = WHERE) -> float | None:
    return Rates(skus).machine(machine, region, spot=spot)


def test_a_machine_is_the_sum_of_its_parts() -> None:
    """29.387 is what a2-highgpu-8g costs by every other source."""
    assert price(Machine("a2-highgpu-8g", 96, 680, "A100", 8), *A2) == pytest.approx(29.387, abs=1e-3)


@pytest.mark.parametrize("missing", range(3))
def test_if_a_part_has_no_price_there_is_none(missing: int) -> None:
    skus = [one for number, one in enumerate(A2[:3]) if number != missing]
    assert price(Machine("a2-highgpu-8g", 96, 680, "A100", 8), *skus) is None


def test_prices_are_those_of_the_region() -> None:
    assert price(Machine("a2-highgpu-8g", 96, 680, "A100", 8), *A2, region="europe-west4") is None
    both = sku("E2 Instance Core running in Americas", 1, "us-east1", "us-west1")
    assert Rates([both, sku("E2 Instance Ram running in Americas", 1, "us-west1")]).machine(
        Machine("e2-standard-2", 2, 8), "us-west1", spot=False
    ) == pytest.approx(10)


def test_spot_has_prices_of_its_own() -> None:
    machine = Machine("n1-standard-4", 4, 15)
    skus = [
        sku("N1 Predefined Instance Core running in Americas", 0.03, WHERE),
        sku("N1 Predefined Instance Ram running in Americas", 0.004, WHERE),
        sku("Spot Preemptible N1 Predefined Instance Core running in Americas", 0.01, WHERE, usage="Preemptible"),
        sku("Spot Preemptible N1 Predefined Instance Ram running in Americas", 0.001, WHERE, usage="Preemptible"),
    ]
    assert price(machine, *skus) == pytest.approx(0.18)
    assert price(machine, *skus, spot=True) == pytest.approx(0.055)
    assert price(machine, *skus[:2], spot=True) is None


@pytest.mark.parametrize(
    ("name", "core", "ram"),
    [
        (
            "n1-standard-4",
            "N1 Predefined Instance Core running in Americas",
            "N1 Predefined Instance Ram running in Paris",
        ),
        ("n2-standard-4", "N2 Instance Core running in Paris", "N2 Instance Ram running in Paris"),
        ("n2d-standard-4", "N2D AMD Instance Core running in Paris", "N2D AMD Instance Ram running in Paris"),
        ("t2a-standard-4", "T2A Arm Instance Core running in Paris", "T2A Arm Instance Ram running in Paris"),
        ("c2-standard-4", "Compute optimized Core running in Paris", "Compute optimized Instance Ram running in Paris"),
        ("m1-ultramem-40", "Memory-optimized Instance Core running in A", "Memory-optimized Instance Ram running in A"),
        (
            "m3-ultramem-32",
            "M3 Memory-optimized Instance Core running in A",
            "M3 Memory-optimized Instance Ram running in A",
        ),
        ("a3-highgpu-8g", "A3 Instance Core running in Paris", "A3 Instance Ram running in Paris"),
        ("a3-megagpu-8g", "A3Plus Instance Core running in Paris", "A3Plus Instance Ram running in Paris"),
        ("a3-ultragpu-8g", "A3Ultra Instance Core running in Paris", "A3Ultra Instance Ram running in Paris"),
    ],
)
def test_families(name: str, core: str, ram: str) -> None:
    assert price(Machine(name, 4, 10), sku(core, 1, WHERE), sku(ram, 0.5, WHERE)) == pytest.approx(9)


@pytest.mark.parametrize(
    ("description", "usage"),
    [
        ("N2 Custom Instance Core running in Americas", "OnDemand"),
        ("N2 Sole Tenancy Instance Core running in Americas", "OnDemand"),
        ("Reserved N2 Instance Core in Americas", "OnDemand"),
        ("DWS Defined Duration N2 Instance Core running in Americas", "OnDemand"),
        ("Commitment v1: N2 Cpu in Americas for 1 Year", "Commit1Yr"),
        ("N2 Instance Core running in Americas", "Commit1Yr"),
        ("N2 Instance Core", "OnDemand"),
    ],
)
def test_other_prices_are_not_taken_for_this_one(description: str, usage: str) -> None:
    ram = sku("N2 Instance Ram running in Americas", 1, WHERE)
    assert price(Machine("n2-standard-2", 2, 8), ram, sku(description, 1, WHERE, usage=usage)) is None


@pytest.mark.parametrize(
    ("description", "accelerator"),
    [
        ("Nvidia Tesla T4 GPU running in Americas", "T4"),
        ("Nvidia Tesla V100 GPU running in Taiwan", "V100"),
        ("Nvidia L4 GPU running in Netherlands", "L4"),
        ("Nvidia Tesla A100 GPU running in Americas", "A100"),
        ("Nvidia Tesla A100 80GB GPU running in Americas", "A100-80GB"),
        ("Nvidia H100 80GB GPU running in Americas", "H100"),
        ("Nvidia H100 80GB Plus GPU running in Americas", "H100-MEGA"),
        ("Nvidia H100 80GB Mega GPU running in Frankfurt", "H100-MEGA"),
        ("H200 141GB GPU running in Belgium", "H200"),
    ],
)
def test_gpus(description: str, accelerator: str) -> None:
    assert Rates([sku(description, 2, WHERE)]).gpu(accelerator, WHERE, spot=False) == 2
    attached = description.replace(" running", " attached to Spot Preemptible VMs running")
    assert Rates([sku(attached, 2, WHERE, usage="Preemptible")]).gpu(accelerator, WHERE, spot=True) == 2


@pytest.mark.parametrize(
    "description",
    [
        "Nvidia L4 Virtual Workstation GPU running in Netherlands",
        "Nvidia L4 GPU attached to DWS Defined Duration VMs running in Americas",
        "Commitment v1: Nvidia L4 GPU running in Americas for 1 Year",
        "Reserved Nvidia L4 GPU in Americas",
    ],
)
def test_other_prices_of_gpus(description: str) -> None:
    assert Rates([sku(description, 2, WHERE)]).gpu("L4", WHERE, spot=False) is None


def test_a_slice_of_a_machine_is_all_that_is_paid() -> None:
    machine = Machine("a4-highgpu-8g", 224, 3968, "B200", 8, 12000)
    skus = [
        sku("A4 Nvidia B200 (1 gpu slice) running in Americas", 16.11, WHERE),
        sku("Spot Preemptible A4 Nvidia B200 (1 gpu slice) running in Americas", 4.9542, WHERE),  # says on demand
    ]
    assert price(machine, *skus) == pytest.approx(128.88)
    assert price(machine, *skus, spot=True) == pytest.approx(39.6336)


def test_local_ssd_is_paid_by_the_month() -> None:
    machine = Machine("c3-standard-4-lssd", 4, 16, None, 0, 375)
    skus = [sku("C3 Instance Core running in Paris", 0, WHERE), sku("C3 Instance Ram running in Paris", 0, WHERE)]
    ssd = sku("SSD backed Local Storage in Paris", 0.08, WHERE, unit="GiBy.mo", family="Storage")
    own = sku("C3 Instance Local SSD running in Paris", 0.0002, WHERE, unit="GiBy.h", family="Storage")
    assert price(machine, *skus) is None
    assert price(machine, *skus, ssd) == pytest.approx(375 * 0.08 / 730, abs=1e-6)
    assert price(machine, *skus, ssd, own) == pytest.approx(375 * 0.0002)


def test_an_entry_without_a_price() -> None:
    empty = sku("N2 Instance Core running in Paris", 1, WHERE) | {"pricingInfo": []}
    assert price(Machine("n2-standard-2", 2, 8), empty, sku("N2 Instance Ram running in Paris", 1, WHERE)) is None
