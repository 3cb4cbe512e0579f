"""Snapshots of real folders: what is read, what is uploaded, and what happens when the folder does not hold still."""

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import zstandard

from skyflow.errors import InvalidTaskError, ObjectAbsentError, StoreError
from skyflow.models.snapshot import Entry, Manifest
from skyflow.store import pack
from skyflow.store import snapshot as snapshot_module
from skyflow.store.reader import SnapshotReader
from skyflow.store.scan import scan
from skyflow.store.snapshot import Snapshot, take_snapshot
from skyflow.store.store import Store

LONG_AGO = 1_700_000_000


async def read_back(store: Store, ref: str) -> dict[str, bytes]:
    reader = SnapshotReader(store)
    manifest = await reader.manifest(ref)
    result = {entry.path: b"" for entry in manifest.entries if entry.kind == "f"}
    async for entry, chunk in reader.contents([entry for entry in manifest.entries if entry.size]):
        result[entry.path] += chunk
    return result


def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names of the files that are read from now on."""
    opened: list[bytes] = []
    until_stable = pack._until_stable

    def spy(path, stamp, read):  # type: ignore[no-untyped-def]
        opened.append(os.path.basename(path))
        return until_stable(path, stamp, read)

    monkeypatch.setattr(pack, "_until_stable", spy)
    return opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work/sub/empty").mkdir(parents=True)
    for number in range(50):
        (tmp_path / f"work/sub/{number}").write_bytes(b"content %d" % number)
    (tmp_path / "work/link").symlink_to("sub/1")
    (tmp_path / "work/run.sh").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "work/run.sh").chmod(0o755)
    (tmp_path / "work/nothing").touch()
    return tmp_path / "work"


async def test_everything_is_there(store: Store, folder: Path) -> None:
    snapshot = await take_snapshot(store, folder)
    assert (snapshot.files, snapshot.uploaded_files, snapshot.skipped) == (52, 51, ())
    manifest = await SnapshotReader(store).manifest(snapshot.ref)
    entries = {entry.path: entry for entry in manifest.entries}
    assert list(entries) == sorted(entries)
    assert entries["run.sh"].mode == 0o755
    assert (entries["link"].kind, entries["link"].target) == ("l", "sub/1")
    assert entries["sub/empty"].kind == "d"
    assert entries["sub/1"].mtime_ns == (folder / "sub/1").stat().st_mtime_ns
    contents = await read_back(store, snapshot.ref)
    assert contents == {path: (folder / path).read_bytes() for path in contents}
    assert snapshot.bytes == sum(map(len, contents.values()))


async def test_the_same_tree_has_the_same_ref(store: Store, folder: Path, tmp_path: Path) -> None:
    first = await take_snapshot(store, folder)
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    second = await take_snapshot(store, tmp_path / "copy")
    assert second.ref == first.ref
    assert await read_back(store, first.ref) == await read_back(store, second.ref)
    assert len(await store.list("snapshots")) == 1
    assert len(await store.list("packs")) == 1


async def test_one_edited_file_is_read_and_uploaded(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "RACY_NS", -(10**18))  # as if the files had been written long ago
    first = await take_snapshot(store, folder)
    opened = reads(monkeypatch)
    assert await take_snapshot(store, folder) == Snapshot(first.ref, 52, first.bytes, 0, 0)
    assert opened == []
    (folder / "sub/7").write_bytes(b"edited")
    second = await take_snapshot(store, folder)
    assert opened == [b"7"]
    assert second.uploaded_files == 1
    assert (await read_back(store, second.ref))["sub/7"] == b"edited"
    assert (await read_back(store, first.ref))["sub/7"] == b"content 7"


async def test_an_edit_right_after_a_snapshot_is_seen(store: Store, folder: Path) -> None:
    """The size and the times stay the same, as they can when a file is written twice within one tick of the clock."""
    for data in (b"one", b"two", b"six"):
        with (folder / "racy").open("wb") as file:
            file.write(data)
        os.utime(folder / "racy", (LONG_AGO, LONG_AGO))
        assert (await read_back(store, (await take_snapshot(store, folder)).ref))["racy"] == data


async def test_touched_and_moved_files_are_not_uploaded_again(store: Store, folder: Path) -> None:
    first = await take_snapshot(store, folder)
    for path in folder.glob("sub/?"):
        path.touch()
    (folder / "sub/20").rename(folder / "sub/moved")
    second = await take_snapshot(store, folder)
    assert second.ref != first.ref
    assert (second.uploaded_files, second.uploaded_bytes) == (0, 0)
    assert (await read_back(store, second.ref))["sub/moved"] == b"content 20"


async def test_mode_and_deletion(store: Store, folder: Path) -> None:
    await take_snapshot(store, folder)
    (folder / "run.sh").chmod(0o700)
    (folder / "sub/3").unlink()
    manifest = await SnapshotReader(store).manifest((await take_snapshot(store, folder)).ref)
    entries = {entry.path: entry for entry in manifest.entries}
    assert entries["run.sh"].mode == 0o700
    assert "sub/3" not in entries


async def test_a_big_file_is_streamed_and_stored_once(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "big").write_bytes(os.urandom(20 << 20))
    (folder / "zeros").write_bytes(bytes(30 << 20))
    snapshot = await take_snapshot(store, folder)
    assert len(await store.list("files")) == 2
    contents = await read_back(store, snapshot.ref)
    assert contents["big"] == (folder / "big").read_bytes()
    assert contents["zeros"] == bytes(30 << 20)
    sizes = []
    async for _, chunk in SnapshotReader(store).contents(
        [entry for entry in (await SnapshotReader(store).manifest(snapshot.ref)).entries if entry.path == "zeros"]
    ):
        sizes.append(len(chunk))
    assert max(sizes) <= pack.CHUNK
    await store.delete([key for key, _ in await store.list("heads")])
    assert (await take_snapshot(store, folder)).uploaded_files == 51  # the packs are lost to it, the big files are not


async def test_packs_are_bounded(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "PACK_BYTES", 100)
    snapshot = await take_snapshot(store, folder)
    assert len(await store.list("packs")) > 4
    assert (await read_back(store, snapshot.ref))["sub/42"] == b"content 42"


async def test_a_single_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    (tmp_path / "link").symlink_to("one")
    snapshot = await take_snapshot(store, tmp_path / "link")
    assert snapshot.files == 1
    assert await read_back(store, snapshot.ref) == {"one": b"1"}
    assert (await SnapshotReader(store).manifest(snapshot.ref)).kind == "f"


async def test_odd_names(store: Store, tmp_path: Path) -> None:
    names = [b"-rf", b"new\nline", b"quote'\"", b" space ", b"\xff\xfe", b"$(x)`y`\\", "ü日本".encode(), b"#*?[]"]
    folder = os.fsencode(tmp_path / "odd")
    os.mkdir(folder)
    for name in names:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(name)
        os.symlink(name, os.path.join(folder, b"l" + name))
    contents = await read_back(store, (await take_snapshot(store, tmp_path / "odd")).ref)
    assert {os.fsencode(path): data for path, data in contents.items()} == {name: name for name in names}


async def test_sockets_and_pipes_are_left_out(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        snapshot = await take_snapshot(store, folder)
    assert sorted(snapshot.skipped) == ["pipe", "sock"]
    assert snapshot.files == 52


async def test_the_store_is_not_part_of_what_it_stores(store: Store, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    (tmp_path / "home/server").mkdir(parents=True)
    snapshot = await take_snapshot(store, tmp_path, leave_out=[tmp_path / "home"])
    assert [entry.path for entry in (await SnapshotReader(store).manifest(snapshot.ref)).entries] == ["f"]


async def test_progress(store: Store, folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    snapshot = await take_snapshot(store, folder, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (snapshot.bytes, snapshot.bytes)


@pytest.mark.parametrize("size", [100, 20 << 20])
async def test_a_file_that_never_holds_still(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    (folder / "busy").write_bytes(bytes(size))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def write_meanwhile(read):  # type: ignore[no-untyped-def]
        def reading(descriptor: int) -> object:
            content = read(descriptor)
            with (folder / "busy").open("ab") as file:
                file.write(b"more")
            return content

        return reading

    monkeypatch.setattr(pack, "_read_whole", write_meanwhile(pack._read_whole))
    monkeypatch.setattr(pack, "_hash_whole", write_meanwhile(pack._hash_whole))
    with pytest.raises(InvalidTaskError, match=r"changes while it is read; stop what writes to it"):
        await take_snapshot(store, folder)
    assert await store.list("snapshots") == []


@pytest.mark.parametrize("size", [100, 20 << 20])
async def test_a_file_that_changes_once_is_read_again(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    (folder / "busy").write_bytes(bytes(size))
    name = "_read_whole" if size == 100 else "_hash_whole"
    read = getattr(pack, name)
    times = 0

    def write_once(descriptor: int) -> object:
        nonlocal times
        content = read(descriptor)
        if not times and os.fstat(descriptor).st_size == size:
            times += 1
            with (folder / "busy").open("ab") as file:
                file.write(b"more")
        return content

    monkeypatch.setattr(pack, name, write_once)
    assert (await read_back(store, (await take_snapshot(store, folder)).ref))["busy"] == bytes(size) + b"more"


async def test_a_big_file_that_changes_between_hash_and_upload(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "busy").write_bytes(bytes(20 << 20))
    put_big = pack.Packer._put_big
    times = 0

    async def changed_first(self, path, digest):  # type: ignore[no-untyped-def]
        nonlocal times
        times += 1
        if times == 1:
            (folder / "busy").write_bytes(b"\1" * (20 << 20))
        return await put_big(self, path, digest)

    monkeypatch.setattr(pack.Packer, "_put_big", changed_first)
    snapshot = await take_snapshot(store, folder)
    assert (await read_back(store, snapshot.ref))["busy"] == b"\1" * (20 << 20)
    assert len(await store.list("files")) == 1


async def test_a_file_that_vanishes_is_not_there(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    until_stable = pack._until_stable

    def vanish(path, stamp, read):  # type: ignore[no-untyped-def]
        if path.endswith(b"/sub/5"):
            os.unlink(path)
        return until_stable(path, stamp, read)

    monkeypatch.setattr(pack, "_until_stable", vanish)
    contents = await read_back(store, (await take_snapshot(store, folder)).ref)
    assert "sub/5" not in contents
    assert "sub/6" in contents


UNREADABLE = """
import asyncio, os, sys
from pathlib import Path
from skyflow.errors import SkyflowError
from skyflow.store.snapshot import take_snapshot
from skyflow.store.store import open_store

