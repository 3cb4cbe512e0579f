"""A sync that dies: at every single step of the node's script, in the middle of the stream, and as an ordinary user."""

import os
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

import pytest

from skyflow.errors import NodeUnreachableError, SkyflowError, StoreError
from skyflow.models.snapshot import Entry
from skyflow.nodes import record
from skyflow.nodes import sync as sync_module
from skyflow.nodes.sync import SyncResult, sync
from skyflow.store.reader import SnapshotReader
from skyflow.store.snapshot import take_snapshot
from skyflow.store.store import Store

from .conftest import ShellNode
from .tree import Tree, read_tree, write_tree

pytestmark = pytest.mark.timeout(120)
WORKDIR = "~/sky_workdir"
TOOLS = ("mkdir", "stat", "rm", "tar", "mv", "cp", "xargs", "find", "flock", "chmod", "rmdir", "head", "tail", "cat")

BEFORE: Tree = {
    b"keep": ("f", 0o644, b"keep"), b"change": ("f", 0o644, b"old"), b"gone": ("f", 0o644, b"x"),
    b"d": ("d", 0o555, b""), b"d/in": ("f", 0o444, b"1"), b"d/gone": ("f", 0o444, b"1"),
    b"turns": ("d", 0o755, b""), b"turns/x": ("f", 0o644, b"x"),
    b"file": ("f", 0o644, b"f"), b"link": ("l", 0o777, b"keep"),
}  # fmt: skip
MIDDLE: Tree = {
    b"keep": ("f", 0o644, b"keep"), b"change": ("f", 0o755, b"new"),
    b"d": ("d", 0o755, b""), b"d/in": ("f", 0o444, b"2"),
    b"turns": ("f", 0o600, b"a file now"), b"file": ("d", 0o700, b""), b"file/y": ("f", 0o644, b"y"),
    b"link": ("l", 0o777, b"change"), b"only": ("f", 0o644, b"here"),
}  # fmt: skip
AFTER: Tree = {
    b"keep": ("f", 0o644, b"keep"), b"change": ("f", 0o644, b"end"),
    b"d": ("d", 0o755, b""), b"d/in": ("f", 0o444, b"1"),
    b"turns": ("d", 0o755, b""), b"turns/x": ("f", 0o644, b"x"), b"new": ("f", 0o644, b""),
}  # fmt: skip
MINE: Tree = {b"out.log": ("f", 0o640, b"mine"), b"d/out": ("f", 0o640, b"mine too")}

KILLER = """#!/bin/sh
mine=$PATH
PATH=$REAL_PATH
number=$(set -- "$COUNTER"/*; echo $#)
until mkdir "$COUNTER/$number" 2>/dev/null || [ "$number" -gt 500 ]; do number=$((number + 1)); done
if [ "$number" -eq "$KILL_AT" ]; then
  [ "$KILL_WHEN" = before ] || {tool} "$@"
  kill -9 0
fi
real=$(command -v {tool})
PATH=$mine
exec "$real" "$@"
"""


def deadly_path(folder: Path, real: str) -> str:
    """A PATH whose tools count themselves and kill their whole session at the step that is asked for."""
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).write_text(KILLER.replace("{tool}", tool))
        (folder / tool).chmod(0o755)
    return f"{folder}:{real}"


async def refs_of(store: Store, source: Path, *trees: Tree) -> list[str]:
    refs = []
    for tree in trees:
        write_tree(source, tree)
        refs.append((await take_snapshot(store, source)).ref)
    return refs


@pytest.mark.parametrize(("when", "few"), [("before", record.FEW), ("after", record.FEW), ("before", 0)])
async def test_death_at_every_step(
    store: Store, node_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, few: int
) -> None:
    monkeypatch.setattr(record, "FEW", few)  # the record is amended, or written anew
    before, middle, after = await refs_of(store, tmp_path / "source", BEFORE, MIDDLE, AFTER)
    reader = SnapshotReader(store)
    path = deadly_path(tmp_path / "bin", node_path)
    for step in range(1, 200):
        home = tmp_path / f"home{step}"
        home.mkdir()
        await sync(ShellNode(home, node_path), reader, before, WORKDIR)
        (home / "sky_workdir/d").chmod(0o755)
        for name, (_, mode, data) in MINE.items():
            (home / "sky_workdir" / os.fsdecode(name)).write_bytes(data)
            (home / "sky_workdir" / os.fsdecode(name)).chmod(mode)
        (home / "sky_workdir/d").chmod(0o555)
        counter = home / "counter"
        counter.mkdir()
        deadly = {"COUNTER": str(counter), "KILL_AT": str(step), "KILL_WHEN": when, "REAL_PATH": node_path}
        try:
            await sync(ShellNode(home, path, deadly), reader, middle, WORKDIR)
        except SkyflowError:
            pass
        else:  # it needed fewer steps than this
            assert 10 < len(list(counter.iterdir())) < step
            return
        ref, tree = ((after, AFTER), (middle, MIDDLE))[step % 2]
        done = await sync(ShellNode(home, node_path), reader, ref, WORKDIR)
        assert read_tree(home / "sky_workdir") == tree | MINE, f"step {step}"
        assert done == SyncResult(0, 0, 0) or not list(home.glob(".skyflow/sync/*/stage*"))
        assert await sync(ShellNode(home, node_path), reader, ref, WORKDIR) == SyncResult(0, 0, 0)
    pytest.fail("no sync got through")


