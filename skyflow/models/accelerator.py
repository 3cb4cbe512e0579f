"""Accelerators: their canonical names, their memory, and the ways in which people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from skyflow.errors import InvalidTaskError
from skyflow.models.document import describe, show

MEMORY = {
    "nvidia": {
        "A10": 24, "A100": 40, "A100-80GB": 80, "A10G": 24, "B200": 192, "B300": 288, "GB200": 192, "GB300": 288,
        "GH200": 96, "H100": 80, "H100-MEGA": 80, "H200": 141, "K80": 12, "L4": 24, "L40": 48, "L40S": 48, "M4000": 8,
        "M60": 8, "P100": 16, "P4": 8, "RTX3090": 24, "RTX4090": 24, "RTX5090": 32, "RTX6000": 24, "RTXPRO6000": 96,
        "T4": 16, "T4g": 16, "V100": 16, "V100-32GB": 32,
    },
    "amd": {"MI100": 32, "MI210": 64, "MI250": 128, "MI300X": 192, "MI325X": 256, "MI355X": 288, "RadeonProV520": 8},
    "aws": {"Inferentia": 8, "Inferentia2": 32, "Trainium": 32, "Trainium2": 96},
    "intel": {"Gaudi": 32, "Gaudi2": 96, "Gaudi3": 128},
}  # fmt: skip
"""Manufacturer → accelerator → GB of memory of one device, as the manufacturer advertises it. TPUs are not here: they
come in slices of every size, and their names carry the size."""

_ALIASES = {
    "a100-40gb": "A100", "a100-sxm4-40gb": "A100", "a100-sxm4-80gb": "A100-80GB", "a100-80g": "A100-80GB",
    "h100-80gb": "H100", "h100-80gb-hbm3": "H100", "h100-mega-80gb": "H100-MEGA",
    "h200-141gb": "H200", "v100-16gb": "V100", "v100-sxm2": "V100", "t4-16gb": "T4",
    "rtx-3090": "RTX3090", "rtx-4090": "RTX4090", "rtx-5090": "RTX5090", "rtx-pro-6000": "RTXPRO6000",
    "inf1": "Inferentia", "inf2": "Inferentia2", "trn1": "Trainium", "trn2": "Trainium2",
}  # fmt: skip
_KNOWN = {name.lower(): name for family in MEMORY.values() for name in family} | _ALIASES
_MAKERS = re.compile(r"(nvidia[-_ ]?)?(tesla[-_ ]?)?(?P<rest>.+)")

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/ -]*")
_BY_MEMORY = re.compile(r"(?:(?P<maker>[a-z]+):)?(?P<size>[0-9]+(?:\.[0-9]+)?)(?P<unit>gi?b|mi?b|ti?b)(?P<more>\+?)")
_GB = {"m": 1 / 1024, "g": 1.0, "t": 1024.0}

FORM = "accelerators must be NAME[:COUNT] such as A100:8, or a mapping or list of them"


def canonical(name: str) -> str:
    """The name that counts: `a100`, `nvidia-tesla-a100` and `A100` are one. Unknown names stay as they are."""
    plain = name.strip().lower().replace("_", "-")
    if plain.startswith("tpu-"):
        return plain.replace("tpu-v5e-", "tpu-v5litepod-")
    found = _MAKERS.fullmatch(plain)
    rest = found["rest"] if found else plain
    return _KNOWN.get(plain) or _KNOWN.get(rest) or name.strip()


def is_tpu(name: str) -> bool:
    """Whether it is a slice of Google's TPUs, which comes as a whole."""
    return name.startswith("tpu-")


def parse(value: object) -> list[dict[str, float]]:
    """What a string, a mapping or a list says: alternatives, each of one kind.

    `80GB`, `80GB+` and `amd:80GB+` stand for every known accelerator with that much memory a device; where no
    manufacturer is named, for Nvidia's: software for one manufacturer's seldom runs on another's.

    Raises:
        InvalidTaskError: it is not of that form.
    """
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, Mapping):
        found = [one for name, count in value.items() for one in _parse_item(name, count)]
    elif isinstance(value, list | tuple | set | frozenset):
        parts: Iterable[object] = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        found = [one for part in parts for one in (parse(part) if isinstance(part, str | Mapping) else _refuse(part))]
    else:
        return _refuse(value)
    if not found:
        raise InvalidTaskError(f"resources.{FORM}, found none.")
    return [one for index, one in enumerate(found) if one not in found[:index]]


def show_accelerators(accelerators: dict[str, float]) -> str:
    """`A100:8`; several alternatives with `or`."""
    return " or ".join(f"{name}:{count:g}" for name, count in accelerators.items())


def _parse_text(text: str) -> list[dict[str, float]]:
    words = text.strip()
    if by_memory := _BY_MEMORY.match(words.lower()):
        rest = words[by_memory.end() :]
        if rest == "" or rest.startswith(":"):
            count = check_count(words, rest[1:] or "1")
            return [{name: count} for name in _with_memory(words, by_memory)]
    name, colon, number = words.partition(":")
    return _parse_pair(name, number if colon else 1)


def _parse_item(name: object, count: object) -> list[dict[str, float]]:
    """One entry of a mapping. YAML reads `{L4:1, A100:1}`, without spaces, as names that have no value."""
    if count is None and isinstance(name, str):
        return _parse_text(name)
    return _parse_pair(name, count)


def _parse_pair(name: object, count: object) -> list[dict[str, float]]:
    if not isinstance(name, str):
        return _refuse(name)
    if _BY_MEMORY.fullmatch(name.strip().lower()):
        return _parse_text(f"{name.strip()}:{count}")
    if not _NAME.fullmatch(name.strip()):
        return _refuse(name)
    return [{canonical(name): check_count(name, count)}]


def _with_memory(words: str, wanted: re.Match[str]) -> list[str]:
    maker = wanted["maker"]
    if maker is not None and maker not in MEMORY:
        raise InvalidTaskError(
            f"resources.accelerators: {show(words)} names no manufacturer that is known: {', '.join(MEMORY)}."
        )
    size = float(wanted["size"]) * _GB[wanted["unit"][0]]
    family = MEMORY[maker or "nvidia"]
    names = [name for name, memory in family.items() if memory == size or (wanted["more"] and memory > size)]
    if not names:
        sizes = sorted(set(family.values()))
        hint = f"there are {', '.join(map(str, sizes))} GB. Put + behind it for at least as much."
        if size > sizes[-1]:
            hint = f"the most is {sizes[-1]} GB."
        raise InvalidTaskError(
            f"resources.accelerators: there is no accelerator with {size:g} GB ({show(words)}); {hint}"
        )
    return names


def check_count(name: str, count: object) -> float:
    """How many a node has: more than 0, and maybe a fraction, `V100:0.5`."""
    try:
        number = math.nan if isinstance(count, bool) else float(count)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < 1_000_000:
        raise InvalidTaskError(
            f"resources.accelerators: the count of {show(name)} must be a number greater than 0, "
            f"found {describe(count)}."
        )
    return int(number) if number.is_integer() else number


def _refuse(value: object) -> list[dict[str, float]]:
    raise InvalidTaskError(f"resources.{FORM}, found {describe(value)}.")
