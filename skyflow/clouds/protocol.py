"""The seam: what a cloud is to the rest of skyflow. One module a cloud satisfies it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from skyflow.catalog.table import Catalog
from skyflow.models.node import GangRef, GangRequest, Node, NodeStatus, TaggedNode
from skyflow.settings import Settings


@dataclass(frozen=True)
class Capabilities:
    """What a cloud can do."""

    spot: bool
    """Nodes that it may take away, at a lower price."""
    stop: bool
    """Nodes can be stopped and started with their disks."""
    ports: bool
    """Ports of nodes can be opened to the outside."""
    host_bound: bool
    """Nodes belong to the host that made them; only a worker there can call."""
    power_off: str = ""
    """The command by which a node switches itself off, so that it is stopped for its cloud; empty: the system's own."""

    def names(self) -> tuple[str, ...]:
        """What it can do, in words."""
        words = {"spot": self.spot, "stop": self.stop, "ports": self.ports}
        return tuple(word for word, can in words.items() if can)


@dataclass(frozen=True)
class CloudAccess:
    """Whether a cloud can be used from here, as whom, and if not: why, and what to do."""

    enabled: bool
    identity: str = ""
    reason: str = ""
    advice: str = ""
    capabilities: tuple[str, ...] = ()
    """What it can do, in words."""


class Cloud(Protocol):
    """One cloud, with the credentials of this process. Every call may be repeated."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    def __init__(self, settings: Settings) -> None: ...

    @property
    def host(self) -> str | None:
        """The id of this host if the cloud is host-bound: offers and task queues carry it. None otherwise."""
        ...

    async def check(self) -> CloudAccess:
        """Looks whether the cloud can be used. Has no effect, raises nothing."""
        ...

    def catalog(self) -> Catalog:
        """Every place and instance type there is, with its price. May read files, not the network."""
        ...

    async def create_nodes(self, request: GangRequest) -> list[Node]:
        """Creates the nodes of a gang, or adopts those that an earlier try made; named by `GangRequest.token`.

        If the request has `ranks`, only these: the others of the gang exist, and are left alone.

        Returns:
            The wanted nodes in the order of their ranks. They are known to the cloud; SSH may need a moment more.

        Raises:
            ProvisionError: with what it rules out. A part of the gang may exist then: the caller deletes it.
        """
        ...

    async def describe_nodes(self, gang: GangRef) -> list[NodeStatus]:
        """What became of the nodes of a gang, found by tag. A node that is not in the answer is gone.

        Starts nothing that was stopped.

        Raises:
            NodeUnreachableError: the cloud cannot be asked now. Says nothing about the nodes.
        """
        ...

    async def find_nodes(self, deployment: str) -> list[TaggedNode]:
        """Every node of a deployment that exists, of whatever cluster, found by tag. Starts nothing that was stopped.

        Raises:
            NodeUnreachableError: the cloud cannot be asked now. Says nothing about the nodes.
        """
        ...

    async def delete_nodes(self, gang: GangRef) -> int:
        """Deletes the nodes of one life of a cluster of one deployment, found by tag; of these, only `GangRef.ids` if
        given. Deleting the absent succeeds.

        Returns:
            How many there were.

        Raises:
            NodeUnreachableError: the cloud cannot be asked now; try again.
        """
        ...

    async def stop_nodes(self, gang: GangRef) -> int:
        """Stops the nodes of one life of a cluster, found by tag; their disks are kept. Stopping the stopped succeeds.

        Returns:
            How many there are, when nothing runs on them any more.

        Raises:
            NodeUnreachableError: the cloud cannot be asked now; try again.
            NotSupportedError: the cloud cannot stop nodes (`Capabilities.stop`).
        """
        ...

    async def start_nodes(self, gang: GangRef) -> list[Node]:
        """Starts those nodes of one life of a cluster that are stopped, where they are; the others stay as they are.

        Returns:
            All of them in the order of their ranks, as `create_nodes` does. Their addresses may have changed. A node
            that is not in the answer is gone.

        Raises:
            ProvisionError: there is no room for them now. Its scope is the zone, the only place where they can be. A
                part of them may run then: the caller stops them, or tries again.
            NodeUnreachableError: the cloud cannot be asked now; try again.
            NotSupportedError: the cloud cannot stop nodes (`Capabilities.stop`).
        """
        ...
