"""A laboratory for tests: the `local` cloud in a folder of its own, with keys, ways to reach its nodes, and an end."""

import asyncio
import os
import signal
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import asyncssh

from skyflow.clouds.local.cloud import LocalCloud
from skyflow.clouds.local.folder import Folder, holder
from skyflow.clouds.local.host_client import ask
from skyflow.clouds.local.lab import Capacity, LabConfig, SlowStart, Stockout
from skyflow.errors import Scope
from skyflow.models.node import GangRef, GangRequest, Node, Offer
from skyflow.models.plan import PlanRequest, ResourcesRequest
from skyflow.nodes.connection import Completed, Connection
from skyflow.optimizer.ranking import rank
from skyflow.settings import Settings


async def until(holds: Callable[[], bool]) -> None:
    """Waits for what another process does."""
    while not holds():  # noqa: ASYNC110  # nobody here could set an event
        await asyncio.sleep(0.005)


class LocalLab:
    """What the contract asks of a cloud's test world, and what the tests of `local` need beside it."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings.from_env({"SKYFLOW_HOME": str(home), "HOME": str(home)})
        self.cloud = LocalCloud(self.settings)
        self.folder = Folder(self.settings.local_dir)
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.deployment = str(uuid.uuid4())

    # The contract's

    def offers(self) -> list[Offer]:
        """At least two places for the same node, best first."""
        request = PlanRequest(resources=[ResourcesRequest(instance_type="local-1x2")])
        return rank(request, [self.cloud.catalog()]).offers

    def stock_out(self, offer: Offer, count: int | None = None, scope: Scope | None = None) -> None:
        self._change(stockouts=[Stockout(zone=offer.zone, count=count, scope=scope)])

    def allow(self, offer: Offer, nodes: int) -> None:
        self._change(capacity=[Capacity(zone=offer.zone, nodes=nodes)])

    def slow_down(self, offer: Offer, seconds: float) -> None:
        self._change(slow_starts=[SlowStart(zone=offer.zone, seconds=seconds)])

    def request(self, **change: object) -> GangRequest:
        request = GangRequest(
            deployment=self.deployment,
            cluster="dev",
            uid="20261124T101500-ab12cd34",
            launch_id="launch/dev/1",
            offer=self.offers()[0],
            offer_index=0,
            num_nodes=1,
            client_key=self.key.export_public_key().decode().strip(),
        )
        return request.model_copy(update=change)

    def reference(self, request: GangRequest, launch_id: str | None = None) -> GangRef:
        return GangRef(
            deployment=request.deployment,
            cluster=request.cluster,
            uid=request.uid,
            cloud=request.offer.cloud,
            host=request.offer.host,
            launch_id=launch_id,
        )

    async def run(self, node: Node, command: str, input: bytes = b"") -> Completed:
        """Runs a command over a connection of its own, as the product does."""
        connection = Connection(node, self.private_key)
        try:
            return await connection.run(command, input=input, timeout=30)
        finally:
            connection.close()

    # Of the local cloud

    @property
    def private_key(self) -> str:
        return str(self.key.export_private_key().decode())

    def host_pid(self) -> int | None:
        return holder(self.folder.lock)

    def node_pid(self, node: Node) -> int | None:
        return holder(self.folder.node(node.id).lock)

    async def kill_host(self) -> None:
        """SIGKILL, and returns when it is dead."""
        if pid := self.host_pid():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: self.host_pid() is None)

    async def kill_server(self, node: Node) -> None:
        """SIGKILL of a node's SSH server alone."""
        pid = self.node_pid(node)
        assert pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: self.node_pid(node) is None)

    async def close(self) -> None:
        """Deletes every node and ends the host."""
        if self.folder.nodes.exists():
            answer = await ask(self.settings, {"op": "delete", "match": {}}, timeout=30)
            assert "count" in answer, answer
            assert list(self.folder.nodes.iterdir()) == []
        await until(self._kill_hosts)

    def _kill_hosts(self) -> bool:
        """Kills the hosts of this folder, with those that are only about to find that there is one."""
        needle = f"\0--home\0{self.folder.path}\0".encode()
        left = False
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if needle in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
                    left = True
        return not left

    def _change(self, **change: object) -> None:
        LabConfig.load(self.folder.config).model_copy(update=change).save(self.folder.config)
