"""Reading ahead: the right bytes in the right order, however files lie in packs, and nothing left running."""

import asyncio
import os
import random
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard

from skyflow.errors import ObjectAbsentError, StoreError
from skyflow.models.snapshot import Entry
from skyflow.store import reader as reader_module
from skyflow.store.reader import SnapshotReader
from skyflow.store.store import Store

SMALL = 4 << 10


@pytest.fixture(autouse=True)
def _short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "READ_BYTES", 64 << 10)
    monkeypatch.setattr(reader_module, "PIECE_BYTES", 5000)
    monkeypatch.setattr(reader_module, "CHUNK_BYTES", 10_000)
    monkeypatch.setattr(reader_module, "STEP_BYTES", 700)
    monkeypatch.setattr(reader_module, "GAP_BYTES", 1000)
    monkeypatch.setattr(reader_module, "BATCH_FILES", 3)


def frames(data: bytes, size: int) -> bytes:
    compressor = zstandard.ZstdCompressor(level=1)
    return b"".join(compressor.compress(data[start : start + size]) for start in range(0, len(data), size))


async def put(store: Store, key: str, contents: dict[str, bytes], gap: int = 0, frame: int = 1 << 30) -> list[Entry]:
    """Puts a pack, with so many bytes of nothing between the files."""
    data = bytearray()
    entries = []
    for path, content in contents.items():
        packed = frames(content, frame)
        digest = sha256(content).hexdigest()
        entries.append(Entry(path, "f", 0o644, len(content), 0, digest, "", key, len(data), len(packed)))
        data += packed + bytes(gap)
    await store.put(key, bytes(data))
    return entries


async def read(store: Store, entries: list[Entry]) -> dict[str, bytes]:
    result: dict[str, bytes] = {}
    last = ""
    async for entry, chunk in SnapshotReader(store).contents(entries):
        assert entry.path == last or entry.path not in result, "the chunks of an entry come together"
        last = entry.path
        result[last] = result.get(last, b"") + chunk
    return result


@pytest.mark.parametrize("gap", [0, 100, 2000])
async def test_any_order_of_small_and_big_files(store: Store, gap: int) -> None:
    dice = random.Random(gap)
    contents = {f"s{n}": dice.randbytes(dice.randrange(1, SMALL)) for n in range(40)}
    big = {"big": dice.randbytes(200_000), "zeros": bytes(300_000), "mixed": bytes(90_000) + dice.randbytes(90_000)}
    entries = await put(store, "packs/a", dict(list(contents.items())[:25]), gap)
    entries += await put(store, "packs/b", dict(list(contents.items())[25:]), gap)
    for path, content in big.items():
        entries += await put(store, f"files/{path}", {path: content}, frame=40_000)
    dice.shuffle(entries)
    assert await read(store, entries) == contents | big


async def test_chunks_are_short(store: Store) -> None:
    entries = await put(store, "files/z", {"z": bytes(1 << 20)}, frame=40_000)
    sizes = [len(chunk) async for _, chunk in SnapshotReader(store).contents(entries)]
    assert sum(sizes) == 1 << 20
    assert max(sizes) <= 50_000


async def test_batches_are_short(store: Store) -> None:
    entries = await put(store, "packs/a", {f"{n}": b"%d" % n for n in range(10)})
    sizes = [len(batch) async for batch in SnapshotReader(store).batches(entries)]
    assert sizes == [3, 3, 3, 1]


@pytest.mark.parametrize("at", [0, 100, 9000, -1])
async def test_damage_of_a_big_file(store: Store, at: int) -> None:
    entries = await put(store, "files/x", {"x": os.urandom(100_000)}, frame=40_000)
    data = bytearray(await store.get("files/x"))
    data[at] ^= 0xFF
    await store.put("files/x", bytes(data))
    with pytest.raises(StoreError, match="is damaged"):
        await read(store, entries)
    assert len(asyncio.all_tasks()) == 1, "nothing is left running"


@pytest.mark.parametrize("key", ["files/x", "packs/x"])
async def test_an_object_that_is_too_short(store: Store, key: str) -> None:
    entries = await put(store, key, {"x": os.urandom(100_000 if key == "files/x" else 1000)}, frame=40_000)
    data = await store.get(key)
    await store.put(key, data[: len(data) // 2])
    with pytest.raises(StoreError):
        await read(store, entries)
    assert len(asyncio.all_tasks()) == 1


async def test_what_is_gone_is_noticed_when_its_turn_comes(store: Store) -> None:
    entries = await put(store, "packs/a", {"a": b"1"}) + await put(store, "packs/b", {"b": b"2"})
    await store.delete(["packs/b"])
    batches = SnapshotReader(store).batches(entries)
    assert [entry.path for entry, _ in await anext(batches)] == ["a"]
    with pytest.raises(ObjectAbsentError):
        await anext(batches)


@pytest.mark.parametrize("key", ["files", "packs"])
async def test_who_stops_early_leaves_nothing_running(store: Store, tmp_path: Path, key: str) -> None:
    entries: list[Entry] = []
    for number in range(4):
        content = os.urandom(150_000 if key == "files" else 10)
        entries += await put(store, f"{key}/{number}", {f"{number}": content}, frame=40_000)
    batches = SnapshotReader(store).batches(entries)
    assert (await anext(batches))[0][0].path == "0"
    await batches.aclose()
    assert len(asyncio.all_tasks()) == 1
