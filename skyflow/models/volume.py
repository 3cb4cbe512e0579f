"""Volumes of a task: disks that are there before and after it, or only with it (PARITY §2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skyflow.models.amount import DISK_TIERS
from skyflow.models.document import Document, Path, show
from skyflow.models.label import check_labels
from skyflow.models.shape import boolean, choice, error, listing, record, spell, text, written, wrong

EPHEMERAL_TYPES = ("k8s-pvc",)
TYPES = (*EPHEMERAL_TYPES, "k8s-hostpath", "runpod-network-volume")
ACCESS_MODES = ("ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany", "ReadOnlyMany")
HOST_MODES = ("ro", "rw")
"""Of a folder of the host; the first is the default."""

_SIZE = re.compile(r"[0-9]{1,15}([kmgtp][bi]?)?", re.IGNORECASE | re.ASCII)
_SUB_PATH = re.compile(r"[a-zA-Z0-9._-][a-zA-Z0-9._/-]*")


@dataclass(frozen=True)
class VolumeMount:
    """A volume at a path on the nodes. It is of one of three kinds, by what is given.

    Args:
        name: of a volume that exists.
        sub_path: folder in it.
        size: GB, of a volume that lives as long as the cluster: `"100"`, `"10Gi"`.
        type: of such a volume; one that exists has its own size and type, whatever is said of them.
        labels: of such a volume.
        config: of such a volume: storage_class_name, access_mode, namespace, cleanup_on_deletion.
        host_path: folder of the machine on which the node runs.
        mode: whether that may be written to: `ro` or `rw`.
    """

    name: str | None = None
    sub_path: str | None = None
    size: str | None = None
    type: str | None = None
    labels: dict[str, str] | None = None
    config: dict[str, Any] | None = None
    host_path: str | None = None
    mode: str | None = None

    def to_yaml_config(self) -> str | dict[str, Any]:
        """The value in `volumes` that means the same."""
        fields = written(vars(self))
        return fields["name"] if set(fields) == {"name"} else fields


def check_volumes(document: Document, value: object, path: Path) -> dict[str, VolumeMount]:
    """The `volumes` of a task, its variables filled in: path on the nodes → volume."""
    if not isinstance(value, Mapping):
        raise wrong(document, path, "a mapping of paths on the nodes to volumes", value)
    return {
        _check_target(document, target, path): _check_volume(document, volume, (*path, target))
        for target, volume in value.items()
    }


def _check_target(document: Document, target: object, path: Path) -> str:
    here = (*path, target)
    if not isinstance(target, str) or (not target.startswith(("/", "~/")) and target != "~"):
        raise error(
            document, here, f"{spell(path)}: the path {show(target)} on the nodes must be absolute, or begin with '~/'."
        )
    return text()(document, target, here)


def _check_volume(document: Document, value: object, path: Path) -> VolumeMount:
    """The kind is told by the field that only it has."""
    if isinstance(value, str):
        return VolumeMount(name=text("the name of a volume")(document, value, path))
    if not isinstance(value, Mapping):
        raise wrong(document, path, "the name of a volume, or a mapping", value)
    if value.get("name") is not None:
        return VolumeMount(**_NAMED(document, value, path))
    if value.get("host_path") is not None:
        return VolumeMount(**_HOST(document, value, path))
    fields = _EPHEMERAL(document, value, path)
    if "size" not in fields:
        raise error(
            document,
            path,
            f"{spell(path)}: Volume size must be specified for ephemeral volumes. Give size, or the name of a volume "
            "that exists.",
        )
    return VolumeMount(**fields)


def check_disks(document: Document, value: object, path: Path) -> list[dict[str, Any]]:
    """The `volumes` of resources: disks of the cloud, each with the fields that are given. Plain JSON."""
    return listing(_check_disk, "a list of disks")(document, value, path)


def _check_disk(document: Document, value: Any, path: Path) -> dict[str, Any]:
    disk: dict[str, Any] = _DISK(document, value, path)
    if "name" not in disk and disk.get("storage_type", "network") == "network":
        raise error(
            document,
            path,
            f"{spell(path)}: a network volume needs a name; for a disk of the instance, give 'storage_type: instance'.",
        )
    return disk


def check_size(document: Document, value: object, path: Path) -> str:
    """A size in GB, or with a unit: `100`, `"10Gi"`."""
    size = str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1e15 else value
    if not isinstance(size, str) or not _SIZE.fullmatch(size) or not size.strip("kmgtpbiKMGTPBI").strip("0"):
        raise wrong(document, path, "a size in GB such as 100, or '10Gi'", value)
    return size


def _check_sub_path(document: Document, value: Any, path: Path) -> str:
    must = "a relative path of letters, digits, '.', '_', '-' and '/', without '..'"
    sub_path = text(must, form=_SUB_PATH)(document, value, path)
    if ".." in sub_path.split("/"):
        raise wrong(document, path, must, value)
    return sub_path


def _check_host_path(document: Document, value: Any, path: Path) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise wrong(document, path, "an absolute path", value)
    if not value.strip("/"):
        raise error(document, path, f"{spell(path)} must not be the root directory '/'.")
    return text()(document, value, path)


_NAMED = record(
    "volume",
    {"name": text("the name of a volume"), "sub_path": _check_sub_path, "size": check_size, "type": choice(TYPES)},
    "name: my-volume",
    ["name"],
)
_HOST = record("volume", {"host_path": _check_host_path, "mode": choice(HOST_MODES)}, "host_path: /scratch")
_EPHEMERAL = record(
    "volume",
    {
        "size": check_size,
        "type": choice(EPHEMERAL_TYPES),
        "labels": check_labels,
        "config": record(
            "volume",
            {
                "storage_class_name": text(),
                "access_mode": choice(ACCESS_MODES),
                "namespace": text(),
                "host_path": _check_host_path,
                "cleanup_on_deletion": boolean,
            },
            "access_mode: ReadWriteMany",
        ),
    },
    "size: 100",
)

_DISK = record(
    "volume",
    {
        "path": text("a path on the nodes"),
        "name": text("the name of a disk"),
        "disk_size": check_size,
        "size": check_size,
        "disk_tier": choice(DISK_TIERS),
        "auto_delete": boolean,
        "storage_type": choice(("network", "instance")),
        "attach_mode": choice(("read_write", "read_only")),
    },
    "path: /mnt/data",
    ["path"],
)
