"""A machine of its own for a benchmark: a home folder in which skyflow starts everything anew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from bench.measure import command
from skyflow.models.name import safe_name
from skyflow.models.node import Node

MEMORY = Path("/dev/shm")
"""Where there is one, homes are in memory: what is measured is skyflow, not the disk."""
SKYFLOW = [str(Path(sys.executable).with_name("skyflow"))]


class Home:
    """A context manager; leaving it ends every process of the home and removes it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="skyflow-bench-", dir=MEMORY if MEMORY.is_dir() else None))
        self.env = {"HOME": str(self.path), "PATH": os.environ["PATH"]}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        subprocess.run([*SKYFLOW, "server", "stop"], env=self.env, capture_output=True, check=False)
        for pid in self.processes():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        shutil.rmtree(self.path, ignore_errors=True)

    def command(self, argv: Sequence[str]) -> float:
        """Seconds that a command takes there."""
        return command(argv, self.env)

    def processes(self, marker: str = "") -> list[int]:
        """What runs of this home, with this in its environment. Local nodes outlive the server on purpose."""
        needle = (marker or str(self.path)).encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environ = (process / "environ").read_bytes()
            except OSError:
                continue
            if needle in environ and int(process.name) != os.getpid():
                found.append(int(process.name))
        return found

    def nodes(self, cluster: str) -> list[Node]:
        """The local nodes of a cluster, by rank."""
        records = [json.loads(file.read_text()) for file in self.path.glob(".skyflow/local/nodes/*/node.json")]
        mine = sorted((record for record in records if record["cluster"] == cluster), key=lambda one: one["rank"])
        return [Node(**record, internal_ip=record["address"]) for record in mine]

    def stages(self, cluster: str) -> dict[str, float]:
        """Where the time of the last launch on a cluster went, in seconds, by its own account."""
        stages = self.progress(cluster)["stages"]
        return {stage["name"]: (stage["ended"] or stage["started"]) - stage["started"] for stage in stages}

    def progress(self, cluster: str) -> dict[str, Any]:
        """The last launch on a cluster, by its own account."""
        program = f"""
import asyncio, json, skyflow
async def main():
    async with skyflow.Client.connect() as client:
        rows = await client.queue({cluster!r})
        print(json.dumps(await client.attach(rows[0]["launch"]).progress()))
asyncio.run(main())
"""
        argv = [sys.executable, "-c", program]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def key(self, cluster: str) -> Path:
        """A file with the private key that opens the nodes of a cluster."""
        file = self.path / f"key-{cluster}"
        stored = json.loads(next(self.path.glob(f".skyflow/store/keys/{safe_name(cluster)}/*")).read_text())
        file.write_text(stored["private"])
        file.chmod(0o600)
        return file

    def ssh(self, node: Node, key: Path) -> list[str]:
        """A plain `ssh` to a node; the last word is its target."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"]
        flags = [word for option in options for word in ("-o", option)]
        return ["ssh", "-F", "none", *flags, "-i", str(key), "-p", str(node.port), f"{node.user}@{node.address}"]
