"""Resources: what a task wants of each of its nodes. Immutable. One set of them; a choice of several is `choice.py`."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from skyflow.errors import InvalidTaskError
from skyflow.models import accelerator
from skyflow.models.amount import DISK_TIERS, amount_of, check_cpus, check_disk_size, check_memory
from skyflow.models.document import Document, Path, Schema, describe
from skyflow.models.feature import CloudFeature
from skyflow.models.image import ImageId, check_image_id, uses_docker
from skyflow.models.place import OWN_GRAMMAR, check_cloud, check_infra, check_place_name, check_region, show_infra
from skyflow.models.port import check_ports

if TYPE_CHECKING:
    from skyflow.models.autostop import Autostop
    from skyflow.models.recovery import JobRecovery

PLACE_FIELDS = ("cloud", "region", "zone")
NETWORK_TIERS = ("standard", "best")
ARCHITECTURES = ("x86_64", "arm64")
MOST_PRIORITY = 1000

CONFIG = "_cluster_config_overrides"
"""Where SkyPilot writes the `config` of a task; `task_source.py` reads it."""

_ACCELERATOR_ARGS = Schema(
    "accelerator_args", "runtime_version: tpu-vm-base",
    ("tpu_vm", "runtime_version", "tpu_name", "gcp_queued_resource"), (), prefix="resources.accelerator_args.",
)  # fmt: skip
_LOCAL_DISK = re.compile(r"(?P<kind>nvme|ssd)|(?:(nvme|ssd):)?((?!0*\+?$)[0-9]{1,9}\+?)", re.ASCII)


class ResourceFields(TypedDict, total=False):
    """What `Resources` takes by name. What is not given is left open."""

    infra: str | None
    """`cloud[/region[/zone]]`, each of them `*` for any; instead of cloud, region and zone."""
    region: str | None
    zone: str | None
    cpus: str | float | None
    """`4`, or `'4+'` for at least 4."""
    memory: str | float | None
    """GiB: `16`, or `'16+'` for at least 16; also `'512MB'`, `'16GB+'`, and `'4x'` for so many GiB a CPU."""
    gpus: Any
    """Another name for accelerators."""
    accelerator_args: Mapping[str, Any] | None
    """Of TPUs: `tpu_vm`, `runtime_version`, `tpu_name`, `gcp_queued_resource`."""
    use_spot: bool | None
    """Whether the nodes may be taken away by the cloud, at a lower price; not given means no."""
    job_recovery: str | Mapping[str, Any] | None
    """How a managed job is recovered. `spot_recovery` is its old name."""
    spot_recovery: str | Mapping[str, Any] | None
    disk_size: int | str | None
    """GB, or `'1TB'`."""
    disk_tier: str | None
    """`low`, `medium`, `high`, `ultra` or `best`."""
    network_tier: str | None
    """`standard` or `best`."""
    ports: Any
    """A port, a range `'80-90'`, or a list of them."""
    image_id: str | Mapping[str, str] | None
    labels: Mapping[str, str] | None
    max_hourly_cost: float | None
    """US dollars, for all nodes together."""
    local_disk: str | None
    """Fast disks of the node: `'nvme:1000+'` GB; `'1000+'` is NVMe, `'ssd'` is at least 100 GB."""
    autostop: Any
    """When an idle cluster is stopped or taken down: false, minutes, `'2h'`, or a mapping."""
    hooks: Any
    priority: int | None
    """-1000 to 1000."""
    priority_class: str | None
    volumes: list[Any] | None
    arch: str | None
    """`x86_64` or `arm64`; not given means x86_64, unless the instance type is of another kind."""


class Resources:
    """What a task wants of each of its nodes.

    Args:
        cloud: name of a cloud, or `skyflow.AWS()`.
        instance_type: by the cloud's name.
        accelerators: `'A100'`, `'A100:8'`, `{'A100': 8}`; several are a choice.
        fields: see ResourceFields.

    Raises:
        InvalidTaskError: a value is wrong, or two of them contradict each other.
    """

    cloud: str | None
    region: str | None
    zone: str | None
    instance_type: str | None
    cpus: str | None
    memory: str | None
    accelerators: dict[str, float] | None
    accelerator_args: dict[str, Any] | None
    use_spot: bool
    use_spot_specified: bool
    job_recovery: JobRecovery | None
    disk_size: int | None
    disk_tier: str | None
    network_tier: str | None
    ports: tuple[str, ...] | None
    image_id: ImageId | None
    labels: dict[str, str] | None
    max_hourly_cost: float | None
    local_disk: str | None
    autostop: Autostop | None
    hooks: list[dict[str, Any]] | None
    priority: int | None
    priority_class: str | None
    volumes: list[Any] | None
    arch: str | None

    def __init__(
        self,
        cloud: str | None = None,
        instance_type: str | None = None,
        accelerators: str | Mapping[str, Any] | list[Any] | None = None,
        **fields: Unpack[ResourceFields],
    ) -> None:
        given = {"cloud": cloud, "instance_type": instance_type, "accelerators": accelerators, **fields}
        self.__dict__.update(_check(Document(None), given, ()))

    @classmethod
    def from_yaml_config(cls, config: Mapping[str, Any] | None) -> Resources:
        """The `resources` section of a task YAML that leaves no choice (`choice.py` reads those that do)."""
        return cls.from_document(Document(None), {} if config is None else config, ())

    @classmethod
    def from_document(cls, document: Document, section: object, path: Path) -> Resources:
        """A section of a document, which is at this path. Errors name the line."""
        found = cls.__new__(cls)
        found.__dict__.update(_check(document, section, path))
        return found

    def to_yaml_config(self) -> dict[str, Any]:
        """The section of a task YAML from which the same resources come."""
        config: dict[str, Any] = {"infra": self.infra}
        for field in FIELDS[len(PLACE_FIELDS) :]:
            value = getattr(self, field)
            config[field] = value.to_yaml_config() if hasattr(value, "to_yaml_config") else copy.copy(value)
        config["use_spot"] = self.use_spot if self.use_spot_specified else None
        if self.ports is not None:
            config["ports"] = list(self.ports)
        return {field: value for field, value in config.items() if value is not None}

    def to_request(self) -> dict[str, Any]:
        """What the optimizer is asked, with the keys of `ResourcesRequest`."""
        asked = ("cloud", "region", "zone", "instance_type", "cpus", "memory", "max_hourly_cost", "arch")
        request: dict[str, Any] = {field: getattr(self, field) for field in asked}
        features = sorted(feature.name for feature in self.features())
        return request | {"accelerators": self.accelerators or {}, "use_spot": self.use_spot, "features": features}

    def features(self) -> set[CloudFeature]:
        """What a cloud must be able to do for them."""
        docker = uses_docker(self.image_id)
        wanted = {
            CloudFeature.SPOT_INSTANCE: self.use_spot,
            CloudFeature.DOCKER_IMAGE: docker,
            CloudFeature.IMAGE_ID: self.image_id is not None and (not docker or isinstance(self.image_id, dict)),
            CloudFeature.CUSTOM_DISK_TIER: self.disk_tier is not None,
            CloudFeature.CUSTOM_NETWORK_TIER: self.network_tier == "best",
            CloudFeature.OPEN_PORTS: bool(self.ports),
            CloudFeature.LOCAL_DISK: self.local_disk is not None,
            CloudFeature.LABELS: bool(self.labels),
            CloudFeature.STOP: self.stops_when_idle(),
            CloudFeature.STOP_SPOT: self.stops_when_idle() and self.use_spot,
        }
        return {feature for feature, is_wanted in wanted.items() if is_wanted}

    def stops_when_idle(self) -> bool:
        """Whether its nodes must be of those that can be stopped."""
        return self.autostop is not None and self.autostop.enabled and not self.autostop.down

    def copy(self, **override: Any) -> Resources:
        """The same with other values. An `infra` replaces cloud, region and zone together."""
        fields = self.to_yaml_config()
        fields |= dict(zip(PLACE_FIELDS, check_infra(fields.pop("infra")), strict=True)) if "infra" in fields else {}
        if override.get("infra") is not None:
            fields = {field: value for field, value in fields.items() if field not in PLACE_FIELDS}
        for alias, field in ALIASES.items():
            if alias in override:
                override[field] = override.pop(alias)
        return Resources(**(fields | override))

    @property
    def infra(self) -> str | None:
        """Cloud, region and zone as one word; None if all of them are open."""
        return show_infra(self.cloud, self.region, self.zone) or None

    @property
    def spot_recovery(self) -> JobRecovery | None:
        """The old name of job_recovery (PARITY R08)."""
        return self.job_recovery

    def is_launchable(self) -> bool:
        """Whether nothing is left to choose but the place."""
        return self.cloud is not None and self.instance_type is not None

    def less_demanding_than(self, other: Mapping[str, Any] | Resources) -> bool:
        """Whether a node of this offer, or one with those resources, will do.

        For using a cluster again: one with more CPUs, memory or accelerators than asked for will do, with or without a
        `+`. The keys of an offer are those of `Offer`; what it does not tell is taken as given.
        """
        has = other.to_request() if isinstance(other, Resources) else other
        for field in (*PLACE_FIELDS, "instance_type"):
            if getattr(self, field) not in (None, has[field]):
                return False
        if self.use_spot_specified and self.use_spot != has["use_spot"]:
            return False
        if self.accelerators and not any(
            has["accelerators"].get(name, 0) >= count for name, count in self.accelerators.items()
        ):
            return False
        cpus, memory = (None if has[field] is None else amount_of(str(has[field])) for field in ("cpus", "memory"))
        if "x" in str(has["memory"]):
            memory = None if cpus is None or memory is None else memory * cpus
        if memory is not None and self.memory and "x" in self.memory:
            memory = memory / cpus if cpus else None
        wanted = [(self.cpus, cpus), (self.memory, memory)]
        return all(amount is None or given is None or amount_of(amount) <= given for amount, given in wanted)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Resources cannot be changed; use copy({name}=…).")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resources) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        plain = (value for value in self.__dict__.values() if not isinstance(value, dict | list))
        return hash((*plain, frozenset(self.accelerators or ())))

    def __repr__(self) -> str:
        return f"Resources({', '.join(f'{field}={value!r}' for field, value in self.to_yaml_config().items())})"


ALIASES = {"gpus": "accelerators", "spot_recovery": "job_recovery"}
"""Other names of fields."""

Checker = Callable[[Document, Any, Path], Any]


def _plain(check: Callable[[Any], Any]) -> Checker:
    """A check that knows no lines; its errors get that of the field."""
    return lambda document, value, path: document.check(path, check, value)


def _items(check: Callable[[Any], Any]) -> Checker:
    """The same of a list or mapping, whose errors get the line of the item."""
    return lambda document, value, path: document.check_items(path, check, value)


def _rare(module: str, name: str, cls: str | None = None) -> Checker:
    """A check of a field that few tasks have: its module is imported when one does. A value of its class is kept."""

    def check(document: Document, value: Any, path: Path) -> Any:
        home = import_module(f"skyflow.models.{module}")
        if cls is not None and isinstance(value, getattr(home, cls)):
            return value
        return getattr(home, name)(document, value, path)

    return check


def _one_of(field: str, choices: tuple[str, ...], *, none: bool = False) -> Checker:
    def check(value: object) -> str | None:
        if none and value == "none":
            return None
        if not isinstance(value, str) or value.lower() not in choices:
            raise InvalidTaskError(f"resources.{field} must be one of {', '.join(choices)}, found {describe(value)}.")
        return value.lower()

    return _plain(check)


def _check_accelerators(value: object) -> dict[str, float]:
    return {name: count for one in accelerator.parse(value) for name, count in one.items()}


def _check_accelerator_args(document: Document, value: Any, path: Path) -> dict[str, Any]:
    given = document.fields(value, path, _ACCELERATOR_ARGS)
    for field, found in given.items():
        kind = bool if field in ("tpu_vm", "gcp_queued_resource") else str
        if not isinstance(found, kind):
            wanted = "true or false" if kind is bool else "a string"
            raise InvalidTaskError(
                f"{document.at((*path, field))}resources.accelerator_args.{field} must be {wanted}, "
                f"found {describe(found)}."
            )
    return given


def _check_use_spot(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidTaskError(f"resources.use_spot must be true or false, found {describe(value)}.")
    return value


def _check_cost(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e9:
        raise InvalidTaskError(
            f"resources.max_hourly_cost must be US dollars an hour, greater than 0, found {describe(value)}."
        )
    return value


def _check_priority(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MOST_PRIORITY:
        raise InvalidTaskError(
            f"resources.priority must be a whole number from -{MOST_PRIORITY} to {MOST_PRIORITY}, "
            f"found {describe(value)}."
        )
    return value


def _check_priority_class(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidTaskError(f"resources.priority_class must be a name, found {describe(value)}.")
    return value


def _check_local_disk(value: object) -> str:
    found = _LOCAL_DISK.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        raise InvalidTaskError(f"resources.local_disk must be such as 'nvme:1000+', found {describe(value)}.")
    return f"{found['kind']}:100+" if found["kind"] else f"{found[2] or 'nvme'}:{found[3]}"


_CHECKS: dict[str, Checker] = {
    "infra": _plain(check_infra),
    "cloud": _plain(check_cloud),
    "region": lambda document, value, path: value,  # what it may be depends on the cloud: see _settle_place
    "zone": _plain(lambda value: check_place_name("zone", value)),
    "instance_type": _plain(lambda value: check_place_name("instance_type", value)),
    "cpus": _plain(check_cpus),
    "memory": _plain(check_memory),
    "accelerators": _items(_check_accelerators),
    "accelerator_args": _check_accelerator_args,
    "use_spot": _plain(_check_use_spot),
    "job_recovery": _rare("recovery", "check_job_recovery", "JobRecovery"),
    "disk_size": _plain(check_disk_size),
    "disk_tier": _one_of("disk_tier", DISK_TIERS, none=True),
    "network_tier": _one_of("network_tier", NETWORK_TIERS),
    "ports": _items(check_ports),
    "image_id": _items(check_image_id),
    "labels": _rare("label", "check_labels"),
    "max_hourly_cost": _plain(_check_cost),
    "local_disk": _plain(_check_local_disk),
    "autostop": _rare("autostop", "check_autostop", "Autostop"),
    "hooks": _rare("hook", "check_hooks"),
    "priority": _plain(_check_priority),
    "priority_class": _plain(_check_priority_class),
    "volumes": _rare("volume", "check_disks"),
    "arch": _one_of("arch", ARCHITECTURES),
}

FIELDS = tuple(field for field in _CHECKS if field != "infra")
"""The attributes of Resources, places first."""

SCHEMA = Schema(
    "resources", "cpus: 4+", (*_CHECKS, *ALIASES, "any_of", "ordered"),
    ("_docker_login_config", "_docker_username_for_runpod"), prefix="resources.",
    dropped=(CONFIG, "_is_image_managed", "_no_missing_accel_warnings", "_requires_fuse"),
)  # fmt: skip


def _check(document: Document, section: object, path: Path) -> dict[str, Any]:
    """The section of a document as the attributes of Resources."""
    given = document.fields(section, path, SCHEMA)
    for choice in ("any_of", "ordered"):
        if choice in given:
            raise InvalidTaskError(
                f"{document.at((*path, choice))}resources.{choice} is a choice of several resources; it stands in a "
                "task, not in one set of resources."
            )
    for alias, field in ALIASES.items():
        if alias in given:
            if field in given:
                raise InvalidTaskError(f"{document.at((*path, alias))}resources: give either {field} or {alias}.")
            given[field] = given.pop(alias)
    found = {field: _CHECKS[field](document, value, (*path, field)) for field, value in given.items()}
    _settle_place(document, found, path)
    _settle_tpu(document, found, (*path, "accelerators"))
    use_spot = found.get("use_spot")
    return dict.fromkeys(FIELDS) | found | {"use_spot": bool(use_spot), "use_spot_specified": use_spot is not None}


def _settle_place(document: Document, found: dict[str, Any], path: Path) -> None:
    """Cloud, region and zone, however they were given."""
    infra = found.pop("infra", None)
    if infra is not None:
        if any(field in found for field in PLACE_FIELDS):
            raise InvalidTaskError(
                f"{document.at((*path, 'infra'))}resources: give either infra, or cloud, region and zone, not both."
            )
        found.update(zip(PLACE_FIELDS, infra, strict=True))
    cloud = found.get("cloud")
    if found.get("region") is not None:
        found["region"] = document.check((*path, "region"), lambda region: check_region(region, cloud), found["region"])
    if found.get("zone") is not None and cloud in OWN_GRAMMAR:
        raise InvalidTaskError(f"{document.at((*path, 'zone'))}resources.zone: {cloud} has no zones; leave it out.")


def _settle_tpu(document: Document, found: dict[str, Any], path: Path) -> None:
    """TPUs are Google's (PARITY §2.1)."""
    tpus = [name for name in found.get("accelerators") or {} if accelerator.is_tpu(name)]
    if not tpus or len(tpus) < len(found["accelerators"]):
        return
    if found.get("cloud") not in (None, "gcp", "kubernetes"):
        raise InvalidTaskError(f"{document.at(path)}resources: {tpus[0]} is only on gcp, not on {found['cloud']}.")
    found["cloud"] = found.get("cloud") or "gcp"
