"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.errors import InvalidTaskError
from skyflow.models.document import Document
from skyflow.models.duration import MAX_YEARS, check_minutes, check_seconds, show_seconds

NOWHERE = Document(None)
PATH = ("delay",)


@pytest.mark.parametrize(
    ("value", "minutes"),
    [(0, 0), (10, 10), ("10", 10), ("10m", 10), ("2h", 120), ("2H", 120), ("1d", 1440), ("1w", 10080), ("007", 7)],
)
def test_minutes(value: object, minutes: int) -> None:
    assert check_minutes(NOWHERE, value, PATH) == minutes


@pytest.mark.parametrize(
    ("value", "seconds"), [(30, 30), ("30", 30), ("30s", 30), ("5m", 300), ("1h", 3600), ("1D", 86400), ("1w", 604800)]
)
def test_seconds(value: object, seconds: int) -> None:
    assert check_seconds(NOWHERE, value, PATH) == seconds


@pytest.mark.parametrize(
    "value", [-1, "-1", "1.5h", 1.5, "", " 5", "5\n", "h", "2 h", "2hh", "2y", "٣", True, None, [5], 10**30, "9" * 30]
)
def test_what_is_no_duration(value: object) -> None:
    for checker in (check_minutes, check_seconds):
        with pytest.raises(InvalidTaskError, match=r"^delay must be "):
            checker(NOWHERE, value, PATH)


def test_seconds_are_too_fine_for_minutes() -> None:
    with pytest.raises(InvalidTaskError) as caught:
        check_minutes(NOWHERE, "30s", PATH)
    assert str(caught.value) == "delay must be minutes such as 10, or '2h' (m, h, d, w), found the string '30s'."


@pytest.mark.parametrize(("unit", "checker"), [(60, check_minutes), (1, check_seconds)])
def test_the_longest(unit: int, checker: object) -> None:
    most = MAX_YEARS * 365 * 24 * 3600 // unit
    assert callable(checker)
    assert checker(NOWHERE, most, PATH) == most
    with pytest.raises(InvalidTaskError, match=r"^delay must be 10 years at most, found the value [0-9]+\.$"):
        checker(NOWHERE, most + 1, PATH)


@given(st.integers(0, 3 * 10**8))
def test_what_is_shown_is_read_again(seconds: int) -> None:
    assert check_seconds(NOWHERE, show_seconds(seconds), PATH) == seconds


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (90, "90s"), (120, "2m"), (7200, "2h"), (604800, "1w")])
def test_it_is_shown_shortly(seconds: int, text: str) -> None:
    assert show_seconds(seconds) == text
