"""The flags of Temporal's dev server, written once: for the supervisor, and for `temporal-dev.yml`."""

from __future__ import annotations

import json
import sys

SEARCH_ATTRIBUTES = {"SkyflowCluster": "Keyword", "SkyflowStatus": "Keyword"}

DYNAMIC_CONFIG: dict[str, str | int] = {
    # Continue-as-new waits one second at least by default.
    "history.workflowIdReuseMinimalInterval": "0s",
    # The dev server has one history shard, which by default reads its queues at most 20 times a second: each message
    # from one workflow to another would take 50 to 100 ms. It was measured; with these it takes 10.
    "history.transferProcessorMaxPollRPS": 1000,
    "history.timerProcessorMaxPollRPS": 1000,
    "history.visibilityProcessorMaxPollRPS": 1000,
}

PRAGMAS = {
    # Three to four times the throughput; a killed server loses nothing.
    "journal_mode": "wal",
    "synchronous": "normal",
}

PORT = 7233
UI_PORT = 8233


def arguments(database: str, *, ip: str = "127.0.0.1", port: int = PORT, ui_port: int = UI_PORT) -> list[str]:
    """The command line of the dev server, without the program.

    Args:
        database: the SQLite file.
        ip: the address it listens on.
        port: of gRPC.
        ui_port: of the Web UI.
    """
    flags = ["--ip", ip, "--port", str(port), "--ui-port", str(ui_port), "--log-level", "warn"]
    flags += ["--db-filename", database]
    for name, value in PRAGMAS.items():
        flags += ["--sqlite-pragma", f"{name}={value}"]
    for name, value in SEARCH_ATTRIBUTES.items():
        flags += ["--search-attribute", f"{name}={value}"]
    for name, setting in DYNAMIC_CONFIG.items():
        flags += ["--dynamic-config-value", f"{name}={json.dumps(setting)}"]
    return ["server", "start-dev", *flags]


def compose() -> list[str]:
    """The command of the `temporal` service in `temporal-dev.yml`: in a container, behind published ports."""
    return ["temporal", *arguments("/data/temporal.db", ip="0.0.0.0")]


if __name__ == "__main__":
    if sys.argv[1:] != ["--print"]:
        sys.exit("usage: python -m skyflow.worker.dev_server --print")
    sys.stdout.write(json.dumps(compose()) + "\n")
