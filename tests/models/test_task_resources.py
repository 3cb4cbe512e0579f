"""Resources: the grammar of the section, and whether an offer will do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.errors import InvalidTaskError, NotSupportedError
from skyflow.models.resources import LATER_FIELDS, Resources

OFFER: dict[str, Any] = {
    "cloud": "local", "region": "home", "zone": "a", "instance_type": "local-4", "cpus": 4.0, "memory": 8.0,
    "use_spot": False, "price": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("infra", "place"),
    [
        ("aws", ("aws", None, None)),
        ("AWS/us-east-1", ("aws", "us-east-1", None)),
        ("aws/us-east-1/us-east-1a", ("aws", "us-east-1", "us-east-1a")),
        ("*", (None, None, None)),
        ("*/us-east-1", (None, "us-east-1", None)),
        ("*/*/us-east-1a", (None, None, "us-east-1a")),
        ("aws/*/us-east-1a", ("aws", None, "us-east-1a")),
        (" local/* ", ("local", None, None)),
    ],
)
def test_r01_infra(infra: str, place: tuple[str | None, ...]) -> None:
    resources = Resources(infra=infra)
    assert (resources.cloud, resources.region, resources.zone) == place
    assert Resources.from_yaml_config(resources.to_yaml_config()) == resources


def test_r01_cloud_region_and_zone() -> None:
    assert Resources(cloud="AWS", region="r", zone="*") == Resources(infra="aws/r")
    with pytest.raises(InvalidTaskError, match="either infra, or cloud, region and zone, not both"):
        Resources(infra="aws", region="r")


def test_r02_launchable_with_cloud_and_instance_type() -> None:
    assert Resources(cloud="aws", instance_type="p3.2xlarge").is_launchable()
    assert not Resources(cloud="aws").is_launchable()
    assert not Resources(instance_type="p3.2xlarge").is_launchable()


@pytest.mark.parametrize(
    ("given_cpus", "cpus"),
    [(2, "2"), ("2", "2"), ("2+", "2+"), (0.5, "0.5"), (" 4 + ", "4+"), ("2.0", "2"), (".5", "0.5")],
)
def test_r03_cpus(given_cpus: str | float, cpus: str) -> None:
    assert Resources(cpus=given_cpus).cpus == cpus


@pytest.mark.parametrize(
    ("given_memory", "memory"),
    [
        (16, "16"), ("16", "16"), ("16+", "16+"), ("16GB+", "16+"), ("512MB", "0.5"), ("512 mb+", "0.5+"),
        ("1TB", "1024"), ("16GiB", "16"), ("2g", "2"), (0.25, "0.25"),
    ],
)  # fmt: skip
def test_r04_memory(given_memory: str | float, memory: str) -> None:
    assert Resources(memory=given_memory).memory == memory


def test_r07_use_spot_remembers_whether_it_was_given() -> None:
    assert (Resources().use_spot, Resources().use_spot_specified) == (False, False)
    assert (Resources(use_spot=False).use_spot, Resources(use_spot=False).use_spot_specified) == (False, True)
    assert Resources().copy(cpus=2).use_spot_specified is False
    assert Resources(use_spot=False).to_yaml_config() == {"use_spot": False}


def test_what_the_optimizer_is_asked() -> None:
    assert Resources(infra="local", cpus="2+", memory="1GB").to_request() == {
        "cloud": "local", "region": None, "zone": None, "instance_type": None, "cpus": "2+", "memory": "1",
        "use_spot": False,
    }  # fmt: skip


def test_copy_and_equality() -> None:
    one = Resources(infra="aws/r/z", cpus=2)
    assert one.copy() == one and one.copy() is not one and hash(one.copy()) == hash(one)
    assert one.copy(infra="gcp") == Resources(cloud="gcp", cpus=2)
    assert one.copy(cpus="4+", zone=None) == Resources(infra="aws/r", cpus="4+")
    assert one != Resources(infra="aws/r/z") and one != "aws"
    assert repr(one) == "Resources(infra='aws/r/z', cpus='2')"
    assert copy.deepcopy(one) == one


def test_they_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="copy"):
        Resources().cpus = "2"


@pytest.mark.parametrize("field", LATER_FIELDS)
def test_fields_for_later_versions_are_named(field: str) -> None:
    with pytest.raises(
        NotSupportedError, match=rf"^resources\.{field} is not supported by this version of skyflow yet"
    ):
        Resources(**{field: "x"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "section",
    [
        {}, {"infra": "local"}, {"infra": "*/home/a"}, {"instance_type": "local-4"}, {"cpus": 4}, {"cpus": "4+"},
        {"cpus": 2}, {"memory": "8+"}, {"memory": 1, "cpus": 1, "infra": "local/home/a"}, {"use_spot": False},
    ],
)  # fmt: skip
def test_an_offer_that_will_do(section: dict[str, Any]) -> None:
    assert Resources.from_yaml_config(section).less_demanding_than(OFFER)


@pytest.mark.parametrize(
    "section",
    [
        {"infra": "aws"}, {"infra": "local/other"}, {"infra": "local/home/b"}, {"instance_type": "local-8"},
        {"cpus": 5}, {"cpus": "4.5+"}, {"memory": "8.1"}, {"memory": "16+"}, {"use_spot": True},
    ],
)  # fmt: skip
def test_an_offer_that_will_not_do(section: dict[str, Any]) -> None:
    assert not Resources.from_yaml_config(section).less_demanding_than(OFFER)


def test_a_task_that_says_nothing_about_spot_may_use_a_spot_cluster() -> None:
    assert Resources(cpus=1).less_demanding_than(OFFER | {"use_spot": True})
    assert not Resources(use_spot=False).less_demanding_than(OFFER | {"use_spot": True})


@given(
    st.one_of(
        st.text(max_size=12), st.integers(), st.floats(), st.sampled_from(["9" * 400, "1e5", "٣", "1" * 30 + "PB"])
    )
)
def test_any_amount_is_read_or_refused(value: Any) -> None:
    for field in ("cpus", "memory"):
        try:
            once = Resources(**{field: value})
        except (InvalidTaskError, NotSupportedError) as error:
            assert "\n" not in str(error)
            continue
        assert Resources(**{field: getattr(once, field)}) == once
        assert float(getattr(once, field).rstrip("+")) > 0
