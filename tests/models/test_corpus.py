"""Task YAMLs as people write them (`corpus/`): each is read, comes back from what is written, is planned or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import skyflow as sky
from skyflow.errors import NotSupportedError
from skyflow.models.planning import plan_request
from skyflow.models.support import check_launchable

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.yaml"))
SEVERAL = {
    "job-group": 2, "job-group-simple": 2, "pipeline": 3, "pipeline-serial": 2, "pipeline-without-header": 2,
}  # fmt: skip

each = pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)


def null_envs(path: Path) -> dict[str, str]:
    """A value for each variable that has none: SkyPilot, too, wants one for those."""
    documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    sections = [document.get("envs") or {} for document in documents if document]
    return {key: f"value-of-{key}" for section in sections for key, value in section.items() if value is None}


def read(path: Path) -> sky.Dag:
    return sky.Dag.from_yaml(path, env_overrides=null_envs(path))


def written(dag: sky.Dag) -> list[dict[str, Any]]:
    header = [] if dag.header is None else [dag.header.to_yaml_config()]
    return [config for config in header if config] + [task.to_yaml_config(reveal_secrets=True) for task in dag.tasks]


def test_there_are_many() -> None:
    assert len(CORPUS) >= 45
    assert set(SEVERAL) < {path.stem for path in CORPUS}


@each
def test_it_is_read_and_comes_back(path: Path) -> None:
    dag = read(path)
    assert len(dag) == SEVERAL.get(path.stem, 1)
    once = written(dag)
    again = sky.Dag.from_yaml_str(yaml.safe_dump_all(once))
    assert written(again) == once
    assert [task.resources for task in again.tasks] == [task.resources for task in dag.tasks]
    assert again.edge_indexes() == dag.edge_indexes()


@each
def test_it_holds_what_the_file_says(path: Path) -> None:
    documents = [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]
    for task, document in zip(read(path).tasks, documents[-SEVERAL.get(path.stem, 1) :], strict=True):
        assert set(task.to_yaml_config()) == {
            field for field, value in document.items() if value and not (field == "num_nodes" and value == 1)
        } | {"api_server_access"} & set(document)
        assert (task.run, task.setup) == (document.get("run"), document.get("setup"))


@each
def test_it_is_planned_or_refused_in_a_sentence(path: Path) -> None:
    for task in read(path).tasks:
        request = plan_request(task)
        assert len(request.resources) == len(task.resources)
        try:
            check_launchable(task)
        except (NotSupportedError, ValueError) as error:
            assert "\n" not in str(error) and ("not supported" in str(error) or "Spot recovery" in str(error))


@pytest.mark.parametrize("name", ["finetune-lora", "serve-autoscaled"])
def test_a_variable_without_a_value_is_asked_for(name: str) -> None:
    path = CORPUS[0].with_name(f"{name}.yaml")
    [key] = null_envs(path)
    with pytest.raises(ValueError, match=rf"{name}\.yaml:[0-9]+: Environment variable '{key}' is None\. Please set"):
        sky.Dag.from_yaml(path)


def test_what_the_larger_ones_mean() -> None:
    def task(name: str) -> sky.Task:
        return read(CORPUS[0].with_name(f"{name}.yaml")).tasks[0]

    serve = task("serve-vllm")
    assert len(serve.resources) == 16 and {one.use_spot for one in serve.resources} == {True, False}
    assert all(one.memory == "32+" and one.ports == ("8000",) for one in serve.resources)
    assert serve.service.readiness_probe.post_data["model"] == "mistralai/Mixtral-8x7B-Instruct-v0.1"
    ordered = task("gang-ordered").resources
    assert ordered.ordered and [one.cloud for one in ordered] == ["kubernetes", "nebius", "aws"]
    assert [one.accelerators for one in ordered] == [{"H100": 8}, {"H100": 8}, {"H200": 8}]
    zoo = task("storage-zoo")
    assert len(zoo.storage_mounts) == 8 and len(zoo.file_mounts or {}) == 9
    assert zoo.get_local_to_remote_file_mounts() == {
        "~/.ssh/id_ed25519": "~/.ssh/id_ed25519", "/configs": "./configs", "relative/target": "../up",
    }  # fmt: skip
    assert {one.cloud for one in task("tpu-any-of").resources} == {"gcp", None}
