"""A launch: what is asked for, how far it is, what came of it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from skyflow.errors import InvalidTaskError
from skyflow.models.node import Offer
from skyflow.models.operation import Reservation
from skyflow.models.plan import Explanation
from skyflow.models.wire import Wire


class Attempt(Wire):
    """One offer that was tried."""

    place: str
    instance_type: str
    price: float
    error: str = ""
    code: str = ""
    scope: str = ""
    started: float = 0
    seconds: float = 0


class StageProgress(Wire):
    """One stage of a launch; times are epoch seconds."""

    name: str
    started: float
    ended: float | None = None


class LaunchProgress(Wire):
    """Answer of the query `progress`."""

    cluster: str = ""
    uid: str = ""
    job_id: int | None = None
    stages: list[StageProgress] = Field(default_factory=list)
    attempts: list[Attempt] = Field(default_factory=list)
    """The last of them."""
    num_tried: int = 0
    """How many offers were tried."""
    plan: list[Offer] = Field(default_factory=list)
    """The first few offers."""
    num_offers: int = 0
    """How many there are."""
    waiting_for: str = ""
    """What the launch waits for, in words, if it waits."""
    job_status: str = ""


class Resumed(Wire):
    """What a launch that waits for nodes takes along into a new history."""

    reservation: Reservation
    progress: LaunchProgress
    tried: int
    """How many offers were tried, so that no two creations of nodes have the same key."""
    pause: float
    """How long the last wait was, in seconds."""


class LaunchRequest(Wire):
    """Input of a LaunchWorkflow. Plain JSON: any client in any language can write it. Only `task` is needed."""

    task: dict[str, Any] = Field(default_factory=dict)
    """A task, with the keys of a task YAML."""
    cluster: str | None = None
    """Name of the cluster; made up if absent."""
    stages: list[str] | None = None
    """Names of the stages to go through; all of them if absent."""
    dryrun: bool = False
    down: bool = False
    detach_run: bool = False
    no_setup: bool = False
    fast: bool = False
    """Skip setup if the cluster is up already."""
    retry_until_up: bool = False
    """When no place can give the nodes, wait and try all of them again, for as long as it takes."""
    idle_minutes_to_autostop: int | None = None
    wait_for: str | None = None
    """What keeps the cluster from being idle: `jobs_and_ssh`, `jobs` or `none`. Only with an idle rule, or `down`."""
    workdir: str | None = None
    """Key, in the store, of the snapshot of the workdir."""
    file_mounts: dict[str, str] = Field(default_factory=dict)
    """Target on the nodes → key of the snapshot, in the store."""
    store: str | None = None
    """URL of the store that the snapshots are in: the worker's must be the same."""
    clouds: list[str] | None = None
    """Only these clouds; all that the worker can use if absent."""
    user: str = ""
    entry_point: str = ""
    """The command, or the program, that asks for it: shown as the cluster's `last_use`. Without secrets."""
    resumed: Resumed | None = None
    """Set by the workflow itself when it begins a new history."""

    @classmethod
    def parse(cls, value: Any) -> LaunchRequest:
        """Reads a start input. A bad one raises InvalidTaskError: the launch fails instead of retrying for ever."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "input"
            raise InvalidTaskError(f"Invalid launch request: {where}: {first['msg']}") from None


class LaunchResult(Wire):
    """What came of a launch."""

    cluster: str
    uid: str = ""
    job_id: int | None = None
    status: str = ""
    """The job's status; empty if there was no job to wait for."""
    returncode: int | None = None
    reason: str = ""
    num_nodes: int = 0
    offer: Offer | None = None
    plan: list[Offer] = Field(default_factory=list)
    """For a dry run: the offers, in the order in which they would be tried; the first hundred of them. None if the
    cluster is there already: then `num_nodes` and `offer` say what it has."""
    num_offers: int = 0
    """For a dry run: how many there are."""
    explanation: Explanation | None = None
    """For a dry run: why this plan."""
    down: bool = False
    """Whether the nodes were taken down again."""


KEPT_ATTEMPTS = 30
"""The last attempts that a launch remembers while it waits for nodes."""


def describe(progress: LaunchProgress) -> str:
    """A launch in Markdown, for the Web UI: its stages, and every offer that was tried with its answer."""
    lines = [f"Cluster **{progress.cluster}**", ""]
    lines += [f"- {stage.name}" + ("" if stage.ended is None else " ✓") for stage in progress.stages]
    if progress.attempts:
        lines += ["", "| tried | price/h | answer |", "|---|---|---|"]
        lines += [f"| {a.place} {a.instance_type} | ${a.price:.4g} | {a.error or 'ok'} |" for a in progress.attempts]
    if progress.waiting_for:
        lines += ["", f"Waiting for {progress.waiting_for}"]
    return "\n".join(lines)
