"""A receiver of webhooks, which answers what a test wants it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What came, and what is answered."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    """Of the next requests; 200 after them. 0 is silence."""
    only: str = ""
    """The cluster that `answers` are for; all if empty."""
    came: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of all requests."""
    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of those that were answered with 200."""
    headers: list[dict[str, str]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def tries(self, cluster: str) -> list[dict[str, Any]]:
        """What came of a cluster, acknowledged or not. (Workflows of other tests may tell their own stories.)"""
        return [body for body in self.came if body["cluster"] == cluster]

    def of(self, cluster: str) -> list[str]:
        """What was acknowledged of a cluster, in short."""
        return [short(body) for body in self.acknowledged if body["cluster"] == cluster]


def short(body: dict[str, Any]) -> str:
    """`job 1 PENDING`, `cluster UP`, `node 0 LOST`."""
    number = body["job_id"] if body["kind"] == "job" else body["rank"]
    return " ".join(str(word) for word in (body["kind"], number, body["to"]) if word is not None)


@contextmanager
def receive(port: int = 0) -> Iterator[Receiver]:
    """Receives on a port of the loopback until the end."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.raw.append(data)
            receiver.headers.append(dict(self.headers))
            receiver.came.append(json.loads(data))
            body = json.loads(data)
            chosen = receiver.only in ("", body["cluster"])
            status = receiver.answers.pop(0) if receiver.answers and chosen else 200
            if status == 200:
                receiver.acknowledged.append(body)
            if status == 0:
                time.sleep(0.5)
                return
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook?token=secret"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
