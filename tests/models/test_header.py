"""The header of a file with several tasks."""

from __future__ import annotations

from typing import Any

import pytest

from skyflow.errors import InvalidTaskError
from skyflow.models.document import Document
from skyflow.models.header import DagExecution, Header, check_header, check_members, is_header

GROUP = {"name": "rl", "execution": "parallel"}


def read(config: object) -> Header:
    return check_header(Document(config), config)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"name": "a"}, True),
        ({"name": "a", "execution": "serial"}, True),
        ({"name": "a", "execution": "parallel", "run": "x"}, True),
        ({"name": "a", "primary_tasks": ["b"]}, True),
        ({"name": "a", "run": "x"}, False),
        ({"run": "x"}, False),
        ({}, False),
        (None, False),
        ("execution", False),
        (["execution"], False),
    ],
)
def test_what_is_a_header(config: object, expected: bool) -> None:
    assert is_header(config) is expected


def test_a_pipeline() -> None:
    header = read({"name": "a"})
    assert header == Header("a", DagExecution.SERIAL)
    assert header.to_yaml_config() == {"name": "a"}
    assert read({"name": "a", "execution": "serial"}) == header


def test_a_job_group() -> None:
    config = GROUP | {
        "primary_tasks": ["train"],
        "termination_delay": {"default": "30s", "buffer": "1m"},
        "inter_connection": True,
    }
    header = read(config)
    assert header.execution is DagExecution.PARALLEL
    assert header.primary_tasks == ("train",)
    assert header.termination_delay == {"default": 30, "buffer": 60}
    assert header.to_yaml_config() == config
    assert read(header.to_yaml_config()) == header


@pytest.mark.parametrize(("delay", "seconds"), [(None, None), (30, 30), ("5m", 300), ({"b": "1s"}, {"b": 1}), (0, 0)])
def test_termination_delay(delay: object, seconds: object) -> None:
    header = read(GROUP | {"termination_delay": delay})
    assert header.termination_delay == seconds
    assert read(header.to_yaml_config()) == header


def test_no_primary_task_means_all() -> None:
    assert read(GROUP | {"primary_tasks": []}).primary_tasks is None


def test_members_that_fit() -> None:
    header = read(GROUP | {"primary_tasks": ["a"], "termination_delay": {"default": 1, "b-1": 2}})
    check_members(Document(None), header, [Document({"name": "a"}), Document({"name": "b-1"})])


@pytest.mark.parametrize(
    ("fields", "names", "message"),
    [
        ({}, [], "h:1: JobGroup YAML must have at least 2 documents: header and at least one job definition."),
        ({}, ["a", None], 'h:9: Job 2 in JobGroup must have a "name" field.'),
        ({}, [5], 'h:9: Job 1 in JobGroup must have a "name" field.'),
        (
            {},
            ["a b"],
            "h:9: Invalid job name: 'a b'. Name must contain only alphanumeric characters, hyphens, and underscores.",
        ),
        ({}, ["a", "a"], "h:9: Duplicate job name in JobGroup: a"),
        (
            {"primary_tasks": ["b"]},
            ["a"],
            "h:1: primary_tasks references unknown job: 'b'. Available jobs: ['a']",
        ),
        (
            {"termination_delay": {"b": 5}},
            ["a"],
            "h:1: termination_delay references unknown job: 'b'. Available jobs: ['a'] (or \"default\")",
        ),
    ],
)
def test_members_that_do_not_fit(fields: dict[str, Any], names: list[Any], message: str) -> None:
    members = [Document({"name": name}, "h", {(): 9}) for name in names]
    with pytest.raises(InvalidTaskError) as caught:
        check_members(Document(None, "h", {(): 1}), read(GROUP | fields), members)
    assert str(caught.value) == message
