"""The small checkers of which the sections are made."""

from __future__ import annotations

import re
from typing import Any

import pytest

from skyflow.errors import InvalidTaskError
from skyflow.models import shape
from skyflow.models.document import Document

HERE = Document(None, "task.yaml", {("a",): 1, ("a", "b"): 2})


def fails(checker: shape.Checker[Any], value: object, path: tuple[Any, ...] = ("a",)) -> str:
    with pytest.raises(InvalidTaskError) as caught:
        checker(HERE, value, path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("service", "ports"), "service.ports"),
        (("config", "hooks", 0, "run"), "config.hooks[0].run"),
        (("file_mounts", "/data", "mode"), "file_mounts['/data'].mode"),
        (("labels", None), "labels[None]"),
        ((0, "a"), "[0].a"),
        ((), "the value"),
    ],
)
def test_how_a_field_is_called(path: tuple[Any, ...], name: str) -> None:
    assert shape.spell(path) == name


def test_text() -> None:
    assert shape.text()(HERE, "é", ("a",)) == "é"
    assert shape.text(empty=True)(HERE, "", ("a",)) == ""
    assert fails(shape.text(), "") == "task.yaml:1: a must be a string, found the string ''."
    assert fails(shape.text(), "a\0") == "task.yaml:1: a contains a NUL character."
    assert fails(shape.text(), "\ud800") == "task.yaml:1: a is not valid UTF-8."
    form = shape.text("small letters", form=re.compile("[a-z]+"))
    assert fails(form, "a\n") == "task.yaml:1: a must be small letters, found the string 'a\\n'."


@pytest.mark.parametrize("value", [True, 1.0, "1", None, -1, 11, [1]])
def test_integer(value: object) -> None:
    assert shape.integer(0, 10)(HERE, 10, ()) == 10
    assert fails(shape.integer(0, 10), value).startswith("task.yaml:1: a must be a whole number from 0 to 10, found")


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 1 << 63, -0.5])
def test_number(value: object) -> None:
    assert shape.number()(HERE, 0.5, ()) == 0.5
    assert shape.number()(HERE, 2, ()) == 2
    assert shape.number(least=None)(HERE, -0.5, ()) == -0.5
    assert fails(shape.number(), value).startswith("task.yaml:1: a must be a number, 0 or more, found")


def test_choice_is_spelled_as_it_should_be() -> None:
    assert shape.choice(("Left", "RIGHT"))(HERE, "lEFT", ()) == "Left"
    assert (
        fails(shape.choice(("Left", "RIGHT")), "up")
        == "task.yaml:1: a must be one of Left, RIGHT, found the string 'up'."
    )
    assert fails(shape.choice(("1",)), 1) == "task.yaml:1: a must be one of 1, found the value 1."


def test_either_does_not_take_true_for_a_number() -> None:
    checker = shape.either("a number or a switch", (int, shape.integer()), (bool, shape.boolean))
    assert checker(HERE, True, ()) is True
    assert checker(HERE, 1, ()) == 1
    only = shape.either("a number", (int, shape.integer()))
    assert fails(only, True) == "task.yaml:1: a must be a number, found the value True."


def test_lists_and_mappings_name_the_wrong_entry() -> None:
    numbers = shape.listing(shape.integer(), "a list of numbers", least=1, most=2)
    assert numbers(HERE, (1, 2), ()) == [1, 2]
    assert fails(numbers, [1, "x"]) == "task.yaml:1: a[1] must be a whole number, 0 or more, found the string 'x'."
    assert fails(numbers, []) == "task.yaml:1: a must be a list of numbers, found a list."
    assert fails(numbers, [1, 2, 3]) == "task.yaml:1: a has 3 entries; 2 at most."
    named = shape.mapping(shape.nullable(shape.integer()))
    assert named(HERE, {"b": None, "c": 1}, ("a",)) == {"b": None, "c": 1}
    assert fails(named, {"b": "x"}) == "task.yaml:2: a.b must be a whole number, 0 or more, found the string 'x'."
    assert fails(named, {"": 1}) == "task.yaml:1: a: the name '' must be a string; put it in quotes."
    assert fails(named, {"b\0": 1}) == "task.yaml:1: a: the name 'b\\x00' contains a NUL character."


def test_a_record() -> None:
    record = shape.record("thing", {"b": shape.integer(), "c": shape.text()}, "b: 1", ["b"])
    assert record(HERE, {"b": 1, "c": None}, ("a",)) == {"b": 1}
    assert fails(record, {"b": "x"}) == "task.yaml:2: a.b must be a whole number, 0 or more, found the string 'x'."
    assert fails(record, {"b": None}) == "task.yaml:1: Invalid thing YAML: 'b' is a required property."
    assert fails(record, {"b": 1, "d": 1}) == "task.yaml:1: Invalid thing YAML: Found unsupported field 'd'."
    assert fails(record, 5) == "task.yaml:1: Invalid thing YAML: expected fields such as 'b: 1', found the value 5."


def test_free_form_is_a_copy_of_plain_json() -> None:
    value = {"a": [1, 2.5, None, True, {"b": ""}]}
    found = shape.free(HERE, value, ("a",))
    assert found == value
    found["a"][4]["b"] = "changed"
    assert value["a"][4] == {"b": ""}
    assert "is nested more than 60 levels deep." in fails(shape.free, nested(100))
    assert nested(50) == shape.free(HERE, nested(50), ("a",))
    endless: list[Any] = []
    endless.append(endless)
    assert "is nested more than 60 levels deep." in fails(shape.plain, endless)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value
