"""Variables in paths, services and volumes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.errors import InvalidTaskError
from skyflow.models.env import substitute_deep

ENVS = {"A": "x", "B": "$A", "EMPTY": ""}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$A/${A}y$EMPTY", "x/xy"),
        ("$ABSENT ${A:-y} $$ $1", "$ABSENT ${A:-y} $$ $1"),
        ("$B", "$A"),
        (["$A", 1, None, True, ("${A}",)], ["x", 1, None, True, ["x"]]),
        ({"/$A": {"$A": ["$A"], "b": 2}, 5: "$A"}, {"/x": {"x": ["x"], "b": 2}, 5: "x"}),
    ],
)
def test_every_string_is_filled_in_once(value: object, expected: object) -> None:
    assert substitute_deep(value, ENVS) == expected


def test_two_names_that_become_the_same() -> None:
    with pytest.raises(InvalidTaskError) as caught:
        substitute_deep({"x": 1, "$A": 2}, ENVS)
    assert str(caught.value) == "The variables in '$A' make it a name that is there already."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_without_variables_it_is_a_copy(value: Any) -> None:
    assert substitute_deep(value, {}) == value
