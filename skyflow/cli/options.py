"""The flags that say what a task is: the same for launch, exec and optimize, declared once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, get_type_hints

import typer

from skyflow.later import not_yet

Text = str | None
TASK, RESOURCES = "What is run", "What it runs on"


def _text(panel: str, help: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar)


@dataclass(frozen=True)
class TaskOptions:
    """What flags say about a task, instead of its YAML. None (or nothing) leaves what is there."""

    name: Annotated[Text, _text(TASK, "Name of the task.", "--name", "-n")] = None
    workdir: Annotated[Text, _text(TASK, "Folder that is synced to ~/sky_workdir.", "--workdir")] = None
    git_url: Annotated[Text, _text(TASK, "A git repository as the workdir.", "--git-url")] = None
    git_ref: Annotated[Text, _text(TASK, "Its branch, tag or commit.", "--git-ref")] = None
    env: Annotated[list[str], _text(TASK, "K=V, or K to take it from this environment. Repeatable.", "--env")] = field(
        default_factory=list
    )
    env_file: Annotated[Text, _text(TASK, "A dotenv file with more.", "--env-file")] = None
    secret: Annotated[list[str], _text(TASK, "As --env, for secrets.", "--secret")] = field(default_factory=list)
    secret_file: Annotated[Text, _text(TASK, "As --env-file, for secrets.", "--secret-file")] = None
    num_nodes: Annotated[int | None, _text(TASK, "How many nodes.", "--num-nodes")] = None
    infra: Annotated[Text, _text(RESOURCES, "cloud, cloud/region or cloud/region/zone; * is any.", "--infra")] = None
    gpus: Annotated[Text, _text(RESOURCES, "Accelerators a node: A100:8.", "--gpus")] = None
    cpus: Annotated[Text, _text(RESOURCES, "CPUs a node: 4, or 4+ for at least.", "--cpus")] = None
    memory: Annotated[Text, _text(RESOURCES, "GiB a node: 16, or 16+ for at least.", "--memory")] = None
    instance_type: Annotated[Text, _text(RESOURCES, "Instance type.", "--instance-type", "-t")] = None
    use_spot: Annotated[
        bool | None, _text(RESOURCES, "Nodes that may be taken away, for less.", "--use-spot/--no-use-spot")
    ] = None
    disk_size: Annotated[Text, _text(RESOURCES, "GB of disk a node.", "--disk-size")] = None
    disk_tier: Annotated[Text, _text(RESOURCES, "low, medium, high, ultra or best.", "--disk-tier")] = None
    network_tier: Annotated[Text, _text(RESOURCES, "standard or best.", "--network-tier")] = None
    local_disk: Annotated[Text, _text(RESOURCES, "Fast disks of the node: nvme:1000+.", "--local-disk")] = None
    image_id: Annotated[Text, _text(RESOURCES, "Image of the nodes.", "--image-id")] = None
    ports: Annotated[list[str], _text(RESOURCES, "Ports to open: 8080, 8000-8100. Repeatable.", "--ports")] = field(
        default_factory=list
    )
    max_hourly_cost: Annotated[
        float | None, _text(RESOURCES, "US dollars an hour, all nodes together.", "--max-hourly-cost")
    ] = None
    priority: Annotated[
        int | None, _text(RESOURCES, "Of its job, -1000 to 1000: the higher goes first.", "--priority")
    ] = None
    config: Annotated[list[str], typer.Option("--config", help="Settings: a YAML file, or key=value. Repeatable.")] = (
        field(default_factory=list)
    )

    def resources(self) -> dict[str, Any]:
        """The fields of resources that are given. `none` takes away what the task says."""
        names = (
            "infra", "cpus", "memory", "instance_type", "use_spot", "disk_size", "disk_tier", "network_tier",
            "local_disk", "image_id", "max_hourly_cost", "priority",
        )  # fmt: skip
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        given |= {"accelerators": self.gpus} if self.gpus is not None else {}
        given |= {"ports": self.ports if len(self.ports) > 1 else self.ports[0]} if self.ports else {}
        return {name: None if str(value).lower() == "none" else value for name, value in given.items()}


def later(*names: str) -> Any:
    """A flag that is refused with a sentence, because silently ignoring it would be worse than not having it."""

    def refuse(value: Any) -> Any:
        if value not in (None, False):
            raise not_yet(names[0].removeprefix("--").replace("-", "_"), names[0])
        return value

    return typer.Option(*names, hidden=True, callback=refuse)


def with_task_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the flags of TaskOptions, in place of its parameter `task`, which gets them together."""
    hints = get_type_hints(TaskOptions, include_extras=True)
    flags = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hints[one.name],
            default=[] if one.default is MISSING else one.default,
        )
        for one in fields(TaskOptions)
    ]
    names = {flag.name for flag in flags}

    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:
        task = TaskOptions(**{name: value for name, value in given.items() if name in names})
        return command(task=task, **{name: value for name, value in given.items() if name not in names})

    own = inspect.signature(command, eval_str=True).parameters.values()
    kept = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own if one.name != "task"]
    arguments = [one for one in kept if one.default is inspect.Parameter.empty]
    options = [one for one in kept if one.default is not inspect.Parameter.empty]
    signature = inspect.Signature([*arguments, *flags, *options])
    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    wrapped.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    return wrapped
