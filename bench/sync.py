"""How fast files get from the client to the nodes: into the store (snapshot), and from there onto the nodes (sync).

The peer is `rsync -az` of the same tree to the same nodes, in the same run, straight from the client. The second leg is
measured beside it, because it is what is repeated for every node and every recovery; both legs together are told too.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median as middle
from time import perf_counter

from bench.home import SKYFLOW, Home
from bench.measure import Ratio
from skyflow.models.node import Node
from skyflow.nodes.connection import Connections
from skyflow.nodes.sync import sync_all
from skyflow.store.reader import SnapshotReader
from skyflow.store.snapshot import take_snapshot
from skyflow.store.store import open_store
from skyflow.worker.main import calm_collector

TIMES = 3
SMALL = 4 << 10
"""Bytes of a small file."""


def run() -> list[Ratio]:
    """All ratios of this module."""
    calm_collector()  # as in the worker
    with Home() as home:
        home.command([*SKYFLOW, "launch", "-c", "files", "--num-nodes", "8", "true"])
        trees = home.path / "trees"
        ten = _tree(trees / "ten", 10_000, SMALL)
        hundred = _tree(trees / "hundred", 100_000, 64)
        big = _tree(trees / "big", 1, 1 << 30)
        bench = _Bench(home)
        return [
            *bench.cold("10,000 × 4 KiB", ten, 1, 1 / 1.5),
            *bench.changed("1 changed of 10,000", ten, 1 / 1.5),
            *bench.cold("100,000 files", hundred, 1, 1, times=1),
            *bench.cold("1 GiB, one file", big, 1, 1, times=1),
            *bench.cold("8 nodes × 10,000 × 4 KiB", ten, 8, 1 / 2),
        ]


def _tree(root: Path, files: int, size: int) -> Path:
    """Files of random bytes, which cannot be compressed, 100 a folder."""
    source = random.Random(0)
    for number in range(files):
        folder = root / f"{number // 100:04}"
        if number % 100 == 0:
            folder.mkdir(parents=True)
        with open(folder / f"{number % 100:02}.bin", "wb") as file:
            for start in range(0, size, 1 << 20):
                file.write(source.randbytes(min(size - start, 1 << 20)))
    return root


def _ratios(what: str, rounds: list[tuple[float, float, float]], limit: float) -> list[Ratio]:
    snapshot, sync, rsync = (middle(column) for column in zip(*rounds, strict=True))
    parts = {"snapshot": snapshot, "sync": sync}
    return [
        Ratio(f"sync: {what}, store → nodes / rsync -az", sync, rsync, limit),
        Ratio(f"sync: {what}, both legs / rsync -az", snapshot + sync, rsync, None, parts=parts),
    ]


class _Bench:
    def __init__(self, home: Home) -> None:
        self.home = home
        self.nodes = home.nodes("files")
        self.key = home.key("files")
        self.targets = itertools.count()

    def cold(self, what: str, tree: Path, nodes: int, limit: float, times: int = TIMES) -> list[Ratio]:
        """Into a store and onto nodes that have nothing of it."""
        rounds = []
        for _ in range(times):
            target = f"~/t{next(self.targets)}"
            rounds.append(self._round(tree, nodes, target, self.home.path / f"store{target[2:]}"))
        return _ratios(what, rounds, limit)

    def changed(self, what: str, tree: Path, limit: float) -> list[Ratio]:
        """One file has changed since the last sync."""
        target, store = f"~/t{next(self.targets)}", self.home.path / "store-changed"
        self._round(tree, 1, target, store)
        rounds = []
        for number in range(TIMES):
            (tree / "0050" / "50.bin").write_bytes(b"changed" * (number + 1))
            rounds.append(self._round(tree, 1, target, store))
        return _ratios(what, rounds, limit)

    def _round(self, tree: Path, nodes: int, target: str, store: Path) -> tuple[float, float, float]:
        """Seconds of a snapshot, of its sync, and of rsync."""
        os.sync()  # what was written before is not this one's to wait for
        ours = asyncio.run(self._send(tree, nodes, target, store))
        os.sync()
        start = perf_counter()
        asyncio.run(self._rsync(tree, nodes, f"{target}-rsync"))
        return (*ours, perf_counter() - start)

    async def _send(self, tree: Path, nodes: int, target: str, folder: Path) -> tuple[float, float]:
        start = perf_counter()
        store = open_store(folder.as_uri())
        snapshot = await take_snapshot(store, tree)
        stored = perf_counter()
        connections, key = Connections(), self.key.read_text()
        async with AsyncExitStack() as stack:
            stack.callback(connections.close)
            entering = [stack.enter_async_context(connections.connect(node, key)) for node in self.nodes[:nodes]]
            await sync_all(await asyncio.gather(*entering), SnapshotReader(store), snapshot.ref, target)
        return stored - start, perf_counter() - stored

    async def _rsync(self, tree: Path, nodes: int, target: str) -> None:
        await asyncio.gather(*(self._rsync_one(tree, node, target) for node in self.nodes[:nodes]))

    async def _rsync_one(self, tree: Path, node: Node, target: str) -> None:
        shell = " ".join(self.home.ssh(node, self.key)[:-1])
        destination = f"{node.user}@{node.address}:{target.removeprefix('~/')}/"
        process = await asyncio.create_subprocess_exec(
            "rsync", "-az", "-e", shell, f"{tree}/", destination, stdin=subprocess.DEVNULL
        )
        if await process.wait():
            raise RuntimeError(f"rsync to {destination} failed with exit code {process.returncode}")
