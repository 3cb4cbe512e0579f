"""The sync on real trees, with GNU's tools and with busybox: what is sent, what is removed, and what is left alone."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skyflow.errors import InvalidTaskError, NodeUnreachableError, ObjectAbsentError, SkyflowError
from skyflow.nodes.sync import SCRIPT, SyncResult, sync
from skyflow.store.reader import SnapshotReader
from skyflow.store.snapshot import take_snapshot
from skyflow.store.store import Store, open_store

from .conftest import ShellNode
from .tree import Tree, read_tree, remove_tree, trees, write_tree

pytestmark = pytest.mark.timeout(120)
WORKDIR = "~/sky_workdir"


async def put(store: Store, node: ShellNode, source: Path, tree: Tree, target: str = WORKDIR) -> SyncResult:
    write_tree(source, tree)
    snapshot = await take_snapshot(store, source)
    return await sync(node, SnapshotReader(store), snapshot.ref, target)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=trees,
    second=trees,
    mine=st.dictionaries(st.sampled_from([b"out", b"a/out", b"-rf/out"]), st.binary(max_size=9)),
)
def test_any_tree_after_any_other(node_path: str, first: Tree, second: Tree, mine: dict[bytes, bytes]) -> None:
    async def check(folder: Path) -> None:
        node = ShellNode(folder / "home", node_path)
        node.home.mkdir()
        store = open_store(f"file://{folder}/store")
        target = node.home / "sky_workdir"
        await put(store, node, folder / "source", first)
        assert read_tree(target) == first
        expected = dict(second)
        for path, data in mine.items():  # files that a job wrote, wherever there is a folder for them
            full = os.path.join(os.fsencode(target), path)
            parent = os.path.dirname(path)
            if second.get(parent, ("d" if not parent else "", 0, b""))[0] == "d" and os.path.isdir(
                os.path.dirname(full)
            ):
                if os.path.islink(os.path.dirname(full)):
                    continue
                with open(full, "wb") as file:
                    file.write(data)
                os.chmod(full, 0o640)
                expected[path] = ("f", 0o640, data)
        await put(store, node, folder / "source", second)
        assert read_tree(target) == expected
        commands = len(node.commands)
        again = await sync(node, SnapshotReader(store), (await take_snapshot(store, folder / "source")).ref, WORKDIR)
        assert again == SyncResult(0, 0, 0)
        assert len(node.commands) == commands + 1

    with tempfile.TemporaryDirectory() as name:
        try:
            asyncio.run(check(Path(name)))
        finally:
            for part in ("source", "home"):
                remove_tree(os.fsencode(Path(name) / part))


async def test_only_what_changed_is_sent(node: ShellNode, store: Store, tmp_path: Path) -> None:
    tree: Tree = {b"d": ("d", 0o755, b""), **{b"d/%d" % n: ("f", 0o644, b"x" * 999) for n in range(300)}}
    write_tree(tmp_path / "source", tree)
    first = await sync(node, SnapshotReader(store), (await take_snapshot(store, tmp_path / "source")).ref, WORKDIR)
    assert first == SyncResult(300, 300 * 999, 0)
    (tmp_path / "source/d/7").write_bytes(b"y")
    (tmp_path / "source/d/8").unlink()
    snapshot = await take_snapshot(store, tmp_path / "source")
    assert snapshot.uploaded_files == 1
    assert await sync(node, SnapshotReader(store), snapshot.ref, WORKDIR) == SyncResult(1, 1, 1)
    tree[b"d/7"] = ("f", 0o644, b"y")
    del tree[b"d/8"]
    assert read_tree(node.home / "sky_workdir") == tree


async def test_of_many_files_only_what_changed_is_even_mentioned(node: ShellNode, store: Store, tmp_path: Path) -> None:
    # names so long that the answer of a node is worth packing, if it has zstd
    tree: Tree = {b"f%05d" % n + b"_" * 60: ("f", 0o644, b"%d" % n) for n in range(1200)}
    await put(store, node, tmp_path / "source", tree)
    (state,) = node.home.glob(".skyflow/sync/*")
    listed = (state / "list").read_bytes()
    for number in range(3):
        (tmp_path / f"source/f00007{'_' * 60}").write_bytes(b"round %d" % number)
        (tmp_path / f"source/f0010{number}{'_' * 60}").unlink()
        node.received = 0
        ref = (await take_snapshot(store, tmp_path / "source")).ref
        assert await sync(node, SnapshotReader(store), ref, WORKDIR) == SyncResult(1, 7, 1)
        assert node.received < len(SCRIPT.read_bytes()) + 20_000
        assert await sync(node, SnapshotReader(store), ref, WORKDIR) == SyncResult(0, 0, 0)
    assert (state / "list").read_bytes() == listed
    assert len((state / "changes").read_bytes()) < 600
    names = {path.name for path in (node.home / "sky_workdir").iterdir()}
    assert names == {path.name for path in (tmp_path / "source").iterdir()}
    assert (node.home / f"sky_workdir/f00007{'_' * 60}").read_bytes() == b"round 2"


async def test_what_an_earlier_version_wrote_down_is_read(node: ShellNode, store: Store, tmp_path: Path) -> None:
    """Version 1 had one list, which was written anew by every sync."""
    tree: Tree = {
        b"d": ("d", 0o755, b""),
        b"d/f": ("f", 0o644, b"1"),
        b"g": ("f", 0o644, b"2"),
        b"x": ("f", 0o644, b""),
    }
    await put(store, node, tmp_path / "source", tree)
    (state,) = node.home.glob(".skyflow/sync/*")
    header, _, rest = (state / "list").read_bytes().partition(b"\n")
    assert header.startswith(b"skyflow-sync 2 ")
    old = header.replace(b"skyflow-sync 2 ", b"skyflow-sync 1 ").removesuffix(b" changes") + b"\n" + rest
    (state / "list").write_bytes(old)
    (state / "changes").unlink()
    ref = (await take_snapshot(store, tmp_path / "source")).ref
    assert await sync(node, SnapshotReader(store), ref, WORKDIR) == SyncResult(0, 0, 0)
    (tmp_path / "source/d/f").write_bytes(b"new")
    (tmp_path / "source/g").unlink()
    ref = (await take_snapshot(store, tmp_path / "source")).ref
    assert await sync(node, SnapshotReader(store), ref, WORKDIR) == SyncResult(1, 3, 1)
    assert (state / "list").read_bytes().startswith(b"skyflow-sync 2 ")
    assert await sync(node, SnapshotReader(store), ref, WORKDIR) == SyncResult(0, 0, 0)


async def test_what_the_job_did_to_our_files_is_undone(node: ShellNode, store: Store, tmp_path: Path) -> None:
    tree: Tree = {
        b"d": ("d", 0o750, b""), b"d/e": ("d", 0o755, b""), b"d/e/f": ("f", 0o644, b"1"),
        b"written": ("f", 0o644, b"1"), b"mode": ("f", 0o644, b"1"), b"gone": ("f", 0o644, b"1"),
        b"link": ("l", 0o777, b"mode"), b"same": ("f", 0o600, b"1"),
    }  # fmt: skip
    await put(store, node, tmp_path / "source", tree)
    target = node.home / "sky_workdir"
    (target / "written").write_bytes(b"2")
    (target / "mode").chmod(0o755)
    (target / "gone").unlink()
    (target / "link").unlink()
    (target / "link").write_bytes(b"a file")
    (target / "d").chmod(0o700)
    shutil.rmtree(target / "d/e")
    os.utime(target / "written", (1_700_000_000, 1_700_000_000))
    ref = (await take_snapshot(store, tmp_path / "source")).ref
    assert await sync(node, SnapshotReader(store), ref, WORKDIR) == SyncResult(5, 4, 0)
    assert read_tree(target) == tree


async def test_a_script_that_was_cut_is_not_run(node: ShellNode, store: Store, tmp_path: Path) -> None:
    class CutOnce(ShellNode):
        async def run(self, command, *, input=b"", timeout):  # type: ignore[no-untyped-def]
            return await super().run(command, input=input[: len(input) // 2], timeout=timeout)

    write_tree(tmp_path / "source", {b"f": ("f", 0o644, b"1")})
    ref = (await take_snapshot(store, tmp_path / "source")).ref
    with pytest.raises(NodeUnreachableError, match="cut off"):
        await sync(CutOnce(node.home, node.path), SnapshotReader(store), ref, WORKDIR)
    assert not list(node.home.glob(".skyflow/bin/apply-*.sh"))
    assert await sync(node, SnapshotReader(store), ref, WORKDIR) == SyncResult(1, 1, 0)


async def test_same_size_and_second_is_still_a_change(node: ShellNode, store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for data in (b"one", b"two"):
        source.mkdir(exist_ok=True)
        (source / "f").write_bytes(data)
        os.utime(source / "f", (1_700_000_000, 1_700_000_000))
        await sync(node, SnapshotReader(store), (await take_snapshot(store, source)).ref, WORKDIR)
        assert (node.home / "sky_workdir/f").read_bytes() == data
        assert (node.home / "sky_workdir/f").stat().st_mtime == 1_700_000_000


async def test_what_the_job_wrote_stays(node: ShellNode, store: Store, tmp_path: Path) -> None:
    source, target = tmp_path / "source", node.home / "sky_workdir"
    full: Tree = {b"d": ("d", 0o755, b""), b"d/data": ("f", 0o644, b"1"), b"d/results": ("f", 0o644, b"empty")}
    await put(store, node, source, full)
    (target / "d/results").write_bytes(b"three days of work")
    (target / "d/checkpoint").write_bytes(b"mine")
    await put(store, node, source, {})
    assert sorted(path.name for path in (target / "d").iterdir()) == ["checkpoint", "results"]
    assert (target / "d/results").read_bytes() == b"three days of work"


async def test_nothing_is_touched_through_a_link(node: ShellNode, store: Store, tmp_path: Path) -> None:
    """A job replaced one of our folders by a link to a folder of its own."""
    source, target = tmp_path / "source", node.home / "sky_workdir"
    await put(store, node, source, {b"d": ("d", 0o755, b""), b"d/data": ("f", 0o644, b"1")})
    own = node.home / "own"
    (target / "d").rename(own)
    (target / "d").symlink_to(own)
    await put(store, node, source, {})
    assert (own / "data").read_bytes() == b"1"
    assert (target / "d").is_symlink()
    await put(store, node, source, {b"d": ("d", 0o755, b""), b"d/data": ("f", 0o644, b"2")})
    assert (own / "data").read_bytes() == b"1"
    assert read_tree(target) == {b"d": ("d", 0o755, b""), b"d/data": ("f", 0o644, b"2")}


async def test_a_link_of_the_job_in_the_place_of_a_file(node: ShellNode, store: Store, tmp_path: Path) -> None:
    target = node.home / "sky_workdir"
    (target / "elsewhere").mkdir(parents=True)
    (target / "x").symlink_to("elsewhere")
    await put(store, node, tmp_path / "source", {b"x": ("f", 0o644, b"1")})
    assert (target / "x").read_bytes() == b"1"
    assert not (target / "x").is_symlink()
    assert list((target / "elsewhere").iterdir()) == []


async def test_a_folder_with_files_of_the_job_is_not_replaced(node: ShellNode, store: Store, tmp_path: Path) -> None:
    source, target = tmp_path / "source", node.home / "sky_workdir"
    await put(store, node, source, {b"x": ("d", 0o755, b""), b"x/ours": ("f", 0o644, b"1")})
    (target / "x/mine").write_bytes(b"mine")
    with pytest.raises(
        SkyflowError, match="sky_workdir/x is, a folder with files that did not come from here"
    ) as caught:
        await put(store, node, source, {b"x": ("f", 0o644, b"2")})
    assert "\n" not in str(caught.value)
    assert (target / "x/mine").read_bytes() == b"mine"
    (target / "x/mine").unlink()
    await put(store, node, source, {b"x": ("f", 0o644, b"2")})
    assert read_tree(target) == {b"x": ("f", 0o644, b"2")}


@pytest.mark.parametrize("target", ["~/data", "data/set", "ABSOLUTE", "~", '~/it\'s a "dir"/ü'])
async def test_targets(node: ShellNode, store: Store, tmp_path: Path, target: str) -> None:
    places = {"~/data": "home/data", "data/set": "home/sky_workdir/data/set", "ABSOLUTE": "mnt/x", "~": "home"}
    place = tmp_path / places.get(target, target.replace("~", "home"))
    target = str(place) if target == "ABSOLUTE" else target
    node.home.chmod(0o750)
    await put(store, node, tmp_path / "source", {b"f": ("f", 0o644, b"1"), b"d": ("d", 0o700, b"")}, target)
    assert (place / "f").read_bytes() == b"1"
    assert node.home.stat().st_mode & 0o777 == 0o750
    assert await put(store, node, tmp_path / "source", {b"g": ("f", 0o644, b"2")}, target + "/") == SyncResult(1, 1, 1)
    assert not (place / "f").exists()
    assert not (place / "d").exists()


async def test_a_target_on_another_file_system(node: ShellNode, store: Store, tmp_path: Path) -> None:
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is no second file system here")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        tree: Tree = {b"f": ("f", 0o644, b"1"), b"d": ("d", 0o700, b""), b"d/l": ("l", 0o777, b"../f")}
        await put(store, node, tmp_path / "source", tree, f"{other}/x")
        assert read_tree(Path(other) / "x") == tree


async def test_a_target_that_is_a_link_to_a_folder(node: ShellNode, store: Store, tmp_path: Path) -> None:
    (node.home / "big").mkdir()
    (node.home / "sky_workdir").symlink_to("big")
    await put(store, node, tmp_path / "source", {b"f": ("f", 0o644, b"1")})
    assert (node.home / "sky_workdir").is_symlink()
    assert (node.home / "big/f").read_bytes() == b"1"


async def test_single_files_and_folders_take_turns(node: ShellNode, store: Store, tmp_path: Path) -> None:
    source = tmp_path / "file with space"
    reader = SnapshotReader(store)
    for content in (b"one", b"two", b""):
        source.write_bytes(content)
        await sync(node, reader, (await take_snapshot(store, source)).ref, "~/conf/app.conf")
        assert (node.home / "conf/app.conf").read_bytes() == content
    (node.home / "conf/other").write_bytes(b"mine")
    await put(store, node, tmp_path / "source", {b"f": ("f", 0o644, b"1")}, "~/conf/app.conf")
    assert (node.home / "conf/app.conf/f").read_bytes() == b"1"
    await sync(node, reader, (await take_snapshot(store, source)).ref, "~/conf/app.conf")
    assert (node.home / "conf/app.conf").read_bytes() == b""
    assert (node.home / "conf/other").read_bytes() == b"mine"
    with pytest.raises(InvalidTaskError, match="name the file"):
        await sync(node, reader, (await take_snapshot(store, source)).ref, "~")


async def test_an_empty_folder_is_made(node: ShellNode, store: Store, tmp_path: Path) -> None:
    await put(store, node, tmp_path / "source", {}, "~/empty")
    assert list((node.home / "empty").iterdir()) == []


async def test_a_big_file_is_streamed(node: ShellNode, store: Store, tmp_path: Path) -> None:
    block = os.urandom(1 << 20)
    tree: Tree = {b"big": ("f", 0o644, block * 40), b"zero": ("f", 0o600, bytes(70 << 20)), b"s": ("f", 0o644, b"1")}
    progress: list[tuple[int, int]] = []
    write_tree(tmp_path / "source", tree)
    snapshot = await take_snapshot(store, tmp_path / "source")
    report = lambda done, total: progress.append((done, total))  # noqa: E731
    await sync(node, SnapshotReader(store), snapshot.ref, WORKDIR, progress=report)
    assert read_tree(node.home / "sky_workdir") == tree
    assert progress[-1] == ((110 << 20) + 1, (110 << 20) + 1)
    assert len(progress) > 20


async def test_long_paths(node: ShellNode, store: Store, tmp_path: Path) -> None:
    deep = b"/".join([b"n" * 120] * 6)
    tree: Tree = {deep.rsplit(b"/", n)[0]: ("d", 0o755, b"") for n in range(1, 6)}
    tree[deep] = ("f", 0o644, b"1")
    tree[b"link"] = ("l", 0o777, deep)
    await put(store, node, tmp_path / "source", tree)
    assert read_tree(node.home / "sky_workdir") == tree


async def test_many_files_take_few_processes(node: ShellNode, store: Store, tmp_path: Path) -> None:
    tree: Tree = {b"f%05d" % n: ("f", 0o644, b"%d" % n) for n in range(3000)}
    await put(store, node, tmp_path / "source", tree)
    assert len(read_tree(node.home / "sky_workdir")) == 3000
    assert len(node.commands) == 2


async def test_two_syncs_at_once_end_as_one_of_them(node: ShellNode, store: Store, tmp_path: Path) -> None:
    if shutil.which("flock", path=node.path) is None:
        pytest.skip("this busybox was built without flock")
    reader = SnapshotReader(store)
    sources: list[Tree] = [{b"%d" % n: ("f", 0o644, b"%d" % k) for n in range(50 + k)} for k in range(3)]
    refs = []
    for tree in sources:
        write_tree(tmp_path / "source", tree)
        refs.append((await take_snapshot(store, tmp_path / "source")).ref)
    await asyncio.gather(*(sync(node, reader, ref, WORKDIR) for ref in refs))
    assert read_tree(node.home / "sky_workdir") in sources
    await sync(node, reader, refs[0], WORKDIR)
    assert read_tree(node.home / "sky_workdir") == sources[0]
    assert not list(node.home.glob(".skyflow/sync/*/stage*"))


async def test_what_the_node_refuses_is_one_sentence(node: ShellNode, store: Store, tmp_path: Path) -> None:
    (node.home / "taken").write_bytes(b"")
    with pytest.raises(SkyflowError, match=r"Cannot copy files to ~/taken/x on the node: .*taken") as caught:
        await put(store, node, tmp_path / "source", {b"f": ("f", 0o644, b"1")}, "~/taken/x")
    assert "\n" not in str(caught.value)


async def test_an_absent_snapshot(node: ShellNode, reader: SnapshotReader) -> None:
    with pytest.raises(ObjectAbsentError):
        await sync(node, reader, "snapshots/none", WORKDIR)
    assert not any(" apply " in command for command in node.commands)
    assert not (node.home / "sky_workdir").exists()
