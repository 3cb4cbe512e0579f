"""The asynchronous client: starts launches and reads what became of them. Sends plain JSON, imports no pydantic."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyflow.cluster_client import ClusterClient
from skyflow.ending import settle_at_exit
from skyflow.endpoint import plain_reason, resolve
from skyflow.errors import (
    ClusterDoesNotExist,
    InvalidTaskError,
    JobDoesNotExist,
    TemporalUnavailableError,
)
from skyflow.handle import Launch, LogChunk
from skyflow.handle import follow as follow_job
from skyflow.models.entry_point import entry_point
from skyflow.models.idle import check_wait_for
from skyflow.models.log_line import LastLines, LineMerger
from skyflow.models.name import (
    launch_workflow_id,
    task_queue,
)
from skyflow.models.stage import Stage
from skyflow.models.support import check_request
from skyflow.settings import Settings, user_name

if TYPE_CHECKING:
    from skyflow.models.dag import OptimizeTarget
    from skyflow.models.task import Task
    from skyflow.store.log import LogReader

EXEC_STAGES = (Stage.SYNC_WORKDIR, Stage.EXEC)
"""What `exec` does: no provisioning, no setup, no file mounts (PARITY E32)."""

OnSnapshot = Callable[[str, int, int], None]
"""Is told of a path, the bytes of it that were read, and those that have to be."""

MAX_TASK_BYTES = 64 << 10
"""Bulk bytes do not go through Temporal: a history keeps the task for as long as it lives."""


class Client(ClusterClient):
    """A connection to one Temporal namespace: starts launches, reads what became of them.

    >>> async with Client.connect() as client:
    ...     launch = await client.launch(Task(run="echo hello"), cluster_name="dev")
    ...     result = await launch.result()
    """

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, settings: Settings | None = None, *, notice: Callable[[str], None] | None = None
    ) -> AsyncIterator[Client]:
        """Connects to the configured Temporal, or to the embedded one, which is started if it does not run.

        Args:
            settings: of this process; read from the environment if not given.
            notice: is told in one line what was started.

        Raises:
            TemporalUnavailableError: the server does not answer.
            EmbeddedServerError: the embedded server cannot be started.
        """
        settings = settings or Settings.load()
        endpoint = resolve(settings)
        starting = endpoint.start_if_needed(notice)
        import temporalio.client  # while the server boots

        _quiet()
        settle_at_exit()
        await asyncio.to_thread(starting.wait_ready)
        config = endpoint.connect_config()
        try:
            client = await temporalio.client.Client.connect(**config)
        except (RuntimeError, ValueError) as error:
            raise TemporalUnavailableError(
                f"The Temporal server at {config['target_host']} does not answer ({plain_reason(error)}). "
                "Check TEMPORAL_ADDRESS, or unset it to use the embedded server."
            ) from error
        yield cls(client, endpoint, settings)

    # Launching

    async def launch(
        self,
        task: Task,
        cluster_name: str | None = None,
        *,
        dryrun: bool = False,
        down: bool = False,
        detach_run: bool = False,
        no_setup: bool = False,
        fast: bool = False,
        retry_until_up: bool = False,
        idle_minutes_to_autostop: int | None = None,
        wait_for: str | None = None,
        optimize_target: OptimizeTarget | None = None,
        on_snapshot: OnSnapshot | None = None,
    ) -> Launch:
        """Starts a launch: finds a place, makes the nodes, syncs, sets up, runs.

        Args:
            task: what to run.
            cluster_name: an existing cluster is used again; made up if not given.
            dryrun: only plan; nothing is made, uploaded or reserved.
            down: take the nodes down as soon as the job has ended.
            detach_run: the launch is over when the job is queued.
            no_setup: skip setup.
            fast: skip setup if the cluster is up already.
            retry_until_up: when no place can give the nodes, wait and try all of them again.
            idle_minutes_to_autostop: stop the cluster after so many idle minutes, or take it down (with `down`).
            wait_for: what keeps the cluster from being idle: see `autostop`.
            optimize_target: cost or time; what the settings say if not given.
            on_snapshot: is told how far the client has read its files.

        Raises:
            InvalidTaskError, InvalidClusterNameError, NotSupportedError, UsageError: the request is wrong.
            StoreError: the snapshots cannot be written.
        """
        idle = idle_minutes_to_autostop
        check_request(task, cluster_name, dryrun=dryrun, down=down, idle_minutes_to_autostop=idle, wait_for=wait_for)
        request: dict[str, Any] = {
            "dryrun": dryrun,
            "down": down,
            "detach_run": detach_run,
            "no_setup": no_setup,
            "fast": fast,
            "retry_until_up": retry_until_up,
            "idle_minutes_to_autostop": idle,
            "wait_for": check_wait_for(wait_for),
        }
        fastest = self.settings.optimize_target == "time" if optimize_target is None else optimize_target.name == "TIME"
        if fastest and task.has_time_estimator and task.best_resources is None:
            from skyflow import planner  # rare: it loads the catalogs

            task = await planner.fastest_first(task, self.settings)
        return await self._start(task, cluster_name or _made_up_name(), request, on_snapshot)

    async def exec(
        self,
        task: Task,
        cluster_name: str,
        *,
        down: bool = False,
        detach_run: bool = False,
        dryrun: bool = False,
        on_snapshot: OnSnapshot | None = None,
    ) -> Launch:
        """Runs a task on a cluster that is up: syncs the workdir, then runs. No setup, no file mounts.

        Raises:
            ClusterDoesNotExist: there is no such cluster.
        """
        check_request(task, cluster_name, dryrun=dryrun)
        await self._check_exists(cluster_name)
        stages = [stage.name for stage in EXEC_STAGES]
        request = {"down": down, "detach_run": detach_run, "dryrun": dryrun, "stages": stages}
        return await self._start(task, cluster_name, request, on_snapshot)

    async def _start(self, task: Task, cluster: str, request: dict[str, Any], on_snapshot: OnSnapshot | None) -> Launch:
        config = task.to_yaml_config()
        config.pop("secrets", None)  # a plan needs none, and a launch that has some was refused
        if task.best_resources is not None:  # already planned: nothing else is tried (PARITY E17)
            config["resources"] = task.best_resources.to_yaml_config()
        if (size := len(json.dumps(config))) > MAX_TASK_BYTES:
            raise InvalidTaskError(
                f"The task is {size >> 10} KiB; {MAX_TASK_BYTES >> 10} at most. Put long scripts into the workdir."
            )
        stages = request.get("stages")
        request |= {"task": config, "cluster": cluster, "user": user_name(), "entry_point": entry_point(sys.argv)}
        if self.settings.allowed_clouds is not None:
            request["clouds"] = list(self.settings.allowed_clouds)
        if not request["dryrun"]:
            request |= await self._snapshots(task, stages is None, on_snapshot)
        kind = "exec" if stages else "launch"
        with self.errors():
            handle = await self._client.start_workflow(
                "LaunchWorkflow",
                request,
                id=launch_workflow_id(cluster, uuid.uuid4().hex[:12]),
                task_queue=task_queue("quick"),
                static_summary=f"{kind} {task.name or 'task'} on {cluster}",
            )
        return Launch(self, handle.id, cluster)

    async def _snapshots(self, task: Task, with_mounts: bool, on_snapshot: OnSnapshot | None) -> dict[str, Any]:
        async def snapshot(source: str, ignore: bool = True) -> str:
            from skyflow.store.snapshot import take_snapshot

            progress = None if on_snapshot is None else partial(on_snapshot, source)
            path = Path(source).expanduser()
            outside = [self.settings.home] if ignore else []  # a checkout is in there
            taken = await take_snapshot(self.store, path, leave_out=outside, ignore=ignore, progress=progress)
            return taken.ref

        found: dict[str, Any] = {"store": self.settings.store, "file_mounts": {}}
        if isinstance(task.workdir, dict):
            from skyflow.store.git import checkout  # rare

            url, ref = task.workdir["url"], task.workdir.get("ref")
            folder = await asyncio.to_thread(checkout, url, ref, self.settings.git_dir)
            found["workdir"] = await snapshot(str(folder), ignore=False)
        elif task.workdir:
            found["workdir"] = await snapshot(task.workdir)
        for target, source in (task.file_mounts or {}).items() if with_mounts else ():
            found["file_mounts"][target] = await snapshot(source)
        return found

    def attach(self, workflow_id: str) -> Launch:
        """A launch that was started before, by whomever."""
        return Launch(self, workflow_id, workflow_id.split("/")[1] if workflow_id.count("/") > 1 else "")

    async def launches(self, cluster_name: str) -> list[Launch]:
        """The launches on a cluster (and execs, and dry runs) that Temporal still remembers, newest first."""
        found = await self.executions("launch", cluster_name)
        return [self.attach(one.id) for one in sorted(found, key=lambda one: one.start_time, reverse=True)]

    # Logs

    async def logs(
        self,
        cluster_name: str,
        job_id: int | None = None,
        *,
        follow: bool = True,
        offsets: dict[tuple[str, int], int] | None = None,
    ) -> AsyncIterator[LogChunk]:
        """Output of a job (the latest if not given), also after its cluster is gone; follows it until it ends.

        Args:
            cluster_name: whose job.
            job_id: which job.
            follow: go on until it has ended.
            offsets: (unit, rank) → where to begin; kept up to date, so that it can be given again.

        Raises:
            ClusterDoesNotExist: nothing is known of such a cluster.
            JobDoesNotExist: it had no such job.
        """
        job = await self.job(cluster_name, job_id)
        reader = self.log_reader(cluster_name, job["uid"])
        over = not follow or job["ended_at"] is not None
        latest = {"over": over}

        async def look() -> None:
            while not latest["over"]:
                await asyncio.sleep(1)
                latest["over"] = (await self.job(cluster_name, job["id"]))["ended_at"] is not None

        looking = asyncio.ensure_future(look())
        try:
            async for chunk in follow_job(reader, job["id"], lambda: latest["over"], [looking], offsets):
                yield chunk
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def output(
        self, cluster_name: str, job: dict[str, Any], *, follow: bool = True, tail: int = 0, rank: int | None = None
    ) -> AsyncIterator[bytes]:
        """The same as it is shown: of several nodes in whole lines, each marked with its rank.

        Args:
            cluster_name: whose job.
            job: as `job` tells it.
            follow: go on until it has ended.
            tail: begin with so many lines; 0 is all.
            rank: only this one, as it is.
        """
        merger = LineMerger(1 if rank is not None else job["num_nodes"])
        offsets: dict[tuple[str, int], int] = {}

        async def shown(follow: bool) -> AsyncIterator[bytes]:
            async for chunk in self.logs(cluster_name, job["id"], follow=follow, offsets=offsets):
                if rank is None or chunk.rank == rank:
                    yield merger.feed(chunk.unit, chunk.rank, chunk.data)

        if tail:
            last = LastLines(tail)
            async for data in shown(False):
                last.feed(data)
            yield last.lines()
        if follow or not tail:
            async for data in shown(follow):
                yield data
        yield merger.flush()

    async def job(self, cluster_name: str, job_id: int | None = None) -> dict[str, Any]:
        """One job (the latest if not given) as `queue` shows it, with the `uid` of the life of its cluster.

        It is read from the cluster, or from the store: a cluster keeps the latest of its jobs that have ended, and one
        that was adopted none.

        Raises:
            ClusterDoesNotExist: nothing is known of such a cluster.
            JobDoesNotExist: it had no such job.
        """
        from skyflow.store.log import latest_life, record

        wanted = "any job" if job_id is None else f"a job {job_id}"
        try:
            view = await self._cluster(cluster_name)
            uid, rows = view["uid"], await self.queue(cluster_name)
        except ClusterDoesNotExist:
            uid = await latest_life(self.store, cluster_name)
            if uid is None:
                raise ClusterDoesNotExist(
                    f"Nothing is known of a cluster {cluster_name!r}. See: skyflow status"
                ) from None
            if row := await record(self.store, cluster_name, uid, job_id):
                return {**row, "uid": uid}
            raise JobDoesNotExist(
                f"Cluster {cluster_name!r} is gone, and its last life did not have {wanted} that ended."
            ) from None
        found = next((row for row in rows if job_id is None or row["id"] == job_id), None)
        if job_id is None:
            may_be_kept = (found["id"] if found else 0) < view["next_job"] - 1
        else:
            may_be_kept = found is None and 0 < job_id < view["next_job"]
        if may_be_kept:
            kept = await record(self.store, cluster_name, uid, job_id)
            if kept and (found is None or kept["id"] > found["id"]):
                found = kept
        if found is None:
            raise JobDoesNotExist(f"Cluster {cluster_name!r} does not have {wanted}. See: skyflow queue {cluster_name}")
        return {**found, "uid": uid}

    def log_reader(self, cluster_name: str, uid: str) -> LogReader:
        """Reads the logs of one life of a cluster."""
        from skyflow.store.log import LogReader

        return LogReader(self.store, cluster_name, uid)


def _made_up_name() -> str:
    user = "".join(c for c in user_name().lower() if c.isalnum())
    return f"sky-{uuid.uuid4().hex[:4]}-{user}".rstrip("-")


def _quiet() -> None:
    """Temporal's core writes its warnings to stdout, where they would spoil what is printed there."""
    from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

    logging = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=logging)), error_if_already_set=False)
