"""Who does nothing is looked at ever more rarely, and not at the same time as everybody else."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from skyflow.workflows import call


def test_looks_are_ever_further_apart_and_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(20261128)
    monkeypatch.setattr("skyflow.workflows.call.workflow.random", lambda: dice)
    looks = [list(islice(call.calm_pauses(60), 6)) for _ in range(100)]
    for pauses in looks:
        assert [round(pause / expected) for pause, expected in zip(pauses, (600, 1800, 5400), strict=False)] == [1] * 3
        assert all(0.75 * 4 * 3600 <= pause <= 1.25 * 4 * 3600 for pause in pauses[3:])
    assert max(first for first, *_ in looks) - min(first for first, *_ in looks) > 200
