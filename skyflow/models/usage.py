"""What was used, and what it cost: nodes, from when to when, at which price."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
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
