"""The command line without a server: every help text, the flags of a task, and those that are refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import skyflow
from skyflow.cli.app import app
from skyflow.cli.follow import Output
from skyflow.cli.options import TaskOptions
from skyflow.cli.task import make_dag, make_task
from skyflow.errors import (
    InvalidClusterNameError,
    InvalidTaskError,
    NotSupportedError,
    UsageError,
)

LONG = {"--clone": "--clone-disk-from", "-w": "--workspace"}


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


@pytest.mark.parametrize("words", list(commands(get_command(app))), ids=" ".join)
def test_every_command_has_a_help_text(words: tuple[str, ...]) -> None:
    for flag in ("--help", "-h"):
        done = CliRunner().invoke(app, [*words, flag])
        assert done.exit_code == 0, done.output
        assert "Usage: " in done.output


@pytest.mark.parametrize(
    "flag",
    [
        "--clone-disk-from",
        "--clone",
        "--resize",
        "--workspace",
        "-w",
    ],
)
def test_flags_of_later_versions_are_refused_with_a_sentence(flag: str) -> None:
    """On every command that has it."""
    found = [
        (name, parameter)
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
        for parameter in command.params
        if flag in parameter.opts and parameter.hidden
    ]
    assert found
    for name, parameter in found:
        done = CliRunner().invoke(app, [name, "x", flag, *([] if parameter.is_flag else ["5"])])
        assert isinstance(done.exception, NotSupportedError)
        assert str(done.exception).startswith(f"{LONG.get(flag, flag)}: ")


CONTRADICTIONS = {
    ("logs", "c", "-s", "--status"): "--status and --sync-down are two things",
    ("logs", "c", "-s", "-w", "0"): "--sync-down goes without --worker",
    ("logs", "c", "--provision", "-w", "2", "--tail", "1"): "--provision goes without --tail",
    ("logs", "c", "--provision", "1"): "--provision is about a cluster",
    ("status", "--ip", "-o", "json", "c"): "--ip prints an address",
    ("stop", "c", "--graceful-timeout", "5"): "graceful_timeout (--graceful-timeout) goes with graceful",
    ("down", "c", "--graceful-timeout", "5"): "graceful_timeout (--graceful-timeout) goes with graceful",
    ("autostop", "c", "--cancel", "-i", "5"): "--cancel goes with none",
    ("autostop", "c", "--cancel", "--down-after", "5"): "--cancel goes with none",
    ("autostop", "c", "--down", "--down-after", "5"): "down_after (--down-after) is for a cluster that is stopped",
    ("autostop", "c", "-i", "-5", "--down"): "Negative idle minutes mean that the cluster stays",
    ("autostop", "c", "-i", "-5", "--down-after", "5"): "Negative idle minutes mean that the cluster stays",
    ("autostop", "c", "-i", "9" * 26): "idle minutes must be 5256000 at most (10 years); negative: never.",
    ("autostop", "c", "-i", "5256001"): "idle minutes must be 5256000 at most",
    ("autostop", "c", "--down-after", "11000d"): "down_after must be 10 years at most",
    ("start", "c", "-i", "5256001"): "idle minutes must be 5256000 at most",
    ("launch", "-c", "c", "-i", "5256001", "true"): "idle minutes must be 5256000 at most",
    ("autostop", "c", "--down-after", "soon"): "down_after must be minutes such as 10, or '2h'",
    ("autostop", "c", "--down-after", "-5"): "down_after must be minutes such as 10, or '2h'",
    ("start", "c", "--down"): "down needs idle minutes (--idle-minutes-to-autostop)",
    ("start", "c", "-i", "-5", "--down"): "Negative idle minutes mean that the cluster stays",
}


@pytest.mark.parametrize("words", CONTRADICTIONS, ids=" ".join)
def test_flags_that_would_be_ignored_are_refused(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, list(words))
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith(CONTRADICTIONS[words])


def test_on_a_terminal_our_own_words_begin_on_a_line_of_their_own(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(data: bytes) -> bytes:
        output = Output()
        output.write(data)
        output.close()
        return capfdbinary.readouterr().out

    assert shown(b"piped") == b"piped"
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert shown(b"no newline") == b"no newline\n"
    assert shown(b"a line\n") == b"a line\n"
    assert shown(b"\033[31mred\n") == b"\033[31mred\n\033[0m"
    assert shown(b"\033[31mred") == b"\033[31mred\033[0m\n"


def make(*words: str, **options: Any) -> Any:
    return make_task(list(words), TaskOptions(**options))


def test_flags_replace_what_the_task_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HERE", "there")
    Path("env").write_text("A=1\nB=2\n")
    Path("task.yaml").write_text(
        "name: a\nrun: x\nenvs: {B: 0, C: null}\nresources: {infra: aws/r, cpus: 4, ports: 80}"
    )
    task = make(
        "task.yaml",
        name="b",
        env=["B=3", "HERE", "C=c"],
        env_file="env",
        num_nodes=2,
        infra="gcp",
        gpus="A100:8",
        use_spot=True,
        cpus="none",
        memory="16+",
        disk_size="1TB",
        disk_tier="high",
        network_tier="best",
        image_id="docker:x",
        ports=["8080", "9000-9001"],
        max_hourly_cost=3,
        secret=["T=hush"],
    )
    assert (task.name, task.num_nodes) == ("b", 2)
    assert task.envs == {"A": "1", "B": "3", "C": "c", "HERE": "there"}
    assert task.secrets["T"].reveal() == "hush"
    assert task.to_yaml_config()["resources"] == {
        "infra": "gcp", "accelerators": {"A100": 8}, "memory": "16+", "use_spot": True, "disk_size": 1024,
        "disk_tier": "high", "network_tier": "best", "image_id": "docker:x", "ports": ["8080", "9000-9001"],
        "max_hourly_cost": 3,
    }  # fmt: skip


def test_none_takes_away_what_the_task_says(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(
        "run: x\nresources: {infra: aws/us-east-1, gpus: T4, instance_type: a, cpus: 4, memory: 4, disk_size: 5, "
        "disk_tier: low, network_tier: best, local_disk: nvme, image_id: x, ports: [80, 90]}"
    )
    given = dict.fromkeys(
        "infra gpus instance_type cpus memory disk_size disk_tier network_tier local_disk image_id".split(), "none"
    )
    assert make(str(path), **given, ports=["None"]).resources[0] == skyflow.Resources()


def test_flags_change_every_choice(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("run: x\nresources: {any_of: [{infra: aws, accelerators: T4}, {infra: gcp, accelerators: L4}]}")
    task = make(str(path), use_spot=True, gpus="80GB")
    assert {(one.cloud, *(one.accelerators or {})) for one in task.resources} == {
        (cloud, name) for cloud in ("aws", "gcp") for name in ("A100-80GB", "H100", "H100-MEGA")
    }
    assert all(one.use_spot for one in task.resources)


def test_a_git_workdir_by_flags(tmp_path: Path) -> None:
    task = make("make", git_url="https://host/repository", git_ref="v1")
    assert task.workdir == {"url": "https://host/repository", "ref": "v1"}
    path = tmp_path / "task.yaml"
    path.write_text("run: x\nworkdir: {url: https://host/repository, ref: main}")
    assert make(str(path), git_ref="v2").workdir == {"url": "https://host/repository", "ref": "v2"}
    assert make(str(path), git_url="https://other").workdir == {"url": "https://other"}
    for options, message in (
        ({"git_ref": "v1"}, "--git-ref needs --git-url"),
        ({"git_url": "x", "workdir": str(tmp_path)}, "Give either --workdir or --git-url"),
    ):
        with pytest.raises(UsageError, match=message):
            make("make", **options)


def test_what_looks_like_a_task_but_is_a_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("README.md").write_text("# Hello")
    for word in ("README.md", "missing.md", "folder", "./train.sh", "a/b"):
        assert make(word).run == word
        assert capsys.readouterr().err == f"skyflow: {word} is no task YAML; it is run as a command on the nodes.\n"
    for words in (["hostname"], ["./train.sh", "x"], ["ls folder/"]):
        assert make(*words).run == " ".join(words)
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-"], "A task is not read from standard input"),
        (["task.yaml", "extra", "words"], "task.yaml is a task YAML, which takes no more words: extra words"),
    ],
)
def test_words_that_are_neither_task_nor_command(words: list[str], message: str) -> None:
    for read in (make_task, make_dag):
        with pytest.raises(UsageError, match=message):
            read(words, TaskOptions())


def test_several_tasks_are_planned_but_not_launched(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("name: all\n---\nname: a\nrun: x\n---\nname: b\nrun: y\n")
    with pytest.raises(UsageError, match=r"pipeline\.yaml has 2 tasks; a launch is of one"):
        make(str(path))
    dag = make_dag([str(path)], TaskOptions(name="other", cpus="4"))
    assert (dag.name, [task.name for task in dag.tasks]) == ("other", ["a", "b"])
    assert [task.resources[0].cpus for task in dag.tasks] == ["4", "4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpus": "A100:x"}, "resources.accelerators: the count of 'A100'"),
        ({"infra": "marz"}, "there is no cloud 'marz'"),
        ({"ports": ["0"]}, "resources.ports: a port is a number from 1 to 65535"),
        ({"secret": ["NOT_SET_ANYWHERE"]}, "--secret NOT_SET_ANYWHERE: NOT_SET_ANYWHERE is not set"),
        ({"disk_tier": "huge"}, "resources.disk_tier must be one of low, medium, high, ultra, best"),
    ],
)
def test_wrong_flags(options: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidTaskError, UsageError)) as caught:
        make("true", **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_secrets_of_flags_are_filled_in_where_variables_are(tmp_path: Path) -> None:
    (tmp_path / "hush").mkdir()
    path = tmp_path / "task.yaml"
    path.write_text(f"run: x\nsecrets: {{T: null}}\nworkdir: {tmp_path}/$T")
    task = make(str(path), secret=["T=hush"])
    assert task.workdir == f"{tmp_path}/hush"
    assert task.to_yaml_config()["workdir"] == f"{tmp_path}/$T"


def test_the_command_line_refuses_before_it_starts_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("skyflow.cli.launch.run", lambda body, config: pytest.fail("connected"))
    path = tmp_path / "task.yaml"
    path.write_text("run: x\nresources: {job_recovery: FAILOVER}")
    for words, error in (
        (["launch", "-c", "a b", "true"], InvalidClusterNameError),
        (["launch", "-c", "a b", "--dryrun", "true"], InvalidClusterNameError),
        (["exec", "a b", "true"], InvalidClusterNameError),
        (["launch", str(path)], InvalidTaskError),
        (["exec", "c", str(path)], InvalidTaskError),
        (["launch", "--workdir", str(tmp_path / "absent"), "true"], InvalidTaskError),
        (["launch", "-i", "-5", "--down", "true"], UsageError),
    ):
        assert isinstance(CliRunner().invoke(app, words).exception, error), words


def test_the_synchronous_api_refuses_before_it_starts_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skyflow.api._run", lambda body: pytest.fail("connected"))
    task = skyflow.Task(run="x", docker_image="y")
    for call in (lambda: skyflow.launch(task), lambda: skyflow.exec(task, "c")):
        with pytest.raises(NotSupportedError, match="docker_image"):
            call()