store = open_store(sys.argv[1])
asyncio.run(take_snapshot(store, Path(sys.argv[2]) / "fine"))
os.geteuid() or os.setuid(65534)
try:
    asyncio.run(take_snapshot(store, Path(sys.argv[2]) / sys.argv[3]))
except SkyflowError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(("part", "what"), [("file", "file/secret"), ("folder", "folder/closed")])
def test_what_cannot_be_read_is_named(part: str, what: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        source.chmod(0o755)
        for folder in ("fine", "file", "folder/closed"):
            (source / folder).mkdir(parents=True)
        (source / "fine/f").write_bytes(b"1")
        (source / "file/secret").write_bytes(b"1")
        (source / "file/secret").chmod(0)
        (source / "folder/closed").chmod(0)
        (source / "store").mkdir(mode=0o755)
        command = [sys.executable, "-c", UNREADABLE, f"file://{name}/store", name, part]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        (source / "folder/closed").chmod(0o700)
    assert done.stdout.startswith("InvalidTaskError Cannot read "), done.stderr
    assert what in done.stdout
    assert "Permission denied; make it readable or list it in .skyignore." in done.stdout
    assert done.stdout.count("\n") == 1


async def test_a_missing_folder(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InvalidTaskError, match=r"Cannot read '.*/nowhere': No such file or directory"):
        await take_snapshot(store, tmp_path / "nowhere")


async def test_damage_is_noticed(store: Store, folder: Path) -> None:
    snapshot = await take_snapshot(store, folder)
    reader = SnapshotReader(store)
    entries = [entry for entry in (await reader.manifest(snapshot.ref)).entries if entry.size]
    (key, _), *_ = await store.list("packs")
    data = bytearray(await store.get(key))
    data[-3] ^= 1
    await store.put(key, bytes(data))
    with pytest.raises(StoreError, match="is damaged"):
        _ = [chunk async for _, chunk in reader.contents(entries)]
    other = Manifest("d", (Entry("x", "d", 0o755),))
    for damaged in (b"", b"junk", zstandard.compress(b"{}"), zstandard.compress(other.encode())):
        await store.put(snapshot.ref, damaged)
        with pytest.raises(StoreError, match="is damaged"):
            await reader.manifest(snapshot.ref)
    with pytest.raises(ObjectAbsentError):
        await reader.manifest("snapshots/none")


@pytest.mark.parametrize("head", [b"", b"junk", zstandard.compress(b"[]"), zstandard.compress(b'{"version": 99}')])
async def test_a_head_that_cannot_be_read_only_costs_time(store: Store, folder: Path, head: bytes) -> None:
    first = await take_snapshot(store, folder)
    ((key, _),) = await store.list("heads")
    await store.put(key, head)
    assert (await take_snapshot(store, folder)).ref == first.ref


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from skyflow.store.snapshot import take_snapshot
from skyflow.store.store import Store, open_store

writes = int(sys.argv[3])
put, put_new = Store.put, Store.put_new

def dying(real):
    async def write(self, *args, **kwargs):
        global writes
        writes -= 1
        if writes < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return await real(self, *args, **kwargs)
    return write

Store.put, Store.put_new = dying(put), dying(put_new)
asyncio.run(take_snapshot(open_store(sys.argv[1]), Path(sys.argv[2])))
"""


def test_a_killed_client_leaves_nothing_half_made(store: Store, folder: Path) -> None:
    (folder / "big").write_bytes(os.urandom(17 << 20))
    for writes in range(10):
        done = subprocess.run([sys.executable, "-c", KILLED, store.url, str(folder), str(writes)], check=False)
        for ref, _ in asyncio.run(store.list("snapshots")):  # whatever is named is there
            asyncio.run(read_back(store, ref))
        if done.returncode == 0:
            assert writes > 0
            break
        assert done.returncode == -signal.SIGKILL
    snapshot = asyncio.run(take_snapshot(store, folder))
    assert (snapshot.files, snapshot.uploaded_files) == (53, 0)
    assert len(asyncio.run(store.list("packs"))) == 1


@pytest.mark.parametrize("harm", ["manifest", "head"])
async def test_a_damaged_earlier_snapshot_only_costs_time(store: Store, folder: Path, harm: str) -> None:
    first = await take_snapshot(store, folder)
    key = first.ref if harm == "manifest" else (await store.list("heads"))[0][0]
    await store.put(key, b"damaged")
    (folder / "more").write_text("more")
    second = await take_snapshot(store, folder)
    assert (await read_back(store, second.ref))["more"] == b"more"


def test_a_manifest_reads_back() -> None:
    entries = tuple(Entry(f"d/{n}", "f", 0o644, n, n, "0" * 64, "", "packs/x", n, n) for n in range(10_000))
    manifest = Manifest("d", entries)
    assert Manifest.decode(manifest.encode(), manifest.digest) == manifest
    with pytest.raises(ValueError, match="damaged"):
        Manifest.decode(manifest.encode().replace(b'"size":1', b'"size":2').replace(b"d/1", b"d/2"), manifest.digest)
    newer = manifest.encode().replace(b'"version":2', b'"version":9')
    with pytest.raises(ValueError, match="version 9 is unknown"):
        Manifest.decode(newer, hashlib.sha256(newer.partition(b"\n")[0]).hexdigest())


async def test_files_alike_are_stored_once_also_across_packs(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "PACK_BYTES", 300)
    (tmp_path / "work").mkdir()
    for number in range(20):
        (tmp_path / f"work/{number:02}").write_bytes(b"%d" % (number % 5) * 100)
    snapshot = await take_snapshot(store, tmp_path / "work")
    assert snapshot.uploaded_files == 5
    assert len(await store.list("packs")) == 2
    assert await read_back(store, snapshot.ref) == {f"{n:02}": b"%d" % (n % 5) * 100 for n in range(20)}


async def test_a_pack_that_cannot_be_written_is_noticed(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written while the next ones are made."""
    monkeypatch.setattr(pack, "PACK_BYTES", 100)
    put = Store.put
    written: list[str] = []

    async def failing(self, key, data):  # type: ignore[no-untyped-def]
        written.append(key)
        if len(written) == 2:
            raise StoreError("the store is full")
        await put(self, key, data)

    monkeypatch.setattr(Store, "put", failing)
    with pytest.raises(StoreError, match="the store is full"):
        await take_snapshot(store, folder)
    assert await store.list("snapshots") == []
    monkeypatch.setattr(Store, "put", put)
    snapshot = await take_snapshot(store, folder)
    assert (await read_back(store, snapshot.ref))["sub/42"] == b"content 42"


def test_packs_of_one_name_are_alike(store: Store, tmp_path: Path) -> None:
    """Two clients may compress in different ways: what one of them wrote must not be taken for what the other did."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work/a").write_bytes(b"".join(b"%d " % (n * n) for n in range(5000)))
    (tmp_path / "work/b").write_bytes(b"b")
    files = scan(os.fsencode(tmp_path / "work")).found
    names = []
    for level in (1, 1, 19):
        packer = pack.Packer(store, os.fsencode(tmp_path / "work"), {}, lambda _: None)
        packer._compressor = zstandard.ZstdCompressor(level=level)
        name, data, read = packer._build_pack(files)
        assert {place[0] for place in packer.places.values()} == {name}
        assert sorted(read) == ["a", "b"]
        assert len(data) == sum(length for _, _, length in packer.places.values())
        names.append(name)
    assert names[0] == names[1] != names[2]
