"""Every example runs as its first lines say."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port
from tests.e2e.conftest import ROOT, User

EXAMPLES = ROOT / "examples"


def environment(user: User) -> dict[str, str]:
    """The user's, with the commands of this environment on their PATH."""
    return {**user.env, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def command(user: User, *argv: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=cwd, env=environment(user), capture_output=True, text=True, timeout=110, check=False
    )


def address(user: User) -> str:
    user.ok("server", "start")
    return str(user.record()["address"])


def test_the_examples_are_all_in_the_list() -> None:
    listed = set(re.findall(r"^\| \[([\w-]+)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE))
    assert listed == {folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()}


def test_05_file_mounts(user: User) -> None:
    out = user.ok("launch", "-c", "mounts", "--down", "task.yaml", cwd=EXAMPLES / "05-file-mounts")
    assert out == "[reader]\nformat = plain\n41\n"


@pytest.fixture
def service(user: User) -> Iterator[str]:
    port = free_port()
    argv = ["uvicorn", "--app-dir", "examples/06-service", "--port", str(port), "--log-level", "warning", "service:app"]
    process = subprocess.Popen([sys.executable, "-m", *argv], cwd=ROOT, env=environment(user))
    base = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"{base}/openapi.json").close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
    yield base
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)


def ask(method: str, url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
        return json.loads(text) if answer.headers["content-type"] == "application/json" else text


def test_06_service(service: str, user: User) -> None:
    started = ask(
        "POST", f"{service}/launches", {"run": "echo from $WHO", "cluster": "web", "envs": {"WHO": "a service"}}
    )
    assert ask("GET", f"{service}/launches/{started['id']}/logs") == "from a service\n"
    progress = ask("GET", f"{service}/launches/{started['id']}")
    assert progress["job_status"] == "SUCCEEDED"
    assert progress["stages"][-1]["name"] == "DOWN"

    started = ask("POST", f"{service}/launches", {"run": "sleep 1000", "cluster": "web2"})
    ask("DELETE", f"{service}/launches/{started['id']}")
    deadline = time.monotonic() + 60
    while user.nodes_of("web2") or user.run("status", "web2").returncode != 3:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for method, path, code in (("GET", "launches/none", 404), ("POST", "launches", 400)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(method, f"{service}/{path}", {"run": "true", "cluster": "no such name!"} if code == 400 else None)
        assert caught.value.code == code
        caught.value.close()


def test_07_training_goes_on_from_its_checkpoint(user: User) -> None:
    folder = EXAMPLES / "07-training"
    out = user.ok("launch", "-c", "train", "task.yaml", cwd=folder, timeout=110)
    last = re.findall(r"^epoch 30: accuracy (0\.\d+|1\.0+), checkpoint checkpoint\.npz$", out, re.MULTILINE)
    assert len(last) == 1
    again = user.ok("exec", "train", "task.yaml", "--env", "EPOCHS=200", cwd=folder)
    assert again.startswith("goes on after epoch 30\n")
    (accuracy,) = re.findall(r"^epoch 200: accuracy ([\d.]+)", again, re.MULTILINE)
    assert float(accuracy) > 0.9
    user.ok("down", "-y", "train")


def test_08_failover(user: User) -> None:
    done = command(user, "sh", str(EXAMPLES / "08-failover/try-it.sh"))
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if "rank" in line) == [
        "(head, rank=0) rank 0",
        "(worker1, rank=1) rank 1",
    ]
    assert "local/east/east-a gpu-box: There is no capacity in east-a (gpu-box) now." in done.stdout
    assert "local/east/east-b gpu-box: ok" in done.stdout
    assert "exit code 4" in done.stdout
    assert "The quota of 1 nodes in region west is used up" in done.stderr


def test_09_temporals_own_command_line(user: User) -> None:
    done = command(user, "sh", str(EXAMPLES / "09-other-clients/temporal-cli.sh"), address(user))
    assert done.returncode == 0, done.stderr
    assert re.search(r"Status\s+COMPLETED", done.stdout)
    assert '"status":"SUCCEEDED"' in done.stdout.replace(" ", "").replace("\n", "")
    assert user.run("logs", "from-cli").stdout == "hello from the CLI\n"


def test_09_a_signal_from_temporals_own_command_line_cancels(user: User) -> None:
    where = ["--address", address(user), "--workflow-id", "launch/signalled/1"]
    request = json.dumps({"cluster": "signalled", "task": {"run": "sleep 1000"}})
    start = ["workflow", "start", "--type", "LaunchWorkflow", "--task-queue", "skyflow", "--input", request]
    assert command(user, "temporal", *start, *where).returncode == 0
    deadline = time.monotonic() + 30
    while "RUNNING" not in user.run("queue", "signalled").stdout:
        assert time.monotonic() < deadline
    assert command(user, "temporal", "workflow", "signal", "--name", "cancel", *where).returncode == 0
    result = command(user, "temporal", "workflow", "result", *where)
    assert "The launch on 'signalled' was cancelled." in result.stdout + result.stderr
    while user.nodes_of("signalled"):
        assert time.monotonic() < deadline + 30
        time.sleep(0.1)


def test_09_a_workflow_of_somebody_else(user: User) -> None:
    done = command(user, sys.executable, str(EXAMPLES / "09-other-clients/foreign_workflow.py"), address(user))
    assert (done.returncode, done.stdout) == (0, "job 1 SUCCEEDED in local-a\n"), done.stderr


@pytest.mark.npm
def test_09_plain_javascript(user: User, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("no npm is installed")
    folder = tmp_path / "client"
    shutil.copytree(EXAMPLES / "09-other-clients", folder, ignore=shutil.ignore_patterns("node_modules"))
    npm = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert npm.returncode == 0, npm.stderr
    done = command(user, "node", "launch.mjs", address(user), cwd=folder)
    assert done.returncode == 0, done.stderr
    started, ended, stages = done.stdout.splitlines()
    assert started.startswith("started launch/from-node/")
    assert ended == "job 1 SUCCEEDED, nodes taken down: true"
    assert stages == "OPTIMIZE → PROVISION → PRE_EXEC → EXEC → DOWN"


def test_10_plan(user: User) -> None:
    planned = json.loads(user.ok("optimize", "-o", "json", "examples/10-plan/pipeline.yaml", cwd=ROOT))
    assert [task["name"] for task in planned["tasks"]] == ["prepare", "train", "evaluate"]
    prepare, train, evaluate = (task["offer"] for task in planned["tasks"])
    assert prepare["cloud"] == "aws"  # its data is there, and moving 500 GB out would cost more than any node
    assert train["accelerators"] in ({"A100": 8}, {"H100": 8}) and evaluate["use_spot"]
    assert planned["total_cost"] == pytest.approx(
        sum(one["cost"] for one in planned["tasks"] + planned["edges"]), abs=1e-6
    )
    shown = command(user, "skyflow", "optimize", "examples/10-plan/pipeline.yaml")
    assert shown.returncode == 0 and "Total: $" in shown.stdout
    assert "Not enabled from here: " in shown.stderr
    done = command(user, sys.executable, "examples/10-plan/graph.py")
    assert done.returncode == 0, done.stderr
    cost, time = done.stdout.split("TIME:")
    assert "large runs on a2-highgpu-8g" in cost or "large runs on p4d" in cost or "large runs on p5" in cost
    assert "large: 1 × p5.48xlarge" in time or "large: 1 × a3-highgpu-8g" in time
