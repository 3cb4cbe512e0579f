"""Overrides: what the `config` section of a task changes of the settings, and its hooks (PARITY §2).

Unknown names pass, as in SkyPilot, whose plugins read them; those that are almost a known one do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skyflow.models.document import Document, Path
from skyflow.models.duration import check_minutes
from skyflow.models.hook import Hook, check_hooks
from skyflow.models.shape import (
    Checker,
    boolean,
    choice,
    either,
    error,
    free,
    integer,
    listing,
    mapping,
    nullable,
    number,
    record,
    spell,
    text,
)


@dataclass(frozen=True)
class Overrides:
    """The `config` of a task.

    Args:
        settings: by cloud or topic, then by name, as they are in the YAML. A null takes a setting away.
        hooks: scripts that run before nodes go.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    hooks: list[Hook] | None = None

    def to_yaml_config(self) -> dict[str, Any]:
        """The section that means the same."""
        return self.settings if self.hooks is None else {**self.settings, "hooks": self.hooks}


def check_config(document: Document, value: object, path: Path) -> Overrides:
    """The `config` section of a task."""
    found = _CONFIG(document, value, path)
    hooks = found.pop("hooks", None)
    return Overrides(found, hooks)


def _topic(name: str, fields: Mapping[str, Checker[Any]], *, nulls: tuple[str, ...] = ()) -> Checker[dict[str, Any]]:
    """A mapping in the section. A null in one of `nulls` is kept: it takes the setting away."""
    check_fields = record(f"config.{name}", fields, next(iter(fields)) + ": …", open=True)

    def check(document: Document, value: Any, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = check_fields(document, value, path)
        return {key: found.get(key) for key in value if key in found or key in nulls}

    return check


def _check_metadata(document: Document, value: Any, path: Path) -> dict[str, Any]:
    found = free(document, value, path)
    for name in ("name", "namespace"):
        if name in found:
            raise error(document, (*path, name), f"{spell(path)} cannot have {name!r}; skyflow chooses it.")
    return found


def _check_limits(document: Document, value: Any, path: Path) -> bool | float:
    return value if isinstance(value, bool) else number(least=1)(document, value, path)


def _check_max_run_duration(document: Document, value: Any, path: Path) -> Any:
    check_minutes(document, value, path)
    return value  # as it is written: another program reads it


def _check_enable_docker(document: Document, value: Any, path: Path) -> Any:
    return either("true, false, ALL, BUILD or a mapping", (bool, boolean), (str, _DOCKER_MODE), (Mapping, _DOCKER))(
        document, value, path
    )


_NAME = text("a name")
_NAMES = either("a name or a list of names", (str, _NAME), (list, listing(_NAME)))
_DOCKER_MODE = choice(("ALL", "BUILD"))
_DOCKER = record(
    "config.kubernetes.enable_docker", {"mode": _DOCKER_MODE, "cache_volume": _NAME}, "mode: BUILD", ["mode"]
)
_SBATCH_VALUE: Checker[Any] = either(
    "a string of one line, a number, true or false",
    (str, text("a string of one line", form=re.compile(r"[^\n]*"), empty=True)),
    (bool, boolean),
    (int, number(least=None)),
    (float, number(least=None)),
)
_POD: dict[str, Checker[Any]] = {
    "custom_metadata": _check_metadata,
    "pod_config": free,
    "provision_timeout": integer(least=-1),
}

_CONFIG = record(
    "config",
    {
        "active_workspace": _NAME,
        "azure": _topic("azure", {"remote_identity": _NAME, "vpc_name": _NAME}, nulls=("vpc_name",)),
        "docker": _topic(
            "docker",
            {"run_options": either("an option or a list of options", (str, text()), (list, listing(text())))},
        ),
        "gcp": _topic(
            "gcp",
            {
                "enable_gpu_direct": boolean,
                "enable_gvnic": boolean,
                "managed_instance_group": record(
                    "config.gcp.managed_instance_group",
                    {"run_duration": integer(), "provision_timeout": integer()},
                    "run_duration: 3600",
                    ["run_duration"],
                ),
                "placement_policy": _NAME,
                "subnet_names": _NAMES,
                "vpc_name": text(
                    "the name of a VPC, or project/name, in small letters, digits and '-'",
                    form=re.compile(r"(?:[-a-z0-9]+/)?[-a-z0-9]+"),
                ),
            },
            nulls=("subnet_names", "vpc_name"),
        ),
        "hooks": check_hooks,
        "kubernetes": _topic(
            "kubernetes",
            {
                **_POD,
                "dws": record(
                    "config.kubernetes.dws",
                    {"enabled": boolean, "max_run_duration": _check_max_run_duration},
                    "enabled: true",
                ),
                "enable_docker": _check_enable_docker,
                "kueue": record(
                    "config.kubernetes.kueue",
                    {"local_queue_name": _NAME, "admission_timeout": integer(least=-1)},
                    "local_queue_name: queue",
                ),
                "quota": free,
                "remote_identity": either(
                    "a name, or a mapping of contexts to names", (str, _NAME), (Mapping, mapping(_NAME))
                ),
                "set_pod_resource_limits": _check_limits,
            },
        ),
        "nvidia_gpus": _topic("nvidia_gpus", {"disable_ecc": boolean}),
        "slurm": _topic(
            "slurm",
            {"cpu_partition": _NAME, "quota": free, "sbatch_options": mapping(nullable(_SBATCH_VALUE))},
        ),
        "ssh": _topic("ssh", _POD),
        "vast": _topic("vast", {"create_instance_kwargs": free, "datacenter_only": boolean}),
    },
    "kubernetes: …",
    open=True,
)
