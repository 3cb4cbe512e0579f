"""What a cloud may be able to do, by the names that SkyPilot gives these things."""

from __future__ import annotations

from enum import StrEnum


class CloudFeature(StrEnum):
    """Something that a task can want of a cloud, and that not every cloud has. The value is how to say it."""

    MULTI_NODE = "several nodes"
    SPOT_INSTANCE = "spot nodes"
    IMAGE_ID = "images of one's own (image_id)"
    DOCKER_IMAGE = "Docker images (image_id: docker:…)"
    CUSTOM_DISK_TIER = "a choice of disk_tier"
    CUSTOM_NETWORK_TIER = "a choice of network_tier"
    LOCAL_DISK = "fast disks of the node (local_disk)"
    OPEN_PORTS = "open ports"
    STORAGE_MOUNTING = "mounted buckets"
    LABELS = "labels on the nodes"
    STOP = "nodes that can be stopped"
    STOP_SPOT = "spot nodes that can be stopped"
