"""Tasks from documents: what a YAML file says, with the overrides of a caller, as a `Task`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from skyflow.errors import InvalidTaskError, SkyflowError, UsageError
from skyflow.models.block import check_block
from skyflow.models.choice import read_choice
from skyflow.models.document import Document, Schema, describe, show
from skyflow.models.env import check_env, check_envs, substitute_deep
from skyflow.models.field import check_name, check_num_nodes, check_script, check_workdir
from skyflow.models.mount import check_mounts, check_target
from skyflow.models.rare import RARE, RareFields, check, fill_in
from skyflow.models.resources import CONFIG, Resources
from skyflow.models.task import FIELDS, Pairs, Task, collecting

INTERNAL = ("_metadata", "file_mounts_mapping", "volume_mounts", "storage_mounts", "experimental")
"""Fields that SkyPilot writes for itself, or had once. They are not for users."""

SCHEMA = Schema("task", "run: echo hello", FIELDS, INTERNAL, dropped=["_user_specified_yaml"])

COMMAND_NAME = "sky-cmd"
"""Name of a task that was given as a shell command."""


def read_task(document: Document, overrides: Pairs = None, secrets: Pairs = None) -> Task:
    """The task of a document.

    Args:
        document: what was read.
        overrides: variables that replace those of the document (`--env`).
        secrets: values of secrets, that replace those of the document (`--secret`).

    Raises:
        InvalidTaskError: something in it is wrong; names the line.
    """
    given = document.fields(document.config, (), SCHEMA)
    if (config := _config_of(given.get("resources"))) is not None:
        given.setdefault("config", config)
    envs = _read_envs(document, given.get("envs"), check_envs(overrides))
    values = _read_secrets(document, given, secrets)
    task = _fill_in(document, given, envs, values) if values else _build(document, given, envs, envs)
    task.remember_place(document)
    dag = collecting.get()
    if dag is not None:
        dag.add(task)
    return task


def check_not_empty(document: Document) -> Document:
    """The only document of a file. Raises InvalidTaskError if there is nothing in it."""
    if document.config is None or (document.name and document.config in ({}, [])):
        name = f"{document.name!r} " if document.name else ""
        raise InvalidTaskError(f"Task YAML {name}is empty or contains no task definition.")
    return document


def _build(document: Document, given: Mapping[str, Any], envs: dict[str, str], known: Mapping[str, str]) -> Task:
    """The task of these fields, with what is known filled in. It belongs to no Dag yet."""
    token = collecting.set(None)
    try:
        return _build_task(document, dict(given), envs, known)
    finally:
        collecting.reset(token)


def _fill_in(document: Document, given: Mapping[str, Any], envs: dict[str, str], values: dict[str, str]) -> Task:
    """The same with the values of secrets, too. It remembers what was written, and no error tells a value."""
    task = written = None
    with suppress(SkyflowError):  # told by the next attempt, which knows no value
        task = _build(document, given, envs, envs | values)
    try:
        written = _build(document, given, envs, envs)
    except SkyflowError:
        if task is None:
            raise
    if task is None:
        raise InvalidTaskError(
            f"{document.at()}workdir, file_mounts, service or volumes is wrong once the values of its secrets "
            f"({', '.join(values)}) are filled in."
        )
    task.remember_filled(values, written)
    return task


def _build_task(document: Document, given: dict[str, Any], envs: dict[str, str], known: Mapping[str, str]) -> Task:
    if "workdir" in given:
        given["workdir"] = document.check(
            ("workdir",), lambda workdir: substitute_deep(workdir, known), given["workdir"]
        )
    checks: dict[str, Callable[[Any], Any]] = {
        "name": check_name,
        "setup": partial(check_script, "setup"),
        "run": partial(check_script, "run"),
        "num_nodes": check_num_nodes,
    }
    fields: dict[str, Any] = {
        field: document.check((field,), checker, given[field]) for field, checker in checks.items() if field in given
    }
    mounts, storage = _read_mounts(document, given.get("file_mounts"), known)
    task = Task(
        **fields,
        workdir=check_workdir(given.get("workdir"), document),
        envs=envs,
        file_mounts=mounts,
        resources=read_choice(document, given.get("resources"), ("resources",)),
        blocked_resources=_read_blocked(document, given.get("blocked_resources")),
    )
    rare = {field: fill_in(document, field, given[field], known) for field in RARE if field in given}
    task.rare = RareFields(document, rare | {"storage_mounts": storage or None})
    return task


def entrypoint(words: list[str], envs: Mapping[str, str] | None = None) -> Task:
    """The task that the words of a command line mean: one task YAML, or a shell command.

    Args:
        words: a path that ends in .yaml or .yml, or is a file that holds a mapping; otherwise a command, whose words
            are joined with spaces.
        envs: variables that replace those of the task (`--env`).

    Raises:
        UsageError: there are no words.
        InvalidTaskError: as `Task.from_yaml`.
    """
    path = yaml_path(words)
    if path is not None:
        return Task.from_yaml(path, envs)
    return Task(COMMAND_NAME, run=" ".join(words).strip(), envs=check_envs(envs))


def yaml_path(words: list[str]) -> str | None:
    """The path of the task YAML that the words of a command line are, or None if they are a command."""
    text = " ".join(words).strip()
    if not text:
        raise UsageError("Nothing to run: give a task YAML or a shell command.")
    exists = os.path.isfile(os.path.expanduser(text))
    if text.lower().endswith((".yaml", ".yml")):
        return text if exists or len(text.split()) == 1 else None  # otherwise a command that ends so: cat task.yaml
    return text if exists and _holds_mapping(text) else None


def _holds_mapping(path: str) -> bool:
    from skyflow.models import yaml_source  # as in Task.from_yaml

    try:
        found = yaml_source.read_documents(path)
    except SkyflowError:  # a script or a program, so a command
        return False
    return all(isinstance(document.config, Mapping) for document in found)


def _read_envs(document: Document, section: object, overrides: dict[str, str]) -> dict[str, str]:
    """The `envs` of a document. One without a value must be among the overrides."""
    if section is None:
        return overrides
    if not isinstance(section, Mapping):
        raise InvalidTaskError(
            f"{document.at(('envs',))}envs must be a mapping of names to values, found {describe(section)}."
        )
    checked = [
        document.check(("envs", key), _check_pair, (key, overrides.get(key, value))) for key, value in section.items()
    ]
    return dict(checked) | overrides


def _read_secrets(document: Document, given: dict[str, Any], overrides: Pairs) -> dict[str, str]:
    """Settles the `secrets` of the fields, with the overrides; returns those that have a value, in plain text."""
    if "secrets" not in given and not overrides:
        return {}
    from skyflow.models.secret import Secrets, check_secret_values  # rare

    own = check(document, "secrets", given["secrets"]) if "secrets" in given else Secrets()
    given["secrets"] = own = own.update(check_secret_values(overrides))
    return dict(own.reveal())


def _read_mounts(
    document: Document, section: object, known: Mapping[str, str]
) -> tuple[dict[str, str] | None, dict[str, Any]]:
    """The `file_mounts` of a document, with the variables filled in: paths and URIs, and storage objects."""
    if section is None:
        return None, {}
    if not isinstance(section, Mapping):
        return document.check(("file_mounts",), check_mounts, section), {}
    mounts: dict[str, str] = {}
    storage: dict[str, Any] = {}
    for key, value in section.items():
        path = ("file_mounts", key)
        target = substitute_deep(key, known)
        source = document.check(path, lambda given: substitute_deep(given, known), value)
        if target in mounts or target in storage:
            raise InvalidTaskError(f"{document.at(path)}file_mounts: the destination {show(target)} is there twice.")
        if isinstance(source, Mapping):
            from skyflow.models.storage import check_storage  # rare

            storage[document.check(path, check_target, target)] = check_storage(document, source, path)
        else:
            mounts |= document.check(path, check_mounts, {target: source})
    return mounts or None, storage


def _config_of(resources: object) -> object:
    """The `config` of a task, where SkyPilot writes it: in its resources, the same in each."""
    if not isinstance(resources, Mapping):
        return None
    if CONFIG in resources:
        return resources[CONFIG]
    entries = resources.get("any_of") or resources.get("ordered")
    return _config_of(next(iter(entries), None)) if isinstance(entries, list) else None


def _read_blocked(document: Document, section: object) -> list[Resources]:
    if section is None:
        return []
    if not isinstance(section, list):
        raise InvalidTaskError(
            f"{document.at(('blocked_resources',))}blocked_resources must be a list of resources, "
            f"found {describe(section)}."
        )
    blocked = []
    for index, one in enumerate(section):
        path = ("blocked_resources", index)
        blocked.append(document.check(path, check_block, Resources.from_document(document, one, path)))
    return blocked


def _check_pair(pair: tuple[object, object]) -> tuple[str, str]:
    return check_env(*pair)
