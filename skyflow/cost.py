"""What clusters and their jobs have cost: the ledger and the records of jobs in the store, and what runs now."""

from __future__ import annotations

import time
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from skyflow.errors import ClusterDoesNotExist
from skyflow.models.usage import UpInterval, job_report, report
from skyflow.store.ledger import intervals
from skyflow.store.log import records

if TYPE_CHECKING:
    from skyflow.cluster_client import ClusterClient


async def of_clusters(client: ClusterClient, since: float | None, names: list[str] | None) -> list[dict[str, Any]]:
    """See Client.cost_report."""
    statuses = {view["uid"]: view["status"] for view in await client.status()}
    return report(await _intervals(client, names), statuses, time.time(), since)


async def of_jobs(client: ClusterClient, since: float | None, names: list[str] | None) -> list[dict[str, Any]]:
    """See Client.cost_report."""
    now = time.time()
    booked = [one for one in await _intervals(client, names) if since is None or (one.ended or now) >= since]
    lives = {one.uid: one.cluster for one in booked}
    jobs = {uid: {job["id"]: job for job in await records(client.store, name, uid)} for uid, name in lives.items()}
    for view in await client.status():
        if view["uid"] in lives:
            with suppress(ClusterDoesNotExist):  # it has gone meanwhile
                rows = await client.queue(view["name"])
                jobs[view["uid"]] |= {row["id"]: row for row in rows if row["started_at"]}
    return job_report(booked, {uid: list(known.values()) for uid, known in jobs.items()}, now, since)


async def _intervals(client: ClusterClient, names: list[str] | None) -> list[UpInterval]:
    found = await intervals(client.store)
    known = {one.cluster for one in found}
    if missing := [name for name in names or [] if not any(fnmatchcase(one, name) for one in known)]:
        raise ClusterDoesNotExist(f"The ledger knows no cluster {', '.join(missing)!r}. See: skyflow cost-report --all")
    return [one for one in found if names is None or any(fnmatchcase(one.cluster, name) for name in names)]
