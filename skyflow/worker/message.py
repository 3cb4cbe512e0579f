"""Messages that do not fit: a signal or an update with too few arguments must not hold up the workflow that gets it.

Whoever can reach the namespace can send them, the Web UI's form without an input for one. The SDK would call the
handler all the same, fail, and try the workflow task again for ever.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.worker import (
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import UsageError


class MessageInterceptor(Interceptor):
    """Drops signals, and refuses updates, that their handlers cannot be called with."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    async def handle_signal(self, input: HandleSignalInput) -> None:
        if (wrong := _misfit(input.signal, input.args)) is not None:
            workflow.logger.warning("signal %s is ignored: %s", input.signal, wrong)
            return
        await super().handle_signal(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        if (wrong := _misfit(input.update, input.args)) is not None:
            raise UsageError(f"The update {input.update} was refused: {wrong}.")
        return await super().handle_update_handler(input)


def _misfit(name: str, args: Sequence[Any]) -> str | None:
    """Why a handler cannot be called so. A value that its type does not allow was refused before."""
    handler = getattr(workflow.instance(), name, None)  # the SDK's own list has them without their parameters
    if not callable(handler):
        return None
    signature = inspect.signature(handler)
    try:
        bound = signature.bind(*args)
    except TypeError as error:
        return str(error)
    nothing = [name for name, value in bound.arguments.items() if value is None]
    required = [name for name in nothing if signature.parameters[name].default is inspect.Parameter.empty]
    return f"{required[0]} is missing" if required else None
