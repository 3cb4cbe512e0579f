"""The statuses of clusters and jobs, as SkyPilot has them. Without pydantic: programs compare with them."""

from __future__ import annotations

from enum import StrEnum


class ClusterStatus(StrEnum):
    """The statuses of a cluster (PARITY C08)."""

    INIT = "INIT"
    UP = "UP"
    STOPPED = "STOPPED"
    AUTOSTOPPING = "AUTOSTOPPING"
    """Its idle rule is due: it is being stopped, or taken down."""


class JobStatus(StrEnum):
    """The statuses of a job, in SkyPilot's order (PARITY §4.2)."""

    INIT = "INIT"
    PENDING = "PENDING"
    SETTING_UP = "SETTING_UP"
    RUNNING = "RUNNING"
    FAILED_DRIVER = "FAILED_DRIVER"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    FAILED_SETUP = "FAILED_SETUP"
    CANCELLED = "CANCELLED"

    def is_terminal(self) -> bool:
        return self not in (JobStatus.INIT, JobStatus.PENDING, JobStatus.SETTING_UP, JobStatus.RUNNING)


class StatusRefreshMode(StrEnum):
    """How fresh `status` shall be."""

    NONE = "NONE"
    AUTO = "AUTO"
    FORCE = "FORCE"
