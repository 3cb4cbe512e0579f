"""Places: clouds by name or object, and `infra` (PARITY R01, §2.1)."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import skyflow as sky
from skyflow.errors import InvalidTaskError
from skyflow.models.place import CLOUDS, check_cloud, check_infra, show_infra

INFRA = "resources.infra must be cloud[/region[/zone]], with * for any, found"


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
        ("k8s", ("kubernetes", None, None)),
        ("k8s/*", ("kubernetes", None, None)),
        ("k8s/my-context", ("kubernetes", "my-context", None)),
        ("kubernetes/gke_p_us/a/b c", ("kubernetes", "gke_p_us/a/b c", None)),
        ("k8s/arn:aws:eks:us-east-1:1:cluster/x", ("kubernetes", "arn:aws:eks:us-east-1:1:cluster/x", None)),
        ("ssh/my-pool", ("ssh", "my-pool", None)),
        ("slurm/cluster/partition", ("slurm", "cluster", "partition")),
        ("lambda/us-south-1", ("lambda", "us-south-1", None)),
        ("oci/us-sanjose-1/bxtG:US-SANJOSE-1-AD-1", ("oci", "us-sanjose-1", "bxtG:US-SANJOSE-1-AD-1")),
        ("paperspace/East Coast (NY2)", ("paperspace", "East Coast (NY2)", None)),
        ("google/us-central1", ("gcp", "us-central1", None)),
    ],
)
def test_r01_infra(infra: str, place: tuple[str | None, ...]) -> None:
    resources = sky.Resources(infra=infra)
    assert (resources.cloud, resources.region, resources.zone) == place
    assert check_infra(show_infra(*place) or "*") == place
    assert sky.Resources.from_yaml_config(resources.to_yaml_config()) == resources
    assert resources.copy() == resources and resources.copy(cpus=2).copy(cpus=None) == resources


def test_r01_cloud_region_and_zone() -> None:
    assert sky.Resources(cloud="AWS", region="r", zone="*") == sky.Resources(infra="aws/r")
    assert sky.Resources(cloud="k8s", region="a/b:c") == sky.Resources(infra="k8s/a/b:c")
    assert sky.Resources(region="us-east-1") == sky.Resources(infra="*/us-east-1")


def test_r01_clouds_as_objects() -> None:
    assert sky.Resources(cloud=sky.AWS()) == sky.Resources(sky.clouds.AWS()) == sky.Resources(infra="aws")
    assert sky.Resources(sky.clouds.GCP(), "n1-standard-8", "V100") == sky.Resources(
        infra="gcp", instance_type="n1-standard-8", accelerators={"V100": 1}
    )
    assert sky.Resources(sky.Local()).cloud == "local"
    for cloud in (sky.AWS(), sky.GCP(), sky.Local()):
        assert pickle.loads(pickle.dumps(cloud)) == cloud == copy.deepcopy(cloud)
        assert type(sky.Resources(cloud).cloud) is str
    with pytest.raises(AttributeError, match="NoCloud"):
        sky.clouds.NoCloud  # noqa: B018


@pytest.mark.parametrize(
    "name", ["p4d.24xlarge", "VM.Standard.E4.Flex$_4_16", "A100_PCIE_80GB::1", "4CPU--16GB--H100:8", "1x-RTX_4090-8"]
)
def test_r02_clouds_are_free_in_what_they_call_things(name: str) -> None:
    resources = sky.Resources(infra="oci", instance_type=name)
    assert resources.instance_type == name and sky.Resources.from_yaml_config(resources.to_yaml_config()) == resources


def test_every_cloud_of_skypilot_is_a_name() -> None:
    for name in CLOUDS:
        assert check_cloud(name) == check_cloud(name.upper()) == name
        assert sky.Resources(infra=f"{name}/region").region == "region"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"infra": 5}, f"{INFRA} the value 5."),
        ({"infra": ""}, f"{INFRA} the string ''."),
        ({"infra": "aws/"}, f"{INFRA} the string 'aws/'."),
        ({"infra": "aws//z"}, f"{INFRA} the string 'aws//z'."),
        ({"infra": "aws/a/b/c"}, f"{INFRA} the string 'aws/a/b/c'."),
        ({"infra": "aws us"}, f"{INFRA} the string 'aws us'."),
        ({"infra": ["aws"]}, f"{INFRA} a list."),
        ({"infra": "awss"}, "resources: there is no cloud 'awss'; did you mean 'aws'?"),
        ({"infra": "azur/eastus"}, "resources: there is no cloud 'azur'; did you mean 'azure'?"),
        ({"cloud": "kubernets"}, "resources: there is no cloud 'kubernets'; did you mean 'kubernetes'?"),
        ({"cloud": "zzzzzz"}, f"resources: there is no cloud 'zzzzzz'; there are {', '.join(CLOUDS)}."),
        ({"cloud": 5}, "resources.cloud must be the name of a cloud, found the value 5."),
        ({"cloud": "a/b"}, "resources.cloud must be the name of a cloud, found the string 'a/b'."),
        ({"region": 5}, "resources.region must be a name of the cloud's, found the value 5."),
        ({"cloud": "aws", "region": "a/b"}, "resources.region must be a name of the cloud's, found the string 'a/b'."),
        ({"region": ""}, "resources.region must be a name of the cloud's, found the string ''."),
        ({"zone": ["a"]}, "resources.zone must be a name of the cloud's, found a list."),
        ({"infra": "k8s/a\nb"}, "resources.region must be a context or pool of kubernetes, found the string 'a\\nb'."),
        (
            {"cloud": "ssh", "region": " "},
            "resources.region must be a context or pool of ssh, found the string ' '.",
        ),
        ({"cloud": "k8s", "region": "c", "zone": "z"}, "resources.zone: kubernetes has no zones; leave it out."),
        ({"infra": "aws/a*"}, f"{INFRA} the string 'aws/a*'."),
        ({"infra": "aws/ a"}, f"{INFRA} the string 'aws/ a'."),
        ({"zone": "a\tb"}, "resources.zone must be a name of the cloud's, found the string 'a\\tb'."),
        ({"instance_type": ""}, "resources.instance_type must be a name of the cloud's, found the string ''."),
        ({"instance_type": "*"}, "resources.instance_type must be a name of the cloud's, found the string '*'."),
        ({"infra": "aws", "zone": "z"}, "resources: give either infra, or cloud, region and zone, not both."),
        ({"infra": "aws", "cloud": "aws"}, "resources: give either infra, or cloud, region and zone, not both."),
    ],
)
def test_r01_wrong_places(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        sky.Resources(**fields)
    assert str(caught.value) == message
