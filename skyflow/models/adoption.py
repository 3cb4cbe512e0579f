"""Adoption: which clusters a namespace takes over when Temporal's database is lost, and with which nodes and jobs.

The store says what nodes were for; the clouds say which there are. Only a cloud that was asked and does not know a node
says that it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field, ValidationError

from skyflow.errors import UsageError
from skyflow.models.cluster_facts import ClusterFacts
from skyflow.models.job import JobRecord
from skyflow.models.name import spec_key
from skyflow.models.node import NodeStatus, TaggedNode
from skyflow.models.operation import Place
from skyflow.models.schedule import Demand
from skyflow.models.wire import Wire


class AdoptRequest(Wire):
    """Input of an AdoptWorkflow. Nothing is needed."""

    dryrun: bool = False
    """Only say what would be adopted."""
    deployment: str | None = None
    """Only what belonged to this one."""
    lives: list[str] | None = None
    """Only these lives of clusters, by `uid`: those that a dry run has shown."""

    @classmethod
    def parse(cls, value: Any) -> AdoptRequest:
        """Reads a start input. A bad one raises UsageError: the workflow fails instead of retrying for ever."""
        try:
            return cls.model_validate(value or {})
        except ValidationError as error:
            raise UsageError(f"Invalid request: {error.errors()[0]['msg']}") from None


class LifeRef(Wire):
    """Names one life of a cluster."""

    cluster: str
    uid: str


class KnownLife(LifeRef):
    """A life of a cluster that the store knows, and what this namespace has of it."""

    owner: str
    """The deployment of the namespace where its workflow ran."""
    deployment: str
    """In the tags of its nodes."""
    places: list[Place] = Field(default_factory=list)
    place: str = ""
    instance_type: str = ""
    price: float = 0
    """US dollars an hour and node."""
    jobs: int = 0
    """That had not ended."""
    here: str = ""
    """The uid of the cluster of this name that this namespace has, if any."""
    guarded: bool = False
    """Whether its guardian runs in this namespace."""


class Known(Wire):
    """What the store knows."""

    own: str
    """The deployment of this namespace."""
    lives: list[KnownLife] = Field(default_factory=list)
    deployments: list[str] = Field(default_factory=list)
    """Others that have worked with this store."""
    places: list[Place] = Field(default_factory=list)
    """Where else to look: the clouds that can be used from here."""


class AdoptedLife(KnownLife):
    """What becomes of one of them."""

    num_nodes: int = 0
    """That there are."""
    stopped: int = 0
    """Those of them that are."""
    reason: str = ""
    """Why it is left alone, if it is."""


class Adoption(Wire):
    """Result of an AdoptWorkflow."""

    dryrun: bool = False
    adopted: list[AdoptedLife] = Field(default_factory=list)
    """Clusters that this namespace has now (or would have)."""
    over: list[AdoptedLife] = Field(default_factory=list)
    """Those of which there are no nodes any more: their intervals in the ledger end."""
    left: list[AdoptedLife] = Field(default_factory=list)
    """Those that are left alone, and why."""
    strangers: list[TaggedNode] = Field(default_factory=list)
    """Nodes of which the store knows nothing."""
    silent: list[str] = Field(default_factory=list)
    """Clouds that could not be asked."""
    owners: list[str] = Field(default_factory=list)
    """The deployments that lost clusters belonged to, whichever was asked for."""


def lost(known: Known, request: AdoptRequest) -> list[KnownLife]:
    """The lives that this namespace does not have.

    Raises:
        UsageError: they belonged to several deployments, and nobody said to which.
    """
    wanted = [
        life
        for life in known.lives
        if life.here != life.uid
        and request.deployment in (None, life.owner)
        and (request.lives is None or life.uid in request.lives)
    ]
    owners: dict[str, list[str]] = {}
    for life in wanted:
        if life.owner != known.own:
            owners.setdefault(life.owner, []).append(life.cluster)
    if len(owners) > 1:
        listed = "; ".join(f"{owner} ({', '.join(names[:5])})" for owner, names in sorted(owners.items()))
        raise UsageError(
            f"The store has clusters of {len(owners)} other deployments. Say which one is lost, with --deployment: "
            f"{listed}."
        )
    return wanted


def search(known: Known, lives: Sequence[KnownLife], request: AdoptRequest) -> tuple[list[Place], list[str]]:
    """Where to look for nodes, and of which deployments."""
    places = {(place.cloud, place.host): place for life in lives for place in life.places}
    places |= {(place.cloud, place.host): place for place in known.places}
    others = known.deployments if request.deployment is None else [request.deployment]
    deployments = {life.deployment for life in lives} | {other for other in others if other != known.own}
    return list(places.values()), sorted(deployments)


def decide(known: Known, lives: Iterable[KnownLife], found: Sequence[TaggedNode], silent: Sequence[Place]) -> Adoption:
    """What becomes of each of these lives, and which nodes nobody knows.

    Args:
        known: what the store knows.
        lives: those of them that this namespace does not have.
        found: the nodes of the deployments that were looked for.
        silent: the places that could not be asked.
    """
    adoption = Adoption(
        silent=sorted({place.host or place.cloud for place in silent}),
        owners=sorted({life.owner for life in known.lives if life.here != life.uid}),
    )
    unasked = {(place.cloud, place.host) for place in silent}
    for life in lives:
        wanted = (life.deployment, life.cluster, life.uid)
        nodes = [node for node in found if (node.deployment, node.cluster, node.uid) == wanted]
        fate = AdoptedLife(**life.model_dump(), num_nodes=len(nodes))
        fate.stopped = sum(node.state == "stopped" for node in nodes)
        if life.here:
            fate.reason = "there is another cluster of this name here: take that down first"
        elif life.guarded:
            fate.reason = "its guardian waits for what runs there and then deletes the nodes"
        elif any((place.cloud, place.host) in unasked for place in life.places):
            fate.reason = "its cloud could not be asked"
        part = adoption.left if fate.reason else adoption.adopted if nodes else adoption.over
        part.append(fate)
    theirs = {(life.cluster, life.uid) for life in known.lives}
    others = [node for node in found if node.deployment != known.own]  # of its own, one may just have been made
    adoption.strangers = [node for node in others if (node.cluster, node.uid) not in theirs]
    return adoption


def take_in(cluster: ClusterFacts, seen: Iterable[NodeStatus]) -> None:
    """Nodes that were made anew, and that the store had not heard of yet, take the place of those that were lost."""
    known = {node.id for node in cluster.nodes}
    anew = sorted((status.node for status in seen), key=lambda node: node.generation)
    latest = {node.rank: node for node in anew if node.rank in cluster.lost and node.id not in known}
    cluster.nodes = [latest.get(node.rank, node) for node in cluster.nodes]
    cluster.lost = [rank for rank in cluster.lost if rank not in latest]


def take_up_job(cluster: ClusterFacts, job_id: int, ranks: list[int], runs: bool, now: float) -> None:
    """A job that the nodes know, and that had not started when the cluster was last kept."""
    job, offer = cluster.jobs.get(job_id), cluster.offer
    if (job is None and not runs) or (job is not None and (job.ranks or job.status.is_terminal())):
        return
    devices = list(range(int(sum(offer.accelerators.values())))) if offer else []
    if job is None:  # what it wants is not known: it has its nodes for itself
        whole = Demand(cpus=offer.cpus, accelerators=len(devices)) if offer else Demand()
        job = cluster.jobs[job_id] = JobRecord(id=job_id, num_nodes=len(ranks), demand=whole, submitted_at=now)
    job.spec = job.spec or spec_key(cluster.name, cluster.uid, job_id)
    job.ranks, job.devices = ranks, dict.fromkeys(ranks, devices)
