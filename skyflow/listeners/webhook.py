"""One webhook: a POST of JSON, signed, and what counts as an acknowledgement."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import urllib.request
from collections.abc import Mapping
from concurrent.futures import Executor
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from skyflow import __version__

POST_SECONDS = 10.0
"""How long a receiver may be silent."""

WHOLE_SECONDS = 30.0
"""How long one POST may take. A receiver that answers byte by byte is not waited for."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is not an acknowledgement, and where it leads nobody has allowed."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


async def post(executor: Executor, url: str, body: Mapping[str, Any], secret: str) -> str:
    """Sends one event. Any answer of the kind 2xx acknowledges it.

    Args:
        executor: of the threads in which it waits.
        url: of the receiver.
        body: with the event's id as `event`.
        secret: key of the signature; empty: none.

    Returns:
        Why it was not acknowledged, without what may be secret in the URL; empty if it was.
    """
    data = json.dumps(body).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"skyflow/{__version__}",
        "Idempotency-Key": str(body["event"]),
    }
    if secret:
        headers["X-Skyflow-Signature"] = "sha256=" + hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
    request = urllib.request.Request(url, data, headers, method="POST")
    sending = asyncio.get_running_loop().run_in_executor(executor, _send, request)
    try:
        trouble = await asyncio.wait_for(sending, WHOLE_SECONDS)
    except TimeoutError:
        trouble = "no answer in time"
    return f"{receiver(url)}: {trouble}" if trouble else ""


def receiver(url: str) -> str:
    """Scheme, host and port of a URL: what may be shown of it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _send(request: urllib.request.Request) -> str:
    try:
        with _OPENER.open(request, timeout=POST_SECONDS):
            return ""
    except HTTPError as error:
        error.close()
        return f"HTTP {error.code}"
    except TimeoutError:
        return "no answer in time"
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        return getattr(reason, "strerror", None) or type(reason).__name__
