"""Environment variables from flags and from dotenv files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.errors import UsageError
from skyflow.models.env import parse_env_option, read_env_file

FILE = r"""# a comment
A=1
  export B = two words   # a comment
C='single $A ${A} \n # no comment'
D="double \"quoted\" \\ \$A ${A} \q\ttab
second line"   # a comment
E=
F=a#b
G=${A}-${ABSENT}-${ABSENT:-default}-${FROM_HOME}
export H=é # x
A=again
I=a\nb
J=x=y=z
K=""
"""


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / "some.env"


def test_a_dotenv_file(env_file: Path) -> None:
    env_file.write_text(FILE, encoding="utf-8")
    assert read_env_file(env_file, environ={"FROM_HOME": "here"}) == {
        "A": "again",
        "B": "two words",
        "C": r"single $A ${A} \n # no comment",
        "D": 'double "quoted" \\ $A 1 \\q\ttab\nsecond line',
        "E": "",
        "F": "a#b",
        "G": "1--default-here",
        "H": "é",
        "I": r"a\nb",
        "J": "x=y=z",
        "K": "",
    }


def test_windows_line_ends_and_a_byte_order_mark(env_file: Path) -> None:
    env_file.write_bytes("\ufeffA=1\r\n\r\nB='x'\r\n".encode())
    assert read_env_file(str(env_file)) == {"A": "1", "B": "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nB\n", "some.env:2: expected NAME=VALUE"),
        ("\n\nA='open\nB=1\n", "some.env:3: expected NAME=VALUE, with every quote closed"),
        ('A="open', "some.env:1: expected NAME=VALUE"),
        ("A='a' b", "some.env:1: expected NAME=VALUE"),
        ("1A=x", "some.env:1: Invalid env key: '1A'"),
        ("A=1\nB-C=x", "some.env:2: Invalid env key: 'B-C'"),
        ("A B=1", "some.env:1: expected NAME=VALUE"),
        ("A=x\0y", "some.env:1: Environment variable 'A' contains a NUL character"),
    ],
)
def test_wrong_lines_are_named(env_file: Path, text: str, message: str) -> None:
    env_file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_env_file(env_file)


def test_files_that_cannot_be_read(env_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file or directory"):
        read_env_file(env_file)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_env_file(tmp_path)
    env_file.write_bytes(b"A=\xff")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_env_file(env_file)
    env_file.write_bytes(b"#" * (1 << 20) + b"##")
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read_env_file(env_file)


def test_the_env_option() -> None:
    environ = {"HERE": "from here", "1BAD": "x", "BYTES": "\udcff"}
    assert parse_env_option("A=1", environ) == ("A", "1")
    assert parse_env_option("A=", environ) == ("A", "")
    assert parse_env_option("A=x=y", environ) == ("A", "x=y")
    assert parse_env_option("HERE", environ) == ("HERE", "from here")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("ABSENT", "--env ABSENT: ABSENT is not set in this environment; set it, or write --env ABSENT=VALUE."),
        ("1BAD", "--env 1BAD: Invalid env key: '1BAD'"),
        ("A-B=secret", "--env A-B: Invalid env key: 'A-B'"),
        ("=x", "--env : Invalid env key: ''"),
        ("", "--env : Invalid env key: ''"),
        ("BYTES", "--env BYTES: Environment variable 'BYTES' is not valid UTF-8."),
    ],
)
def test_wrong_env_options(option: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_env_option(option, {"BYTES": "\udcff", "1BAD": "x"})
    assert str(caught.value) == message


@given(st.text(alphabet="AB=\n'\"\\$ {}#:-export\t\r\0é", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    from skyflow.models.env import _parse_dotenv

    try:
        found = _parse_dotenv(text, "some.env", {})
    except UsageError as error:
        assert str(error).startswith("some.env:")
    else:
        assert all(isinstance(value, str) for value in found.values())


VALUES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r'"), max_size=40)


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True), VALUES))
def test_single_quotes_carry_everything(envs: dict[str, str]) -> None:
    from skyflow.models.env import _parse_dotenv

    assert _parse_dotenv("".join(f"{key}='{value}'\n" for key, value in envs.items()), "x", {}) == envs
