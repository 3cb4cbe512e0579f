"""The scripts of units, run by a real bash in a HOME of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.errors import InvalidTaskError
from skyflow.models.job import Gang
from skyflow.models.node import Node
from skyflow.nodes.script import job_script, setup_script

pytestmark = pytest.mark.timeout(60)


def node(rank: int) -> Node:
    return Node(
        id=f"n{rank}", rank=rank, address="", port=22, user="", host_key="", internal_ip=f"10.0.0.{rank}"
    )  # fmt: skip


GANG = Gang(cluster="dev", uid="u", cloud="local", region="r", zone="z", nodes=[node(5), node(2)])


def run(script: bytes, home: Path) -> tuple[int, str]:
    home.mkdir(exist_ok=True)
    file = home / "script"
    file.write_bytes(script)
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    done = subprocess.run(["bash", file], env=env, stdout=-1, stderr=-2, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout.decode(errors="surrogateescape")


def variables(script: bytes, home: Path) -> dict[str, str]:
    status, output = run(script, home)
    assert status == 0, output
    return dict(line.split("=", 1) for line in output.split("\0") if line)


def test_what_a_job_is_told(tmp_path: Path) -> None:
    envs = {"MINE": "1", "SKYPILOT_NODE_RANK": "77", "PYTHONUNBUFFERED": "0"}
    script = job_script("env -0", envs, GANG, 5, task_id="sky-1", user="me", num_gpus=4)
    found = variables(script, tmp_path)
    for prefix in ("SKYPILOT", "SKYFLOW"):
        told = {name.removeprefix(f"{prefix}_"): value for name, value in found.items() if name.startswith(prefix)}
        place = json.loads(told.pop("CLUSTER_INFO"))
        assert place == {"cluster_name": "dev", "cloud": "local", "region": "r", "zone": "z"}
        assert told == {
            "NODE_RANK": "1",
            "NODE_IPS": "10.0.0.2\n10.0.0.5",
            "NUM_NODES": "2",
            "NUM_GPUS_PER_NODE": "4",
            "TASK_ID": "sky-1",
            "USER": "me",
        }
    assert (found["MINE"], found["PYTHONUNBUFFERED"], found["PWD"]) == ("1", "0", f"{tmp_path}/sky_workdir")


def test_what_a_setup_is_told(tmp_path: Path) -> None:
    found = variables(setup_script("env -0", {}, GANG, 2, task_id="sky-1", user="me"), tmp_path)
    told = {name.removeprefix("SKYPILOT_"): value for name, value in found.items() if name.startswith("SKYPILOT_")}
    told.pop("CLUSTER_INFO")
    assert told == {
        "SETUP_NODE_RANK": "0",
        "SETUP_NODE_IPS": "10.0.0.2\n10.0.0.5",
        "SETUP_NUM_GPUS_PER_NODE": "0",
        "NUM_NODES": "2",
        "TASK_ID": "sky-1",
        "USER": "me",
    }
    assert found["PYTHONUNBUFFERED"] == "1"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_value_survives(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    script = job_script('printf "%s" "$VALUE" | od -An -v -tx1', {"VALUE": value}, GANG, 2)
    status, output = run(script, tmp_path_factory.getbasetemp() / "values")
    assert (status, bytes.fromhex(output.replace("\n", ""))) == (0, value.encode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("false; true", (0, "")),
        ("true; false", (1, "")),
        ("set -e\nfalse\necho no", (1, "")),
        ("cat <<'X'\n$HOME \"a\" 'b'\nX", (0, "$HOME \"a\" 'b'\n")),
        ("for i in 1 2; do\n  echo $i\ndone", (0, "1\n2\n")),
        ("exit 42", (42, "")),
        ("exec sh -c 'exit 9'", (9, "")),
        ("echo 'it\\'s' \\\n  two", (2, None)),
        ("echo a \\\n  b # c", (0, "a b\n")),
        ("f() { return 3; }; f", (3, "")),
        ("", (0, "")),
        ("# nothing", (0, "")),
        ("cat; echo $-", (0, "hB\n")),
        ("echo \"${nothing:?is not set}\"; echo no", (1, None)),
        ("echo ä 😀 \\$x", (0, "ä 😀 $x\n")),
        ("declare -F; alias; echo $_skyflow", (0, "\n")),
    ],
)  # fmt: skip
def test_the_text_runs_as_it_is_written(tmp_path: Path, text: str, expected: tuple[int, str | None]) -> None:
    status, output = run(job_script(text, {}, GANG, 2), tmp_path)
    assert status == expected[0]
    if expected[1] is not None:
        assert output == expected[1]


@pytest.mark.parametrize(
    "guard",
    ["case $- in\n *i*) ;;\n *) return;;\nesac", "[[ $- != *i* ]] && return", '[ -z "$PS1" ] && return', ""],
)
def test_conda_and_uv_are_found_as_in_a_login(tmp_path: Path, guard: str) -> None:
    rest = """
        echo noise; echo noise >&2
        conda() { echo conda "$@"; }
        exec sh -c 'echo hijacked'
        exit 3
    """
    (tmp_path / ".bashrc").write_text(guard + rest)
    (tmp_path / ".profile").write_text('. ~/.bashrc\nPATH="$HOME/.local/bin:$PATH"\n')
    status, output = run(job_script('conda activate x; echo "${PATH%%:*}"', {}, GANG, 2), tmp_path)
    assert (status, output) == (0, f"conda activate x\n{tmp_path}/.local/bin\n")


def test_a_profile_that_fails_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / ".bash_profile").write_text("if then\n")
    (tmp_path / ".bashrc").write_text("nonsense; false\n")
    assert run(job_script("echo fine", {}, GANG, 2), tmp_path) == (0, "fine\n")


def test_a_workdir_that_cannot_be_entered(tmp_path: Path) -> None:
    (tmp_path / "sky_workdir").write_text("a file")
    status, output = run(job_script("echo no", {}, GANG, 2), tmp_path)
    assert status == 1
    assert "sky_workdir" in output and "no\n" not in output


@pytest.mark.parametrize("envs", [{"a b": "1"}, {"1A": "1"}, {"": "1"}, {"A;reboot": "1"}, {"A": "a\0b"}])
def test_what_cannot_be_a_variable(envs: dict[str, str]) -> None:
    with pytest.raises(InvalidTaskError, match="cannot be a variable of a shell"):
        job_script("true", envs, GANG, 2)
