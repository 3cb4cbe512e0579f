"""Dag, stages, and what launch and exec accept."""

from __future__ import annotations

import copy
import pickle
from itertools import chain as chain_of
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyflow as sky
from skyflow.errors import InvalidTaskError
from skyflow.models.dag import Dag, OptimizeTarget, check_one_task, convert_to_dag
from skyflow.models.stage import Stage
from skyflow.models.task import Task


def test_e01_a_string_is_refused_with_the_recipe() -> None:
    with pytest.raises(TypeError, match=r"^Expected a sky.Task or sky.Dag but received a string\.") as caught:
        convert_to_dag("echo hello")
    assert "sky.Task(run=command)" in str(caught.value)


def test_e02_other_types_are_refused() -> None:
    with pytest.raises(TypeError) as caught:
        convert_to_dag(5)
    assert str(caught.value) == "Expected a sky.Task or sky.Dag but received argument of type: <class 'int'>"


def test_e03_the_callers_object_never_changes() -> None:
    task = Task(run="true", workdir=".", file_mounts={"/a": "b"})
    with Dag() as given:
        inner = Task(run="true")
    for copied in (convert_to_dag(task).tasks[0], convert_to_dag(given).tasks[0]):
        copied.best_resources, copied.workdir = "x", None
        copied.update_file_mounts({"/c": "d"}).update_envs({"A": "1"})
    assert (task.best_resources, task.workdir, task.file_mounts, task.envs) == (None, ".", {"/a": "b"}, {})
    assert inner.best_resources is None and given.tasks == [inner]


def test_e04_a_task_becomes_a_graph_of_one() -> None:
    dag = convert_to_dag(Task("train", run="true"))
    assert (len(dag), dag.name, dag.tasks[0].run) == (1, "train", "true")


def test_e05_the_stages_are_in_order() -> None:
    expected = "OPTIMIZE PROVISION SYNC_WORKDIR SYNC_FILE_MOUNTS SETUP PRE_EXEC EXEC DOWN"
    assert [stage.name for stage in Stage] == expected.split()
    assert [stage.value for stage in Stage] == list(range(1, 9))


def test_e07_one_task_only() -> None:
    task = Task(run="true")
    assert check_one_task(convert_to_dag(task)).run == "true"
    dag = Dag("two")
    with pytest.raises(AssertionError, match=r"We support 1 task for now\. Dag\(name='two', tasks=\[\]\)"):
        check_one_task(dag)
    dag.add(task)
    dag.add(Task())
    with pytest.raises(AssertionError, match="We support 1 task for now"):
        check_one_task(dag)


def test_e33_exec_takes_a_graph_of_one() -> None:
    dag = Dag()
    dag.add(Task("a", run="true"))
    assert check_one_task(convert_to_dag(dag)).name == "a"


def test_tasks_made_in_the_block_belong_to_the_graph() -> None:
    with Dag() as outer:
        first = Task()
        with Dag() as inner:
            second = Task.from_yaml_str("run: 'true'")
        third = Task()
    fourth = Task()
    assert outer.tasks == [first, third] and inner.tasks == [second]
    assert fourth not in outer.tasks


def test_a_block_that_fails_ends_too() -> None:
    dag = Dag()
    with pytest.raises(ZeroDivisionError), dag:
        raise ZeroDivisionError
    Task()
    assert len(dag) == 0


def test_optimize_targets() -> None:
    assert [target.name for target in OptimizeTarget] == ["COST", "TIME"]


# Graphs (PARITY §1.6)


def chain(*names: str) -> tuple[sky.Dag, list[sky.Task]]:
    dag = sky.Dag("chain")
    tasks = [sky.Task(name) for name in names]
    for task in tasks:
        dag.add(task)
    for parent, child in pairwise(tasks):
        dag.add_edge(parent, child)
    return dag, tasks


def test_tasks_are_joined_in_the_block() -> None:
    with sky.Dag() as dag:
        first, second, third = sky.Task("a"), sky.Task("b"), sky.Task("c")
        assert (first >> second >> third) is third
    assert dag.edges == [(first, second), (second, third)] and dag.edge_indexes() == [(0, 1), (1, 2)]
    assert len(dag) == 3 and dag.is_chain()
    assert dag.get_graph() == {first: [second], second: [third], third: []}


