"""What moving data costs, and how long it takes."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyflow.catalog
from skyflow.catalog.egress import Place, egress_cost, egress_seconds
from skyflow.catalog.library import load

AWS, GCP = Place("aws", "us-east-1"), Place("gcp", "us-central1")
DATA = json.loads((Path(skyflow.catalog.__file__).with_name("data") / "egress.json").read_text())

places = st.builds(
    Place,
    st.sampled_from(["aws", "gcp", "local", "azure"]),
    st.none() | st.sampled_from([*DATA["aws"]["regions"], *DATA["gcp"]["regions"], "nowhere-1"]),
)


@pytest.mark.parametrize(
    ("source", "target", "gib", "dollars"),
    [
        (AWS, AWS, 1000, 0),
        (AWS, Place("aws", "us-east-2"), 100, 1.0),
        (AWS, Place("aws", "us-west-2"), 100, 2.0),
        (AWS, Place("aws"), 100, 0),
        (Place("aws"), AWS, 100, 0),
        (AWS, GCP, 100, 9.0),
        (AWS, GCP, 20480, 10240 * 0.09 + 10240 * 0.085),
        (AWS, Place("local"), 10, 0.9),
        (Place("aws"), GCP, 100, 9.0),
        (Place("aws", "af-south-1"), Place("aws", "us-east-1"), 10, 1.47),
        (Place("aws", "af-south-1"), GCP, 10, 1.54),
        (GCP, AWS, 100, 12.0),
        (GCP, AWS, 2048, 1024 * 0.12 + 1024 * 0.11),
        (Place("gcp"), AWS, 100, 12.0),
        (GCP, Place("gcp", "us-east1"), 100, 2.0),
        (GCP, Place("gcp", "europe-west1"), 100, 5.0),
        (GCP, Place("gcp", "asia-southeast2"), 100, 10.0),
        (GCP, Place("gcp", "southamerica-east1"), 100, 14.0),
        (Place("gcp", "asia-southeast2"), Place("gcp", "asia-southeast1"), 100, 10.0),
        (Place("gcp", "asia-east2"), AWS, 100, DATA["gcp"]["regions"]["asia-east2"]["internet"][0][1] * 100),
        (Place("local"), AWS, 1e6, 0),
        (Place("azure", "eastus"), AWS, 1e6, 0),
    ],
)
def test_known_costs(source: Place, target: Place, gib: float, dollars: float) -> None:
    assert egress_cost(source, target, gib) == pytest.approx(dollars)


@given(places, places, st.floats(0, 1e7), st.floats(0, 1e7))
def test_more_data_never_costs_less(source: Place, target: Place, gib: float, more: float) -> None:
    assert 0 <= egress_cost(source, target, gib) <= egress_cost(source, target, gib + more) + 1e-9


@given(places, st.floats(0, 1e6))
def test_staying_is_free_and_at_once(place: Place, gib: float) -> None:
    assert egress_cost(place, place, gib) == egress_seconds(place, place, gib) == 0


@given(places, places)
def test_nothing_costs_nothing(source: Place, target: Place) -> None:
    assert egress_cost(source, target, 0) == egress_seconds(source, target, 0) == 0


def test_time() -> None:
    assert egress_seconds(AWS, AWS, 100) == 0
    assert egress_seconds(AWS, Place("aws"), 100) == 0
    assert egress_seconds(AWS, Place("aws", "us-west-2"), 100) == pytest.approx(85.9, abs=0.1)
    assert egress_seconds(AWS, GCP, 100) == pytest.approx(85.9, abs=0.1)
    assert egress_seconds(Place("local"), AWS, 1) > 0


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_every_region_of_the_catalogs_has_prices(cloud: str) -> None:
    regions = {one.region for one in load(cloud).listings}
    assert regions - set(DATA[cloud]["regions"]) == set()


def test_every_tier_list_ends_without_a_limit() -> None:
    for cloud in DATA.values():
        for region in cloud["regions"].values():
            limits = [limit for limit, _ in region["internet"]]
            assert limits[-1] is None
            assert limits[:-1] == sorted(limits[:-1])


def test_an_optimizer_can_ask_thousands_of_times() -> None:
    targets = [Place("gcp", region) for region in DATA["gcp"]["regions"]]
    start = perf_counter()
    for number in range(5000):
        egress_cost(AWS, targets[number % len(targets)], number)
    assert perf_counter() - start < 0.5
