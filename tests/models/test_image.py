"""Images: of a cloud, of a container, of each region (PARITY R09)."""

from __future__ import annotations

from typing import Any

import pytest

import skyflow as sky
from skyflow.errors import InvalidTaskError
from skyflow.models.feature import CloudFeature
from skyflow.models.image import check_image_id, uses_docker


@pytest.mark.parametrize(
    ("image", "docker"),
    [
        ("ami-0868a20f5a3bf9702", False),
        ("skypilot:gpu-ubuntu-2004", False),
        ("projects/deeplearning-platform-release/global/images/family/x", False),
        ("docker:ubuntu:22.04", True),
        ("docker:nvcr.io/nvidia/pytorch:24.07-py3", True),
        ({"us-east-1": "ami-1", "us-west-2": "ami-2"}, False),
        ({"us-east-1": "docker:ubuntu"}, True),
        ({"docker": "vllm/vllm-openai:latest", "us-east-1": "ami-1"}, True),
    ],
)
def test_r09_images(image: Any, docker: bool) -> None:
    assert check_image_id(image) == image and uses_docker(image) is docker
    resources = sky.Resources(image_id=image)
    assert sky.Resources.from_yaml_config(resources.to_yaml_config()) == resources
    assert (CloudFeature.DOCKER_IMAGE in resources.features()) is docker
    assert (CloudFeature.IMAGE_ID in resources.features()) is (not docker or isinstance(image, dict))


def test_an_image_that_skypilot_wrote() -> None:
    assert check_image_id({None: "ami-1"}) == "ami-1"
    assert sky.Task.from_yaml_str("resources:\n  image_id:\n    null: docker:x").resources[0].image_id == "docker:x"


def test_no_image() -> None:
    assert sky.Resources(image_id=None).image_id is None and not uses_docker(None)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("", "resources.image_id must be the name of an image, found the string ''."),
        ("my image", "resources.image_id must be the name of an image, found the string 'my image'."),
        (5, "resources.image_id must be the name of an image, found the value 5."),
        (["ami-1"], "resources.image_id must be the name of an image, found a list."),
        ("docker:", "resources.image_id: there is no image behind 'docker:'."),
        ("skypilot:", "resources.image_id: there is no image behind 'skypilot:'."),
        ({}, "resources.image_id is an empty mapping; give region: image, or leave it out."),
        ({"us-east-1": None}, "resources.image_id['us-east-1'] must be the name of an image, found nothing."),
        ({"us-east-1": 5}, "resources.image_id['us-east-1'] must be the name of an image, found the value 5."),
        ({5: "ami-1"}, "resources.image_id: a region must be a name, found the value 5."),
        ({"us east": "ami-1"}, "resources.image_id: a region must be a name, found the string 'us east'."),
        ({"docker": "docker:"}, "resources.image_id['docker']: there is no image behind 'docker:'."),
    ],
)
def test_wrong_images(image: Any, message: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        check_image_id(image)
    assert str(caught.value) == message
