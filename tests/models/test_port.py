"""Ports: numbers, ranges, lists, merged (PARITY R10, §2.1)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyflow as sky
from skyflow.errors import InvalidTaskError
from skyflow.models.port import check_ports, missing, numbers

FORM = "resources.ports must be a port such as 8080, or '8000-8100', found"


@pytest.mark.parametrize(
    ("said", "ports"),
    [
        (80, ("80",)),
        ("80", ("80",)),
        ("80-90", ("80-90",)),
        ([80, "443"], ("80", "443")),
        ((8080, 80), ("80", "8080")),
        ("1,2", ("1", "2")),
        ("80, 8000 - 8100", ("80", "8000-8100")),
        (["8080", "10022-10040", "10030"], ("8080", "10022-10040")),
        (["1-5", "5-9", "20-30", "25-40", "26"], ("1-9", "20-40")),
        (["10", "10", 10, "10-10"], ("10",)),
        ([], ()),
        ("1-65535", ("1-65535",)),
    ],
)
def test_r10_ports(said: Any, ports: tuple[str, ...]) -> None:
    assert check_ports(said) == ports
    assert check_ports(list(ports)) == ports
    assert sky.Resources(ports=said).ports == ports


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("", f"{FORM} the string ''."),
        (" ", f"{FORM} the string ' '."),
        ("http", f"{FORM} the string 'http'."),
        ("80,", f"{FORM} the string '80,'."),
        ("80--90", f"{FORM} the string '80--90'."),
        ("-80", f"{FORM} the string '-80'."),
        ("80:90", f"{FORM} the string '80:90'."),
        ("٣", f"{FORM} the string '٣'."),
        (True, f"{FORM} the value True."),
        (80.0, f"{FORM} the value 80.0."),
        ([None], f"{FORM} nothing."),
        ([[80]], f"{FORM} a list."),
        ({"80": 1}, f"{FORM} a mapping."),
        (0, "resources.ports: a port is a number from 1 to 65535, found '0'."),
        (-1, f"{FORM} the value -1."),
        (65536, "resources.ports: a port is a number from 1 to 65535, found '65536'."),
        ("80-70000", "resources.ports: a port is a number from 1 to 65535, found '80-70000'."),
        ("9" * 5000, "resources.ports: a port is a number from 1 to 65535, found "),
        ("90-80", "resources.ports: the range '90-80' ends before it begins."),
        (["80", "443-442"], "resources.ports: the range '443-442' ends before it begins."),
    ],
)
def test_wrong_ports(said: Any, message: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        check_ports(said)
    assert str(caught.value).startswith(message) and len(str(caught.value)) < 250


RANGES = st.tuples(st.integers(1, 300), st.integers(0, 30)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(RANGES, max_size=6))
def test_merging_keeps_every_port_and_adds_none(ranges: list[tuple[int, int]]) -> None:
    def opened(said: Any) -> set[int]:
        ends = [(part + "-" + part).split("-")[:2] if "-" not in part else part.split("-") for part in said]
        return {port for first, last in ends for port in range(int(first), int(last) + 1)}

    said = [f"{first}-{last}" for first, last in ranges]
    merged = check_ports(said)
    assert opened(merged) == opened(said)
    starts = [int(part.split("-")[0]) for part in merged]
    assert starts == sorted(set(starts)) and check_ports(list(reversed(said))) == merged


@given(st.text(alphabet="0123456789-, ", max_size=15) | st.integers() | st.lists(st.text(max_size=4), max_size=3))
def test_anything_is_read_or_refused(said: Any) -> None:
    try:
        ports = check_ports(said)
    except InvalidTaskError as error:
        assert "\n" not in str(error)
    else:
        assert check_ports(list(ports)) == ports


def test_every_port_of_ranges() -> None:
    assert numbers(["80", "8000-8002"]) == [80, 8000, 8001, 8002]
    assert numbers([]) == []


@pytest.mark.parametrize(
    ("wanted", "opened", "lacking"),
    [
        ([], [], []),
        (["80"], ["79-81"], []),
        (["80-82"], ["80", "81-82"], []),
        (["80-82", "90"], ["81-82", "90"], ["80-82"]),
        (["80"], [], ["80"]),
    ],
)
def test_ports_that_are_not_open(wanted: list[str], opened: list[str], lacking: list[str]) -> None:
    assert missing(wanted, opened) == lacking
