"""Resources: what a task wants of each of its nodes. Immutable."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from skyflow.errors import InvalidTaskError, NotSupportedError
from skyflow.models.document import Document, Path, Schema, describe, not_yet, show

PLACE_FIELDS = ("cloud", "region", "zone")
FIELDS = (*PLACE_FIELDS, "instance_type", "cpus", "memory", "use_spot")
LATER_FIELDS = (
    "accelerators", "gpus", "accelerator_args", "any_of", "autostop", "disk_size", "disk_tier", "hooks", "image_id",
    "job_recovery", "labels", "local_disk", "max_hourly_cost", "network_tier", "ordered", "ports", "priority",
    "priority_class", "spot_recovery", "volumes",
)  # fmt: skip

SCHEMA = Schema("resources", "cpus: 4+", ("infra", *FIELDS), LATER_FIELDS, prefix="resources.")

_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?")
_AMOUNT = re.compile(r"(-?[0-9]+\.?[0-9]*|\.[0-9]+)\s*([a-zA-Z]*)\s*(\+?)", re.ASCII)
_GIB = {"": 1.0, "K": 1 / (1 << 20), "M": 1 / (1 << 10), "G": 1.0, "T": float(1 << 10), "P": float(1 << 20)}
_OTHER_INFRA = ("k8s", "kubernetes", "ssh")
"""Their infra strings have a grammar of their own."""


class Resources:
    """What a task wants of each of its nodes. What is not given is left open.

    Args:
        infra: `cloud[/region[/zone]]`, each of them `*` for any; instead of the next three.
        cloud, region, zone: where.
        instance_type: by the cloud's name.
        cpus: `4`, or `'4+'` for at least 4.
        memory: GiB: `16`, or `'16+'` for at least 16; also `'512MB'`, `'16GB+'`.
        use_spot: whether the nodes may be taken away by the cloud, at a lower price; not given means no.
        later: fields of SkyPilot that this version does not support yet; refused by name.

    Raises:
        InvalidTaskError: a value is wrong.
        NotSupportedError: a field, or an infra, is not supported yet.
    """

    cloud: str | None
    region: str | None
    zone: str | None
    instance_type: str | None
    cpus: str | None
    memory: str | None
    use_spot: bool
    use_spot_specified: bool

    def __init__(
        self,
        *,
        infra: str | None = None,
        cloud: str | None = None,
        region: str | None = None,
        zone: str | None = None,
        instance_type: str | None = None,
        cpus: str | float | None = None,
        memory: str | float | None = None,
        use_spot: bool | None = None,
        **later: object,
    ) -> None:
        fields: dict[str, object] = {
            "infra": infra, "cloud": cloud, "region": region, "zone": zone, "instance_type": instance_type,
            "cpus": cpus, "memory": memory, "use_spot": use_spot,
        }  # fmt: skip
        self.__dict__.update(_check(Document(None), fields | later, ()))

    @classmethod
    def from_yaml_config(cls, config: Mapping[str, Any] | None) -> Resources:
        """The `resources` section of a task YAML."""
        return cls.from_document(Document(None), config, ())

    @classmethod
    def from_document(cls, document: Document, section: object, path: Path) -> Resources:
        """A section of a document, which is at this path. Errors name the line."""
        found = cls()
        found.__dict__.update(_check(document, section, path))
        return found

    def to_yaml_config(self) -> dict[str, Any]:
        """The section of a task YAML from which the same resources come."""
        place = [self.cloud or "*", self.region or "*", self.zone or "*"]
        while place and place[-1] == "*":
            place.pop()
        config: dict[str, Any] = {"infra": "/".join(place)} if place else {}
        config |= {field: value for field in ("instance_type", "cpus", "memory") if (value := getattr(self, field))}
        return config | ({"use_spot": self.use_spot} if self.use_spot_specified else {})

    def to_request(self) -> dict[str, Any]:
        """What the optimizer is asked: plain JSON, None for what is open."""
        return {field: getattr(self, field) for field in FIELDS}

    def copy(self, **override: Any) -> Resources:
        """The same with other values. An `infra` replaces cloud, region and zone together."""
        fields = self.to_request()
        if not self.use_spot_specified:
            del fields["use_spot"]
        if override.get("infra") is not None:
            fields = {field: value for field, value in fields.items() if field not in PLACE_FIELDS}
        return Resources(**(fields | override))

    def is_launchable(self) -> bool:
        """Whether nothing is left to choose but the place."""
        return self.cloud is not None and self.instance_type is not None

    def less_demanding_than(self, offer: Mapping[str, Any]) -> bool:
        """Whether a node of this offer will do. The keys of an offer are those of `to_request`.

        For using a cluster again: one with more CPUs or memory than asked for will do, with or without a `+`.
        """
        for field in (*PLACE_FIELDS, "instance_type"):
            if getattr(self, field) not in (None, offer[field]):
                return False
        if self.use_spot_specified and self.use_spot != offer["use_spot"]:
            return False
        wanted = [(self.cpus, offer["cpus"]), (self.memory, offer["memory"])]
        return all(amount is None or float(amount.rstrip("+")) <= has for amount, has in wanted)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Resources cannot be changed; use copy({name}=…).")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resources) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.items()))

    def __repr__(self) -> str:
        return f"Resources({', '.join(f'{field}={value!r}' for field, value in self.to_yaml_config().items())})"


def _check(document: Document, section: object, path: Path) -> dict[str, Any]:
    """The section of a document as the attributes of Resources."""
    given = document.fields({} if section is None else section, path, SCHEMA)
    found = {field: document.check((*path, field), _CHECKS[field], value) for field, value in given.items()}
    infra = found.pop("infra", None)
    if infra is not None:
        if any(field in found for field in PLACE_FIELDS):
            raise InvalidTaskError(
                f"{document.at((*path, 'infra'))}resources: give either infra, or cloud, region and zone, not both."
            )
        found.update(zip(PLACE_FIELDS, infra, strict=True))
    use_spot = found.get("use_spot")
    return dict.fromkeys(FIELDS) | found | {"use_spot": bool(use_spot), "use_spot_specified": use_spot is not None}


def _check_infra(infra: object) -> tuple[str | None, str | None, str | None]:
    form = f"resources.infra must be cloud[/region[/zone]], with * for any, found {describe(infra)}."
    if not isinstance(infra, str):
        raise InvalidTaskError(form)
    parts = infra.strip().split("/")
    if parts[0].lower() in _OTHER_INFRA:
        raise not_yet(f"resources.infra: {show(parts[0])}")
    if len(parts) > 3 or not all(part == "*" or _NAME.fullmatch(part) for part in parts):
        raise InvalidTaskError(form)
    cloud, region, zone = ([None if part == "*" else part for part in parts] + [None, None])[:3]
    return cloud and cloud.lower(), region, zone


def _check_name(field: str) -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        if value == "*" and field in PLACE_FIELDS:
            return None
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise InvalidTaskError(f"resources.{field} must be a name of the cloud's, found {describe(value)}.")
        return value.lower() if field == "cloud" else value

    return check


def _check_cpus(value: object) -> str:
    return _check_amount("cpus", value, "a number of CPUs such as 4, or '4+' for at least 4", units=False)


def _check_memory(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[0-9.]+x\+?", value.strip()):
        raise not_yet("resources.memory: a multiple of the CPUs such as '4x'")
    return _check_amount("memory", value, "GiB such as 16, '16+' for at least 16, or '512MB'", units=True)


def _check_amount(field: str, value: object, form: str, *, units: bool) -> str:
    """A positive amount as `<number>` or `<number>+`, in the field's own unit."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    found = _AMOUNT.fullmatch(text.strip()) if isinstance(text, str) else None
    unit = found[2].upper().removesuffix("B").removesuffix("I") if found and units else ""
    if not found or unit not in _GIB or (found[2] and not units):
        raise InvalidTaskError(f"resources.{field} must be {form}, found {describe(value)}.")
    number = float(found[1]) * _GIB[unit]
    if not 0.000_000_5 < number < math.inf:
        raise InvalidTaskError(f"resources.{field} must be more than 0, found {describe(value)}.")
    digits = str(int(number)) if number.is_integer() else f"{number:.6f}".rstrip("0").rstrip(".")
    return digits + found[3]


def _check_use_spot(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidTaskError(f"resources.use_spot must be true or false, found {describe(value)}.")
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "infra": _check_infra,
    "cloud": _check_name("cloud"),
    "region": _check_name("region"),
    "zone": _check_name("zone"),
    "instance_type": _check_name("instance_type"),
    "cpus": _check_cpus,
    "memory": _check_memory,
    "use_spot": _check_use_spot,
}


def check_resources(value: object) -> Resources:
    """Resources as Python code may give them: one, a dict, or a list or set of one (PARITY K11)."""
    if value is None:
        return Resources()
    if isinstance(value, Resources):
        return value
    if isinstance(value, Mapping):
        return Resources.from_yaml_config(value)
    if isinstance(value, list | tuple | set | frozenset):
        several = [one for one in value if isinstance(one, Resources)]
        if len(several) == len(value) == 1:
            return several[0]
        if len(several) == len(value) > 1:
            raise NotSupportedError(
                "A choice of several resources (any_of, ordered) is not supported by this version of skyflow yet; "
                "give one."
            )
    raise InvalidTaskError(f"resources must be a Resources or a mapping, found {describe(value)}.")
