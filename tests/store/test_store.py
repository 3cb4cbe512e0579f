"""The store over a folder: whole or absent, put if absent, and every failure in one line."""

import asyncio
import errno
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyflow.errors import ObjectAbsentError, StoreError, UsageError, rebuild
from skyflow.store.store import Store, _reason, check_reachable, open_store

HALF_WRITER = """
import asyncio, sys
from skyflow.store.store import open_store

async def body():
    yield b"x" * 20_000_000
    print("half", flush=True)
    await asyncio.Event().wait()

asyncio.run(open_store(sys.argv[1]).put("big/object", body()))
"""

LIMITED_WRITER = """
import asyncio, os, resource, sys
from skyflow.store.store import open_store

store = open_store(sys.argv[1])
asyncio.run(store.size("k/x"))
LIMIT
asyncio.run(store.put("k/x", b"x" * 100_000))
"""


async def test_round_trip(store: Store, tmp_path: Path) -> None:
    await store.put("a/b", b"hello")
    assert await store.get("a/b") == b"hello"
    assert await store.get_range("a/b", 1, 3) == b"ell"
    assert await store.size("a/b") == 5
    assert [chunk async for chunk in store.stream("a/b", 1, 3)] == [b"ell"]
    source = tmp_path / "source"
    source.write_bytes(b"file" * 3_000_000)
    await store.put("a/c", source)
    assert await store.list("a") == [("a/b", 5), ("a/c", 12_000_000)]
    assert await store.folders("") == ["a"]
    await store.delete(["a/b", "absent", "a/c"])
    assert await store.list("a") == []


async def test_absent(store: Store) -> None:
    with pytest.raises(ObjectAbsentError, match=r"has nothing under 'no/such'"):
        await store.get("no/such")
    with pytest.raises(ObjectAbsentError):
        await store.get_range("no/such", 0, 1)
    assert await store.size("no/such") is None
    assert await store.list("no/such") == []
    assert await store.folders("no/such") == []
    assert isinstance(rebuild("ObjectAbsentError", "gone"), StoreError)


async def test_put_new_is_won_once(store: Store) -> None:
    wins = await asyncio.gather(*(store.put_new("lock", bytes([number])) for number in range(20)))
    assert sum(wins) == 1
    assert await store.get("lock") == bytes([wins.index(True)])


@pytest.mark.parametrize("key", ["a b", "ü/日本", "%41", "a\\b", "*?", "~", "-x", "a'\"b"])
async def test_odd_keys(store: Store, key: str) -> None:
    await store.put(key, b"1")
    assert await store.get(key) == b"1"
    assert await store.list("") == [(key, 1)]


@pytest.mark.parametrize("key", ["../up", "a//b", "a\nb"])
async def test_keys_that_cannot_be(store: Store, key: str) -> None:
    with pytest.raises(StoreError):
        await store.put(key, b"1")


async def test_list_after_a_key(store: Store) -> None:
    for number in (5, 3, 9, 1):
        await store.put(f"n/{number:020}", b"1")
    assert [key for key, _ in await store.list("n", after=f"n/{3:020}")] == [f"n/{5:020}", f"n/{9:020}"]


async def test_a_failing_source_writes_nothing(store: Store) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 9_000_000
        raise StoreError("the source broke")

    with pytest.raises(StoreError, match="the source broke"):
        await store.put("a/b", body())
    assert await store.list("") == []


def test_a_killed_writer_leaves_nothing_visible(store: Store) -> None:
    writer = subprocess.Popen([sys.executable, "-c", HALF_WRITER, store.url], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    assert asyncio.run(store.list("")) == []
    assert asyncio.run(store.size("big/object")) is None
    asyncio.run(store.put("big/object", b"whole"))
    assert asyncio.run(store.list("")) == [("big/object", 5)]


async def test_a_new_root_is_private(store: Store, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    await store.put_new("keys/one/two", b"secret", private=True)
    assert stat.S_IMODE((tmp_path / "store/keys/one/two").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "store/keys/one").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "store/keys").stat().st_mode) == 0o700


async def test_a_root_with_a_space(tmp_path: Path) -> None:
    await open_store(f"file://{tmp_path}/a%20b").put("k", b"1")
    assert (tmp_path / "a b/k").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/tmp/x", "is not the URL of a store"),
        ("ftp://host/x", "is not the URL of a store"),
        ("file://host/x", "is not an absolute path on this machine"),
        ("s3:///x", "names no bucket"),
        ("file:///proc/nowhere/x", "Cannot create the store"),
    ],
)
def test_wrong_urls(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        open_store(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("os.geteuid() or os.setuid(65534)", "Permission denied"),  # root may write everywhere, so it steps down first
        ("resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))", "File too large"),  # what a full disk looks like
    ],
)
def test_a_store_that_cannot_be_written(store: Store, tmp_path: Path, limit: str, reason: str) -> None:
    (tmp_path / "store").chmod(0o555 if "setuid" in limit else 0o700)
    try:
        done = subprocess.run(
            [sys.executable, "-c", LIMITED_WRITER.replace("LIMIT", limit), store.url], capture_output=True, check=False
        )
    finally:
        (tmp_path / "store").chmod(0o700)
    line = done.stderr.decode().splitlines()[-1]
    assert line.startswith("skyflow.errors.StoreError: Cannot write 'k/x' in the store file://")
    assert reason in line
    assert asyncio.run(store.list("")) == []


def test_reasons_are_one_line() -> None:
    assert _reason(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device."
    assert _reason(ValueError("first\n\nDebug source: pages")) == "first."


def test_reachability() -> None:
    check_reachable("file:///a", temporal_is_loopback=True)
    check_reachable("s3://bucket", temporal_is_loopback=False)
    with pytest.raises(UsageError, match="SKYFLOW_STORE"):
        check_reachable("file:///a", temporal_is_loopback=False)


async def test_a_bucket_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "not-a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-key")
    with pytest.raises(StoreError, match="Cannot read 'x' in the store s3://bucket/prefix") as caught:
        await open_store("s3://bucket/prefix").get("x")
    assert "\n" not in str(caught.value)
