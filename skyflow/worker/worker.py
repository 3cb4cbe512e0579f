"""The worker: stateless, any number of them, on any host. Serves every task queue in one process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Interceptor, UnsandboxedWorkflowRunner, Worker

from skyflow.activities.cloud import CloudActivities
from skyflow.activities.cluster import ClusterActivities
from skyflow.activities.context import Context
from skyflow.activities.heartbeat import HeartbeatInterceptor
from skyflow.activities.ledger import LedgerActivities
from skyflow.activities.life import LifeActivities
from skyflow.activities.listener import ListenerActivities
from skyflow.activities.node import NodeActivities
from skyflow.activities.plan import PlanActivities
from skyflow.activities.sync import SyncActivities
from skyflow.activities.watch import WatchActivities
from skyflow.models.name import QueueKind, task_queue
from skyflow.worker.message import MessageInterceptor
from skyflow.worker.sandbox import WORKFLOWS

SLOTS: dict[QueueKind, int] = {"quick": 100, "cloud": 20, "sync": 8, "watch": 1000}
"""Activities at once, by kind of queue. A watch takes one slot a cluster for as long as something runs there."""

CACHED = 200
"""Workflows in memory. Any other is replayed from its history when something happens to it."""

DRAIN = timedelta(seconds=5)
"""How long running activities may take to stop when the worker is told to. Whatever is left runs again elsewhere."""


def activities(context: Context) -> dict[QueueKind, list[Any]]:
    """Every activity, by the kind of queue that serves it. Tests enumerate this."""
    cluster, plan, cloud = ClusterActivities(context), PlanActivities(context), CloudActivities(context)
    sync, node, watch = SyncActivities(context), NodeActivities(context), WatchActivities(context)
    ledger, life, listener = LedgerActivities(context), LifeActivities(context), ListenerActivities(context)
    return {
        "quick": [
            cluster.reserve_cluster,
            cluster.report_nodes,
            cluster.set_autostop,
            cluster.submit_job,
            cluster.describe_workflows,
            cluster.find_life,
            cluster.find_hardware,
            plan.rank_offers,
            node.start_gang,
            node.cancel_units,
            node.record_job,
            node.lease_nodes,
            node.last_session,
            ledger.book_intervals,
            ledger.close_intervals,
            life.keep_life,
            life.list_lives,
            life.adopt_life,
            node.list_units,
            listener.keep_callback,
        ],
        "cloud": [
            cloud.create_nodes,
            cloud.delete_nodes,
            cloud.describe_nodes,
            cloud.find_nodes,
            cloud.stop_nodes,
            cloud.start_nodes,
        ],
        "sync": [sync.sync_workdir, sync.sync_file_mounts, node.list_ended, node.read_ends, node.count_running],
        "watch": [
            watch.watch_nodes,
            watch.run_setup,
            node.cancel_units,
            listener.post_changes,
            listener.run_callbacks,
        ],
    }


def workers(context: Context, hosts: Sequence[str], interceptors: Sequence[Interceptor] = ()) -> list[Worker]:
    """One worker for each task queue: those that any worker may serve, and those of this host."""
    return [
        _worker(context.client, kind, place, functions, interceptors)
        for kind, functions in activities(context).items()
        for place in [None, *hosts]
    ]


def _worker(
    client: Client, kind: QueueKind, host: str | None, functions: list[Any], interceptors: Sequence[Interceptor]
) -> Worker:
    main = kind == "quick" and host is None
    return Worker(
        client,
        task_queue=task_queue(kind, host),
        workflows=WORKFLOWS if main else [],
        activities=functions,
        workflow_runner=UnsandboxedWorkflowRunner(),  # see `sandbox`
        interceptors=[HeartbeatInterceptor(), MessageInterceptor(), *interceptors],
        max_concurrent_activities=SLOTS[kind],
        max_concurrent_activity_task_polls=4 if kind == "quick" else 2,
        max_cached_workflows=CACHED if main else 0,
        max_heartbeat_throttle_interval=timedelta(seconds=2),
        default_heartbeat_throttle_interval=timedelta(seconds=2),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        graceful_shutdown_timeout=DRAIN,
    )


async def serve(running: Sequence[Worker], stop: asyncio.Event) -> None:
    """Runs the workers until told to stop, then drains them."""
    async with contextlib.AsyncExitStack() as stack:
        for worker in running:
            await stack.enter_async_context(worker)
        await stop.wait()
