"""The command line, end to end: a real server, a real worker, local nodes over real SSH."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, User

pytestmark = pytest.mark.e2e


def test_the_first_launch_on_a_fresh_machine(newcomer: User) -> None:
    done = newcomer.run("launch", "-c", "dev", str(ROOT / "examples/01-hello/task.yaml"))
    assert done.returncode == 0, done.stderr
    assert "ello" in done.stdout
    assert done.stderr.count("Started Temporal") == 1
    assert "skyflow down dev" in done.stderr  # the hint
    assert re.search(r"dev .*UP", done.stderr)  # E29: the status is shown
    assert "dev" in newcomer.ok("status")
    assert "again\n" in newcomer.ok("exec", "dev", "echo again")
    queue = newcomer.ok("queue", "dev")
    assert queue.count("SUCCEEDED") == 2
    logs = newcomer.ok("logs", "dev", "2")
    assert logs == "again\n"
    assert newcomer.run("down", "dev", "-y").returncode == 0
    assert newcomer.nodes() == []
    assert newcomer.ok("logs", "dev", "2") == logs  # also after down
    assert "dev" not in newcomer.ok("status")
    assert newcomer.run("server", "stop").returncode == 0


def test_a_gang_has_ranks_and_addresses(user: User) -> None:
    out = user.ok("launch", "-c", "gang", "--down", str(ROOT / "examples/02-gang/task.yaml"))
    assert "(head, rank=0)" in out
    assert "(worker1, rank=1)" in out


def test_a_workdir_is_synced_and_exec_sends_what_changed(user: User, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("one\n")
    (tmp_path / "secret.txt").write_text("no\n")
    (tmp_path / ".skyignore").write_text("secret.txt\n")
    assert user.ok("launch", "-c", "work", "--workdir", str(tmp_path), "ls; cat data.txt") == "data.txt\none\n"
    (tmp_path / "data.txt").write_text("two\n")
    assert user.ok("exec", "work", "--workdir", str(tmp_path), "cat data.txt") == "two\n"
    user.ok("down", "work", "-y")


def test_the_workdir_example(user: User) -> None:
    folder = ROOT / "examples/03-workdir"
    out = user.ok("launch", "-c", "example3", "--down", "task.yaml", cwd=folder)
    assert "mean" in out
    assert "example3" not in user.ok("status")


def test_e17_a_planned_task_is_launched_on_its_plan(user: User) -> None:
    program = """
