"""A pool: workers that are kept ready for managed jobs (PARITY §2). A task has one, or a service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skyflow.models.document import Document, Path
from skyflow.models.shape import error, integer, number, record, written


@dataclass(frozen=True)
class Pool:
    """The `pool` of a task: workers that wait for jobs.

    Args:
        workers: a fixed number of them.
        min_workers, max_workers: instead of a fixed number; `workers` with `max_workers` is the least.
        queue_length_threshold: jobs that may wait before there is one more worker.
        upscale_delay_seconds, downscale_delay_seconds: as of a ReplicaPolicy.
    """

    workers: int | None = None
    min_workers: int | None = None
    max_workers: int | None = None
    queue_length_threshold: int | None = None
    upscale_delay_seconds: float | None = None
    downscale_delay_seconds: float | None = None

    @classmethod
    def from_yaml_config(cls, config: Mapping[str, Any]) -> Pool:
        """The `pool` section of a task YAML."""
        return check_pool(Document(None), config, ("pool",))

    def to_yaml_config(self) -> dict[str, Any]:
        """The section that means the same."""
        return written(vars(self))


def check_pool(document: Document, value: object, path: Path) -> Pool:
    """The `pool` section of a task."""
    pool = Pool(**_POOL(document, value, path))
    if pool.workers is None and pool.min_workers is None and pool.max_workers is None:
        raise error(
            document, path, "One of workers, or both min_workers and max_workers must be set for pool autoscaling."
        )
    if pool.workers is not None and pool.min_workers is not None:
        raise error(
            document, (*path, "workers"), "A pool has either workers, or min_workers and max_workers, not both."
        )
    for field in ("min_workers", "queue_length_threshold", "upscale_delay_seconds", "downscale_delay_seconds"):
        if getattr(pool, field) is not None and pool.max_workers is None:
            raise error(
                document, (*path, field), f"max_workers must be set when {field} is specified for pool autoscaling."
            )
    for field in ("workers", "min_workers"):
        least = getattr(pool, field)
        if least is not None and pool.max_workers is not None and least > pool.max_workers:
            raise error(
                document,
                (*path, field),
                f"{field} ({least}) must be <= max_workers ({pool.max_workers}) for pool autoscaling.",
            )
    return pool


_POOL = record(
    "pool",
    {
        "workers": integer(),
        "min_workers": integer(),
        "max_workers": integer(),
        "queue_length_threshold": integer(least=1),
        "upscale_delay_seconds": number(),
        "downscale_delay_seconds": number(),
    },
    "workers: 2",
)
