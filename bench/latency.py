"""How long a person waits: for `exec`, a new node, the very first launch, `--version`, `--help`.

The unit Y is what nobody can do without: `python -c "import temporalio.client"` and a plain `ssh node true`.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median as middle
from typing import Any

from bench.measure import Ratio, command, median

TIMES = 7
SKYFLOW = [str(Path(sys.executable).with_name("skyflow"))]


def run() -> list[Ratio]:
    """All ratios of this module."""
    home = Path(tempfile.mkdtemp(prefix="skyflow-bench-"))
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    try:
        return [*_cli(env), *_launches(home, env)]
    finally:
        subprocess.run([*SKYFLOW, "server", "stop"], env=env, capture_output=True, check=False)
        _end_nodes(home)
        shutil.rmtree(home, ignore_errors=True)


def _cli(env: dict[str, str]) -> list[Ratio]:
    peer = median(TIMES, lambda: command([sys.executable, "-c", "import typer, rich"], env))
    version = median(TIMES, lambda: command([*SKYFLOW, "--version"], env))
    helped = median(TIMES, lambda: command([*SKYFLOW, "--help"], env))
    return [
        Ratio("skyflow --version / import typer, rich", version, peer, 1.5),
        Ratio("skyflow --help / import typer, rich", helped, peer, 3.5),
    ]


def _launches(home: Path, env: dict[str, str]) -> list[Ratio]:
    cold = command([*SKYFLOW, "launch", "-c", "cold", "true"], env)
    ssh = _ssh(home)
    imports = median(TIMES, lambda: command([sys.executable, "-c", "import temporalio.client"], env))
    unit = imports + median(TIMES, lambda: command(ssh, env))
    number = itertools.count()

    def fresh() -> float:
        return command([*SKYFLOW, "launch", "-c", f"new{next(number)}", "true"], env)

    execs = median(TIMES, lambda: command([*SKYFLOW, "exec", "cold", "true"], env))
    launches = median(TIMES, fresh)
    down = middle(command([*SKYFLOW, "down", "-y", f"new{name}"], env) for name in range(3))
    stages = {"import temporalio.client": imports, "ssh node true": unit - imports}
    return [
        Ratio("exec of true, warm cluster / Y", execs, unit, 2, {**stages, **_stages(env, "cold")}),
        Ratio("launch of true, new node / Y", launches, unit, 3, _stages(env, "new1")),
        Ratio("very first launch, all cold / Y", cold, unit, 7),
        Ratio("down / Y", down, unit, 3),
    ]


def _ssh(home: Path) -> list[str]:
    """A plain `ssh node true` to the first local node."""
    record: dict[str, Any] = json.loads(next(home.glob(".skyflow/local/nodes/*/node.json")).read_text())
    key = home / "key"
    stored = json.loads(next(home.glob(".skyflow/store/keys/*/*")).read_text())
    key.write_text(stored["private"])
    key.chmod(0o600)
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"]
    flags = [word for option in options for word in ("-o", option)]
    target = f"{record['user']}@{record['address']}"
    return ["ssh", "-F", "none", *flags, "-i", str(key), "-p", str(record["port"]), target, "true"]


def _stages(env: dict[str, str], cluster: str) -> dict[str, float]:
    """Where the time of the last launch on a cluster went, by its own account."""
    program = f"""
import asyncio, json, skyflow
async def main():
    async with skyflow.Client.connect() as client:
        rows = await client.queue({cluster!r})
        progress = await client.attach(rows[0]["launch"]).progress()
        print(json.dumps({{s["name"]: (s["ended"] or s["started"]) - s["started"] for s in progress["stages"]}}))
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def _end_nodes(home: Path) -> None:
    """Ends the processes of the local cloud of this home: they outlive the server on purpose."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(home).encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                os.kill(int(process.name), 9)
        except (OSError, ProcessLookupError):
            continue
