"""The image of a node's disk: a cloud's own, a container's, or one for each region."""

from __future__ import annotations

from collections.abc import Mapping

from skyflow.errors import InvalidTaskError
from skyflow.models.document import describe, show

DOCKER = "docker:"

ImageId = str | dict[str, str]


def check_image_id(value: object) -> ImageId:
    """`ami-…`, `skypilot:gpu-ubuntu-2004`, `docker:ubuntu:22.04`, or a mapping of region to one of them.

    In a mapping, the key `docker` names the container that runs on whatever image the region gives.
    """
    if isinstance(value, Mapping):
        if set(value) == {None}:  # as SkyPilot writes an image that is the same everywhere
            return check_image_id(value[None])
        if not value:
            raise InvalidTaskError("resources.image_id is an empty mapping; give region: image, or leave it out.")
        return {_region(key): _image(one, f"resources.image_id[{show(key)}]") for key, one in value.items()}
    return _image(value, "resources.image_id")


def uses_docker(image: ImageId | None) -> bool:
    """Whether the task runs in a container."""
    images = [] if image is None else [image] if isinstance(image, str) else [*image.values()]
    return any(one.startswith(DOCKER) for one in images) or (isinstance(image, dict) and "docker" in image)


def _image(value: object, where: str) -> str:
    if not _is_word(value):
        raise InvalidTaskError(f"{where} must be the name of an image, found {describe(value)}.")
    image = str(value).strip()
    if image in (DOCKER, "skypilot:"):
        raise InvalidTaskError(f"{where}: there is no image behind {image!r}.")
    return image


def _region(value: object) -> str:
    if not _is_word(value):
        raise InvalidTaskError(f"resources.image_id: a region must be a name, found {describe(value)}.")
    return str(value).strip()


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.strip().isprintable() and " " not in value.strip()
