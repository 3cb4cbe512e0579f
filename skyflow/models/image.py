"""The image of a node's disk: a cloud's own, a container's, or one for each region."""

from __future__ import annotations

from collections.abc import Mapping

from skyflow.errors import InvalidTaskError
from skyflow.models.document import describe

DOCKER = "docker:"

ImageId = str | dict[str, str]


def check_image_id(value: object) -> ImageId:
    """`ami-…`, `skypilot:gpu-ubuntu-2004`, `docker:ubuntu:22.04`, or a mapping of region to one of them.

    In a mapping, the key `docker` names the container that runs on whatever image the region gives.
    """
    if isinstance(value, Mapping):
        if not value:
            raise InvalidTaskError("resources.image_id is an empty mapping; give region: image, or leave it out.")
        return {_text(key, "a region in resources.image_id"): _image(one) for key, one in value.items()}
    return _image(value)


def uses_docker(image: ImageId | None) -> bool:
    """Whether the task runs in a container."""
    images = [] if image is None else [image] if isinstance(image, str) else [*image.values()]
    return any(one.startswith(DOCKER) for one in images) or (isinstance(image, dict) and "docker" in image)


def _image(value: object) -> str:
    text = _text(value, "resources.image_id")
    if text in (DOCKER, "skypilot:"):
        raise InvalidTaskError(f"resources.image_id: there is no image behind {text!r}.")
    return text


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip() or any(c.isspace() for c in value.strip()):
        raise InvalidTaskError(f"{what} must be the name of an image or region, found {describe(value)}.")
    return value.strip()
