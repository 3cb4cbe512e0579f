"""Secrets that are filled into other fields: used, but in no error and not in what is written (law 6)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

import skyflow as sky
from skyflow.errors import InvalidTaskError
from skyflow.models.filled import Filled

TEXT = """\
secrets:
  TOKEN: hunter2
  OTHER: null
envs: {DIR: data}
workdir: /x/$TOKEN/$DIR
file_mounts:
  /in/$TOKEN: ./${TOKEN}/a
  /out: {name: b-$TOKEN, mode: COPY}
service:
  readiness_probe:
    path: /health
    headers: {Authorization: Bearer $TOKEN}
    post_data: '{"key": "$TOKEN", "other": "$OTHER"}'
volumes:
  /mnt/$DIR: vol-$TOKEN
run: echo $TOKEN
"""


def test_secrets_are_filled_in_as_variables_are() -> None:
    task = sky.Task.from_yaml_str(TEXT)
    assert task.workdir == "/x/hunter2/data" and task.file_mounts == {"/in/hunter2": "./hunter2/a"}
    assert task.storage_mounts["/out"].name == "b-hunter2"
    probe = task.service.readiness_probe
    assert probe.headers == {"Authorization": "Bearer hunter2"}
    assert probe.post_data == {"key": "hunter2", "other": "$OTHER"}
    assert task.run == "echo $TOKEN"


def test_what_is_written_has_references_instead() -> None:
    task = sky.Task.from_yaml_str(TEXT)
    config = task.to_yaml_config()
    assert "hunter2" not in repr(config) and "hunter2" in repr(task.to_yaml_config(reveal_secrets=True))
    assert config["workdir"] == "/x/$TOKEN/data" and config["secrets"] == {"TOKEN": "<redacted>", "OTHER": None}
    assert copy.deepcopy(task).to_yaml_config() == config


def test_it_comes_back_with_the_values() -> None:
    task = sky.Task.from_yaml_str(TEXT)
    config = task.to_yaml_config()
    with pytest.raises(InvalidTaskError, match="its value was left out when the task was written"):
        sky.Task.from_yaml_config(config)
    config["secrets"] = {"TOKEN": None, "OTHER": None}
    again = sky.Task.from_yaml_config(config, secrets_overrides={"TOKEN": "hunter2"})
    assert again.to_yaml_config(reveal_secrets=True) == task.to_yaml_config(reveal_secrets=True)
    assert again.to_yaml_config() == task.to_yaml_config()


def test_a_value_may_come_from_the_caller() -> None:
    """`--secret`: as with variables, it is filled in."""
    text = TEXT.replace("hunter2", "null")
    assert sky.Task.from_yaml_str(text).workdir == "/x/$TOKEN/data"
    for secrets in ({"TOKEN": "hunter3"}, [("TOKEN", "hunter3")]):
        task = sky.Task.from_yaml_str(text, secrets_overrides=secrets)
        assert task.workdir == "/x/hunter3/data" and "hunter3" not in repr(task.to_yaml_config())
    dag = sky.Dag.from_yaml_str(text + "---\nrun: two\n", secrets_overrides={"TOKEN": "hunter3"})
    assert dag.tasks[0].workdir == "/x/hunter3/data" and list(dag.tasks[1].secrets) == ["TOKEN"]


def test_what_was_changed_since_is_searched() -> None:
    task = sky.Task.from_yaml_str(TEXT)
    task.update_file_mounts({"/new/hunter2": "./hunter2/hunter2"})
    config = task.to_yaml_config()
    assert "hunter2" not in repr(config)
    assert config["file_mounts"]["/new/${TOKEN}"] == "./${TOKEN}/${TOKEN}"
    assert config["workdir"] == "/x/$TOKEN/data"


def test_a_word_that_happens_to_be_a_secret_stays_where_nothing_was_filled_in() -> None:
    task = sky.Task.from_yaml_str("secrets: {USER: ubuntu}\nfile_mounts: {/home/ubuntu/a: ./a}\nname: ubuntu")
    assert task.to_yaml_config()["file_mounts"] == {"/home/ubuntu/a": "./a"}


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("workdir: $TOKEN", "Workdir '***' does not exist; check the path."),
        ("workdir: /no/$TOKEN", "Workdir '/no/***' does not exist; check the path."),
        ("file_mounts: {/a: /no/$TOKEN}", "file_mounts['/a']: the source '/no/***' does not exist; check the path."),
        (
            "file_mounts: {/a: {name: b, source: /no/$TOKEN}}",
            "file_mounts['/a']: Local source path does not exist: '/no/***'",
        ),
    ],
)
@pytest.mark.parametrize("secret", ["hunter2", "it's \\ me", "x" * 200])
def test_validate_does_not_tell_them(field: str, message: str, secret: str) -> None:
    task = sky.Task.from_yaml_str(f"secrets: {{TOKEN: null}}\n{field}", secrets_overrides={"TOKEN": secret})
    with pytest.raises(InvalidTaskError) as caught:
        task.validate()
    told = str(caught.value).replace("***…", "***'").replace('"', "'")  # repr chooses the quotes by what is in them
    assert told.rstrip("'") == f"line 2: {message}".rstrip("'")
    assert secret not in str(caught.value) and secret[:20] not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__context__ is None


WRONG_WITH_VALUE = "task.yaml:1: workdir, file_mounts, service or volumes is wrong once the values of its secrets (TOKEN) are filled in."  # noqa: E501


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("service: {readiness_probe: $TOKEN}", "task.yaml:2: readiness_path must start with a slash (/). Got: '$TOKEN'"),  # noqa: E501
        ("service: {readiness_probe: /, replicas: $TOKEN}", "task.yaml:2: service.replicas must be a whole number, 0 or more, "  # noqa: E501
         "found the string '$TOKEN'."),
        ("file_mounts: {/a: $TOKEN/}", "task.yaml:2: file_mounts['/a']: the source '$TOKEN/' may not end with '/'; leave that off."),  # noqa: E501
        ("file_mounts: {/hunter2: a, /$TOKEN: b}", WRONG_WITH_VALUE),
        ("file_mounts: {$TOKEN/x: a, ~bob: b}", "task.yaml:2: file_mounts: the destination '~bob' may only start with '~/'."),  # noqa: E501
        ("volumes: {$TOKEN: v}", "task.yaml:2: volumes: the path '$TOKEN' on the nodes must be absolute, or begin with '~/'."),  # noqa: E501
        ("workdir: {url: $TOKEN, rev: x}", "task.yaml:2: Invalid workdir YAML: Instead of 'rev', did you mean 'ref'?"),
        ("num_nodes: many", "task.yaml:2: num_nodes should be a positive int. Got: 'many'"),
    ],
)  # fmt: skip
def test_parsing_does_not_tell_them(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("task.yaml").write_text(f"secrets: {{TOKEN: hunter2}}\n{text}\n")
    with pytest.raises(InvalidTaskError) as caught:
        sky.Task.from_yaml("task.yaml")
    assert str(caught.value) == message
    assert caught.value.__context__ is None or "hunter2" not in str(caught.value.__context__)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("secrets: {A: *hunter2}", "line 1: the alias *** stands for nothing that comes before it."),
        ("secrets: {A: !hunter2 x}", "line 1: the tag *** is not allowed in a task YAML."),
        ("secrets:\n  PIN: 99999999999999999999", "line 2: *** is not a valid int; put it in quotes."),
        ("secrets:\n  DAY: 2024-99-99", "line 2: *** is not a valid timestamp; put it in quotes."),
        ("secrets: [hunter2]", 'line 1: Invalid secret in array form: entry 1. Array items must use the secrets: prefix '  # noqa: E501
         '(e.g., secrets:HF_TOKEN). For inline secrets with values, use dict form: secrets: {MY_SECRET: "value"}'),
        ("secrets: hunter2", "line 1: secrets must be a mapping of names to values, or a list of secrets:NAME."),
        ("secrets: {A: [hunter2]}", "line 1: Secret variable 'A' must have a plain value."),
    ],
)  # fmt: skip
def test_the_section_itself_does_not_tell_them(text: str, message: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        sky.Task.from_yaml_str(text)
    assert str(caught.value) == message


def test_an_empty_value_hides_nothing() -> None:
    task = sky.Task.from_yaml_str("secrets: {A: ''}\nworkdir: /x$A/y\nfile_mounts: {/a: /b}")
    task.update_file_mounts({"/c": "/d"})
    assert task.to_yaml_config()["file_mounts"] == {"/a": "/b", "/c": "/d"}
    assert task.to_yaml_config()["workdir"] == "/x$A/y" and task.workdir == "/x/y"


@pytest.mark.parametrize(
    ("message", "redacted"),
    [
        ("nothing here", "nothing here"),
        ("'a secret'", "'a ***'"),
        ("longer-secret and secret", "*** and ***"),
        ("cut off: 'longer-s…", "cut off: '***…"),
        ("it\\'s", "***"),
    ],
)
def test_redact(message: str, redacted: str) -> None:
    values: dict[str, Any] = {"A": "secret", "B": "longer-secret", "C": "it's", "D": ""}
    values["C"] = "it\\'s"
    assert Filled(values, {}, {}).redact(message) == redacted
