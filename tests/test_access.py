"""Which clusters the SSH config gets, whom it asks for that, and the addresses of ports; without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from skyflow import access
from skyflow.client import Client
from skyflow.clouds.local.folder import Folder
from skyflow.errors import (
    ClusterDoesNotExist,
    ClusterNotUpError,
    NotSupportedError,
    ObjectAbsentError,
    TemporalUnavailableError,
    UsageError,
)
from skyflow.settings import Settings
from skyflow.store.key import client_key
from skyflow.store.store import open_store
from tests.ssh.conftest import entry

Run = Callable[..., Any]


class Clusters:
    """Stands in for the client."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = open_store(settings.store)
        self.clusters: dict[str, dict[str, Any]] = {}
        self.unlisted: set[str] = set()
        self.silent: set[str] = set()
        self.asked: list[str] = []

    async def add(self, name: str, uid: str = "life1", status: str = "UP", **change: Any) -> None:
        if status == "UP":
            await client_key(self.store, name, uid)
        view = {"name": name, "status": status, "ways": uid, "host": None, "lost": [], **change}
        self.clusters[name] = view

    async def status(self, names: list[str] | None = None) -> list[dict[str, Any]]:
        wanted = self.clusters.keys() - self.unlisted if names is None else names
        return [view for name, view in self.clusters.items() if name in wanted]

    async def shown(self, name: str) -> dict[str, Any] | None:
        return self.clusters.get(name)

    async def access(self, name: str) -> dict[str, Any]:
        self.asked.append(name)
        if name in self.silent:
            raise TemporalUnavailableError("no answer")
        ways = self.clusters[name]["ways"]
        return {"uid": ways, "ways": ways, "nodes": entry(name).nodes, "ports": ["80", "90-92"]}


@pytest.fixture
def clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clusters:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Clusters(Settings.from_env({"HOME": str(tmp_path)}))


async def update(clusters: Clusters, cluster: str | None = None) -> list[str]:
    """Makes the config true; returns the clusters that it has then."""
    await access.ssh_config(cast(Client, clusters), cluster)
    return sorted(access.ssh_folder(clusters.settings).known())


async def test_the_clusters_that_are_up_and_only_those(clusters: Clusters) -> None:
    await clusters.add("dev")
    await clusters.add("starting", status="INIT")
    assert await update(clusters) == ["dev"]
    assert clusters.asked == ["dev"]
    assert await update(clusters) == ["dev"]
    assert clusters.asked == ["dev"]  # it is known already
    await clusters.add("dev", uid="life2")
    assert await update(clusters) == ["dev"]
    assert clusters.asked == ["dev", "dev"]
    del clusters.clusters["dev"]
    assert await update(clusters) == []


async def test_without_clusters_nothing_is_written(clusters: Clusters) -> None:
    assert await update(clusters) == []
    assert not clusters.settings.ssh_dir.exists()


async def test_a_cluster_that_is_only_not_listed_is_not_gone(clusters: Clusters) -> None:
    await clusters.add("dev")
    clusters.unlisted = {"dev"}
    assert await update(clusters) == []
    assert await update(clusters, "dev") == ["dev"]
    assert await update(clusters) == ["dev"]


async def test_one_that_does_not_answer_does_not_hold_up_the_others(clusters: Clusters) -> None:
    await clusters.add("dev")
    await clusters.add("silent")
    clusters.silent = {"silent"}
    assert await update(clusters) == ["dev"]
    with pytest.raises(TemporalUnavailableError):
        await update(clusters, "silent")
    clusters.silent = set()
    assert await update(clusters) == ["dev", "silent"]


async def test_nodes_of_another_machine_are_left_out(clusters: Clusters) -> None:
    await clusters.add("here", host=Folder(clusters.settings.local_dir).host_id())
    await clusters.add("there", host="laptop-1")
    assert await update(clusters) == ["here"]
    with pytest.raises(NotSupportedError, match="processes of host laptop-1; they can be reached only there"):
        await update(clusters, "there")


async def test_a_store_without_the_key_makes_none(clusters: Clusters) -> None:
    await clusters.add("dev")
    clusters.clusters["dev"]["ways"] = "elsewhere"
    with pytest.raises(ObjectAbsentError):
        await update(clusters, "dev")


async def test_clusters_that_cannot_be_reached(clusters: Clusters) -> None:
    await clusters.add("starting", status="INIT")
    await clusters.add("lossy", status="INIT", lost=[1])
    for name, error, words in (
        ("nobody", ClusterDoesNotExist, "does not exist"),
        ("starting", ClusterNotUpError, "is not up yet"),
        ("lossy", ClusterNotUpError, "has lost its node"),
    ):
        for what in (access.ssh_config, lambda client, name: access.endpoints(client, name, 80)):
            with pytest.raises(error, match=words):
                await what(cast(Client, clusters), name)


async def test_endpoints(clusters: Clusters) -> None:
    await clusters.add("dev")
    client = cast(Client, clusters)
    every = await access.endpoints(client, "dev", None)
    assert every == {port: f"127.0.0.1:{port}" for port in (80, 90, 91, 92)}
    assert await access.endpoints(client, "dev", 91) == {91: "127.0.0.1:91"}
    with pytest.raises(UsageError) as caught:
        await access.endpoints(client, "dev", 93)
    assert str(caught.value) == ("Cluster 'dev' was not launched with port 93; the ports that it has open: 80, 90-92.")


async def test_updates_at_once(clusters: Clusters) -> None:
    for number in range(4):
        await clusters.add(f"c{number}")
    await asyncio.gather(*(update(clusters, f"c{number}") for number in range(4)))
    assert await update(clusters) == ["c0", "c1", "c2", "c3"]
