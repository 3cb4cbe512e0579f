"""How the worker puts values and errors on the wire."""

from __future__ import annotations

import dataclasses

from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from skyflow.errors import SkyflowError


class TypedFailureConverter(DefaultFailureConverter):
    """Sends a SkyflowError as an ApplicationError: its class name, its details, and whether a retry helps.

    Without a stack trace: it says what is wrong in words, to whoever reads the Web UI.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """See DefaultFailureConverter."""
        if isinstance(exception, SkyflowError):
            wrapped = ApplicationError(
                str(exception),
                exception.details(),
                type=type(exception).__name__,
                non_retryable=not exception.retryable,
            )
            wrapped.__cause__ = exception.__cause__
            exception = wrapped
        super().to_failure(exception, payload_converter, failure)


data_converter = dataclasses.replace(pydantic_data_converter, failure_converter_class=TypedFailureConverter)
