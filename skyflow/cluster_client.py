"""What a client does with clusters that exist: reads, stops, starts and takes them down; sets their idle rules."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from skyflow.endpoint import Endpoint, is_loopback
from skyflow.errors import ClusterDoesNotExist, JobDoesNotExist, StoreError, UsageError
from skyflow.models.argument import check_graceful, check_idle_rule
from skyflow.models.idle import check_wait_for
from skyflow.models.name import check_cluster_name, cluster_workflow_id, operation_workflow_id, task_queue
from skyflow.settings import Settings
from skyflow.workflow_client import ASK_SECONDS, WorkflowAbsentError, WorkflowClient, typed

if TYPE_CHECKING:
    import temporalio.client as temporal

    from skyflow.store.store import Store


class ClusterClient(WorkflowClient):
    """The clusters of one namespace."""

    def __init__(self, client: temporal.Client, endpoint: Endpoint, settings: Settings) -> None:
        super().__init__(client, endpoint)
        self.settings = settings
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """Where snapshots and logs are."""
        if self._store is None:
            from skyflow.store.store import check_reachable, check_same, open_store

            check_same(self.settings.store, self.endpoint.store or self.settings.store)
            check_reachable(self.settings.store, is_loopback(self.endpoint.address))
            self._store = open_store(self.settings.store)
        return self._store

    async def status(self, cluster_names: list[str] | None = None, *, refresh: bool = False) -> list[dict[str, Any]]:
        """The clusters as their workflows last showed them, by name. Those that do not exist are left out.

        Args:
            cluster_names: only these.
            refresh: ask the clouds first. Clusters whose nodes are all gone are taken down then.
        """
        query = "WorkflowType = 'ClusterWorkflow' AND ExecutionStatus = 'Running'"
        found = []
        if cluster_names is not None:
            for name in cluster_names:
                with suppress(ClusterDoesNotExist):
                    found.append(await self._cluster(name))
        else:
            with self.errors():
                async for execution in self._client.list_workflows(query):
                    view = (await execution.memo()).get("cluster")
                    if view and not view.get("over"):  # what is over only waits until everybody was told
                        found.append(view)
        if refresh:
            found = await asyncio.gather(*(self._refreshed(view) for view in found))
        return sorted(found, key=lambda view: view["name"])

    async def _refreshed(self, view: dict[str, Any]) -> dict[str, Any]:
        from temporalio.client import WorkflowUpdateFailedError

        handle = self._client.get_workflow_handle(cluster_workflow_id(view["name"]))
        try:
            with self.errors():
                return dict(await handle.execute_update("refresh"))
        except (WorkflowAbsentError, WorkflowUpdateFailedError):  # it closed meanwhile
            return view

    async def queue(self, cluster_name: str) -> list[dict[str, Any]]:
        """The jobs of a cluster, newest first."""
        return list(await self._ask_cluster(cluster_name, "queue"))

    async def cancel(self, cluster_name: str, job_ids: list[int] | None = None) -> list[int]:
        """Cancels jobs of a cluster (all that have not ended if not given). Returns those that had not ended.

        Raises:
            ClusterDoesNotExist: there is no such cluster.
            JobDoesNotExist: it has no such job.
        """
        jobs = {row["id"]: row for row in await self.queue(cluster_name)}
        for job_id in job_ids or []:
            if job_id not in jobs:
                raise JobDoesNotExist(
                    f"Cluster {cluster_name!r} has no job {job_id}. See: skyflow queue {cluster_name}"
                )
        open_jobs = [job_id for job_id, row in jobs.items() if row["ended_at"] is None]
        chosen = sorted(open_jobs if job_ids is None else set(job_ids) & set(open_jobs))
        if chosen:
            await self.workflow_signal(cluster_workflow_id(cluster_name), "cancel", {"jobs": chosen})
        return chosen

    async def stop(
        self,
        cluster_name: str,
        *,
        purge: bool = False,
        graceful: bool = False,
        graceful_timeout: int | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> int:
        """Stops a cluster: cancels what runs on it and stops its nodes. Returns how many nodes there are.

        Their disks are kept, and jobs that wait go on waiting until it is started.

        Args:
            cluster_name: of the cluster.
            purge: it counts as stopped also if the cloud does not do it, until the cloud is asked the next time.
            graceful: jobs have longer to end by themselves after SIGTERM.
            graceful_timeout: how long, in seconds; 10 minutes if not given.
            notice: is told in one line what a purge may have left running.

        Raises:
            ClusterDoesNotExist: there is no such cluster.
            ClusterNotUpError: it is being made.
            ClusterChangeError: the cloud refused.
            NotSupportedError: its nodes cannot be stopped.
        """
        request = {"purge": purge, **check_graceful(graceful, graceful_timeout)}
        result = await self._operate("stop", cluster_name, request)
        if result.get("left") and notice is not None:
            notice(f"Cluster {cluster_name!r} counts as stopped, but may run and cost: {'; '.join(result['left'])}.")
        return int(result["stopped"])

    async def start(
        self,
        cluster_name: str,
        *,
        idle_minutes_to_autostop: int | None = None,
        down: bool = False,
        retry_until_up: bool = False,
        wait_for: str | None = None,
        force: bool = False,
        notice: Callable[[str], None] | None = None,
    ) -> int:
        """Starts a stopped cluster, where it was, and makes nodes anew that it has lost, beside the others.

        Returns how many nodes run now; 0 if none had to be started or made.

        Args:
            cluster_name: of the cluster.
            idle_minutes_to_autostop: its idle rule from now on; if not given, the one from before counts again.
            down: with an idle rule: take it down instead of stopping it.
            retry_until_up: when the place cannot give the nodes now, wait and try again.
            wait_for: with an idle rule: see `autostop`.
            force: also if it seems to be up: the cloud starts what does not run.
            notice: is told in one line which idle rule counts again.

        Raises:
            ClusterDoesNotExist: there is no such cluster.
            ClusterNotUpError: it has lost all of its nodes.
            ResourcesUnavailableError: its place cannot give the nodes now.
            UsageError: `down` or `wait_for` without idle minutes.
        """
        from skyflow.models.entry_point import entry_point  # here, because other commands should not pay for it

        wait_for = check_wait_for(wait_for)
        check_idle_rule(idle_minutes_to_autostop, down)
        if wait_for and idle_minutes_to_autostop is None:
            raise UsageError("wait_for needs idle minutes (--idle-minutes-to-autostop) when a cluster is started.")
        request = {
            "idle_minutes_to_autostop": idle_minutes_to_autostop,
            "down": down,
            "retry_until_up": retry_until_up,
            "force": force,
            "wait_for": wait_for,
            "entry_point": entry_point(sys.argv),
        }
        started = int((await self._operate("start", cluster_name, request))["started"])
        if started and idle_minutes_to_autostop is None and notice is not None:
            found = await self._cluster(cluster_name)
            if (minutes := found["autostop"]) >= 0:
                rule = f"{'taken down' if found['to_down'] else 'stopped'} after {minutes} idle minutes"
                notice(f"Its idle rule counts again: {rule}. Cancel it: skyflow autostop {cluster_name} --cancel")
        return started

    async def down(
        self,
        cluster_name: str,
        *,
        purge: bool = False,
        graceful: bool = False,
        graceful_timeout: int | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> int:
        """Takes a cluster down: cancels what runs on it and deletes its nodes. Returns how many nodes were deleted.

        Args:
            cluster_name: of the cluster.
            purge: it is gone also if the cloud does not delete its nodes. That goes on being tried.
            graceful: jobs have longer to end by themselves after SIGTERM.
            graceful_timeout: how long, in seconds; 10 minutes if not given.
            notice: is told in one line what a purge may have left.

        Raises:
            ClusterDoesNotExist: there is no such cluster.
            ClusterChangeError: the cloud refused. It is tried again now and then.
        """
        request = {"purge": purge, **check_graceful(graceful, graceful_timeout)}
        result = await self._operate("down", cluster_name, request)
        if result.get("left") and notice is not None:
            left = "; ".join(result["left"])
            notice(f"Cluster {cluster_name!r} is forgotten, but may exist and cost: {left}. Its deletion goes on.")
        return int(result["deleted"])

    async def _operate(self, kind: Literal["stop", "start", "down"], name: str, request: dict[str, Any]) -> Any:
        await self._check_exists(name)
        with self.errors():
            handle = await self._client.start_workflow(
                f"{kind.capitalize()}Workflow",
                {"cluster": name, **request},
                id=operation_workflow_id(kind, name, uuid.uuid4().hex[:12]),
                task_queue=task_queue("quick"),
                static_summary=f"take {name} down" if kind == "down" else f"{kind} {name}",
            )
        return await self.workflow_result(handle.id)

    async def autostop(
        self,
        cluster_name: str,
        idle_minutes: int,
        down: bool = False,
        wait_for: str | None = None,
        *,
        down_after: int | str | None = None,
    ) -> None:
        """Stops a cluster, or takes it down, after so many idle minutes; negative: never. The last setting counts.

        Args:
            cluster_name: of the cluster.
            idle_minutes: how long it must have been idle.
            down: take it down instead of stopping it.
            wait_for: what keeps it from being idle: `jobs_and_ssh` (the default), `jobs`, or `none`: nothing does.
            down_after: take it down when it has been stopped for so long: minutes, or such as "24h".

        Raises:
            ClusterDoesNotExist: there is no such cluster.
            ClusterNotUpError: it is not up.
            NotSupportedError: its nodes cannot be stopped (without `down`).
            UsageError: it says two things, or there is nothing of that name to wait for.
        """
        later = check_idle_rule(idle_minutes, down, down_after)
        setting = {"minutes": idle_minutes, "down": down, "down_after": later, "wait_for": check_wait_for(wait_for)}
        from temporalio.client import WorkflowUpdateFailedError

        await self._check_exists(cluster_name)
        handle = self._client.get_workflow_handle(cluster_workflow_id(cluster_name))
        try:
            with self.errors():
                await handle.execute_update("set_autostop", setting)
        except WorkflowUpdateFailedError as error:
            raise typed(error.cause) from error

    async def adopt(
        self, *, dryrun: bool = False, deployment: str | None = None, lives: list[str] | None = None
    ) -> dict[str, Any]:
        """Takes over the clusters that the store knows and Temporal does not: its database was lost.

        Args:
            dryrun: only say which they are.
            deployment: only those that belonged to this one.
            lives: only these, by `uid`.

        Returns:
            `adopted`, `over` (no nodes any more), `left` (alone, with a `reason`), each a list of `cluster`, `uid`,
            `place`, `num_nodes`, …; `strangers` (nodes that the store does not know), `silent` (clouds that could not
            be asked), `owners` (deployments that lost clusters belonged to).

        Raises:
            UsageError: they belonged to several deployments, and `deployment` does not say to which.
        """
        from skyflow import adoption

        with self.errors():
            started = await adoption.start(self._client, dryrun=dryrun, deployment=deployment, lives=lives)
        return dict(await self.workflow_result(started))

    async def count_lost(self) -> int:
        """How many clusters the store knows that nobody here looks after (0, if it cannot be read). See `adopt`."""
        from skyflow import adoption

        with self.errors(), suppress(StoreError, UsageError, TimeoutError):
            async with asyncio.timeout(ASK_SECONDS):
                return await adoption.count_lost(self._client, self.store)
        return 0

    async def events(self, cluster_name: str) -> list[dict[str, Any]]:
        """What happened to a cluster, in order, for as long as Temporal remembers it, also when it is gone.

        Returns:
            Rows of `time` (epoch seconds), `what` (in words), `id` (of the workflow that did it).

        Raises:
            ClusterDoesNotExist: Temporal remembers nothing of it.
        """
        from skyflow.events import events

        found = await events(self, cluster_name)
        if not found:
            raise ClusterDoesNotExist(f"Temporal remembers nothing of a cluster {cluster_name!r}. See: skyflow status")
        return found

    async def cost_report(
        self, days: float | None = 30, *, jobs: bool = False, cluster_names: list[str] | None = None
    ) -> list[dict[str, Any]]:
        """What the clusters have cost, the latest first, also those that are gone: a row for each life of a cluster.

        Args:
            days: only those that were up within so many days; None: all that the ledger knows.
            jobs: a row for each job instead, those that run too.
            cluster_names: only of these; `*` stands for others.

        Returns:
            Rows of `name`, `uid`, `status` (None: it is gone), `launched_at`, `num_nodes`, `place`, `instance_type`,
            `use_spot`, `duration` (seconds, of the node that was up longest), `hourly` (US dollars, of what is up
            now), `cost` (US dollars). With `jobs`: `cluster`, `uid`, `id`, `name`, `status`, `started_at`, `duration`,
            `num_nodes`, `cost`: what its nodes cost while it ran, shared equally with the jobs that ran there as well.
        """
        from skyflow import cost

        since = None if days is None else time.time() - days * 86400
        if jobs:
            return await cost.of_jobs(self, since, cluster_names)
        return await cost.of_clusters(self, since, cluster_names)

    async def executions(self, kind: str, cluster_name: str) -> list[temporal.WorkflowExecution]:
        """The workflows of one kind (the first part of their ids) that a cluster has had, as Temporal lists them."""
        query = f"WorkflowId STARTS_WITH '{kind}/{check_cluster_name(cluster_name)}/'"
        with self.errors():
            return [execution async for execution in self._client.list_workflows(query)]

    async def adoptions(self) -> list[temporal.WorkflowExecution]:
        """The adoptions, and their dry runs, that have ended well, as Temporal lists them."""
        query = "WorkflowType = 'AdoptWorkflow' AND ExecutionStatus = 'Completed'"
        with self.errors():
            return [execution async for execution in self._client.list_workflows(query)]

    async def _check_exists(self, name: str) -> None:
        if await self.shown(check_cluster_name(name)) is None:
            raise ClusterDoesNotExist(f"Cluster {name!r} does not exist. See: skyflow status")

    async def shown(self, name: str) -> dict[str, Any] | None:
        """The cluster as it last showed itself (nothing, if it has just begun); None if it does not exist.

        Asks the server only, not the cluster itself: that needs no worker, and less time.
        """
        handle = self._client.get_workflow_handle(cluster_workflow_id(name))
        with suppress(WorkflowAbsentError), self.errors():
            description = await handle.describe()
            if description.status is not None and description.status.name == "RUNNING":
                view = dict((await description.memo()).get("cluster") or {})
                return None if view.get("over") else view
        return None

    async def _cluster(self, name: str) -> dict[str, Any]:
        view = dict(await self._ask_cluster(check_cluster_name(name), "status"))
        if view.get("over"):
            raise ClusterDoesNotExist(f"Cluster {name!r} does not exist. See: skyflow status")
        return view

    async def _ask_cluster(self, name: str, query: str) -> Any:
        from temporalio.client import WorkflowQueryRejectedError
        from temporalio.common import QueryRejectCondition

        handle = self._client.get_workflow_handle(cluster_workflow_id(name))
        try:
            with self.errors():
                return await handle.query(
                    query,
                    reject_condition=QueryRejectCondition.NOT_OPEN,
                    rpc_timeout=timedelta(seconds=ASK_SECONDS),
                )
        except (WorkflowAbsentError, WorkflowQueryRejectedError):
            raise ClusterDoesNotExist(f"Cluster {name!r} does not exist. See: skyflow status") from None

    # Ways to the nodes

    async def access(self, cluster_name: str) -> dict[str, Any]:
        """How a cluster is reached: `uid`, `ways`, `nodes` by rank (none, if it has none yet), `ports`."""
        return dict(await self._ask_cluster(check_cluster_name(cluster_name), "access"))

    async def endpoints(self, cluster_name: str, port: int | None = None) -> dict[int, str]:
        """Where the open ports of the head node are reached: port → `HOST:PORT`.

        Args:
            cluster_name: whose ports.
            port: only this one.

        Raises:
            ClusterDoesNotExist, ClusterNotUpError: there is no such cluster, or it is not up.
            UsageError: the cluster was not launched with this port.
        """
        from skyflow import access

        return await access.endpoints(self, cluster_name, port)

    async def ssh_config(self, cluster_name: str | None = None) -> list[str]:
        """Makes the SSH config in skyflow's folder true: it has the nodes of every cluster that is up, and no others.

        Args:
            cluster_name: must be among them.

        Returns:
            Those of the new ones that it leaves out, because the user's own config has hosts of the same names.

        Raises:
            ClusterDoesNotExist, ClusterNotUpError, NotSupportedError: this cluster cannot be reached from here.
            StoreError: its key cannot be read.
            OSError: the folder cannot be written.
        """
        from skyflow import access

        return await access.ssh_config(self, cluster_name)
