"""A connection to one Temporal namespace: what a client asks of any workflow; the server's answers as typed errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from skyflow.endpoint import Endpoint
from skyflow.errors import LaunchCancelledError, SkyflowError, TemporalUnavailableError, rebuild

if TYPE_CHECKING:
    import temporalio.client as temporal

ASK_SECONDS = 10.0
"""How long one question to the server may take."""

RECONNECT_SECONDS = 0.5


class WorkflowClient:
    """Reads and signals workflows of one namespace by their ids."""

    def __init__(self, client: temporal.Client, endpoint: Endpoint) -> None:
        self._client = client
        self.endpoint = endpoint

    async def workflow_result(self, workflow_id: str) -> Any:
        """Waits for a workflow, for as long as it takes and through restarts of the server."""
        from temporalio.client import WorkflowFailureError

        while True:
            try:
                with self.errors():
                    return await self._client.get_workflow_handle(workflow_id).result()
            except WorkflowFailureError as error:
                raise typed(error.cause, workflow_id.partition("/")[0]) from None
            except TemporalUnavailableError:
                await asyncio.sleep(RECONNECT_SECONDS)

    async def workflow_failure(self, workflow_id: str) -> BaseException | None:
        """What a workflow failed with; None if it runs, or went well."""
        with self.errors():
            description = await self._client.get_workflow_handle(workflow_id).describe()
        if description.status is None or description.status.name in ("RUNNING", "COMPLETED", "CONTINUED_AS_NEW"):
            return None
        try:
            await self.workflow_result(workflow_id)
        except SkyflowError as error:
            return error
        return None

    async def workflow_query(self, workflow_id: str, query: str) -> Any:
        """Asks a workflow."""
        handle = self._client.get_workflow_handle(workflow_id)
        with self.errors():
            return await handle.query(query, rpc_timeout=timedelta(seconds=ASK_SECONDS))

    async def pending_details(self, workflow_id: str) -> list[dict[str, Any]]:
        """What the running activities of a workflow say of themselves: `activity`, `details`."""
        handle = self._client.get_workflow_handle(workflow_id)
        with self.errors():
            description = await handle.describe(rpc_timeout=timedelta(seconds=ASK_SECONDS))
        found = []
        for pending in description.raw_description.pending_activities:
            details = await self._client.data_converter.decode(pending.heartbeat_details.payloads)
            found.append({"activity": pending.activity_type.name, "id": pending.activity_id, "details": details})
        return found

    async def workflow_signal(self, workflow_id: str, name: str, value: Any) -> None:
        """Tells a workflow."""
        with self.errors():
            await self._client.get_workflow_handle(workflow_id).signal(name, value)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """The server's answers as typed errors."""
        from temporalio.client import RPCError
        from temporalio.service import RPCStatusCode

        try:
            yield
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise WorkflowAbsentError(error.message) from error
            silent = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
            if error.status in silent or _is_of_transport(error):
                raise TemporalUnavailableError(
                    f"Temporal at {self.endpoint.address} (namespace {self.endpoint.namespace}) does not answer: "
                    f"{error.message}. Is the server up, and a worker (`skyflow worker run`)?"
                ) from error
            raise SkyflowError(f"Temporal at {self.endpoint.address} refused: {error.message}") from error


class WorkflowAbsentError(SkyflowError):
    """There is no such workflow."""


def _is_of_transport(error: temporal.RPCError) -> bool:
    """Whether a connection broke while an answer was on its way.

    The SDK's core has no status for that: it is UNKNOWN or INTERNAL, as are errors of the server. So its words count.
    """
    from temporalio.service import RPCStatusCode

    broken = ("transport error", "error trying to connect", "connection reset", "broken pipe", "h2 protocol error")
    return error.status in (RPCStatusCode.UNKNOWN, RPCStatusCode.INTERNAL) and any(
        words in error.message.lower() for words in broken
    )


def typed(cause: BaseException | None, kind: str = "launch") -> BaseException:
    """What a workflow or an update failed with, as the error that it was.

    Args:
        cause: of the failure.
        kind: of the workflow: the first part of its id.
    """
    from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError

    if isinstance(cause, ApplicationError):
        return rebuild(cause.type, cause.message, cause.details[0] if cause.details else {})
    if isinstance(cause, CancelledError):
        return LaunchCancelledError(f"The {kind} was cancelled.")
    if isinstance(cause, TerminatedError):
        return SkyflowError("The workflow was terminated. What it had made is being cleaned up: see skyflow status.")
    return SkyflowError(str(cause))
