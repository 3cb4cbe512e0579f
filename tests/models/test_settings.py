"""What the environment says, and what it must not say."""

from __future__ import annotations

import os

import pytest

from skyflow.errors import UsageError
from skyflow.settings import Settings, user_name


@pytest.mark.parametrize("name", ["SKYFLOW_CHECK_SECONDS", "SKYFLOW_SAFETY_MINUTES"])
@pytest.mark.parametrize("value", ["1m", "0", "-5", "nan", "inf", " "])
def test_a_number_that_is_none(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} is '{value}'; it has to be a number"):
        Settings.from_env({"HOME": "/home/ada", name: value})


def test_defaults() -> None:
    settings = Settings.from_env({"HOME": "/home/ada", "SKYFLOW_CHECK_SECONDS": ""})
    assert settings.store == "file:///home/ada/.skyflow/store"
    assert (settings.check_seconds, settings.safety_minutes) == (60, 60)


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert user_name() == "4000000000"
