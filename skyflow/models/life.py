"""What the store keeps of a cluster's life, so that it can be owned again when Temporal's database is lost."""

from __future__ import annotations

from skyflow.models.cluster import ClusterState
from skyflow.models.usage import UpInterval
from skyflow.models.wire import Wire

KEEP_SECONDS = 2.0
"""So long after a change the store learns of it, with whatever else has changed by then."""


class Life(Wire):
    """One life of a cluster, as its workflow knew it."""

    owner: str = ""
    """The deployment of the namespace where its workflow runs. Its nodes' tags may have another one: `state` has it."""
    state: ClusterState

    def is_over(self) -> bool:
        """Whether there is nothing to be kept."""
        return not self.state.nodes and not self.state.operations


def kept(state: ClusterState) -> ClusterState:
    """What is worth keeping of a cluster: jobs that have ended, and whose end was read, have records of their own."""
    return state.model_copy(update={"jobs": {job.id: job for job in state.open_jobs()}})


def revived(life: Life, owner: str, open_intervals: list[UpInterval], highest_job: int) -> ClusterState:
    """The cluster of a life whose workflow is lost, ready to begin anew.

    Args:
        life: as it was kept. Its operations are kept, too: those who held the cluster are gone, so what becomes of it
            is the same as if they had been terminated.
        owner: the deployment of the namespace that takes it over.
        open_intervals: what the ledger says is up. They go on, so that no hour counts twice.
        highest_job: the highest number of a job that the store has seen.
    """
    state = life.state
    return state.model_copy(
        update={
            "adopted": True,
            "guarded": False,
            "next_deployment": owner if owner != state.deployment else "",
            "next_job": max(state.next_job, highest_job + 1),
            "up": {**state.up, **{interval.rank: interval for interval in open_intervals}},
            "edition": state.edition + 1,
            "kept": state.edition + 1,
            "unreachable_since": None,
            "notify_end": [],
        }
    )
