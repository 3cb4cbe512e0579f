"""The whole grammar: every task that it allows comes back from YAML; whatever it forbids is told in one line."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skyflow.models.task import Task
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
