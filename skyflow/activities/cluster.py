"""Messages to cluster workflows."""

from __future__ import annotations

from typing import Any

from temporalio import activity
from temporalio.client import (
    Client,
    RPCError,
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import QueryRejectCondition, WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCStatusCode

from skyflow.activities.context import Context
from skyflow.errors import ClusterDoesNotExist, NodeUnreachableError, rebuild
from skyflow.models.calls import AutostopCall, ClusterCalls, JobSubmission, NodesCall, ReserveCall
from skyflow.models.cluster import ClusterState
from skyflow.models.name import cluster_workflow_id, task_queue
from skyflow.models.operation import Hardware, Reservation, Reserve
from skyflow.store.spec import put_spec


class ClusterActivities(ClusterCalls):
    """Each message is one update; the cluster answers at once."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @activity.defn
    async def reserve_cluster(self, call: ReserveCall) -> Reservation:
        """See ClusterCalls. It is what a launch does first, so here a client with another store is refused."""
        self.context.check_store(call.store)
        call.reserve.webhook = bool(self.context.settings.webhooks)
        await self._check_still_wanted(call.reserve)
        if not call.create:
            answer: Reservation = await self._update(call.cluster, "reserve", call.reserve, Reservation)
            return answer
        settings = self.context.settings
        state = ClusterState(
            name=call.cluster,
            uid="",
            deployment=self.context.deployment,
            check_seconds=settings.check_seconds,
            safety_minutes=settings.safety_minutes,
            search_attributes=self.context.search_attributes,
        )
        start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            "ClusterWorkflow",
            state,
            id=cluster_workflow_id(call.cluster),
            task_queue=task_queue("quick"),
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"cluster {call.cluster}",
        )
        try:
            answer = await self.context.client.execute_update_with_start_workflow(
                "reserve", call.reserve, start_workflow_operation=start, result_type=Reservation
            )
        except WorkflowUpdateFailedError as error:
            raise _typed(error) from error
        assert isinstance(answer, Reservation)
        return answer

    @activity.defn
    async def report_nodes(self, call: NodesCall) -> None:
        """See ClusterCalls."""
        await self._update(call.cluster, "report", call.report)

    @activity.defn
    async def set_autostop(self, call: AutostopCall) -> None:
        """See ClusterCalls."""
        await self._update(call.cluster, "set_autostop", call.setting)

    @activity.defn
    async def submit_job(self, call: JobSubmission) -> None:
        """See ClusterCalls."""
        key = await put_spec(self.context.store, call.cluster, call.uid, call.submission.job_id, call.spec)
        await self._update(call.cluster, "submit_job", call.submission.model_copy(update={"spec": key}))

    @activity.defn
    async def describe_workflows(self, ids: list[str]) -> dict[str, str]:
        """See ClusterCalls."""
        return {workflow_id: (await describe(self.context.client, workflow_id))[0] for workflow_id in ids}

    @activity.defn
    async def find_life(self, cluster: str) -> str:
        """See ClusterCalls."""
        status, memo = await describe(self.context.client, cluster_workflow_id(cluster))
        if status != "RUNNING":
            return ""
        if "cluster" not in memo:  # it has just begun, or waits for a worker: it has not said who it is
            raise NodeUnreachableError(f"Cluster {cluster!r} has not shown itself yet.")
        return str(memo["cluster"]["uid"])

    @activity.defn
    async def find_hardware(self, cluster: str) -> Hardware:
        """See ClusterCalls."""
        handle = self.context.client.get_workflow_handle(cluster_workflow_id(cluster))
        try:
            only_open = QueryRejectCondition.NOT_OPEN
            answer: Hardware = await handle.query("hardware", result_type=Hardware, reject_condition=only_open)
            return answer
        except WorkflowQueryRejectedError:
            return Hardware()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return Hardware()
            raise

    async def _check_still_wanted(self, reserve: Reserve) -> None:
        """A worker that was frozen may wake up long after its request is over: it must not close what came since."""
        if reserve.kind in ("launch", "exec"):
            return
        status, _ = await describe(self.context.client, reserve.workflow_id)
        if status != "RUNNING":
            raise ClusterDoesNotExist(f"{reserve.workflow_id} is over; it reserves nothing any more.")

    async def _update(self, cluster: str, name: str, message: Any, result: type[Any] | None = None) -> Any:
        return await update(self.context.client, cluster, name, message, result)


async def update(client: Client, cluster: str, name: str, message: Any, result: type[Any] | None = None) -> Any:
    """Says something to a cluster and returns its answer.

    Raises:
        ClusterDoesNotExist: its workflow does not run.
        SkyflowError: the typed error that it answers with.
    """
    handle = client.get_workflow_handle(cluster_workflow_id(cluster))
    try:
        return await handle.execute_update(name, message, result_type=result)
    except WorkflowUpdateFailedError as error:
        raise _typed(error) from error
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        raise  # the activity is tried again; the cluster knows the message by its id
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ClusterDoesNotExist(f"Cluster {cluster!r} does not exist. See: skyflow status") from error
        raise


async def describe(client: Client, workflow_id: str) -> tuple[str, dict[str, Any]]:
    """A workflow's status (ABSENT if there never was one, or it is forgotten) and memo."""
    try:
        description = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return "ABSENT", {}
        raise
    status = description.status or WorkflowExecutionStatus.RUNNING
    return status.name, dict(await description.memo())


def _typed(error: WorkflowUpdateFailedError) -> Exception:
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return error
    if cause.type == "AcceptedUpdateCompletedWorkflow":
        return ClusterDoesNotExist("The cluster was terminated before it answered. See: skyflow status")
    return rebuild(cause.type, cause.message, cause.details[0] if cause.details else {})