def test_joining_outside_of_a_block_is_refused() -> None:
    with pytest.raises(InvalidTaskError) as caught:
        sky.Task() >> sky.Task()
    assert str(caught.value) == "`task >> task` only works inside of `with Dag() as dag:`; or use dag.add_edge."


def test_add_and_remove() -> None:
    dag, [first, second, third] = chain("a", "b", "c")
    dag.add(first)
    assert len(dag) == 3
    dag.remove(second)
    assert dag.tasks == [first, third] and dag.edges == [] and not dag.is_chain()
    with pytest.raises(InvalidTaskError, match=r"^Task\(name='b'\) is not in Dag\(.*\); add it first\.$"):
        dag.remove(second)
    with pytest.raises(InvalidTaskError, match="add it first"):
        dag.add_edge(first, second)


def test_equal_tasks_are_two() -> None:
    dag = sky.Dag()
    first, second = sky.Task("a", run="x"), sky.Task("a", run="x")
    dag.add(first), dag.add(second), dag.add_edge(first, second)
    dag.remove(first)
    assert dag.tasks == [second] and dag.edges == []


def test_an_edge_is_there_once() -> None:
    dag, [first, second] = chain("a", "b")
    dag.add_edge(first, second)
    assert dag.edge_indexes() == [(0, 1)]


@pytest.mark.parametrize(("parent", "child"), [(0, 0), (1, 0), (2, 0), (2, 1)])
def test_tasks_cannot_wait_for_each_other(parent: int, child: int) -> None:
    dag, tasks = chain("a", "b", "c")
    with pytest.raises(InvalidTaskError) as caught:
        dag.add_edge(tasks[parent], tasks[child])
    assert str(caught.value) == (f"{tasks[parent]} cannot come before {tasks[child]}: they would wait for each other.")
    assert dag.edge_indexes() == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    ("size", "edges", "is_chain"),
    [
        (0, [], True),
        (1, [], True),
        (2, [], False),
        (2, [(1, 0)], True),
        (3, [(0, 1), (1, 2)], True),
        (3, [(0, 1), (0, 2)], False),
        (3, [(0, 2), (1, 2)], False),
        (3, [(0, 1), (1, 2), (0, 2)], False),
        (4, [(0, 1), (2, 3)], False),
    ],
)
def test_is_chain(size: int, edges: list[tuple[int, int]], is_chain: bool) -> None:
    dag = sky.Dag()
    tasks = [sky.Task() for _ in range(size)]
    for task in tasks:
        dag.add(task)
    for parent, child in edges:
        dag.add_edge(tasks[parent], tasks[child])
    assert dag.is_chain() is is_chain


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_no_edges_make_a_circle(edges: list[tuple[int, int]]) -> None:
    dag = sky.Dag()
    tasks = [sky.Task() for _ in range(6)]
    for task in tasks:
        dag.add(task)
    for parent, child in edges:
        try:
            dag.add_edge(tasks[parent], tasks[child])
        except InvalidTaskError:
            assert parent == child or reaches(dag.edge_indexes(), child, parent)
    for start in range(6):
        assert not reaches(dag.edge_indexes(), start, start)


def reaches(edges: list[tuple[int, int]], start: int, goal: int) -> bool:
    seen: set[int] = set()
    waiting = [child for parent, child in edges if parent == start]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [child for parent, child in edges if parent == node]
    return goal in seen


def test_a_wide_graph_takes_no_time() -> None:
    """30 layers of 3 have more ways through them than there are atoms here."""
    dag = sky.Dag()
    layers = [[sky.Task() for _ in range(3)] for _ in range(30)]
    for task in chain_of.from_iterable(layers):
        dag.add(task)
    for before, after in pairwise(layers):
        for parent in before:
            for child in after:
                dag.add_edge(parent, child)
    with pytest.raises(InvalidTaskError, match="wait for each other"):
        dag.add_edge(layers[-1][0], layers[0][0])


def test_a_long_chain_is_no_recursion() -> None:
    dag, tasks = chain(*["t"] * 1500)
    with pytest.raises(InvalidTaskError, match="wait for each other"):
        dag.add_edge(tasks[-1], tasks[0])


