"""Logs: any set of overlapping segments reads back exactly; two owners cannot damage a log."""

import asyncio
import random
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from skyflow.store import log
from skyflow.store.log import LogReader, LogWriter, latest_life, put_record, records
from skyflow.store.store import Store, open_store

CLUSTER, UID = "My_Cluster", "20261124T101500-ab12cd34"


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200), seed=st.integers(0, 2**32), offset=st.integers(0, 220), longest=st.integers(1, 60))
def test_overlapping_segments_read_back_exactly(data: bytes, seed: int, offset: int, longest: int) -> None:
    async def check(store: Store) -> None:
        choice = random.Random(seed)
        writers = [LogWriter(store, CLUSTER, UID) for _ in range(2)]
        for _ in range(6):  # owners that come and go, each writing somewhere, also what is there already
            start = choice.randint(0, len(data))
            writer = choice.choice(writers)
            await writer.write("1", 0, min(start, await writer.end("1", 0)), data[start : start + choice.randint(0, 90)]
                               if start <= await writer.end("1", 0) else b"")  # fmt: skip
        end = await writers[0].end("1", 0)
        await writers[0].write("1", 0, end, data[end:])
        assert await writers[1].end("1", 0) == len(data)
        assert await LogReader(store, CLUSTER, UID).read("1", 0) == data
        assert await LogReader(store, CLUSTER, UID).read("1", 0, offset) == data[offset:]

    before = log.MAX_SEGMENT
    log.MAX_SEGMENT = longest
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(check(open_store(f"file://{folder}/s")))
    finally:
        log.MAX_SEGMENT = before


async def test_a_reader_stops_at_a_gap(store: Store) -> None:
    writer = LogWriter(store, CLUSTER, UID)
    await writer.write("1", 0, 0, b"abc")
    await writer.write("1", 0, 5, b"fgh")
    assert await writer.end("1", 0) == 3
    assert await LogReader(store, CLUSTER, UID).read("1", 0) == b"abc"
    await writer.write("1", 0, 3, b"de")
    assert await LogReader(store, CLUSTER, UID).read("1", 0) == b"abcdefgh"


async def test_follow_sees_everything_once(store: Store) -> None:
    log_bytes = b"".join(b"line %d\n" % number for number in range(2000))
    writers = [LogWriter(store, CLUSTER, UID), LogWriter(store, CLUSTER, UID)]
    finished = False

    async def write(writer: LogWriter, step: int) -> None:
        for start in range(0, len(log_bytes), step):
            await writer.write("2-setup", 1, start, log_bytes[start : start + step])

    async def write_all() -> None:
        nonlocal finished
        await asyncio.gather(write(writers[0], 700), write(writers[1], 1100))
        finished = True

    writing = asyncio.create_task(write_all())
    seen = [chunk async for chunk in LogReader(store, CLUSTER, UID).follow("2-setup", 1, 5, lambda: finished)]
    await writing
    assert b"".join(seen) == log_bytes[5:]


async def test_units_and_ranks(store: Store) -> None:
    writer = LogWriter(store, CLUSTER, UID)
    for unit, rank in (("1", 0), ("1", 10), ("1", 9), ("1-setup", 0)):
        await writer.write(unit, rank, 0, b"x")
    reader = LogReader(store, CLUSTER, UID)
    assert await reader.units() == ["1", "1-setup"]
    assert await reader.ranks("1") == [0, 9, 10]
    assert await LogReader(store, "other", UID).units() == []


async def test_records_of_the_latest_life(store: Store) -> None:
    assert await latest_life(store, CLUSTER) is None
    assert await records(store, CLUSTER) == []
    old, new = "20260101T000000-ffffffff", UID
    await put_record(store, CLUSTER, old, "1", {"job": 1, "life": "old"})
    for unit in ("10", "2", "1"):
        await put_record(store, CLUSTER, new, unit, {"job": int(unit)})
    await put_record(store, CLUSTER, new, "2", {"job": 2, "code": 0})
    await put_record(store, "my-cluster", "20270101T000000-00000000", "1", {"job": 99})
    assert await records(store, CLUSTER) == [{"job": 1}, {"job": 2, "code": 0}, {"job": 10}]
    assert await records(store, CLUSTER, old) == [{"job": 1, "life": "old"}]
    await LogWriter(store, CLUSTER, "20261201T000000-00000000").write("1", 0, 0, b"x")
    assert await latest_life(store, CLUSTER) == "20261201T000000-00000000"
