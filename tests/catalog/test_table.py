"""Finding listings by accelerator, and GPUs that are added to a node."""

from __future__ import annotations

import pytest

from skyflow.catalog.library import load
from skyflow.catalog.table import Attachment, Catalog, InstanceType, Listing

SMALL, LARGE, OTHER = InstanceType("n1-small", 4, 15), InstanceType("n1-large", 16, 60), InstanceType("n2-small", 4, 16)


def catalog(*attachments: Attachment) -> Catalog:
    return Catalog(
        "test",
        [
            Listing(SMALL, "east", ("east-a", "east-b"), 0.2, 0.05),
            Listing(SMALL, "west", ("west-a",), 0.3, None),
            Listing(LARGE, "east", ("east-a", "east-b"), 0.8, 0.2),
            Listing(OTHER, "east", ("east-a", "east-b"), 0.2, 0.05),
            Listing(InstanceType("big", 8, 32, "x86_64", "A100", 8, 40), "east", ("east-a",), 20, 5),
        ],
        attachments=attachments,
    )


def t4(region: str, *zones: str, price: float | None = 0.35, spot_price: float | None = 0.1) -> Attachment:
    return Attachment("T4", 1, 16, "n1-", 8, 52, region, zones, price, spot_price)


def test_what_has_no_accelerator() -> None:
    assert [one.type.name for one in catalog().find()] == ["n1-small", "n1-small", "n1-large", "n2-small"]


def test_what_has_one() -> None:
    assert [one.type.name for one in catalog().find("A100")] == ["big"]
    assert list(catalog().find("V100")) == []


def test_names_of_all_accelerators() -> None:
    assert catalog(t4("east", "east-a")).accelerators == ["A100", "T4"]


def test_a_gpu_costs_beside_its_node() -> None:
    (found,) = catalog(t4("east", "east-b", "east-c")).find("T4")
    assert (found.type.name, found.zones) == ("n1-small", ("east-b",))
    assert (found.price, found.spot_price) == (pytest.approx(0.55), pytest.approx(0.15))
    assert (found.type.accelerator, found.type.accelerator_count, found.type.accelerator_memory) == ("T4", 1, 16)
    assert (found.type.cpus, found.type.memory) == (4, 15)


def test_what_has_no_price_has_none_with_a_gpu_either() -> None:
    (found,) = catalog(t4("west", "west-a")).find("T4")
    assert (found.price, found.spot_price) == (pytest.approx(0.65), None)
    (found,) = catalog(t4("east", "east-a", price=None)).find("T4")
    assert (found.price, found.spot_price) == (None, pytest.approx(0.15))


def test_no_zone_in_common() -> None:
    assert list(catalog(t4("east", "east-c"), t4("north", "north-a")).find("T4")) == []


def test_a_node_with_gpus_is_none_without() -> None:
    found = catalog(t4("east", "east-a"))
    assert len(list(found.find("T4"))) == 1
    assert len(list(found.find())) == 4
    assert len(list(found.find("T4"))) == 1


@pytest.mark.parametrize(
    ("accelerator", "count", "cpus", "memory"),
    [
        ("T4", 1, 48, 312),
        ("T4", 4, 96, 624),
        ("V100", 1, 12, 78),
        ("V100", 8, 96, 624),
        ("P4", 1, 24, 156),
        ("P100", 1, 16, 104),
    ],
)
def test_google_limits_what_an_n1_with_gpus_can_have(accelerator: str, count: int, cpus: float, memory: float) -> None:
    kinds = {one.type for one in load("gcp").find(accelerator) if one.type.accelerator_count == count}
    own = {one.type.name: one.type for one in load("gcp").find() if one.type.name.startswith("n1-")}
    fitting = {name for name, kind in own.items() if kind.cpus <= cpus and kind.memory <= memory}
    assert {kind.name for kind in kinds} == fitting


def test_p100s_have_lower_limits_in_some_zones() -> None:
    large = [one for one in load("gcp").find("P100") if one.type.accelerator_count == 4 and one.type.cpus > 64]
    zones = {zone for one in large for zone in one.zones}
    assert "us-west1-b" in zones
    assert not zones & {"us-east1-c", "europe-west1-b", "europe-west1-d"}


def test_the_price_of_a_real_node_with_a_real_gpu() -> None:
    def find(accelerator: str | None) -> Listing:
        found = (one for one in load("gcp").find(accelerator) if one.type.accelerator_count in (0, 1))
        return next(one for one in found if (one.type.name, one.region) == ("n1-standard-8", "us-central1"))

    host, node = find(None), find("T4")
    (gpu,) = (
        one for one in load("gcp").attachments if (one.accelerator, one.count, one.region) == ("T4", 1, "us-central1")
    )
    assert (host.price, gpu.price, node.price) == (
        pytest.approx(0.38),
        pytest.approx(0.35),
        pytest.approx(0.73, abs=1e-3),
    )
    assert node.spot_price == pytest.approx((host.spot_price or 0) + (gpu.spot_price or 0))
    assert set(node.zones) == set(host.zones) & set(gpu.zones)