def test_e03_a_copy_has_its_own_tasks_and_the_same_edges() -> None:
    dag, tasks = chain("a", "b")
    for again in (copy.deepcopy(dag), pickle.loads(pickle.dumps(dag))):
        assert again.edge_indexes() == dag.edge_indexes() and again.name == "chain"
        assert [task.name for task in again.tasks] == ["a", "b"]
        again.tasks[0].name = "changed"
        assert again.edges[0][0].name == "changed" and tasks[0].name == "a"


def test_e03_a_copy_may_be_made_in_the_block() -> None:
    with sky.Dag() as dag:
        task = sky.Task("a")
        copied = convert_to_dag(dag)
        sky.Task("b")
    assert [one.name for one in copied.tasks] == ["a"] and copied.tasks[0] is not task
    assert len(dag) == 2
    with copied:
        sky.Task("c")
    assert len(copied) == 2


def test_a_task_that_fails_to_be_made_is_not_in_the_graph() -> None:
    with sky.Dag() as dag:
        for wrong in ("num_nodes: 0", "service: 5", "secrets: {A: hunter2}\nservice: {readiness_probe: $A}"):
            with pytest.raises(InvalidTaskError):
                sky.Task.from_yaml_str(wrong)
        task = sky.Task.from_yaml_str("secrets: {A: x}\nworkdir: /$A")
    assert dag.tasks == [task]


# Files of several documents


PIPELINE = """\
name: pipeline
---
name: a
run: one
---
run: two
"""


def test_a_pipeline_is_a_chain() -> None:
    dag = sky.Dag.from_yaml_str(PIPELINE)
    assert (dag.name, dag.is_chain(), [task.run for task in dag.tasks]) == ("pipeline", True, ["one", "two"])
    assert dag.to_yaml_configs() == [{"name": "pipeline"}, {"name": "a", "run": "one"}, {"run": "two"}]


def test_an_empty_task_in_a_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("run: a\n---\n{}\n---\nrun: b\n")
    assert [task.run for task in sky.Dag.from_yaml(path).tasks] == ["a", None, "b"]
    path.write_text("{}")
    with pytest.raises(InvalidTaskError, match=r"task\.yaml' is empty or contains no task definition\.$"):
        sky.Dag.from_yaml(path)


def test_a_job_group_has_no_edges() -> None:
    dag = sky.Dag.from_yaml_str("name: g\nexecution: parallel\n---\nname: a\n---\nname: b\n")
    assert (dag.name, dag.edges, len(dag)) == ("g", [], 2)
    assert dag.to_yaml_configs()[0] == {"name": "g", "execution": "parallel"}


def test_one_document_is_a_graph_of_one() -> None:
    dag = sky.Dag.from_yaml_str("name: a\nrun: one")
    assert (dag.name, len(dag), dag.to_yaml_configs()) == ("a", 1, [{"name": "a", "run": "one"}])
    assert len(sky.Dag.from_yaml_str("name: only\n---\n")) == 1


def test_a_first_task_that_looks_like_a_header_is_written_behind_one() -> None:
    dag, _ = chain("a", "b")
    assert dag.to_yaml_configs() == [{"execution": "serial"}, {"name": "a"}, {"name": "b"}]


def test_a_graph_that_is_no_chain_cannot_be_written() -> None:
    dag, _ = chain("a", "b")
    dag.add(sky.Task("c"))
    with pytest.raises(InvalidTaskError, match="cannot be written as YAML: its tasks do not run one after the other"):
        dag.to_yaml_configs()


def test_variables_are_for_every_task() -> None:
    text = "envs: {A: null}\nworkdir: $A\n---\nenvs: {A: mine}\nworkdir: $A\n"
    assert [task.workdir for task in sky.Dag.from_yaml_str(text, env_overrides={"A": "x"}).tasks] == ["x", "x"]


@pytest.mark.parametrize("text", ["", "# nothing", "---\n---\n", "null"])
def test_no_document_is_no_graph(text: str) -> None:
    with pytest.raises(InvalidTaskError, match=r"^Task YAML is empty or contains no task definition\.$"):
        sky.Dag.from_yaml_str(text)
