"""What a worker learns about its namespace before it serves: the deployment's id, search attributes, retention."""

from __future__ import annotations

import uuid
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client, RPCError, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCStatusCode

from skyflow.models.name import DEPLOYMENT_WORKFLOW_ID, task_queue
from skyflow.worker.dev_server import SEARCH_ATTRIBUTES

RETENTION = timedelta(days=30)


async def ensure_deployment(client: Client) -> str:
    """The deployment's id, made by the first worker of the namespace. It survives the end of its workflow."""
    handle = client.get_workflow_handle(DEPLOYMENT_WORKFLOW_ID)
    known = ""
    try:
        description = await handle.describe()
        known = str((await description.memo()).get("deployment", ""))
        if description.status is WorkflowExecutionStatus.RUNNING and known:
            return known
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    await client.start_workflow(
        "DeploymentWorkflow",
        id=DEPLOYMENT_WORKFLOW_ID,
        task_queue=task_queue("quick"),
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        memo={"deployment": known or str(uuid.uuid4())},
        static_summary="the identity of this namespace's skyflow",
    )
    return str((await (await handle.describe()).memo())["deployment"])


async def has_search_attributes(client: Client) -> bool:
    """Whether the namespace has skyflow's search attributes. An upsert of a missing one would hang the workflow."""
    try:
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError:  # no right to look: do without
        return False
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    return all(answer.custom_attributes.get(name) == keyword for name in SEARCH_ATTRIBUTES)


async def keep_history(client: Client, retention: timedelta = RETENTION) -> None:
    """Sets the namespace's retention, if it is shorter. For a server of our own only."""
    service = client.workflow_service
    now = await service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    if now.config.workflow_execution_retention_ttl.ToTimedelta() >= retention:
        return
    request = UpdateNamespaceRequest(namespace=client.namespace)
    request.config.workflow_execution_retention_ttl.CopyFrom(Duration(seconds=int(retention.total_seconds())))
    await service.update_namespace(request)
