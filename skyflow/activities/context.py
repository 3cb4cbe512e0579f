"""What the activities of one worker share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from temporalio.client import Client

from skyflow import clouds
from skyflow.errors import NodeLostError, NodeUnreachableError
from skyflow.models.job import Gang
from skyflow.models.node import GangRef, Node
from skyflow.nodes.connection import Connection, Connections
from skyflow.settings import Settings
from skyflow.store.key import client_key
from skyflow.store.store import Store, check_same

Connect = Callable[[Node], AbstractAsyncContextManager[Connection]]


@dataclass(frozen=True)
class Context:
    """The tools of one worker process."""

    settings: Settings
    client: Client
    store: Store
    connections: Connections
    deployment: str
    """Id of this namespace's deployment: part of every name and tag made from here."""
    search_attributes: bool
    """Whether the namespace has skyflow's search attributes."""

    def check_store(self, url: str | None) -> None:
        """Raises UsageError if a client says that its store is another one."""
        if url:
            check_same(url, self.settings.store)

    async def opener(self, gang: Gang) -> Connect:
        """Opens the way to the nodes of a gang, with its cluster's key."""
        key = await client_key(self.store, gang.cluster, gang.uid)
        return lambda node: self.connections.connect(node, key.private)

    async def sure_opener(self, gang: Gang) -> Connect:
        """As `opener`, but a node that cannot be reached because it is gone raises NodeLostError: no more tries."""
        opener = await self.opener(gang)

        @asynccontextmanager
        async def connect(node: Node) -> AsyncIterator[Connection]:
            try:
                async with opener(node) as connection:
                    yield connection
            except NodeUnreachableError as error:
                if node.rank not in await self.gone(gang):
                    raise
                raise NodeLostError(
                    f"Node {node.rank} of cluster {gang.cluster!r} is gone. Take the cluster down, then launch again: "
                    f"skyflow down {gang.cluster}"
                ) from error

        return connect

    async def gone(self, gang: Gang) -> set[int]:
        """Ranks whose nodes are gone. Only the cloud knows that; that a node is silent says nothing."""
        reference = GangRef(
            deployment=self.deployment, cluster=gang.cluster, uid=gang.uid, cloud=gang.cloud, host=gang.host
        )
        found = await clouds.get(gang.cloud, self.settings).describe_nodes(reference)
        alive = {status.node.id for status in found if status.state != "gone"}
        return {node.rank for node in gang.nodes if node.id not in alive}
