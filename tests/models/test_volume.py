"""Volumes of a task, and disks of its resources."""

from __future__ import annotations

import pytest

from skyflow.models.document import Document
from skyflow.models.volume import VolumeMount, check_disks, check_volumes

NOWHERE = Document(None)

VOLUMES = {
    "/data": "my-volume",
    "~/cache": {"name": "my-volume", "sub_path": "a/b.c"},
    "~": {"size": "10Gi"},
    "/both": {"name": "my-volume", "size": "5", "type": "k8s-pvc"},
    "/scratch/": {
        "size": "100",
        "type": "k8s-pvc",
        "labels": {"team": "ml"},
        "config": {"access_mode": "ReadWriteMany", "storage_class_name": "fast", "cleanup_on_deletion": False},
    },
    "/host": {"host_path": "/mnt/nvme", "mode": "rw"},
}


def test_all_kinds_come_back_the_same() -> None:
    found = check_volumes(NOWHERE, VOLUMES, ("volumes",))
    assert {path: volume.to_yaml_config() for path, volume in found.items()} == VOLUMES
    assert found["/data"] == VolumeMount(name="my-volume")
    assert found["/host"] == VolumeMount(host_path="/mnt/nvme", mode="rw")


@pytest.mark.parametrize("size", [5, "5", "5GB", "5Gi", "5ti", "05"])
def test_sizes(size: object) -> None:
    assert check_volumes(NOWHERE, {"/d": {"size": size}}, ("volumes",))["/d"].size == str(size)


def test_names_of_choices_are_spelled_right() -> None:
    volume = {"size": 5, "type": "K8S-PVC", "config": {"access_mode": "readwriteonce"}}
    found = check_volumes(NOWHERE, {"/d": volume}, ("volumes",))["/d"]
    assert (found.type, found.config) == ("k8s-pvc", {"access_mode": "ReadWriteOnce"})


def test_disks() -> None:
    disks = [
        {"path": "/a", "name": "disk", "disk_size": 100, "disk_tier": "BEST", "auto_delete": True},
        {"path": "/b", "storage_type": "instance", "attach_mode": "read_only", "size": "10"},
    ]
    assert check_disks(NOWHERE, disks, ("resources", "volumes")) == [
        {"path": "/a", "name": "disk", "disk_size": "100", "disk_tier": "best", "auto_delete": True},
        disks[1],
    ]
