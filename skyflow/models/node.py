"""Offers and nodes: one concrete place with a price, and one machine that was made there."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field

from skyflow.models.wire import Wire


class Offer(Wire):
    """One concrete place where a task can run."""

    cloud: str
    region: str
    zone: str
    instance_type: str
    cpus: float
    memory: float
    """GiB a node."""
    price: float
    """US dollars an hour and node."""
    use_spot: bool = False
    host: str | None = None
    """The host whose worker must make the calls (`local`), or None when any worker can."""
    accelerators: dict[str, float] = Field(default_factory=dict)
    """Canonical name → count a node; one entry at most."""
    arch: str = "x86_64"
    can_stop: bool = False
    """Whether its nodes can be stopped and started with their disks."""
    choice: int = 0
    """Which of the task's sets of resources it satisfies: an index; the first one, if it is several."""

    @property
    def place(self) -> str:
        return f"{self.cloud}/{self.region}/{self.zone}"


class Node(Wire):
    """One machine, as its cloud last described it."""

    id: str
    """The cloud's own id."""
    rank: int
    """0 is the head. Stable for the life of the node."""
    address: str
    """Where SSH reaches it."""
    port: int
    user: str
    host_key: str
    """The public host key that is pinned, in OpenSSH's one-line form."""
    internal_ip: str
    """Where the other nodes of the cluster reach it."""
    generation: int = 0
    """How often the node of this rank was replaced."""


NodeState = Literal["running", "stopped", "gone"]
"""`gone` is for ever; what is stopped may come back."""


class NodeStatus(Wire):
    """What the cloud says of one node. It says nothing about whether the node can be reached."""

    node: Node
    state: NodeState


class TaggedNode(Wire):
    """One node of a deployment, and whose it is by its tags."""

    deployment: str
    cluster: str
    """Its exact name."""
    uid: str
    """Of the life of the cluster."""
    id: str
    rank: int
    state: NodeState
    place: str = ""
    """In words: `cloud/region/zone`."""
    removal: str = ""
    """How a person deletes it who has nothing but the cloud: a command, or where to go."""


class GangRequest(Wire):
    """A gang of nodes to be created, or adopted if an earlier try made them already."""

    deployment: str
    cluster: str
    uid: str
    """Identifies this life of the cluster: a cluster that was taken down and launched again has another one."""
    launch_id: str
    offer: Offer
    offer_index: int
    num_nodes: int
    ranks: list[int] | None = None
    """Only the nodes of these ranks: the others are there. None: all of them."""
    generation: int = 0
    client_key: str = ""
    """The public key that may log in, in OpenSSH's one-line form."""

    def wanted(self) -> list[int]:
        """The ranks to be created, in their order."""
        return sorted(range(self.num_nodes) if self.ranks is None else self.ranks)

    def token(self, rank: int) -> str:
        """The key of the creation of one node: the same on every retry, another for every decision of the workflow."""
        parts = [self.deployment, self.uid, self.launch_id, str(self.offer_index), str(self.generation), str(rank)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


class GangRef(Wire):
    """Names all nodes of one life of a cluster in one cloud, by tag."""

    deployment: str
    cluster: str
    uid: str
    cloud: str
    host: str | None = None
    launch_id: str | None = None
    """If given: only the nodes that this launch made."""
    ids: list[str] | None = None
    """If given, to delete nodes: only these of them, by the cloud's own ids."""
