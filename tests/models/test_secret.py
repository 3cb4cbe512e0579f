"""Secrets, which nothing shows."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyflow.errors import InvalidTaskError
from skyflow.models.document import Document
from skyflow.models.secret import (
    REDACTED,
    Secret,
    SecretRef,
    Secrets,
    check_managed_secrets,
    check_secret_values,
    check_secrets,
)

NOWHERE = Document(None)
PATH = ("secrets",)


def read(value: object) -> Secrets:
    return check_secrets(NOWHERE, value, PATH)


def test_a_secret_is_only_shown_when_asked_for() -> None:
    secret = Secret("hunter2")
    assert secret.reveal() == "hunter2"
    for text in (str(secret), repr(secret), f"{secret}", f"{secret!r:>20}", "%s" % secret, repr([secret])):  # noqa: UP031
        assert "hunter2" not in text
    assert "hunter2" not in repr(read({"A": "hunter2"}))
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_secrets_are_equal_by_value_and_can_be_copied() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    secrets = read({"A": "x", "B": None, "secrets:C": None})
    assert copy.deepcopy(secrets) == secrets
    assert copy.copy(secrets.values["A"]) is secrets.values["A"]


def test_values_and_what_is_missing() -> None:
    secrets = read({"A": "x", "B": None, "C": 5, "D": "", "secrets:global.E": None})
    assert secrets.reveal() == {"A": "x", "C": "5", "D": ""}
    assert secrets.wanted == ("B",)
    assert secrets.refs == (SecretRef("E", "global"),)
    assert secrets.missing == ("B", "E")


def test_an_override_gives_what_is_missing() -> None:
    secrets = read({"A": "x", "B": None, "secrets:C": None})
    given = secrets.update(check_secret_values({"B": "b", "C": "c", "D": "d"}))
    assert given.reveal() == {"A": "x", "B": "b", "C": "c", "D": "d"}
    assert given.missing == ()
    assert secrets.missing == ("B", "C")


@pytest.mark.parametrize(
    ("spelled", "ref"),
    [
        ("secrets:HF_TOKEN", SecretRef("HF_TOKEN")),
        ("secrets:personal.X", SecretRef("X", "personal")),
        ("secrets:workspace.my-key.json", SecretRef("my-key.json", "workspace")),
        ("secrets:other.X", SecretRef("other.X")),
    ],
)
def test_references(spelled: str, ref: SecretRef) -> None:
    assert read([spelled]).refs == (ref,)
    assert read({spelled: None}).refs == (ref,)
    assert ref.spelled == spelled


def test_the_same_reference_twice_is_one() -> None:
    assert read(["secrets:A", "secrets:A"]).refs == (SecretRef("A"),)


def test_managed_secrets() -> None:
    given = ["A", "global.B", "secrets:C", {"personal.D": {"mount_path": "~/.netrc"}}, {"E": {}}, "A"]
    refs = check_managed_secrets(NOWHERE, given, ("managed_secrets",))
    written = [ref.to_yaml_config() for ref in refs]
    assert written[1] == "secrets:global.B"
    assert written[3] == {"secrets:personal.D": {"mount_path": "~/.netrc"}}
    assert check_managed_secrets(NOWHERE, written, ("managed_secrets",)) == refs
    assert refs == (
        SecretRef("A"),
        SecretRef("B", "global"),
        SecretRef("C"),
        SecretRef("D", "personal", "~/.netrc"),
        SecretRef("E"),
    )


@pytest.mark.parametrize(
    "config", [{"A": "x", "B": None, "secrets:global.C": None}, ["secrets:A", "secrets:global.B"], {"A": None}, {}]
)
def test_the_same_yaml_comes_back(config: object) -> None:
    assert read(config).to_yaml_config(reveal=True) == config


def test_yaml_without_the_values_cannot_be_taken_for_a_task() -> None:
    written = read({"A": "hunter2"}).to_yaml_config()
    assert written == {"A": REDACTED}
    with pytest.raises(InvalidTaskError, match="its value was left out"):
        read(written)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {}),
        ({"A": 1}, {"A": Secret("1")}),
        ([("A", "x"), ("B", Secret("y"))], {"A": Secret("x"), "B": Secret("y")}),
    ],
)
def test_secrets_of_python_code(given: object, expected: dict[str, Secret]) -> None:
    assert check_secret_values(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([("A", "x"), ("A", "y")], "Duplicate secret keys provided."),
        (["A=hunter2"], "secrets must be List[Tuple[str, str]] or Dict[str, str]. Got: <class 'list'>"),
        ("hunter2", "secrets must be List[Tuple[str, str]] or Dict[str, str]. Got: <class 'str'>"),
        ({"A": None}, "Secret variable 'A' must have a plain value."),
        ({1: "x"}, "Secret keys must be strings."),
        ({"1": "x"}, "Invalid secret key: '1'"),
    ],
)
def test_wrong_secrets_of_python_code(given: object, message: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        check_secret_values(given)
    assert str(caught.value) == message


SCALARS = st.sampled_from(["hunter2-hunter2", "hunter2 \0", "hunter2\ud800"])
SHAPES = st.recursive(
    SCALARS | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["A", "A=hunter2", "secrets:B", "mount_path"]), inner, max_size=3)
    ),
)


@given(SHAPES)
@settings(max_examples=500)
def test_no_error_shows_a_value(value: object) -> None:
    """A value in a wrong place is still a value. What stands alone as a name (`managed_secrets: [A]`) is none."""
    for checker in (check_secrets, check_managed_secrets):
        try:
            found = checker(NOWHERE, value, PATH)
        except InvalidTaskError as error:
            assert "hunter2" not in str(error)
        else:
            assert checker is check_managed_secrets or "hunter2" not in repr(found)
