"""Pools of workers."""

from __future__ import annotations

from typing import Any

import pytest

from skyflow.models.pool import Pool


@pytest.mark.parametrize(
    "config",
    [
        {"workers": 3},
        {"workers": 0},
        {"max_workers": 3},
        {"workers": 1, "max_workers": 3},
        {
            "min_workers": 0,
            "max_workers": 10,
            "queue_length_threshold": 1,
            "upscale_delay_seconds": 0,
            "downscale_delay_seconds": 1.5,
        },
    ],
)
def test_the_same_yaml_comes_back(config: dict[str, Any]) -> None:
    pool = Pool.from_yaml_config(config)
    assert pool.to_yaml_config() == config
    assert pool == Pool(**config)
