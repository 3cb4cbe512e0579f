"""Where: clouds by name, and `infra`, which says cloud, region and zone in one word."""

from __future__ import annotations

import re
from functools import cache

from skyflow.errors import InvalidTaskError
from skyflow.models.document import describe, show

CLASSES = (
    "AWS", "Azure", "Cudo", "DO", "Fluidstack", "GCP", "Hyperbolic", "IBM", "Kubernetes", "Lambda", "Local", "Mithril",
    "Nebius", "OCI", "Paperspace", "PrimeIntellect", "RunPod", "SCP", "Seeweb", "Shadeform", "Slurm", "SSH", "Vast",
    "Verda", "Vsphere", "Yotta",
)  # fmt: skip
"""The class of each cloud, as SkyPilot's users write it: `skyflow.Azure()`."""

CLOUDS = tuple(sorted(name.lower() for name in CLASSES))
"""Every name that a task may say: skyflow's own and those of SkyPilot. A plan tells which of them can be used."""

ALIASES = {"k8s": "kubernetes", "google": "gcp", "amazon": "aws"}

OWN_GRAMMAR = ("kubernetes", "ssh")
"""Everything behind their name is one word, which may hold a `/`: a context, a pool. They have no zones."""

_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?")
_PLACE = re.compile(r"[^\s/*]([^/*]*[^\s/*])?")
"""Clouds are free in what they call things: `VM.Standard.E4.Flex$_4_16`, `bxtG:US-SANJOSE-1-AD-1`, `East Coast`."""


class CloudName(str):
    """A cloud, by name. `skyflow.AWS()` and `"aws"` are the same."""

    __slots__ = ()
    NAME = ""

    def __new__(cls) -> CloudName:
        return super().__new__(cls, cls.NAME)

    def __getnewargs__(self) -> tuple[()]:  # type: ignore[override]
        return ()


@cache
def _class(name: str) -> type[CloudName]:
    return type(name, (CloudName,), {"__slots__": (), "__module__": __name__, "NAME": name.lower()})


def __getattr__(name: str) -> type[CloudName]:
    """The class of a cloud."""
    if name == "K8s":
        name = "Kubernetes"
    if name not in CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _class(name)


def check_cloud(value: object) -> str | None:
    """A cloud's name, in small letters; None for `*`."""
    if value == "*":
        return None
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidTaskError(f"resources.cloud must be the name of a cloud, found {describe(value)}.")
    name = ALIASES.get(value.lower(), value.lower())
    if name not in CLOUDS:
        import difflib  # only here, as in Schema.unknown

        close = difflib.get_close_matches(name, [*CLOUDS, *ALIASES], 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(CLOUDS)}."
        raise InvalidTaskError(f"resources: there is no cloud {show(value)}; {hint}")
    return str(name)


def check_place_name(field: str, value: object) -> str | None:
    """The name of a region, zone or instance type; None for `*`."""
    if value == "*" and field != "instance_type":
        return None
    if not isinstance(value, str) or not _is_place(value):
        raise InvalidTaskError(f"resources.{field} must be a name of the cloud's, found {describe(value)}.")
    return value


def _is_place(name: str) -> bool:
    return name.isprintable() and _PLACE.fullmatch(name) is not None


def check_region(region: object, cloud: str | None) -> str | None:
    """The name of a region, or of what a cloud with a grammar of its own has instead; None for `*`."""
    if cloud not in OWN_GRAMMAR or region == "*":
        return check_place_name("region", region)
    if not isinstance(region, str) or not region.isprintable() or region.strip() != region or not region:
        raise InvalidTaskError(f"resources.region must be a context or pool of {cloud}, found {describe(region)}.")
    return region


def check_infra(infra: object) -> tuple[str | None, str | None, str | None]:
    """Cloud, region and zone of `cloud[/region[/zone]]`; None for `*` and for what is not said."""
    form = f"resources.infra must be cloud[/region[/zone]], with * for any, found {describe(infra)}."
    if not isinstance(infra, str):
        raise InvalidTaskError(form)
    parts = infra.strip().split("/")
    if (cloud := ALIASES.get(parts[0].lower(), parts[0].lower())) in OWN_GRAMMAR:
        return cloud, check_region("/".join(parts[1:]) or "*", cloud), None
    if len(parts) > 3 or not all(part == "*" or _is_place(part) for part in parts):
        raise InvalidTaskError(form)
    if parts[0] != "*" and not _NAME.fullmatch(parts[0]):
        raise InvalidTaskError(form)
    region, zone = ([None if part == "*" else part for part in parts[1:]] + [None, None])[:2]
    return check_cloud(parts[0]), region, zone


def show_infra(cloud: str | None, region: str | None, zone: str | None) -> str:
    """The shortest `infra` that says the same; empty if everything is open."""
    place = [cloud or "*", region or "*", zone or "*"]
    while place and place[-1] == "*":
        place.pop()
    return "/".join(place)
