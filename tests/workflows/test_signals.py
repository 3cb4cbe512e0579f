"""What others may say to workflows, as the Web UI, `temporal workflow signal` and other SDKs say it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from skyflow.models.name import autostop_workflow_id, cluster_workflow_id, job_workflow_id
from tests.workflows.conftest import World
from tests.workflows.test_launch import closed, until
from tests.workflows.test_stop import jobs, launched, submit, view

MISFITS: list[tuple[str, list[Any]]] = [
    ("cancel", []),
    ("cancel", [None]),
    ("cancel", ["all"]),
    ("cancel", [{"jobs": "x"}]),
    ("cancel", [{}]),
    ("cancel", [{"job": [1]}]),
    ("autostop", []),
    ("autostop", [None]),
    ("autostop", [7]),
    ("autostop", [{"minutes": "soon"}]),
    ("autostop", [{}]),
    ("autostop", [{"minutes": 10**26}]),
    ("autostop", [{"minutes": 5, "down_after": 10**26}]),
    ("autostop", [{"idle_minutes": 5}]),
    ("autostop", [{"minutes": 5, "down": True, "down_after": 5}]),
    ("release", []),
    ("job_ended", []),
    ("idle_due", []),
    ("no such signal", []),
]


async def test_a_signal_that_does_not_fit_is_ignored_and_the_cluster_goes_on(world: World, unique: str) -> None:
    await launched(world, unique)
    await submit(world, unique, 2, {})
    await until(lambda: asyncio.sleep(0, "2" in world.started))
    cluster = world.client.get_workflow_handle(cluster_workflow_id(unique))
    uid = (await view(world, unique))["uid"]
    await cluster.signal("autostop", {"minutes": 600})
    for name, args in MISFITS:
        await cluster.signal(name, args=args)
    for update in ("set_autostop", "reserve", "report"):
        with pytest.raises(WorkflowUpdateFailedError):
            await cluster.execute_update(update, args=[])
    with pytest.raises(WorkflowUpdateFailedError):
        await cluster.execute_update("set_autostop", {"idle_minutes": 5})
    for other, signal in (
        (autostop_workflow_id(unique, uid), "idle"),
        (autostop_workflow_id(unique, uid), "guard"),
        (autostop_workflow_id(unique, uid), "alive"),
        (job_workflow_id(unique, uid, 2), "rank_ended"),
        (f"launch/{unique}/2", "job_ended"),
    ):
        await world.client.get_workflow_handle(other).signal(signal, args=[])
    assert (await view(world, unique))["autostop"] == 600
    assert (await jobs(world, unique))[2] in ("PENDING", "RUNNING")

    await cluster.signal("autostop", {"minutes": 0, "down": True})
    await cluster.signal("cancel", {"jobs": None})
    await until(lambda: closed(world.client, cluster.id))
    assert world.ended["2", 0] == 137
