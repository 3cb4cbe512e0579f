"""The ledger: each interval once, its first end counts, whatever is told twice."""

from __future__ import annotations

from pathlib import Path

from skyflow.store.ledger import book, close, intervals
from skyflow.store.store import open_store
from tests.models.test_usage import interval


async def test_an_interval_is_told_in_any_order_and_twice(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    begun, ended = interval("a1", 0, 100.5, None), interval("a1", 0, 100.5, 200)
    await book(store, ended)
    await book(store, begun)
    await book(store, ended.model_copy(update={"ended": 999}))
    await book(store, interval("b1", 0, 50, None))
    assert await intervals(store) == [interval("b1", 0, 50, None), ended]


async def test_closing_ends_what_is_open_of_one_life(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    for one in (interval("a1", 0, 1, 2), interval("a1", 0, 3, None), interval("a2", 0, 4, None)):
        await book(store, one)
    for now in (7, 8):
        await close(store, "a", "a1", now)
    assert [one.ended for one in await intervals(store)] == [2, 7, None]


async def test_an_empty_ledger(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    await close(store, "a", "a1", 1)
    assert await intervals(store) == []
