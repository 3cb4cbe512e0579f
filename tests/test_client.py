"""What the client makes of the answers of a cluster and of the store, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from temporalio.client import RPCError, WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.service import RPCStatusCode

from skyflow import workflow_client
from skyflow.client import Client
from skyflow.errors import (
    ClusterDoesNotExist,
    JobDoesNotExist,
    LaunchCancelledError,
    SkyflowError,
    TemporalUnavailableError,
)
from skyflow.settings import Settings
from skyflow.store.ledger import book
from skyflow.store.log import put_record
from skyflow.store.store import open_store
from tests.models.test_usage import interval

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

    async def status(self, cluster_names: list[str] | None = None, *, refresh: bool = False) -> list[dict[str, Any]]:
        return []

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


async def test_a_cost_report_of_clusters_whose_names_match(tmp_path: Path) -> None:
    client = OneCluster(tmp_path, None)
    for name in ("c1", "c2", "d1"):
        await book(client.store, interval(name, 0, 100, 3700).model_copy(update={"cluster": name, "uid": name}))
        await put_record(client.store, name, name, "1", JOB)

    async def names(*patterns: str, jobs: bool = False) -> list[str]:
        rows = await client.cost_report(None, jobs=jobs, cluster_names=list(patterns))
        return sorted(row["uid"] for row in rows)

    for jobs in (False, True):
        assert await names("c*", jobs=jobs) == ["c1", "c2"]
        assert await names("c1", "d?", jobs=jobs) == ["c1", "d1"]
        with pytest.raises(ClusterDoesNotExist, match=r"The ledger knows no cluster 'e\*, c'\."):
            await names("e*", "c", "c2", jobs=jobs)


JOB = {
    "id": 1,
    "name": "x",
    "status": "SUCCEEDED",
    "started_at": 100.0,
    "ended_at": 200.0,
    "ranks": [0],
    "num_nodes": 1,
}


class Server:
    """Gives these answers to whoever waits for a workflow; the place of its own handle and endpoint."""

    address, namespace = "here:7233", "default"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def get_workflow_handle(self, workflow_id: str) -> Server:
        return self

    async def result(self) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def connected(server: Server) -> workflow_client.WorkflowClient:
    return workflow_client.WorkflowClient(server, server)  # type: ignore[arg-type]


BROKEN = RPCError("transport error", RPCStatusCode.UNKNOWN, b"")


async def test_who_waits_for_a_workflow_goes_on_when_the_connection_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow_client, "RECONNECT_SECONDS", 0)
    unavailable = RPCError("tcp connect error", RPCStatusCode.UNAVAILABLE, b"")
    assert await connected(Server(BROKEN, unavailable, BROKEN, 7)).workflow_result("down/c/1") == 7


def test_a_connection_that_breaks_is_no_refusal() -> None:
    with (
        pytest.raises(TemporalUnavailableError, match="does not answer: transport error"),
        connected(Server()).errors(),
    ):
        raise BROKEN
    with pytest.raises(SkyflowError, match="refused: namespace") as refused, connected(Server()).errors():
        raise RPCError("namespace is odd", RPCStatusCode.UNKNOWN, b"")
    assert not isinstance(refused.value, TemporalUnavailableError)


@pytest.mark.parametrize("kind", ["launch", "down", "stop", "start", "adopt"])
async def test_what_was_cancelled_is_said_by_its_kind(kind: str) -> None:
    failed = WorkflowFailureError(cause=CancelledError("Workflow cancelled"))
    with pytest.raises(LaunchCancelledError, match=f"^The {kind} was cancelled.$"):
        await connected(Server(failed)).workflow_result(f"{kind}/c/1")