class BrokenReader(SnapshotReader):
    """A store that breaks in the middle."""

    async def batches(self, entries: Sequence[Entry]) -> AsyncGenerator[Sequence[tuple[Entry, bytes]], None]:
        async for batch in super().batches(entries[:3]):
            yield batch
        raise StoreError("the store broke")


async def test_a_store_that_breaks_changes_nothing(node: ShellNode, store: Store, tmp_path: Path) -> None:
    before, middle = await refs_of(store, tmp_path / "source", BEFORE, MIDDLE)
    await sync(node, SnapshotReader(store), before, WORKDIR)
    with pytest.raises(StoreError, match="the store broke"):
        await sync(node, BrokenReader(store), middle, WORKDIR)
    assert read_tree(node.home / "sky_workdir") == BEFORE


class CuttingNode(ShellNode):
    """A connection that ends after so many bytes, without anybody saying so."""

    limit = 0

    async def run(self, command, *, input=b"", timeout):  # type: ignore[no-untyped-def]
        if isinstance(input, bytes):
            return await super().run(command, input=input, timeout=timeout)
        data = b"".join([chunk async for chunk in input])
        return await super().run(command, input=data[: min(self.limit, len(data) - 1025)], timeout=timeout)


@pytest.mark.parametrize("limit", [0, 512, 5000, 9999, 10**9])
async def test_a_cut_stream_changes_nothing(node: ShellNode, store: Store, tmp_path: Path, limit: int) -> None:
    before, middle = await refs_of(store, tmp_path / "source", BEFORE, MIDDLE)
    await sync(node, SnapshotReader(store), before, WORKDIR)
    cutting = CuttingNode(node.home, node.path)
    cutting.limit = limit
    with pytest.raises((NodeUnreachableError, SkyflowError)):
        await sync(cutting, SnapshotReader(store), middle, WORKDIR)
    assert read_tree(node.home / "sky_workdir") == BEFORE
    await sync(node, SnapshotReader(store), middle, WORKDIR)
    assert read_tree(node.home / "sky_workdir") == MIDDLE


@pytest.fixture
def user_node(node_path: str) -> Iterator[ShellNode]:
    """A node whose commands run as an ordinary user, for whom permissions mean something."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "home").mkdir()
        if os.geteuid() == 0:
            os.chown(folder / "home", 65534, 65534)
        yield ShellNode(folder / "home", node_path, user=65534 if os.geteuid() == 0 else None)


async def test_read_only_folders_as_an_ordinary_user(user_node: ShellNode, store: Store, tmp_path: Path) -> None:
    deep: Tree = {b"r": ("d", 0o555, b""), b"r/s": ("d", 0o500, b""), b"r/s/f": ("f", 0o400, b"1")}
    trees: list[Tree] = [
        deep,
        {**deep, b"r/s/f": ("f", 0o444, b"2")},
        {b"r": ("d", 0o555, b""), b"r/s": ("f", 0o400, b"a file")},
        {b"r": ("d", 0o500, b""), b"r/t": ("d", 0o555, b"")},
        {},
    ]
    for tree, ref in zip(trees, await refs_of(store, tmp_path / "source", *trees), strict=True):
        await sync(user_node, SnapshotReader(store), ref, WORKDIR)
        assert read_tree(user_node.home / "sky_workdir") == tree


async def test_a_target_that_may_not_be_made(user_node: ShellNode, store: Store, tmp_path: Path) -> None:
    (ref,) = await refs_of(store, tmp_path / "source", BEFORE)
    locked = user_node.home.parent / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(
        SkyflowError, match=r"Cannot copy files to .*locked/x on the node: .*[Pp]ermission denied"
    ) as caught:
        await sync(user_node, SnapshotReader(store), ref, f"{locked}/x")
    assert "\n" not in str(caught.value)


async def test_a_rubbish_stage_is_swept(node: ShellNode, store: Store, tmp_path: Path) -> None:
    before, middle = await refs_of(store, tmp_path / "source", BEFORE, MIDDLE)
    await sync(node, SnapshotReader(store), before, WORKDIR)
    (state,) = node.home.glob(".skyflow/sync/*")
    (state / "stage.999999999").mkdir()
    await sync(node, SnapshotReader(store), middle, WORKDIR)
    assert sorted(path.name for path in state.iterdir()) == ["changes", "list", "lock"]


async def test_a_sync_that_never_gets_its_turn(
    node: ShellNode, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, middle = await refs_of(store, tmp_path / "source", BEFORE, MIDDLE)

    class Rival(ShellNode):
        """Another sync is always faster."""

        async def run(self, command, *, input=b"", timeout):  # type: ignore[no-untyped-def]
            done = await super().run(command, input=input, timeout=timeout)
            if " list " in command:
                self.refs = [*getattr(self, "refs", [before, middle])[::-1]]
                await sync(node, SnapshotReader(store), self.refs[0], WORKDIR)
            return done

    monkeypatch.setattr(sync_module, "ATTEMPTS", 3)
    with pytest.raises(NodeUnreachableError, match="Other syncs kept changing"):
        (other,) = await refs_of(store, tmp_path / "source", AFTER)
        await sync(Rival(node.home, node.path), SnapshotReader(store), other, WORKDIR)
