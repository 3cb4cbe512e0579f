"""run as a function (PARITY K02): the script that comes of it is really executed here, by bash, once a rank."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable

import pytest

import skyflow as sky
from skyflow.errors import InvalidTaskError
from skyflow.models.symbolic import address, script_of

IPS = ["10.0.0.1", "10.0.0.2", "fe80::3", "10.0.0.4"]

Run = Callable[[int, list[str]], str | None]


def outputs(run: Run, num_nodes: int = 2) -> list[str]:
    """What each rank prints."""
    script = sky.Task(run=run, num_nodes=num_nodes).script()
    assert script is not None
    return [execute(script, rank, num_nodes).stdout for rank in range(num_nodes)]


def execute(script: str, rank: int, num_nodes: int) -> subprocess.CompletedProcess[str]:
    environment = {
        "SKYPILOT_NODE_RANK": str(rank),
        "SKYPILOT_NODE_IPS": "\n".join(IPS[:num_nodes]),
        "PATH": "/bin:/usr/bin",
    }
    return subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=20, check=False
    )


def test_k02_every_rank_runs_its_own_commands_with_real_addresses() -> None:
    assert outputs(lambda rank, ips: f"echo {rank} of {len(ips)}: {ips[rank]}, head {ips[0]}", 4) == [
        f"{rank} of 4: {ip}, head 10.0.0.1\n" for rank, ip in enumerate(IPS)
    ]


def test_k02_none_on_a_node_means_nothing_runs_there() -> None:
    assert outputs(lambda rank, ips: None if rank == 1 else "echo here", 3) == ["here\n", "", "here\n"]
    assert outputs(lambda rank, ips: "echo head" if rank == 0 else "", 2) == ["head\n", ""]


def test_k02_none_everywhere_is_a_task_without_run() -> None:
    task = sky.Task(run=lambda rank, ips: None)
    assert task.script() is None and "run" not in task.to_yaml_config()


def test_k02_the_documented_example() -> None:
    """From SkyPilot's documentation of `run`: the head serves, the others join it."""

    def run(node_rank: int, ips: list[str]) -> str | None:
        if node_rank == 0:
            return "echo server on 8080"
        return f"echo client of {ips[0]}:8080"

    assert outputs(run, 3) == ["server on 8080\n", "client of 10.0.0.1:8080\n", "client of 10.0.0.1:8080\n"]


def test_k02_heredocs_quotes_and_shell_words() -> None:
    def run(rank: int, ips: list[str]) -> str:
        return f"""\
cat <<EOF > /dev/stdout
rank {rank}
peers: {" ".join(ips)}
EOF
cat <<'EOF'
;; esac $HOME `x`
EOF
case {rank} in 0) echo "zero;;";; *) echo 'other) esac';; esac
for ip in {" ".join(ips)}; do echo "[$ip]"; done
echo done # a comment"""

    for rank, out in enumerate(outputs(run)):
        assert out == (
            f"rank {rank}\npeers: 10.0.0.1 10.0.0.2\n;; esac $HOME `x`\n{['zero;;', 'other) esac'][rank]}\n"
            "[10.0.0.1]\n[10.0.0.2]\ndone\n"
        )


@pytest.mark.parametrize(
    "commands", ["echo a \\", "# only a comment", "cat <<EOF\nx\nEOF", "true &", "echo a;", "\n\n", "(exit 0)"]
)
def test_k02_commands_that_end_in_an_odd_way(commands: str) -> None:
    script = script_of(lambda rank, ips: commands if rank == 0 else "echo second", 2)
    assert script is not None
    assert execute(script, 0, 2).stderr == ""
    assert execute(script, 1, 2).stdout == "second\n"


def test_k02_the_exit_code_is_that_of_the_rank() -> None:
    script = script_of(lambda rank, ips: f"exit {rank + 3}", 2)
    assert script is not None
    assert [execute(script, rank, 2).returncode for rank in range(2)] == [3, 4]
    assert execute(script_of(lambda rank, ips: "false; true" if rank else "false", 2) or "", 0, 2).returncode == 1


def test_k02_nothing_of_the_prelude_is_left_but_the_addresses() -> None:
    [names] = outputs(lambda rank, ips: "compgen -v | grep -i skyflow; env | grep -c SKYFLOW_NODE_IP_", 1)
    assert names.split() == ["SKYFLOW_NODE_IP_0", "1"]


def test_k02_programs_see_the_addresses_too() -> None:
    program = """import os; print(os.environ["SKYFLOW_NODE_IP_1"])"""
    assert outputs(lambda rank, ips: f"{sys.executable} -c '{program}'") == ["10.0.0.2\n"] * 2


def test_k02_the_function_is_called_here_and_only_its_commands_travel() -> None:
    calls: list[tuple[int, list[str]]] = []

    def run(rank: int, ips: list[str]) -> str:
        calls.append((rank, ips))
        ips.clear()  # nobody else is harmed
        return "true"

    config = sky.Task(run=run, num_nodes=2).to_yaml_config()
    assert calls == [(0, []), (1, [])] and isinstance(config["run"], str)
    assert sky.Task.from_yaml_config(config).run == config["run"]
    assert address(3) == "${SKYFLOW_NODE_IP_3}"


def test_k02_the_number_of_nodes_counts_when_it_is_called() -> None:
    task = sky.Task(run=lambda rank, ips: f"echo {len(ips)}")
    task.num_nodes = 3
    assert "2)" in str(task.script())
    assert copy.deepcopy(task).script() == task.script()


def failing(rank: int, ips: list[str]) -> str:
    raise KeyError("model")


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (failing, "run, called as a function for rank 0, failed: KeyError: 'model'"),
        (lambda rank, ips: 5, "run, called as a function for rank 0, must return commands or None, found the value 5."),
        (
            lambda rank, ips: None if rank == 0 else ["a"],
            "run, called as a function for rank 1, must return commands or None, found a list.",
        ),
        (lambda rank, ips: "a\0b", "run of rank 0 contains a NUL character."),
        (
            lambda rank: "x",
            "run, called as a function for rank 0, failed: TypeError: <lambda>() takes 1 positional argument but 2 "
            "were given",
        ),
    ],
)
def test_k02_a_function_that_fails(run: Run, message: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        sky.Task(run=run, num_nodes=2).to_yaml_config()
    assert str(caught.value).replace("test_symbolic.", "") == message


def test_k02_a_message_of_several_lines_becomes_one() -> None:
    def run(rank: int, ips: list[str]) -> str:
        raise ValueError("first\nsecond\n\nthird")

    with pytest.raises(InvalidTaskError) as caught:
        sky.Task(run=run).script()
    assert str(caught.value) == "run, called as a function for rank 0, failed: ValueError: first second third"


def test_k02_only_strings_in_yaml() -> None:
    with pytest.raises(ValueError, match=r"run must be a shell script \(str\)\. Got <class 'function'>"):
        sky.Task.from_yaml_config({"run": lambda rank, ips: "x"})
