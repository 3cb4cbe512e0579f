"""Resources: the grammar of the section, copies, and whether an offer will do. Rows R01–R10 of the parity list."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyflow as sky
from skyflow.errors import InvalidTaskError, NotSupportedError
from skyflow.models.autostop import Autostop
from skyflow.models.feature import CloudFeature
from skyflow.models.recovery import JobRecovery
from skyflow.models.resources import FIELDS, Resources
from tests.models import grammar

OFFER: dict[str, Any] = {
    "cloud": "local", "region": "home", "zone": "a", "instance_type": "local-4", "cpus": 4.0, "memory": 8.0,
    "accelerators": {}, "use_spot": False, "price": 0.0,
}  # fmt: skip
GPU_OFFER = OFFER | {"accelerators": {"A100": 8}}


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


def test_r01_r02_r05_the_positional_arguments_of_skypilot() -> None:
    assert sky.Resources(sky.clouds.GCP(), "n1-standard-8", "V100") == Resources(
        cloud="gcp", instance_type="n1-standard-8", accelerators={"V100": 1}
    )


def test_r02_launchable_with_cloud_and_instance_type() -> None:
    assert Resources(cloud="aws", instance_type="p3.2xlarge").is_launchable()
    assert not Resources(cloud="aws").is_launchable()
    assert not Resources(instance_type="p3.2xlarge").is_launchable()


@pytest.mark.parametrize(
    ("given_cpus", "cpus"),
    [(2, "2"), ("2", "2"), ("2+", "2+"), (0.5, "0.5"), (" 4 + ", "4+"), ("2.0", "2"), (".5", "0.5"), (None, None)],
)
def test_r03_cpus(given_cpus: str | float | None, cpus: str | None) -> None:
    assert Resources(cpus=given_cpus).cpus == cpus


@pytest.mark.parametrize(
    ("given_memory", "memory"),
    [
        (16, "16"), ("16", "16"), ("16+", "16+"), ("16GB+", "16+"), ("512MB", "0.5"), ("512 mb+", "0.5+"),
        ("1TB", "1024"), ("16GiB", "16"), ("2g", "2"), (0.25, "0.25"), ("4x", "4x"),
    ],
)  # fmt: skip
def test_r04_memory(given_memory: str | float, memory: str) -> None:
    assert Resources(memory=given_memory).memory == memory


def test_r05_the_forms_of_one_accelerator() -> None:
    assert Resources(accelerators="V100") == Resources(accelerators="V100:1") == Resources(accelerators={"V100": 1})
    assert Resources(gpus="V100:0.5").accelerators == {"V100": 0.5}
    assert Resources(accelerators={"tpu-v2-8": 1}).accelerators == {"tpu-v2-8": 1}


def test_r06_accelerator_args() -> None:
    args = {"tpu_vm": True, "runtime_version": "tpu-vm-base"}
    resources = Resources(accelerators="tpu-v2-8", accelerator_args=args)
    assert resources.accelerator_args == args and resources.to_yaml_config()["accelerator_args"] == args
    with pytest.raises(
        InvalidTaskError, match=r"resources\.accelerator_args\.tpu_vm must be true or false, found the st"
    ):
        Resources(accelerator_args={"tpu_vm": "yes"})


def test_r07_use_spot_remembers_whether_it_was_given() -> None:
    assert (Resources().use_spot, Resources().use_spot_specified) == (False, False)
    assert (Resources(use_spot=None).use_spot, Resources(use_spot=None).use_spot_specified) == (False, False)
    assert (Resources(use_spot=False).use_spot, Resources(use_spot=False).use_spot_specified) == (False, True)
    assert Resources().copy(cpus=2).use_spot_specified is False
    assert Resources(use_spot=False).to_yaml_config() == {"use_spot": False}


@pytest.mark.parametrize("name", ["spot_recovery", "job_recovery"])
def test_r08_the_strategy_by_both_names(name: str) -> None:
    resources = Resources(**{name: "failover"})  # type: ignore[arg-type]
    assert resources.job_recovery == resources.spot_recovery == JobRecovery("FAILOVER")
    assert resources.to_yaml_config() == {"job_recovery": "FAILOVER"}
    assert resources.copy(**{name: None}).job_recovery is None
    assert Resources(job_recovery="none").job_recovery == JobRecovery("none")


def test_r09_image_id() -> None:
    for image in (
        "ami-1",
        "skypilot:gpu-ubuntu-2004",
        {"us-east-1": "ami-1", "us-west-2": "ami-2"},
        "docker:ubuntu:22.04",
    ):
        assert Resources(image_id=image).image_id == image


def test_r10_disk_and_ports() -> None:
    resources = Resources(disk_size=256, disk_tier="HIGH", ports=["8080", "10022-10040", 10030])
    assert (resources.disk_size, resources.disk_tier, resources.ports) == (256, "high", ("8080", "10022-10040"))
    assert Resources(disk_tier="none").disk_tier is None and Resources().disk_tier is None
    for ports in (80, "80", ["80"], ("80",)):
        assert Resources(ports=ports).ports == ("80",)


@pytest.mark.parametrize("field", ["_docker_login_config", "_docker_username_for_runpod"])
def test_r10_what_skypilot_writes_for_itself_is_named(field: str) -> None:
    with pytest.raises(
        NotSupportedError, match=rf"^resources\.{field} is not supported by this version of skyflow yet"
    ):
        Resources(**{field: True})  # type: ignore[arg-type]


def test_what_the_optimizer_is_asked() -> None:
    assert Resources(infra="local", cpus="2+", memory="1GB", ports=80, use_spot=True).to_request() == {
        "cloud": "local", "region": None, "zone": None, "instance_type": None, "cpus": "2+", "memory": "1",
        "max_hourly_cost": None, "arch": None, "accelerators": {}, "use_spot": True,
        "features": ["OPEN_PORTS", "SPOT_INSTANCE"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "feature"),
    [
        ({"use_spot": True}, CloudFeature.SPOT_INSTANCE),
        ({"image_id": "docker:ubuntu"}, CloudFeature.DOCKER_IMAGE),
        ({"image_id": "ami-1"}, CloudFeature.IMAGE_ID),
        ({"disk_tier": "best"}, CloudFeature.CUSTOM_DISK_TIER),
        ({"network_tier": "best"}, CloudFeature.CUSTOM_NETWORK_TIER),
        ({"ports": 80}, CloudFeature.OPEN_PORTS),
        ({"local_disk": "nvme:1000+"}, CloudFeature.LOCAL_DISK),
        ({"labels": {"a": "b"}}, CloudFeature.LABELS),
    ],
)
def test_k18_what_a_cloud_must_be_able_to_do(fields: dict[str, Any], feature: CloudFeature) -> None:
    assert Resources(**fields).features() == {feature}
    assert Resources().features() == set()
    assert Resources(ports=[], labels={}, network_tier="standard", use_spot=False).features() == set()


def test_copy_and_equality() -> None:
    one = Resources(infra="aws/r/z", cpus=2)
    assert one.copy() == one and one.copy() is not one and hash(one.copy()) == hash(one)
    assert one.copy(infra="gcp") == Resources(cloud="gcp", cpus=2)
    assert one.copy(cpus="4+", zone=None) == Resources(infra="aws/r", cpus="4+")
    assert one.copy(gpus="V100") == one.copy(accelerators={"V100": 1})
    assert one.copy(infra=None) == one
    assert one != Resources(infra="aws/r/z") and one != "aws"
    assert repr(one) == "Resources(infra='aws/r/z', cpus='2')"
    with pytest.raises(InvalidTaskError, match="must be a number of CPUs"):
        one.copy(cpus="many")


def test_e03_copies_share_nothing() -> None:
    one = Resources(
        infra="aws/r/z", labels={"a": "b"}, autostop=5, job_recovery="FAILOVER", volumes=[{"path": "/a", "name": "b"}]
    )
    for again in (copy.deepcopy(one), pickle.loads(pickle.dumps(one)), one.copy()):
        assert again == one and hash(again) == hash(one)
        again.labels["c"] = "d"  # type: ignore[index]
        assert one.labels == {"a": "b"}


def test_equal_ones_have_equal_hashes_whatever_the_order() -> None:
    one, other = Resources(labels={"a": "1", "b": "2"}), Resources(labels={"b": "2", "a": "1"})
    assert one == other and hash(one) == hash(other)
    one, other = Resources(accelerators={"A100": 1, "L4": 1}), Resources(accelerators={"L4": 1, "A100": 1})
    assert one == other and hash(one) == hash(other)


def test_values_of_their_own_classes_are_taken() -> None:
    one = Resources(autostop=Autostop(idle_minutes=7), job_recovery=JobRecovery("FAILOVER", 3))
    assert Resources(autostop=one.autostop, job_recovery=one.job_recovery) == one
    with pytest.raises(InvalidTaskError, match="autostop must be true, false, minutes"):
        Resources(autostop=JobRecovery())


def test_they_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="copy"):
        Resources().cpus = "2"


def test_every_field_is_an_attribute() -> None:
    assert all(getattr(Resources(), field) is None for field in FIELDS if field != "use_spot")
    assert Resources(**dict.fromkeys(FIELDS)) == Resources()  # type: ignore[misc]


@pytest.mark.parametrize(
    "section",
    [
        {}, {"infra": "local"}, {"infra": "*/home/a"}, {"instance_type": "local-4"}, {"cpus": 4}, {"cpus": "4+"},
        {"cpus": 2}, {"memory": "8+"}, {"memory": 1, "cpus": 1, "infra": "local/home/a"}, {"use_spot": False},
        {"memory": "2x"}, {"memory": "1.5x+"}, {"memory": "2x", "cpus": 4},
    ],
)  # fmt: skip
def test_an_offer_that_will_do(section: dict[str, Any]) -> None:
    assert Resources.from_yaml_config(section).less_demanding_than(OFFER)


@pytest.mark.parametrize(
    "section",
    [
        {"infra": "aws"}, {"infra": "local/other"}, {"infra": "local/home/b"}, {"instance_type": "local-8"},
        {"cpus": 5}, {"cpus": "4.5+"}, {"memory": "8.1"}, {"memory": "16+"}, {"use_spot": True},
        {"accelerators": "A100"}, {"memory": "2.5x"}, {"memory": "1x", "cpus": 8},
    ],
)  # fmt: skip
def test_an_offer_that_will_not_do(section: dict[str, Any]) -> None:
    assert not Resources.from_yaml_config(section).less_demanding_than(OFFER)


def test_an_offer_with_accelerators() -> None:
    for enough in ("A100", "A100:8", "a100:0.5", {"L4": 1, "A100": 1}):
        assert Resources(accelerators=enough).less_demanding_than(GPU_OFFER)
    for too_much in ("A100:9", "L4", "A100-80GB"):
        assert not Resources(accelerators=too_much).less_demanding_than(GPU_OFFER)
    assert Resources(cpus=2).less_demanding_than(GPU_OFFER)


def test_a_task_that_says_nothing_about_spot_may_use_a_spot_cluster() -> None:
    assert Resources(cpus=1).less_demanding_than(OFFER | {"use_spot": True})
    assert not Resources(use_spot=False).less_demanding_than(OFFER | {"use_spot": True})


def test_less_demanding_than_other_resources() -> None:
    big = Resources(infra="aws/us-east-1", instance_type="p4d.24xlarge", accelerators="A100:8", cpus=96, memory="12x")
    for small in (
        {},
        {"infra": "aws"},
        {"accelerators": "A100:4"},
        {"cpus": "90+"},
        {"memory": 1000},
        {"memory": "12x"},
    ):
        assert Resources.from_yaml_config(small).less_demanding_than(big)
    for other in ({"infra": "gcp"}, {"accelerators": "V100"}, {"cpus": 97}, {"memory": 1200}, {"use_spot": True}):
        assert not Resources.from_yaml_config(other).less_demanding_than(big)
    assert Resources(cpus=8, memory=64).less_demanding_than(Resources())  # what is not told is taken as given


def test_nothing_asks_for_more_than_itself() -> None:
    for fields in (
        {"cpus": "4+"},
        {"memory": "4x"},
        {"infra": "aws/r/z"},
        {"accelerators": "A100:8"},
        {"use_spot": True},
    ):
        assert Resources(**fields).less_demanding_than(Resources(**fields))  # type: ignore[arg-type]


@given(grammar.PLAIN_RESOURCES)
def test_a_copy_of_anything_is_equal(section: dict[str, Any]) -> None:
    resources = Resources.from_yaml_config(section)
    for again in (resources.copy(), copy.deepcopy(resources), Resources(**resources.to_yaml_config())):
        assert again == resources and hash(again) == hash(resources)
    assert resources.less_demanding_than(resources)


@given(
    st.one_of(
        st.text(max_size=12), st.integers(), st.floats(), st.sampled_from(["9" * 400, "1e5", "٣", "1" * 30 + "PB"])
    )
)
def test_any_amount_is_read_or_refused(value: Any) -> None:
    for field in ("cpus", "memory"):
        try:
            once = Resources(**{field: value})  # type: ignore[arg-type]
        except InvalidTaskError as error:
            assert "\n" not in str(error)
            continue
        assert Resources(**{field: getattr(once, field)}) == once  # type: ignore[arg-type]
        assert float(getattr(once, field).rstrip("+").rstrip("x")) > 0
