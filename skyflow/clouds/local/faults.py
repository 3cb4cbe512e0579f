"""Accidents of local nodes, on purpose: taken away, stopped, frozen, cut off. To try what skyflow does about them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from skyflow.clouds.local.folder import Folder, NodeRecord, holder
from skyflow.clouds.local.host_client import ask
from skyflow.clouds.local.process import marked
from skyflow.errors import ClusterDoesNotExist, NodeUnreachableError, UsageError
from skyflow.settings import Settings

DELETE_SECONDS = 60.0
STOP_SECONDS = 60.0


class Faults:
    """The nodes of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = Folder(settings.local_dir)

    def nodes(self, cluster: str | None = None, ranks: Sequence[int] = ()) -> list[NodeRecord]:
        """The nodes of a cluster, or the one of this id (of all clusters if none is given), by rank.

        Raises:
            ClusterDoesNotExist: the cluster has no nodes here.
            UsageError: it has no node of such a rank.
        """
        every = sorted(self._folder.records(), key=lambda record: (record.cluster, record.rank))
        found = [record for record in every if cluster in (None, record.cluster, record.id)]
        if cluster is not None and not found:
            raise ClusterDoesNotExist(f"Cluster {cluster!r} has no local nodes. See: skyflow local nodes")
        if absent := set(ranks) - {record.rank for record in found}:
            raise UsageError(f"Cluster {cluster!r} has no node of rank {min(absent)}. See: skyflow local nodes")
        return [record for record in found if not ranks or record.rank in ranks]

    async def preempt(self, nodes: Sequence[NodeRecord]) -> None:
        """The cloud takes them away, with everything that is on them."""
        for node in nodes:
            await ask(self._settings, {"op": "delete", "match": {"id": node.id}}, timeout=DELETE_SECONDS)

    async def stop(self, nodes: Sequence[NodeRecord]) -> None:
        """Somebody stops them in the cloud's console: nothing on them runs any more, and their disks stay."""
        questions = [{"op": "stop", "match": {"id": node.id}} for node in nodes]
        for answer in await asyncio.gather(*(ask(self._settings, one, timeout=STOP_SECONDS) for one in questions)):
            if "failed" in answer:
                raise NodeUnreachableError(f"A node could not be stopped: {answer['failed']}")

    def freeze(self, nodes: Sequence[NodeRecord]) -> None:
        """Nothing on them runs any more, and they answer to nobody; the cloud says that they are well."""
        self._signal(nodes, signal.SIGSTOP, jobs=True)

    def thaw(self, nodes: Sequence[NodeRecord]) -> None:
        """They go on where they were."""
        self._signal(nodes, signal.SIGCONT, jobs=True)

    def cut(self, nodes: Sequence[NodeRecord]) -> None:
        """Their network is gone: jobs go on, and nobody can reach them."""
        self._signal(nodes, signal.SIGSTOP, jobs=False)

    def restore(self, nodes: Sequence[NodeRecord]) -> None:
        """Their network is back."""
        self._signal(nodes, signal.SIGCONT, jobs=False)

    def state(self, node: NodeRecord) -> str:
        """`running`, `silent` (frozen or cut off), `stopped`, or `dead` (its server is started again if asked for)."""
        folder = self._folder.node(node.id)
        if folder.stopped.exists():
            return "stopped"
        server = holder(folder.lock)
        if not server:
            return "dead"
        return "silent" if _is_stopped(server) else "running"

    def _signal(self, nodes: Sequence[NodeRecord], number: signal.Signals, *, jobs: bool) -> None:
        for node in nodes:
            server = holder(self._folder.node(node.id).lock)
            everything = {server} if server else set()
            if jobs:
                everything |= set(marked(node.id))
            for pid in everything:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


def _is_stopped(pid: int) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "T"
    return False
