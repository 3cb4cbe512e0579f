"""What of the task language this version carries out. The rest is accepted, held, and refused when it is launched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from skyflow.errors import InvalidTaskError, NotSupportedError, UsageError
from skyflow.models.argument import check_idle_minutes
from skyflow.models.idle import check_wait_for
from skyflow.models.mount import is_uri
from skyflow.models.name import check_cluster_name

if TYPE_CHECKING:
    from skyflow.models.resources import Resources
    from skyflow.models.task import Task

_NO_FIELD = {
    "managed_secrets": "secrets that are kept elsewhere",
    "service": "services",
    "pool": "pools of workers",
    "config": "settings of clouds in a task",
    "volumes": "volumes",
    "docker_image": "containers on this machine",
}
"""Field of a task → what it needs that is not there yet."""

_NO_RESOURCE = {
    "hooks": "hooks",
    "priority_class": "classes of priorities",
    "volumes": "volumes",
    "local_disk": "fast disks of nodes",
}
"""The same for resources."""


def check_request(
    task: Task,
    cluster_name: str | None,
    *,
    dryrun: bool = False,
    down: bool = False,
    idle_minutes_to_autostop: int | None = None,
    wait_for: str | None = None,
) -> None:
    """What can be known of a launch or an exec before any server is asked, or started.

    Raises:
        InvalidClusterNameError, InvalidTaskError, UsageError, NotSupportedError: it is wrong.
    """
    if cluster_name is not None:
        check_cluster_name(cluster_name)
    if down and idle_minutes_to_autostop is not None and idle_minutes_to_autostop < 0:
        raise UsageError("Negative idle minutes mean that the cluster stays, and down that it goes: say one of them.")
    check_idle_rule(task, down, idle_minutes_to_autostop, wait_for)
    task.validate()
    if not dryrun:
        check_launchable(task)


def check_idle_rule(task: Task, down: bool, idle_minutes: int | None, wait_for: str | None) -> None:
    """Whether a request's idle minutes can be counted, and what it waits for belongs to them. Raises UsageError."""
    check_idle_minutes(idle_minutes)
    wait_for, own = check_wait_for(wait_for), task.resources[0].autostop
    has_minutes = idle_minutes is not None or (own is not None and own.enabled)
    if wait_for is None or has_minutes:
        return
    if not down:
        raise UsageError("wait_for (--wait-for) is part of an idle rule: give its minutes too (-i).")
    if wait_for == "none":
        raise UsageError(
            "Without idle minutes (-i), down is for when the job has ended: wait_for (--wait-for) cannot be none."
        )


def check_launchable(task: Task) -> None:
    """Whether a launch can do what the task says.

    Raises:
        InvalidTaskError: it is a task for a managed job (PARITY E08).
        NotSupportedError: it needs something that this version does not have; names the field.
    """
    if task.need_spot_recovery:
        raise InvalidTaskError(
            "Spot recovery is specified in the task. To launch the managed spot job, please use: sky spot launch"
            " (which this version does not have yet; without resources.job_recovery it is an ordinary launch)."
        )
    for field, what in _missing(task):
        raise NotSupportedError(f"{field}: {what} are not supported by this version of skyflow yet; remove it.")


def _missing(task: Task) -> Iterator[tuple[str, str]]:
    if names := ", ".join(task.secrets):
        yield f"secrets ({names})", "secrets, which would have to be sealed before they leave this machine,"
    for field, what in _NO_FIELD.items():
        if task.rare.get(field):
            yield field, what
    for target in task.storage_mounts:
        yield f"file_mounts[{target!r}]", "buckets and their mounts"
    for target, source in (task.file_mounts or {}).items():
        if is_uri(source):
            yield f"file_mounts[{target!r}]", f"buckets and URLs ({source})"
    for resources in task.resources:
        yield from _missing_resources(resources)


def _missing_resources(resources: Resources) -> Iterator[tuple[str, str]]:
    for field, what in _NO_RESOURCE.items():
        if getattr(resources, field):
            yield f"resources.{field}", what
    autostop = resources.autostop
    if autostop is None or not autostop.enabled:
        return
    if autostop.hook is not None:
        yield "resources.autostop.hook", "hooks"
