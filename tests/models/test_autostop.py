"""When an idle cluster is stopped."""

from __future__ import annotations

import pytest

from skyflow.errors import InvalidTaskError
from skyflow.models.autostop import DEFAULT_IDLE_MINUTES, Autostop, check_autostop
from skyflow.models.document import Document

NOWHERE = Document(None)
PATH = ("resources", "autostop")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (False, Autostop(enabled=False)),
        (True, Autostop(idle_minutes=DEFAULT_IDLE_MINUTES)),
        (-1, Autostop(enabled=False)),
        (0, Autostop(idle_minutes=0)),
        (10, Autostop(idle_minutes=10)),
        ("2h", Autostop(idle_minutes=120)),
        ({}, Autostop()),
        ({"idle_minutes": 10}, Autostop(idle_minutes=10)),
        ({"down": True}, Autostop(down=True)),
        ({"idle_minutes": 30, "down_after": "24h"}, Autostop(idle_minutes=30, down_after=1440)),
        (
            {"idle_minutes": 1, "down": False, "wait_for": "NONE", "hook": "git push", "hook_timeout": 60},
            Autostop(idle_minutes=1, wait_for="none", hook="git push", hook_timeout=60),
        ),
    ],
)
def test_autostop(value: object, expected: Autostop) -> None:
    found = check_autostop(NOWHERE, value, PATH)
    assert found == expected
    assert check_autostop(NOWHERE, found.to_yaml_config(), PATH) == found


@pytest.mark.parametrize(
    "config",
    [
        False,
        {"idle_minutes": 0},
        {"idle_minutes": 30, "down_after": 1440},
        {"idle_minutes": 10, "down": True, "wait_for": "jobs", "hook": "sync", "hook_timeout": 5},
    ],
)
def test_the_same_yaml_comes_back(config: object) -> None:
    assert check_autostop(NOWHERE, config, PATH).to_yaml_config() == config


def test_what_is_taken_down_at_once_is_not_taken_down_later() -> None:
    with pytest.raises(InvalidTaskError, match=r"resources\.autostop\.down_after must be without down"):
        check_autostop(NOWHERE, {"down": True, "down_after": "1d"}, PATH)


def test_different_ways_to_say_the_same_are_equal() -> None:
    assert (
        len({check_autostop(NOWHERE, value, PATH) for value in (120, "120", "120m", "2h", {"idle_minutes": 120})}) == 1
    )
