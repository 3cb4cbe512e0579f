"""Admission: whether a workflow may have the cluster at all, now or when its turn comes."""

from __future__ import annotations

from skyflow.errors import ClusterDoesNotExist, ClusterNotUpError, NotSupportedError, UsageError
from skyflow.models.cluster_facts import ClusterFacts
from skyflow.models.operation import Reserve

MAX_JOBS = 1000
"""Jobs of one cluster that have not ended: they travel through Temporal."""


def admit(cluster: ClusterFacts, request: Reserve) -> None:
    """Refuses what cannot be.

    Raises:
        ClusterDoesNotExist: the cluster has nothing to run on, to stop, to start or to delete.
        ClusterNotUpError: exec on a cluster that is not up, stop of one that is being made.
        NotSupportedError: its nodes cannot be stopped.
        UsageError: it has too many jobs.
    """
    if request.job is not None and len(cluster.active_jobs()) >= MAX_JOBS:
        raise UsageError(
            f"Cluster {cluster.name!r} has {MAX_JOBS:,} jobs that have not ended: wait, or use another one as well."
        )
    if request.kind == "exec" and not cluster.nodes:
        if cluster.operations:
            raise ClusterNotUpError(f"Cluster {cluster.name!r} is not up yet: wait for its launch, then try again.")
        raise ClusterDoesNotExist(f"Cluster {cluster.name!r} does not exist. See: skyflow status")
    if request.kind not in ("stop", "down") and cluster.lost and not cluster.closing():
        check_can_repair(cluster, request.kind == "exec")
    if request.kind == "exec" and cluster.closing():
        raise ClusterNotUpError(f"Cluster {cluster.name!r} is being {cluster.closing()}.")
    if request.kind == "exec" and cluster.stopped:
        raise ClusterNotUpError(f"Cluster {cluster.name!r} is stopped. Start it: skyflow start {cluster.name}")
    if request.kind == "exec" and cluster.halted:
        who = ", ".join(map(str, cluster.halted))
        raise ClusterNotUpError(
            f"Node(s) {who} of cluster {cluster.name!r} were stopped. Start them: skyflow start {cluster.name}"
        )
    if request.kind in ("stop", "start", "down") and not cluster.nodes and not cluster.operations:
        raise ClusterDoesNotExist(f"Cluster {cluster.name!r} does not exist. See: skyflow status")
    if request.kind == "stop" and not cluster.nodes:
        raise ClusterNotUpError(
            f"Cluster {cluster.name!r} is not up yet. To end its launch: skyflow down {cluster.name}"
        )
    if request.kind == "stop":
        check_can_stop(cluster, down=False)
    if request.epoch is not None and (request.epoch != cluster.epoch or cluster.is_kept()):
        raise ClusterNotUpError(f"Cluster {cluster.name!r} is in use again, so it stays as it is.")


def check_can_repair(cluster: ClusterFacts, at_once: bool = False) -> None:
    """Whether nodes that are gone can be made anew beside the others; `at_once`: somebody needs them now.

    Raises:
        ClusterNotUpError: none is left, or somebody has to make them first.
    """
    gone = ", ".join(map(str, cluster.lost))
    if len(cluster.lost) == len(cluster.nodes):
        raise ClusterNotUpError(
            f"Cluster {cluster.name!r} has lost all of its nodes. Take it down, then launch again: "
            f"skyflow down {cluster.name}"
        )
    if at_once:
        raise ClusterNotUpError(
            f"Cluster {cluster.name!r} has lost its node(s) {gone}. Make them anew: skyflow start {cluster.name}"
        )


def check_can_stop(cluster: ClusterFacts, down: bool) -> None:
    """Whether an idle rule, or a stop, is something that its nodes can do. Raises NotSupportedError."""
    if not down and cluster.offer is not None and not cluster.offer.can_stop:
        kind = "spot nodes" if cluster.offer.use_spot else f"{cluster.offer.instance_type} nodes"
        raise NotSupportedError(
            f"Cluster {cluster.name!r} cannot be stopped: {cluster.offer.cloud} does not stop {kind}. "
            "Take it down instead (--down)."
        )
