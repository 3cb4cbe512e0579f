"""A catalog's file: what is written is what is read, and what is damaged is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.catalog.file import FORMAT, NewerFormatError, read, write
from skyflow.catalog.table import Attachment, Catalog, InstanceType, Listing

names = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=8)
amounts = st.floats(min_value=0.25, max_value=1e6) | st.integers(1, 4096)
prices = st.none() | st.floats(min_value=0, max_value=1e5) | st.integers(0, 100)
places = st.tuples(names, st.lists(names, min_size=1, max_size=3).map(tuple), prices, prices)
nodes = st.builds(
    InstanceType,
    names,
    cpus=amounts,
    memory=amounts,
    arch=st.sampled_from(["x86_64", "arm64"]),
    accelerator=st.none() | names,
    accelerator_count=st.just(0) | amounts,
    accelerator_memory=st.none() | amounts,
)
listings = st.lists(
    st.tuples(nodes, st.lists(places, min_size=1, max_size=3)), max_size=3, unique_by=lambda one: one[0].name
)
attachments = st.lists(
    st.builds(
        lambda kind, place: Attachment(*kind, *place),
        st.tuples(names, amounts, amounts, names, amounts, amounts),
        places,
    ),
    max_size=2,
    unique_by=lambda one: one.accelerator,
)


@given(listings, attachments, st.dictionaries(names, names, max_size=2), st.lists(names, max_size=2).map(tuple))
def test_what_is_written_is_what_is_read(
    kinds: list[tuple[InstanceType, list[tuple[str, tuple[str, ...], float | None, float | None]]]],
    added: list[Attachment],
    zone_names: dict[str, str],
    notes: tuple[str, ...],
) -> None:
    catalog = Catalog(
        cloud="test",
        listings=[Listing(kind, *place) for kind, found in kinds for place in found],
        zone_names=zone_names,
        date="2026-11-24",
        attachments=tuple(added),
        source="a “list”",
        notes=notes,
    )
    assert read(write(catalog)) == catalog


def test_nothing_is_not_zero() -> None:
    node = InstanceType("one", 1, 2)
    catalog = Catalog("test", [Listing(node, "east", ("a",), None, 0.5), Listing(node, "west", ("b",), 0, None)])
    assert [(one.price, one.spot_price) for one in read(write(catalog)).listings] == [(None, 0.5), (0, None)]


def test_a_listing_is_a_line() -> None:
    node = InstanceType("one", 1, 2)
    lines = write(Catalog("test", [Listing(node, "east", ("a", "b"), 1, None)])).splitlines()
    assert '["east", "a b", 1, null]' in lines


GOOD = write(Catalog("test", [Listing(InstanceType("one", 1, 2), "east", ("a",), 1, 1)]))


def test_a_newer_format() -> None:
    text = json.dumps(json.loads(GOOD) | {"format": FORMAT + 1})
    with pytest.raises(NewerFormatError, match=f"format {FORMAT + 1}"):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"format": "x"}',
        GOOD[: len(GOOD) // 2],
        GOOD.replace('["east", "a", 1, 1]', '["east", "a", 1]'),
        GOOD.replace('["east", "a", 1, 1]', '["east", "a", -1, 1]'),
        GOOD.replace('["east", "a", 1, 1]', '["east", "a", "1", 1]'),
        GOOD.replace('["east", "a", 1, 1]', '["east", "a", NaN, 1]'),
        GOOD.replace('["east", "a", 1, 1]', '["east", 7, 1, 1]'),
        GOOD.replace('"cpus"', '"cpu"'),
        GOOD.replace('"types"', '"kinds"'),
    ],
)
def test_what_is_damaged_is_refused(text: str) -> None:
    assert text != GOOD
    with pytest.raises(ValueError):
        read(text)
