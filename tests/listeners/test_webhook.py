"""One POST: what is sent, and what acknowledges it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from skyflow.listeners import webhook
from skyflow.models.change import Change
from tests.conftest import free_port
from tests.listeners.receiver import Receiver, receive

BODY = Change(number=7, time=1.5, cluster="dev", uid="u", kind="job", after="RUNNING", job_id=1, reason="é").body()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as one:
        yield one


async def post(url: str, secret: str = "") -> str:
    with ThreadPoolExecutor(1) as threads:
        return await webhook.post(threads, url, BODY, secret)


async def test_an_event_arrives_with_its_id_and_its_signature(receiver: Receiver) -> None:
    assert await post(receiver.url, "s3cret") == ""
    assert receiver.came == [BODY]
    [headers] = receiver.headers
    assert headers["Idempotency-Key"] == BODY["event"] == "dev/u/7"
    assert headers["Content-Type"] == "application/json"
    digest = hmac.new(b"s3cret", receiver.raw[0], hashlib.sha256).hexdigest()
    assert headers["X-Skyflow-Signature"] == f"sha256={digest}"


async def test_without_a_secret_there_is_no_signature(receiver: Receiver) -> None:
    receiver.answers = [204]
    assert await post(receiver.url) == ""
    assert "X-Skyflow-Signature" not in receiver.headers[0]


@pytest.mark.parametrize("status", [302, 307, 400, 404, 500])
async def test_no_other_answer_acknowledges_it_and_no_redirect_is_followed(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    said = await post(receiver.url)
    assert said.endswith(f": HTTP {status}")
    assert "secret" not in said
    assert len(receiver.came) == 1


async def test_a_receiver_that_is_silent_or_away(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.answers = [0, 0]
    monkeypatch.setattr(webhook, "POST_SECONDS", 0.1)
    assert (await post(receiver.url)).endswith("no answer in time")
    monkeypatch.setattr(webhook, "POST_SECONDS", 10)
    monkeypatch.setattr(webhook, "WHOLE_SECONDS", 0.1)
    assert (await post(receiver.url)).endswith("no answer in time")
    assert (await post(f"http://127.0.0.1:{free_port()}/x")).endswith(": Connection refused")


def test_what_a_change_does_not_have_is_null() -> None:
    change: dict[str, Any] = Change(number=1, cluster="dev", uid="u", kind="cluster", after="INIT").body()
    assert (change["from"], change["to"], change["job_id"], change["reason"]) == (None, "INIT", None, None)
