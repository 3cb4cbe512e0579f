"""Bulk syncs in a process of their own: the bytes, and the ciphers they go through, must not hold up a worker.

`python -m skyflow.activities.bulk` reads one request from its standard input, answers in lines of JSON, and ends when
that input does: so it never outlives the worker that started it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

from skyflow.errors import NodeUnreachableError, SkyflowError, rebuild
from skyflow.models.node import Node
from skyflow.nodes.connection import Connections, enter_all
from skyflow.nodes.sync import Progress, SyncResult, sync_all
from skyflow.store.reader import SnapshotReader
from skyflow.store.store import open_store

NICER = 5
"""How much less of a busy processor it gets than the worker."""
LINE_BYTES = 1 << 20
STEP = 0.5
"""Seconds between two reports of progress."""


async def sync_in_process(
    store: str, nodes: Sequence[Node], private_key: str, ref: str, target: str, progress: Progress
) -> list[SyncResult]:
    """As `skyflow.nodes.sync.sync_all`, in another process.

    Args:
        store: URL of the store that has the snapshot.
        nodes: where to.
        private_key: that opens them.
        ref: of the snapshot.
        target: on the nodes.
        progress: is told now and then.

    Raises:
        SkyflowError: as `sync_all`; NodeUnreachableError also if the process died.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # the worker may have been started among modules that are called like ours
        "-m",
        "skyflow.activities.bulk",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        everybody = [node.model_dump() for node in nodes]
        request = {"store": store, "nodes": everybody, "key": private_key, "ref": ref, "target": target}
        process.stdin.write(json.dumps(request).encode() + b"\n")
        async for line in process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "results" in answer:
                return [SyncResult(**result) for result in answer["results"]]
            if "error" in answer:
                raise rebuild(answer["error"], answer["message"], answer["details"])
            progress(answer["sent"], answer["total"])
        raise NodeUnreachableError(f"The process that copied files to {target} died; it is tried again.")
    finally:
        if process.returncode is None:
            process.kill()
        process.stdin.close()
        await process.wait()


async def _serve(request: dict[str, Any]) -> list[SyncResult]:
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, lambda: os.read(0, 1) or os._exit(1))  # whoever wanted this is gone
    said = 0.0

    def progress(sent: int, total: int) -> None:
        nonlocal said
        if loop.time() >= said + STEP:
            said = loop.time()
            _say({"sent": sent, "total": total})

    connections = Connections()
    async with AsyncExitStack() as stack:
        stack.callback(connections.close)
        nodes = [Node.model_validate(node) for node in request["nodes"]]
        opened = await enter_all(stack, [connections.connect(node, request["key"]) for node in nodes])
        reader = SnapshotReader(open_store(request["store"]))
        return await sync_all(opened, reader, request["ref"], request["target"], progress=progress)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answers one request."""
    os.nice(NICER)
    try:
        results = asyncio.run(_serve(json.loads(sys.stdin.buffer.readline())))
        _say({"results": [asdict(result) for result in results]})
    except SkyflowError as error:
        _say({"error": type(error).__name__, "message": str(error), "details": error.details()})


if __name__ == "__main__":
    main()