import skyflow as sky
task = sky.Task(run="echo planned")
task.best_resources = sky.Resources(infra="local/local/local-b", instance_type="local-2x4")
job, handle = sky.launch(task, cluster_name="planned", down=True)
print(handle.launched_resources["zone"], handle.launched_resources["instance_type"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=user.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "planned\nlocal-b local-2x4\n", done.stderr


def test_file_mounts_setup_envs_and_down(user: User, tmp_path: Path) -> None:
    (tmp_path / "conf.ini").write_text("a=1\n")
    (tmp_path / "task.yaml").write_text(
        """
name: mounts
num_nodes: 2
envs: {WHO: null}
file_mounts: {~/conf/app.ini: ./conf.ini}
setup: echo "setup of $WHO" && echo x >> ~/setups
run: |
  cat ~/conf/app.ini
  echo "run $SKYPILOT_NODE_RANK of $SKYPILOT_NUM_NODES for $WHO: $(wc -l < ~/setups) setup"
"""
    )
    out = user.ok("launch", "-c", "mounts", "--down", "--env", "WHO=ada", "task.yaml", cwd=tmp_path)
    assert "(worker1, rank=1) setup of ada" in out
    assert "(head, rank=0) a=1" in out
    assert "(worker1, rank=1) run 1 of 2 for ada: 1 setup" in out
    assert "mounts" not in user.ok("status")


def test_the_exit_code_is_the_jobs(user: User) -> None:
    assert user.run("launch", "-c", "codes", "exit 3").returncode == 100
    assert user.run("logs", "codes").returncode == 100
    assert user.run("exec", "codes", "true").returncode == 0
    user.ok("down", "codes", "-y")


def test_e24_no_setup(user: User, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("setup: exit 1\nrun: echo ran\n")
    assert user.ok("launch", "-c", "nosetup", "--no-setup", "--down", str(tmp_path / "t.yaml")) == "ran\n"


def test_a_setup_that_fails_keeps_the_nodes_under_the_safety_rule(user: User, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("setup: |\n  echo trying\n  exit 7\nrun: echo never\n")
    done = user.run("launch", "-c", "badsetup", str(tmp_path / "t.yaml"))
    assert done.returncode == 100
    assert "trying" in done.stdout
    assert "never" not in done.stdout
    assert "exit code 7" in done.stderr
    assert "60 idle minutes" in done.stderr
    assert "FAILED_SETUP" in user.ok("queue", "badsetup")
    assert "safety" in user.ok("status", "badsetup")
    user.ok("down", "badsetup", "-y")


def test_e21_a_dry_run_shows_the_plan_and_makes_nothing(user: User) -> None:
    before = user.nodes()
    out = user.ok("launch", "-c", "dry", "--dryrun", "echo x")
    assert "local" in out
    assert user.nodes() == before
    assert "dry" not in user.ok("status")


def test_a_dry_run_says_what_only_other_clouds_have(user: User) -> None:
    for words in (["launch", "--dryrun", "--gpus", "A100:8", "true"], ["optimize", "--gpus", "A100:8", "true"]):
        done = user.run(*words)
        assert done.returncode == 0, done.stderr
        assert "aws/" in done.stdout
        assert "Not enabled from here: aws, gcp. See: skyflow check" in done.stderr
    assert user.run("launch", "--dryrun", "--gpus", "A100:800", "true").returncode == 4


def test_a_dry_run_on_a_cluster_that_is_there(user: User) -> None:
    user.ok("launch", "-c", "there", "true")
    for words in (["exec", "there"], ["launch", "-c", "there"]):
        assert re.match(
            r"It would run on cluster 'there': 1 × local-\S+ in local/local/", user.ok(*words, "--dryrun", "x")
        )
    assert user.run("launch", "-c", "there", "--cpus", "8+", "--dryrun", "x").returncode == 4
    user.ok("down", "there", "-y")


def test_detach_cancel_and_logs(user: User) -> None:
    user.ok("launch", "-c", "detached", "-d", "echo begun; sleep 300")
    with user.start("logs", "detached") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "begun\n"
        user.ok("cancel", "detached", "1")
        assert following.wait(30) == 103
    assert "CANCELLED" in user.ok("queue", "detached")
    user.ok("down", "detached", "-y")


def test_a_node_that_is_gone_ends_its_job_and_stops_the_gang(user: User) -> None:
    before = set(user.nodes())
    user.ok("launch", "-c", "lossy", "-d", "--num-nodes", "2", "echo begun; sleep 300")
    gone, left = (home.parent for home in sorted(set(user.nodes()) - before))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"SKYFLOW_NODE={gone.name}".encode() in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            continue
    os.kill(int((gone / "lock").read_text()), signal.SIGKILL)
    while gone.exists():  # a process in it may still be writing
        shutil.rmtree(gone, ignore_errors=True)
    assert user.run("logs", "lossy").returncode == 100
    assert "was lost" in user.ok("queue", "lossy")
    assert left.exists()
    assert "1 node(s) deleted" in user.run("down", "lossy", "-y").stderr


def test_ctrl_c_detaches_and_says_how_to_come_back(user: User) -> None:
    with user.start("launch", "-c", "interrupted", "echo begun; sleep 5; echo done") as launching:
        assert launching.stdout is not None
        assert launching.stdout.readline() == "begun\n"
        launching.send_signal(signal.SIGINT)
        _, err = launching.communicate(timeout=20)
        assert launching.returncode == 130
    assert "skyflow logs interrupted" in err
    assert "Traceback" not in err
    assert user.ok("logs", "interrupted") == "begun\ndone\n"
    user.ok("down", "interrupted", "-y")


def test_the_python_client(user: User) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/04-python-client/launch.py")],
        env=user.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "the sum is 42\njob 1: SUCCEEDED; nodes taken down: True\n", done.stderr


SMALLEST = "local-1x2 in local/local/local-a"


def test_the_synchronous_api(user: User) -> None:
    program = """
import skyflow as sky
task = sky.Task(name="t", run="echo from api")
job_id, handle = sky.launch(task, cluster_name="api")
assert (job_id, handle.cluster_name, handle.num_nodes) == (1, "api", 1)
assert task.best_resources is None
assert sky.exec(sky.Task(run="exit 4"), "api")[0] == 2
assert sky.launch(task, "api", dryrun=True) == (None, None)
assert [row["status"] for row in sky.queue("api")] == ["FAILED", "SUCCEEDED"]
assert sky.status("api")[0]["status"] == "UP" and sky.status(["nothing"]) == []
assert sky.tail_logs("api", 1, tail=1) == 0 and sky.tail_logs("api") == 100
sky.launch(sky.Task(run="sleep 100"), "api", detach_run=True)
assert sky.cancel("api", all=True) == [3]
sky.down("api")
try:
    sky.down("api")
except ValueError as error:
    print(type(error).__name__, error)
try:
    sky.exec("echo x", "api")
except TypeError as error:
    print(str(error).splitlines()[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=user.env, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "from api",
        f"It would run on cluster 'api': 1 × {SMALLEST}, $0/h",
        "from api",
        "ClusterDoesNotExist Cluster 'api' does not exist. See: skyflow status",
        "Expected a sky.Task or sky.Dag but received a string.",
    ]


WRONG = {
    "unknown cluster": (["exec", "nobody", "true"], 3, "Cluster 'nobody' does not exist"),
    "down of an unknown cluster": (["down", "nobody", "-y"], 3, "Cluster 'nobody' does not exist"),
    "logs of an unknown cluster": (["logs", "nobody"], 3, "Nothing is known of a cluster 'nobody'"),
    "queue of an unknown cluster": (["queue", "nobody"], 3, "does not exist"),
    "status of an unknown cluster": (["status", "nobody"], 3, "does not exist"),
    "cancel of nothing": (["cancel", "nobody"], 2, "Say which jobs"),
    "a bad cluster name": (["launch", "-c", "9lives", "true"], 2, "must start with a letter"),
    "no cluster name": (["launch", "-c", "", "true"], 2, "Cluster name '' is invalid"),
    "a missing file": (["launch", "missing.yaml"], 2, "missing.yaml"),
    "a missing workdir": (["launch", "--workdir", "/nonexistent", "true"], 2, "/nonexistent"),
    "an absent env": (["launch", "--env", "NOT_SET_ANYWHERE", "true"], 2, "NOT_SET_ANYWHERE"),
    "a bad flag": (["launch", "--nonsense", "true"], 2, "--nonsense"),
    "a bad number": (["launch", "--num-nodes", "0", "true"], 2, "num_nodes"),
    "a flag that wants a number": (["launch", "--num-nodes", "x", "true"], 2, "(it is 'x'). See: "),
    "a flag that wants one of several": (["launch", "-o", "x", "true"], 2, "'x' is not one of 'table', 'json'. See: "),
    "no idle rule, and down": (
        ["launch", "-i", "-5", "--down", "true"],
        2,
        "Negative idle minutes mean that the cluster stays",
    ),
    "an unknown cloud": (["launch", "--infra", "moon", "true"], 2, "moon"),
    "no offer that fits": (["launch", "-c", "big", "--cpus", "100000", "true"], 4, "No offer fits"),
}


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.replace(" ", "-"))
def test_wrong_input_is_one_clear_line(user: User, case: str) -> None:
    words, code, text = WRONG[case]
    before = user.nodes()
    done = user.run(*words)
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("skyflow: Started", "Launching", "  "))]
    assert len(lines) == 1, done.stderr
    assert text in lines[0]
    assert "Traceback" not in done.stderr
    assert user.nodes() == before


def test_wrong_yaml_names_the_line(user: User, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("name: x\nrun: echo\nnum_nodess: 2\n")
    done = user.run("launch", "t.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "t.yaml:3" in done.stderr
    assert "num_nodes" in done.stderr


def test_a_wrong_file_of_settings_is_not_in_the_way_of_cleaning_up(newcomer: User) -> None:
    newcomer.ok("launch", "-c", "old", "true")
    (newcomer.home / ".skyflow/config.yaml").write_text("nonsense: 1\n")
    assert newcomer.run("queue", "old").returncode == 2
    done = newcomer.run("down", "old", "-y")
    assert done.returncode == 0
    assert "config.yaml:1: There is no setting 'nonsense'" in done.stderr
    assert "No clusters" in newcomer.run("status").stderr
    assert json.loads(newcomer.ok("server", "status", "-o", "json")) == newcomer.record()
    newcomer.ok("server", "stop")
    deadline = time.monotonic() + 10
    while newcomer.processes():  # the host of local nodes ends, too: there are none
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert newcomer.run("status").returncode == 2


def test_a_temporal_that_does_not_answer(newcomer: User) -> None:
    done = newcomer.run("status", TEMPORAL_ADDRESS="127.0.0.1:1")
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1
    assert "The Temporal server at 127.0.0.1:1 does not answer (Connection refused)." in done.stderr


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    someone = User(tmp_path)
    done = someone.run("status", SKYFLOW_HOME=str(tmp_path / "file"))
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_store_that_cannot_be_written(newcomer: User, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = newcomer.run("launch", "--workdir", str(tmp_path), "true", SKYFLOW_STORE=f"file://{tmp_path}/file/store")
    assert done.returncode == 6
    assert "Traceback" not in done.stderr


def test_nothing_is_imported_before_it_is_needed(user: User) -> None:
    heavy = ("temporalio", "pydantic", "asyncssh", "obstore")
    program = f"import sys, skyflow.cli.app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "[]\n"


def test_help_and_version() -> None:
    someone = User(Path(os.environ.get("HOME", "/")))
    assert someone.ok("--version").startswith("skyflow 0.")
    helped = someone.ok("--help")
    for command in ("launch", "exec", "logs", "queue", "cancel", "status", "down", "server", "worker"):
        assert command in helped
