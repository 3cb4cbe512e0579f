"""Dag, stages, and what launch and exec accept."""

from __future__ import annotations

import pytest

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
