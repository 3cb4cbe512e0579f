"""What the client makes of the answers of a cluster and of the store, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyflow.client import Client
from skyflow.errors import ClusterDoesNotExist, JobDoesNotExist
from skyflow.settings import Settings
from skyflow.store.log import put_record
from skyflow.store.store import open_store

UID = "20261124T101500-ab12cd34"


class OneCluster(Client):
    """Of a cluster whose queue has these jobs, or that is gone."""

    def __init__(self, folder: Path, jobs: list[int] | None, next_job: int = 1) -> None:
        settings = Settings(home=folder, store=f"file://{folder}/store")
        super().__init__(None, None, settings)  # type: ignore[arg-type]
        self._store = open_store(settings.store)
        self.jobs, self.next_job = jobs, next_job

    async def _ask_cluster(self, name: str, query: str) -> Any:
        if self.jobs is None:
            raise ClusterDoesNotExist("gone")
        if query == "queue":
            return [{"id": number, "from": "queue"} for number in self.jobs]
        return {"uid": UID, "next_job": self.next_job}

    async def keep(self, *jobs: int) -> None:
        for number in jobs:
            await put_record(self.store, "c", UID, str(number), {"id": number, "from": "store"})

    async def says(self, number: int | None) -> tuple[int, str]:
        job = await self.job("c", number)
        assert job["uid"] == UID
        return job["id"], job["from"]


async def test_jobs_that_a_living_cluster_does_not_have_any_more_are_in_the_store(tmp_path: Path) -> None:
    client = OneCluster(tmp_path, [9, 3], next_job=12)
    await client.keep(1, 3, 10)
    assert await client.says(1) == (1, "store")
    assert await client.says(3) == (3, "queue")
    assert await client.says(None) == (10, "store")
    for number in (2, 12, -1):
        with pytest.raises(JobDoesNotExist, match=f"a job {number}. See: skyflow queue c"):
            await client.job("c", number)
    adopted = OneCluster(tmp_path, [], next_job=12)
    assert await adopted.says(None) == (10, "store")


async def test_the_store_is_not_asked_for_what_the_cluster_has(tmp_path: Path) -> None:
    client = OneCluster(tmp_path, [2, 1], next_job=3)
    client._store = None
    assert await client.says(None) == (2, "queue")
    assert await client.says(1) == (1, "queue")


async def test_a_cluster_that_is_gone_has_no_queue_to_look_at(tmp_path: Path) -> None:
    client = OneCluster(tmp_path, None)
    with pytest.raises(ClusterDoesNotExist, match="Nothing is known of a cluster 'c'"):
        await client.job("c")
    await client.keep(2, 10)
    assert await client.says(None) == (10, "store")
    assert await client.says(2) == (2, "store")
    with pytest.raises(JobDoesNotExist) as refused:
        await client.job("c", 1)
    assert str(refused.value) == "Cluster 'c' is gone, and its last life did not have a job 1 that ended."
