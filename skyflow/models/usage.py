"""What was used, and what it cost: nodes, from when to when, at which price."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby, pairwise
from typing import Any

from skyflow.models.node import Node, Offer
from skyflow.models.wire import Wire


class UpInterval(Wire):
    """One node, from the moment its cluster had it until it was stopped, deleted or lost."""

    cluster: str
    uid: str
    """Of the life of the cluster."""
    node: str
    """The cloud's own id."""
    rank: int
    offer: Offer
    started: float
    """Epoch seconds, as all times."""
    ended: float | None = None

    @classmethod
    def begin(cls, cluster: str, uid: str, node: Node, offer: Offer, now: float) -> UpInterval:
        """The node is up from now on."""
        return cls(cluster=cluster, uid=uid, node=node.id, rank=node.rank, offer=offer, started=now)

    def seconds(self, now: float) -> float:
        """How long it was up until its end, or until now."""
        return max(0.0, (self.ended or now) - self.started)

    def cost(self, now: float) -> float:
        """US dollars until its end, or until now."""
        return self.seconds(now) / 3600 * self.offer.price


def job_report(
    intervals: Iterable[UpInterval], jobs: Mapping[str, Iterable[Mapping[str, Any]]], now: float, since: float | None
) -> list[dict[str, Any]]:
    """A row for each job that has run, the latest first.

    What a node costs at a moment is paid in equal parts by the jobs that run on it at that moment; what it costs while
    none does (setup, idle time) is no job's. So jobs never cost more than their cluster.

    Args:
        intervals: of the ledger.
        jobs: uid → jobs of that life, as `queue` shows them.
        now: the end of what still runs.
        since: only jobs that ran after this; None: all.
    """
    booked = list(intervals)
    names = {one.uid: one.cluster for one in booked}
    rows = []
    for uid, mine in jobs.items():
        ran = [job for job in mine if job["started_at"] is not None]
        costs = {job["id"]: 0.0 for job in ran}
        for one in booked:
            if one.uid == uid:
                _share(one, [job for job in ran if one.rank in job["ranks"]], now, costs)
        for job in ran:
            end = job["ended_at"] or now
            if since is None or end >= since:
                rows.append(
                    {
                        "cluster": names[uid],
                        "uid": uid,
                        "id": job["id"],
                        "name": job["name"],
                        "status": job["status"],
                        "started_at": job["started_at"],
                        "duration": max(0.0, end - job["started_at"]),
                        "num_nodes": job["num_nodes"],
                        "cost": costs[job["id"]],
                    }
                )
    return sorted(rows, key=lambda row: (-row["started_at"], row["cluster"], row["id"]))


def _share(one: UpInterval, jobs: list[Mapping[str, Any]], now: float, costs: dict[int, float]) -> None:
    """Adds to each job's cost its part of what this node cost."""
    begin, end = one.started, one.started + one.seconds(now)
    spans = [(max(begin, job["started_at"]), min(end, job["ended_at"] or now), job["id"]) for job in jobs]
    spans = [span for span in spans if span[0] < span[1]]
    moments = sorted({time for first, last, _ in spans for time in (first, last)})
    changes = {moment: (set[int](), set[int]()) for moment in moments}
    for first, last, job_id in spans:
        changes[first][0].add(job_id)
        changes[last][1].add(job_id)
    running = set[int]()
    for moment, after in pairwise(moments):
        starts, ends = changes[moment]
        running = (running - ends) | starts
        for job_id in running:
            costs[job_id] += (after - moment) / 3600 * one.offer.price / len(running)


def report(
    intervals: Iterable[UpInterval], statuses: Mapping[str, str], now: float, since: float | None
) -> list[dict[str, Any]]:
    """A row for each life of a cluster, the latest first.

    Args:
        intervals: of the ledger.
        statuses: uid → status of the clusters that there are.
        now: the end of what is still up.
        since: only lives that were up after this; None: all.
    """
    rows = []
    for uid, group in groupby(sorted(intervals, key=lambda one: (one.uid, one.started)), key=lambda one: one.uid):
        mine = list(group)
        if since is not None and max(one.ended or now for one in mine) < since:
            continue
        up: dict[int, float] = {}
        for one in mine:
            up[one.rank] = up.get(one.rank, 0) + one.seconds(now)
        offer = mine[-1].offer
        rows.append(
            {
                "name": mine[0].cluster,
                "uid": uid,
                "status": statuses.get(uid),
                "launched_at": mine[0].started,
                "num_nodes": len(up),
                "place": offer.place,
                "instance_type": offer.instance_type,
                "use_spot": offer.use_spot,
                "duration": max(up.values()),
                "hourly": sum(one.offer.price for one in mine if one.ended is None),
                "cost": sum(one.cost(now) for one in mine),
            }
        )
    return sorted(rows, key=lambda row: (-row["launched_at"], row["uid"]))
