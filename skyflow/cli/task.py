"""The task that a command line means: an entrypoint, with what the flags say instead."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from skyflow.cli import view
from skyflow.errors import UsageError
from skyflow.models.env import parse_env_option, read_env_file
from skyflow.models.task import Task
from skyflow.models.task_source import entrypoint, yaml_path

YAML = (".yaml", ".yml")

if TYPE_CHECKING:
    from skyflow.cli.options import TaskOptions
    from skyflow.models.dag import Dag


def make_task(words: list[str], options: TaskOptions) -> Task:
    """The one task of the entrypoint. Raises InvalidTaskError, UsageError."""
    path = _yaml_path(words)
    if path is None:
        return _command(words, options)
    tasks = make_dag(words, options).tasks
    if len(tasks) > 1:
        raise UsageError(
            f"{path} has {len(tasks)} tasks; a launch is of one. See where they would run: skyflow optimize {path}"
        )
    return tasks[0]


def make_dag(words: list[str], options: TaskOptions) -> Dag:
    """All tasks of the entrypoint. Raises InvalidTaskError, UsageError."""
    from skyflow.models.dag import Dag  # a shell command needs no graph

    path = _yaml_path(words)
    if path is None:
        dag = Dag()
        dag.add(_command(words, options))
        return dag
    dag = Dag.from_yaml(path, _envs(options), _secrets(options))
    if len(dag) > 1 and options.name is not None:
        dag.name = options.name
    for task in dag.tasks:
        _with_options(task, options, named=len(dag) == 1)
    return dag


def _command(words: list[str], options: TaskOptions) -> Task:
    task = entrypoint(words, envs=_envs(options))
    if secrets := _secrets(options):
        task.update_secrets(secrets)
    return _with_options(task, options)


def _yaml_path(words: list[str]) -> str | None:
    """The file that is meant, if it is one. Says so of a single word that looks like a file, but is run as a command.

    Raises:
        UsageError: the words are neither.
    """
    if words == ["-"]:
        raise UsageError("A task is not read from standard input: give a task YAML or a shell command.")
    if len(words) > 1 and words[0].lower().endswith(YAML):
        raise UsageError(f"{words[0]} is a task YAML, which takes no more words: {' '.join(words[1:])}")
    path = yaml_path(words)
    if path is None and len(words) == 1 and _looks_like_a_path(words[0]):
        view.say(f"skyflow: {words[0]} is no task YAML; it is run as a command on the nodes.")
    return path


def _looks_like_a_path(word: str) -> bool:
    if len(word.split()) > 1:
        return False
    return "/" in word or word.lower().endswith((*YAML, ".md")) or os.path.exists(word)


def _envs(options: TaskOptions) -> dict[str, str]:
    return _pairs(options.env, options.env_file, "--env")


def _secrets(options: TaskOptions) -> dict[str, str]:
    return _pairs(options.secret, options.secret_file, "--secret")


def _pairs(given: list[str], file: str | None, flag: str) -> dict[str, str]:
    found = dict(read_env_file(file)) if file else {}
    return found | dict(parse_env_option(option, flag=flag) for option in given)


def _with_options(task: Task, options: TaskOptions, named: bool = True) -> Task:
    if options.name is not None and named:
        task.name = options.name
    if options.workdir is not None:
        task.workdir = options.workdir
    if options.git_url is not None or options.git_ref is not None:
        task.set_workdir(_git_workdir(task, options))
    if options.num_nodes is not None:
        task.num_nodes = options.num_nodes
    if changed := options.resources():
        task.set_resources_override(changed)
    task.validate()
    return task


def _git_workdir(task: Task, options: TaskOptions) -> dict[str, Any]:
    if options.workdir is not None:
        raise UsageError("Give either --workdir or --git-url, not both.")
    own = task.workdir if isinstance(task.workdir, dict) else {}
    if options.git_url is None and not own:
        raise UsageError("--git-ref needs --git-url, or a task whose workdir comes from git.")
    if options.git_url is not None:
        own = {"url": options.git_url}
    return {**own, **({"ref": options.git_ref} if options.git_ref is not None else {})}
