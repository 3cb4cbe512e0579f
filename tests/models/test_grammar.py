"""The whole grammar: every task that it allows comes back from YAML; whatever it forbids is told in one line."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skyflow as sky
from skyflow.errors import InvalidTaskError, NotSupportedError, SkyflowError
from skyflow.models.dag import Dag
from skyflow.models.resources import FIELDS as RESOURCE_FIELDS
from skyflow.models.resources import Resources
from skyflow.models.task import FIELDS, Task
from tests.models import grammar

BOUNDED = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150, deadline=None)


def written(task: Task) -> dict[str, Any]:
    return task.to_yaml_config(reveal_secrets=True)


@BOUNDED
@given(grammar.TASKS, st.booleans())
def test_a_task_comes_back_from_yaml(config: dict[str, Any], allow_unicode: bool) -> None:
    task = Task.from_yaml_config(config)
    once = written(task)
    for again in (
        Task.from_yaml_config(once),
        Task.from_yaml_str(yaml.safe_dump(once, allow_unicode=allow_unicode, sort_keys=False)),
    ):
        assert written(again) == once
        assert again.resources == task.resources and again.resources.ordered == task.resources.ordered
        for field in task.rare.names():
            if field != "storage_mounts":
                assert again.rare.get(field) == task.rare.get(field)
    assert set(once) <= set(config)


@BOUNDED
@given(grammar.pipelines() | grammar.groups(), st.booleans())
def test_a_file_of_several_documents_comes_back(configs: list[dict[str, Any]], explicit: bool) -> None:
    text = yaml.safe_dump_all(configs, explicit_start=explicit, sort_keys=False)
    documents = [config for config in configs if config or len(configs) == 1]
    try:
        dag = Dag.from_yaml_str(text)
    except InvalidTaskError as error:  # what is left of it is empty, or a header without tasks
        assert "empty" in str(error) or "header" in str(error) or "found nothing" in str(error)
        assert not all(documents) or len(documents) == 1
        return
    again = Dag.from_yaml_str(yaml.safe_dump_all(revealed(dag), sort_keys=False))
    assert [written(task) for task in again.tasks] == [written(task) for task in dag.tasks]
    assert again.edge_indexes() == dag.edge_indexes() and again.is_chain() == dag.is_chain()
    assert again.header == (dag.header or again.header)
    assert again.name == dag.name


def revealed(dag: Dag) -> list[dict[str, Any]]:
    """The documents of a graph, with the secrets, so that they can be read again."""
    configs = dag.to_yaml_configs()
    return configs[: len(configs) - len(dag)] + [written(task) for task in dag.tasks]


@BOUNDED
@given(grammar.TASKS)
def test_no_secret_is_written_or_shown(config: dict[str, Any]) -> None:
    task = Task.from_yaml_config({**config, "workdir": "/w/$A/$B", "file_mounts": {"/m/$A/x": "s/$B/${A}/x"}})
    marker = grammar.SECRET.format("")
    assert marker not in repr(task.to_yaml_config()) + repr(task) + repr(task.resources) + repr(task.secrets)
    with pytest.raises(SkyflowError) as caught:
        task.validate()
    assert marker not in str(caught.value) and "\n" not in str(caught.value)


@BOUNDED
@given(grammar.TASKS)
def test_e03_copies_are_equal_and_share_nothing(config: dict[str, Any]) -> None:
    task = Task.from_yaml_config(config)
    before = written(task)
    copies = [copy.deepcopy(task)]
    if not any(task.secrets.values()):  # a value is never pickled
        copies.append(pickle.loads(pickle.dumps(task)))
    for again in copies:
        assert written(again) == before and again.resources == task.resources
        again.update_envs({"MORE": "x"}).update_file_mounts({"/more": "x"}).set_resources(None)
        again.update_secrets({"MORE": "x"}).set_inputs("s3://more", 1)
    assert written(task) == before


# Anything else is told in one line

WORDS = [
    *FIELDS, *RESOURCE_FIELDS, "any_of", "ordered", "infra", "gpus", "A", "$A", "/a", "~/b", "s3://b", "aws", "local",
    "null", "true", "1", "2+", "A100:8", "secrets:A", "execution", "parallel", "readiness_probe", "mode", "COPY",
    "80-90", "url",
]  # fmt: skip
SIGNS = [
    ": ", "\n", "\n  ", "\n    ", "- ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "!!int ", "!x ", "? ", "'", '"',
    "---\n", "#", ",", "$", "\t", "|\n", ">-\n",
]  # fmt: skip
YAMLISH = st.lists(st.sampled_from(WORDS + SIGNS), max_size=40).map("".join)
LINES = st.lists(
    st.builds("{}{}: {}".format, st.sampled_from(["", "  ", "    ", "- ", "  - "]), st.sampled_from(WORDS), YAMLISH)
    | st.just("---"),
    max_size=8,
).map("\n".join)
KEYS = st.sampled_from(WORDS) | st.text(max_size=4) | st.integers() | st.none() | st.booleans()
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(WORDS)
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4) | st.tuples(inner),
    max_leaves=12,
)
TYPED = (InvalidTaskError, NotSupportedError)


def one_line(error: BaseException) -> None:
    assert isinstance(error, TYPED), repr(error)
    message = str(error)
    assert message and "\n" not in message and len(message) < 1500 and not message.startswith(("'", "("))


@BOUNDED
@given(st.text(max_size=200) | YAMLISH | LINES)
def test_any_text_is_a_task_a_graph_or_a_sentence(text: str) -> None:
    for reader in (Task.from_yaml_str, Dag.from_yaml_str):
        try:
            found: Any = reader(text)
        except SkyflowError as error:
            one_line(error)
            continue
        for task in getattr(found, "tasks", [found]):
            assert written(Task.from_yaml_config(written(task))) == written(task)


@st.composite
def almost_valid(draw: st.DrawFn) -> dict[str, Any]:
    """A valid task in which one thing, somewhere, is another."""
    return draw(changed(draw(grammar.TASKS)))


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 5)) == 0:
        return draw(ANYTHING)
    again = copy.copy(value)
    if isinstance(again, dict) and draw(st.integers(0, 5)) == 0:
        return {**again, draw(KEYS): draw(ANYTHING)}
    place = draw(st.sampled_from(list(again) if isinstance(again, dict) else range(len(again))))
    again[place] = draw(changed(again[place]))
    return again


@BOUNDED
@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=3) | ANYTHING | almost_valid())
def test_any_dict_is_a_task_or_a_sentence(config: Any) -> None:
    try:
        task = Task.from_yaml_config(config)
    except SkyflowError as error:
        one_line(error)
        if isinstance(config, dict) and "secrets" in config:
            assert grammar.SECRET.format("") not in str(error)
        return
    assert written(Task.from_yaml_config(written(task))) == written(task)
    try:
        task.validate()
    except SkyflowError as error:
        one_line(error)


@BOUNDED
@given(st.dictionaries(st.sampled_from(RESOURCE_FIELDS), ANYTHING, max_size=3), st.booleans())
def test_any_arguments_are_resources_or_a_sentence(fields: dict[str, Any], as_dict: bool) -> None:
    try:
        resources = Resources.from_yaml_config(fields) if as_dict else Resources(**fields)
    except SkyflowError as error:
        one_line(error)
        return
    assert Resources.from_yaml_config(resources.to_yaml_config()) == resources == resources.copy()


@BOUNDED
@given(st.dictionaries(st.sampled_from([*FIELDS, "storage_mounts"]), ANYTHING, max_size=3))
def test_any_arguments_are_a_task_or_a_sentence(arguments: dict[str, Any]) -> None:
    try:
        task = sky.Task(**arguments)
        task.validate()
    except SkyflowError as error:
        one_line(error)
        return
    task.to_yaml_config()


SETTERS = [
    "set_resources", "set_resources_override", "update_envs", "update_secrets", "set_workdir", "set_file_mounts",
    "update_file_mounts", "set_storage_mounts", "update_storage_mounts", "set_service",
]  # fmt: skip


@BOUNDED
@given(st.sampled_from(SETTERS), ANYTHING | st.dictionaries(st.sampled_from(RESOURCE_FIELDS), ANYTHING, max_size=2))
def test_any_value_is_set_or_refused_in_a_sentence(setter: str, value: Any) -> None:
    task = Task("a", run="x", envs={"A": "1"}, file_mounts={"/a": "b"}, resources={"cpus": 4})
    before = written(task)
    try:
        assert getattr(task, setter)(value) is task
    except SkyflowError as error:
        one_line(error)
        assert written(task) == before
        return
    assert written(Task.from_yaml_config(written(task))) == written(task)
