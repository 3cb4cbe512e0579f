"""`skyflow ssh`, `skyflow cp`, `ssh CLUSTER` and the addresses of ports: OpenSSH's own programs on real local nodes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import User

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh command on this machine"),
]

NAME = "Ssh.Box"


@pytest.fixture(scope="module")
def launched(user: User) -> Iterator[subprocess.CompletedProcess[str]]:
    """The launch of a cluster of two nodes, by a user who had no SSH config."""
    for folder in (".ssh", ".skyflow/ssh"):  # others have launched before
        shutil.rmtree(user.home / folder, ignore_errors=True)
    done = user.run("launch", "-c", NAME, "--num-nodes", "2", "--ports", "18080", "--ports", "18090-18091", "true")
    assert done.returncode == 0, done.stderr
    yield done
    user.ok("down", NAME, "-y")
    assert NAME not in (user.home / ".skyflow/ssh/config").read_text()
    assert not list((user.home / ".skyflow/ssh").glob("*/*.key"))


@pytest.fixture
def box(user: User, launched: object) -> User:
    return user


def openssh(user: User, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A program of OpenSSH, or rsync, with the user's own config (which it looks for in another home in tests)."""
    config = str(user.home / ".ssh/config")
    given = ["-e", f"ssh -F {config}"] if program == "rsync" else ["-F", config]
    return subprocess.run(
        [program, *given, *words], env=user.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_the_first_launch_says_that_the_config_is_included(
    box: User, launched: subprocess.CompletedProcess[str]
) -> None:
    assert launched.stderr.count("Added a line to ~/.ssh/config") == 1
    assert "~/.ssh/config" not in box.run("exec", NAME, "true").stderr
    (line,) = (box.home / ".ssh/config").read_text().splitlines()
    assert line == f'Include "{box.home}/.skyflow/ssh/config"'


def test_a_command_and_its_exit_code(box: User) -> None:
    done = box.run("ssh", NAME, "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert box.ok("ssh", NAME, "--", "printf", "%s", "-w") == "-w"
    assert box.ok("ssh", NAME, "echo", "-n", "-w", "5") == "-w 5"


def test_every_node_by_its_rank(box: User) -> None:
    nodes = {node["rank"]: node["id"] for node in box.nodes_of(NAME)}
    who = "echo $SKYFLOW_NODE"
    assert box.ok("ssh", NAME, who).strip() == nodes[0]
    for words in (["ssh", "-w", "1", NAME, who], ["ssh", NAME, "-w", "1", who], ["ssh", NAME, "--worker", "1", who]):
        assert box.ok(*words).strip() == nodes[1]
    assert openssh(box, "ssh", NAME, who).stdout.strip() == nodes[0]
    assert openssh(box, "ssh", f"{NAME}-worker1", who).stdout.strip() == nodes[1]


def test_a_shell_on_a_terminal(box: User) -> None:
    ours, terminal = os.openpty()
    argv = [sys.executable, "-m", "skyflow.cli.main", "ssh", NAME]
    with subprocess.Popen(argv, env={**box.env, "TERM": "dumb"}, preexec_fn=partial(os.login_tty, terminal)) as shell:
        os.close(terminal)
        os.write(ours, b"test -t 0 && echo on $((6 * 7)); exit 9\n")
        shown = b""
        with suppress(OSError):  # the other side has closed it
            while data := os.read(ours, 4096):
                shown += data
        assert shell.wait(60) == 9
    os.close(ours)
    assert b"on 42" in shown


def test_what_answers_with_another_host_key_is_not_spoken_to(box: User) -> None:
    (config,) = (box.home / ".skyflow/ssh").glob("*/config")
    (known_hosts,) = config.parent.glob("*.known_hosts")
    text = known_hosts.read_text()
    try:
        known_hosts.write_text(text.replace("AAAAI", "AAAAJ"))
        done = box.run("ssh", NAME, "true")
        assert done.returncode == 255 and "Host key verification failed" in done.stderr
    finally:
        known_hosts.write_text(text)
    assert box.run("ssh", NAME, "true").returncode == 0


def test_no_secret_is_in_an_argv(box: User, tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nenv\n')
    program.chmod(0o755)
    shown = box.ok("ssh", NAME, "id", PATH=str(tmp_path) + ":/usr/bin:/bin")
    (config,) = (box.home / ".skyflow/ssh").glob("*/config")
    assert shown.splitlines()[:5] == ["-F", str(config), "--", NAME, "id"]
    (key,) = config.parent.glob("*.key")
    assert key.read_text().splitlines()[1] not in shown
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("program", ["rsync", "scp"])
def test_copying_there_and_back(box: User, tmp_path: Path, program: str) -> None:
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/deep/one file").write_text("one\n")
    (tmp_path / "two").write_text("two\n")
    more: dict[str, Any] = {}
    if program == "scp":  # as on a machine that has no rsync
        (tmp_path / "bin").mkdir()
        for name in ("ssh", "scp"):
            (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
        more = {"PATH": str(tmp_path / "bin")}
    elif shutil.which("rsync") is None:
        pytest.skip("there is no rsync on this machine")
    box.ok("ssh", NAME, "mkdir", program)
    box.ok("cp", "data", "two", f"{NAME}:{program}", cwd=tmp_path, **more)
    assert box.ok("ssh", NAME, f"cd {program}; cat two 'data/deep/one file'") == "two\none\n"
    back = tmp_path / "back"
    back.mkdir()
    box.ok("cp", f"{NAME}:{program}/data", f"{NAME}:{program}/two", ".", cwd=back, **more)
    assert (back / "data/deep/one file").read_text() == "one\n"
    box.ok("cp", "./two", f"{NAME}-worker1:~/{program}", cwd=tmp_path, **more)
    assert openssh(box, "ssh", f"{NAME}-worker1", f"cat {program}").stdout == "two\n"
    assert box.run("cp", f"{NAME}:nothing-there", ".", cwd=tmp_path, **more).returncode not in (0, 255)


@pytest.mark.parametrize("program", ["scp", "rsync"])
def test_the_programs_themselves(box: User, tmp_path: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} on this machine")
    (tmp_path / "file").write_text(program)
    assert openssh(box, program, str(tmp_path / "file"), f"{NAME}:by-{program}").returncode == 0
    assert openssh(box, "ssh", NAME, f"cat by-{program}").stdout == program


def test_endpoints(box: User) -> None:
    ip = box.ok("status", "--ip", NAME).strip()
    assert box.ok("status", "--endpoint", "18080", NAME) == f"{ip}:18080\n"
    every = {port: f"{ip}:{port}" for port in (18080, 18090, 18091)}
    assert box.ok("status", "--endpoints", NAME) == "".join(f"{port}: {at}\n" for port, at in every.items())
    shown = json.loads(box.ok("status", "--endpoints", "-o", "json", NAME))
    assert shown == {str(port): at for port, at in every.items()}
    program = f"import skyflow; print(skyflow.endpoints({NAME!r}, 18080), len(skyflow.endpoints({NAME!r})))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=box.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == f"{{18080: '{ip}:18080'}} 3\n", done.stderr


def test_a_port_of_a_job_is_reached_at_its_endpoint(box: User) -> None:
    serve = 'python3 -m http.server 18080 --bind $(echo "$SKYPILOT_NODE_IPS" | head -1)'
    box.ok("exec", "-d", NAME, serve)
    at = box.ok("status", "--endpoint", "18080", NAME).strip()
    fetch = f"import urllib.request as u; print(u.urlopen('http://{at}', timeout=5).status)"
    argv = [sys.executable, "-c", f"import time\nwhile True:\n try:\n  {fetch}; break\n except OSError: time.sleep(.1)"]
    assert subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout == "200\n"
    box.ok("cancel", "--all", "-y", NAME)


WRONG = {
    "unknown cluster": (["ssh", "nobody"], 3, "Cluster 'nobody' does not exist"),
    "a bad name": (["ssh", "me@host"], 2, "Cluster name 'me@host' is invalid"),
    "no such rank": (["ssh", "-w", "2", NAME], 2, f"Cluster '{NAME}' has no rank 2: it has 2 node(s), from 0 on."),
    "a negative rank": (["ssh", "-w", "-1", NAME], 2, "has no rank -1"),
    "no rank": (["ssh", NAME, "-w", "ls"], 2, "-w is followed by the rank of a node"),
    "a port that it has not": (["status", "--endpoint", "22", NAME], 2, "was not launched with port 22"),
    "a port of nobody": (["status", "--endpoint", "22", "nobody"], 3, "Cluster 'nobody' does not exist"),
    "a port of no cluster in particular": (["status", "--endpoint", "22", "S*", "nobody*"], 3, "does not exist"),
    "no number": (["status", "--endpoint", "http", NAME], 2, "Invalid value for '--endpoint'"),
    "no remote side": (["cp", "a", "b"], 2, "Say which side is a node"),
    "two remote sides": (["cp", f"{NAME}:a", f"{NAME}-worker1:b"], 2, "Both sides are nodes"),
    "two nodes": (["cp", f"{NAME}:a", f"{NAME}-worker1:b", "."], 2, "Copy from one node at a time"),
    "a node and a file": (["cp", f"{NAME}:a", "b", "."], 2, "Copy from one node at a time"),
    "one word": (["cp", f"{NAME}:a"], 2, "Missing argument"),
    "no such cluster to copy from": (["cp", "nobody-worker1:a", "."], 3, "Cluster 'nobody' does not exist"),
    "no such worker": (["cp", f"{NAME}-worker2:a", "."], 2, "has no rank 2"),
}


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.replace(" ", "-"))
def test_wrong_input_is_one_clear_line(box: User, case: str) -> None:
    words, code, text = WRONG[case]
    done = box.run(*words)
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert text in line


def test_without_openssh(box: User, tmp_path: Path) -> None:
    for words in (["ssh", NAME], ["cp", "a", f"{NAME}:b"]):
        done = box.run(*words, PATH=str(tmp_path))
        assert done.returncode == 1
        assert done.stderr == "skyflow: There is no `ssh` in PATH; install OpenSSH's client.\n"


def test_a_cluster_that_is_not_up_yet(user: User) -> None:
    user.ok("local", "slow", "60", "--zone", "local-b")
    launching = user.start("launch", "-c", "slowly", "--infra", "local/local/local-b", "true")
    try:
        assert launching.stderr is not None
        while "PROVISION" not in launching.stderr.readline():
            assert launching.poll() is None
        for words in (["ssh", "slowly"], ["status", "--endpoint", "80", "slowly"]):
            done = user.run(*words)
            assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
            assert "Cluster 'slowly' is not up yet: wait for its launch" in done.stderr
    finally:
        launching.kill()
        launching.communicate()
        user.ok("local", "clear")
        user.ok("down", "slowly", "-y")


def test_a_job_that_still_runs_can_be_looked_at(user: User) -> None:
    """The nodes are in the config as soon as they are there, and leave it with `--down`."""
    with user.start(
        "launch", "-c", "busy", "--down", "touch here; until [ -e ../go ]; do sleep 0.1; done"
    ) as launching:
        assert launching.stderr is not None
        while "EXEC" not in launching.stderr.readline():
            assert launching.poll() is None
        found = ""
        while "here" not in found:  # the config may be a moment behind
            found = openssh(user, "ssh", "busy", "ls sky_workdir").stdout
            assert launching.poll() is None
        openssh(user, "ssh", "busy", "touch go")
        launching.communicate(timeout=60)
        assert launching.returncode == 0
    assert "busy" not in (user.home / ".skyflow/ssh/config").read_text()


def test_a_host_of_the_users_own(user: User) -> None:
    config = user.home / ".ssh/config"
    config.parent.mkdir(exist_ok=True)
    before = config.read_text() if config.exists() else ""
    config.write_text(before + "Host mine\n  HostName example.org\n")
    try:
        done = user.run("launch", "-c", "mine", "true")
        assert done.stderr.count("~/.ssh/config has a host 'mine' of its own; cluster 'mine': skyflow ssh mine") == 1
        assert "hostname example.org" in openssh(user, "ssh", "-G", "mine").stdout
        assert user.ok("ssh", "mine", "echo ours") == "ours\n"
        assert "of its own" not in user.run("status").stderr
    finally:
        config.write_text(before)
        user.ok("down", "mine", "-y")
