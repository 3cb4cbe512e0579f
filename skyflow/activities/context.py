"""What the activities of one worker share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from temporalio.client import Client

from skyflow import clouds
from skyflow.errors import NodeLostError, NodeUnreachableError
from skyflow.models.job import Gang
from skyflow.models.node import GangRef, Node, NodeState
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
    webhook_secret: str = ""
    """Key that signs what webhooks are sent; empty: it is not signed."""
    callback_env: Mapping[str, str] | None = None
    """Environment of callbacks; None: this worker runs none."""

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
                state = (await self.states(gang))[node.rank]
                if state == "running":
                    raise
                what = "Start it" if state == "stopped" else "Make it anew"
                raise NodeLostError(
                    f"Node {node.rank} of cluster {gang.cluster!r} is {state}. {what}: skyflow start {gang.cluster}"
                ) from error

        return connect

    async def states(self, gang: Gang) -> dict[int, NodeState]:
        """Rank → state of each node of a gang. Only the cloud knows that; that a node is silent says nothing."""
        reference = GangRef(
            deployment=gang.deployment or self.deployment,
            cluster=gang.cluster,
            uid=gang.uid,
            cloud=gang.cloud,
            host=gang.host,
        )
        found = await clouds.get(gang.cloud, self.settings).describe_nodes(reference)
        states = {status.node.id: status.state for status in found}
        return {node.rank: states.get(node.id, "gone") for node in gang.nodes}
