"""Task: the Python object, its round trip, and the words of a command line."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.errors import InvalidTaskError, NotSupportedError, SkyflowError, UsageError
from skyflow.models.feature import CloudFeature
from skyflow.models.resources import Resources
from skyflow.models.storage import Storage, StorageMode
from skyflow.models.task import Task
from skyflow.models.task_source import entrypoint

FULL = """\
name: train
num_nodes: 2
resources:
  infra: local/home/a
  cpus: 2+
  memory: 16GB+
envs:
  LR: 0.1
  FLAG: true
  DIR: data
workdir: ${DIR}/src
file_mounts:
  ~/in/$DIR: ./$DIR
  /other: ${NOT_THERE}
setup: pip list
run: |
  echo "$DIR" ${LR}
"""


def test_k01_everything_is_optional() -> None:
    task = Task()
    assert (task.name, task.setup, task.run, task.workdir, task.file_mounts) == (None,) * 5
    assert task.envs == {} and list(task.resources) == [Resources()] and task.best_resources is None
    assert task.to_yaml_config() == {}
    task.validate()


def test_k01_setters_return_the_task() -> None:
    task = Task(run="true")
    same = task.set_resources(Resources(cpus=2)).update_envs({"A": "1"}).set_file_mounts({"/a": "b"})
    assert same.update_file_mounts({"/c": "d"}) is task
    assert task.file_mounts == {"/a": "b", "/c": "d"}
    assert task.set_file_mounts(None).file_mounts is None


def test_k02_run_may_be_a_list_of_lines_in_python_only() -> None:
    assert Task(run=["echo a", "echo b"]).run == "echo a\necho b"
    with pytest.raises(InvalidTaskError, match=r"run must be a shell script \(str\). Got <class 'list'>"):
        Task.from_yaml_config({"run": ["echo a"]})


def test_k02_a_function_becomes_plain_commands() -> None:
    """test_symbolic.py runs them."""
    task = Task(num_nodes=2, run=lambda rank, ips: f"echo {rank} of {ips[0]}")
    script = task.to_yaml_config()["run"]
    assert "echo 0 of ${SKYFLOW_NODE_IP_0}" in script and "echo 1 of ${SKYFLOW_NODE_IP_0}" in script
    with pytest.raises(InvalidTaskError, match="run, called as a function for rank 0, failed: ZeroDivisionError"):
        Task(run=lambda rank, ips: str(1 / 0)).to_yaml_config()


def test_k03_setup_is_a_script_and_kept_as_it_is() -> None:
    assert Task(setup="pip list\n").setup == "pip list\n" and Task().setup is None
    for wrong in (["pip list"], 5, lambda rank, ips: "x"):
        with pytest.raises(ValueError, match=r"setup must be a shell script \(str\)\. Got <class"):
            Task(setup=wrong)  # type: ignore[arg-type]


def test_k04_the_workdir_is_a_folder_or_from_git() -> None:
    git = {"url": "https://example.com/a.git", "ref": "main"}
    task = Task(workdir="~/code")
    assert task.workdir == "~/code" and task.set_workdir(git) is task and task.workdir == git
    assert task.to_yaml_config() == {"workdir": git} and task.set_workdir(None).to_yaml_config() == {}
    for wrong, message in (
        ({"ref": "main"}, "workdir from git needs a url."),
        ({"url": "a", "rev": "b"}, "Invalid workdir YAML: Instead of 'rev', did you mean 'ref'?"),
        ("", "workdir must be the path of a local folder, or url and ref of a git repository, found the string ''."),
    ):
        with pytest.raises(InvalidTaskError) as caught:
            task.set_workdir(wrong)
        assert str(caught.value) == message and task.workdir is None


def test_k05_num_nodes() -> None:
    assert Task().num_nodes == 1 and Task(num_nodes=3).num_nodes == 3
    for wrong in (0, -1, "2", 1.0, True):
        with pytest.raises(InvalidTaskError, match=r"num_nodes should be a positive int\. Got: "):
            Task(num_nodes=wrong)  # type: ignore[arg-type]


def test_k05_num_nodes_set_later_is_checked_by_validate() -> None:
    task = Task()
    task.num_nodes = 0
    with pytest.raises(InvalidTaskError, match=r"num_nodes should be a positive int\. Got: 0"):
        task.validate()


@pytest.mark.parametrize("field", ["docker_image", "event_callback", "blocked_resources", "storage_mounts", "secrets"])
def test_k06_k07_k08_wrong_arguments_are_named(field: str) -> None:
    with pytest.raises(InvalidTaskError, match=f"^{field}"):
        Task(**{field: 5})


def test_k09_a_yaml_file(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(FULL)
    task = Task.from_yaml(path)
    assert task.to_yaml_config() == {
        "name": "train",
        "num_nodes": 2,
        "resources": {"infra": "local/home/a", "cpus": "2+", "memory": "16+"},
        "envs": {"LR": "0.1", "FLAG": "True", "DIR": "data"},
        "workdir": "data/src",
        "file_mounts": {"~/in/data": "./data", "/other": "${NOT_THERE}"},
        "setup": "pip list",
        "run": 'echo "$DIR" ${LR}\n',
    }


def test_k09_a_file_that_loads_as_a_string_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("just words")
    with pytest.raises(ValueError, match=r"task\.yaml:1: .*found the string 'just words'"):
        Task.from_yaml(tmp_path / "task.yaml")


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "---\n---\n", "{}", "null", "[]"])
def test_k09_an_empty_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "task.yaml").write_text(text)
    with pytest.raises(InvalidTaskError, match="is empty or contains no task definition"):
        Task.from_yaml(tmp_path / "task.yaml")


def test_k09_an_empty_text_is_an_empty_task() -> None:
    assert Task.from_yaml_str("# nothing").to_yaml_config() == {}


def test_k10_update_envs() -> None:
    task = Task(envs=[("A", "1")]).update_envs({"B": 2}).update_envs([("A", "3")]).update_envs(None)
    assert task.envs == {"A": "3", "B": "2"}
    for wrong, message in (
        ([("A", "1"), ("A", "2")], "Duplicate env keys provided."),
        ({1: "a"}, "Env keys must be strings."),
        ({"1A": "a"}, "Invalid env key: '1A'"),
        ("A=1", r"envs must be List\[Tuple\[str, str\]\] or Dict\[str, str\]"),
        ({"A": None}, "Environment variable 'A' is None"),
    ):
        with pytest.raises(ValueError, match=message):
            task.update_envs(wrong)  # type: ignore[arg-type]
    assert task.envs == {"A": "3", "B": "2"}


def test_k11_resources_as_object_dict_set_and_list() -> None:
    wanted, other = Resources(cpus="2+"), Resources(cpus=4)
    for given_resources in (wanted, {"cpus": "2+"}, {wanted}, [wanted], (wanted,)):
        task = Task().set_resources(given_resources)
        assert list(task.resources) == [wanted] and not task.resources.ordered
    ordered, any_of = Task().set_resources([other, wanted]), Task().set_resources({other, wanted})
    assert list(ordered.resources) == [other, wanted] and ordered.resources.ordered
    assert set(any_of.resources) == {other, wanted} and not any_of.resources.ordered
    for wrong in ([wanted, 5], "A100", [], 5):
        with pytest.raises(InvalidTaskError, match="resources (must be|is empty)"):  # noqa: RUF043
            Task().set_resources(wrong)  # type: ignore[arg-type]


def test_k12_override_changes_every_set_of_resources() -> None:
    task = Task(resources=[Resources(infra="aws", cpus=4), Resources(infra="gcp")])
    task.set_resources_override({"use_spot": True, "cpus": "8+", "gpus": "T4"})
    assert [one.to_yaml_config() for one in task.resources] == [
        {"infra": infra, "cpus": "8+", "accelerators": {"T4": 1}, "use_spot": True} for infra in ("aws", "gcp")
    ]
    assert task.resources.ordered


def test_k06_k08_k13_held_and_written() -> None:
    service = {"readiness_probe": "/health", "replicas": 2}
    task = Task(docker_image="ubuntu:22.04", event_callback="echo $1").set_service(service)
    config = task.to_yaml_config()
    assert (config["docker_image"], config["event_callback"], config["service"]) == (
        "ubuntu:22.04", "echo $1", service,
    )  # fmt: skip
    again = Task.from_yaml_config(config)
    assert (again.docker_image, again.event_callback, again.service) == (
        "ubuntu:22.04", "echo $1", task.service,
    )  # fmt: skip
    assert task.set_service(None).service is None


@pytest.mark.parametrize("choice", ["{resources}", "{{any_of: [{resources}, {{cpus: 64}}]}}"])
def test_what_skypilot_writes_for_itself_is_read(choice: str) -> None:
    """`to_yaml_config()` of SkyPilot 0.14.1."""
    written = """{cpus: 4, image_id: {null: ami-1}, _requires_fuse: true, _is_image_managed: true,
      _no_missing_accel_warnings: true, _cluster_config_overrides: {kubernetes: {provision_timeout: 5}}}"""
    task = Task.from_yaml_str(
        f"run: x\nvolumes: {{}}\nfile_mounts: {{}}\nresources: {choice.format(resources=written)}\n"
        "_user_specified_yaml: |\n  run: y\n"
    )
    assert task.resources[0] == Resources(cpus=4, image_id="ami-1") and task.run == "x"
    assert task.to_yaml_config()["config"] == {"kubernetes": {"provision_timeout": 5}}


def test_k07_blocked_resources_are_not_lost_in_yaml() -> None:
    task = Task(blocked_resources=[Resources(infra="aws/us-east-1", accelerators="A100")])
    again = Task.from_yaml_config(task.to_yaml_config())
    assert again.blocked_resources == task.blocked_resources
    with pytest.raises(InvalidTaskError, match="blocked_resources must be"):
        Task(blocked_resources=["aws"])  # type: ignore[list-item]


def test_k14_neither_side_of_a_mount_may_end_with_a_slash() -> None:
    for mounts in ({"/a/": "b"}, {"/a": "b/"}):
        with pytest.raises(ValueError, match="may not end with '/'"):
            Task(file_mounts=mounts)


def test_k15_update_file_mounts_is_an_update_of_a_dict() -> None:
    task = Task().update_file_mounts({"/a": "b"})
    task.update_file_mounts({"/a": "c", "/d": "s3://e"})
    assert task.file_mounts == {"/a": "c", "/d": "s3://e"}
    with pytest.raises(ValueError, match="may not end with '/'"):
        task.update_file_mounts({"/f/": "g"})
    assert task.file_mounts == {"/a": "c", "/d": "s3://e"}


def test_k16_storage_mounts() -> None:
    storage = Storage(name="data", source="s3://data", mode=StorageMode.COPY)
    task = Task(file_mounts={"/a": "b"}).set_storage_mounts({"/data": storage})
    task.update_storage_mounts({"~/more": Storage(name="more")})
    assert set(task.storage_mounts) == {"/data", "~/more"}
    config = task.to_yaml_config()["file_mounts"]
    assert config["/a"] == "b" and config["/data"]["mode"] == "COPY"
    assert Task.from_yaml_config(task.to_yaml_config()).to_yaml_config() == task.to_yaml_config()
    assert task.set_storage_mounts(None).storage_mounts == {}
    with pytest.raises(InvalidTaskError, match="must be a Storage, found the string"):
        task.set_storage_mounts({"/data": "s3://data"})  # type: ignore[dict-item]


def test_k17_k18_controllers_and_features() -> None:
    task = Task(num_nodes=2, resources=[Resources(use_spot=True, ports=80), Resources(use_spot=True)])
    assert not task.is_controller_task() and task.spot_task is None
    assert task.get_required_cloud_features() == {CloudFeature.MULTI_NODE, CloudFeature.SPOT_INSTANCE}
    docker = Task(resources=Resources(image_id="docker:ubuntu")).set_storage_mounts({"/d": Storage(name="d")})
    assert docker.get_required_cloud_features() == {CloudFeature.DOCKER_IMAGE, CloudFeature.STORAGE_MOUNTING}


def test_k19_uris_are_not_local() -> None:
    task = Task(file_mounts={"/a": "b", "/c": "s3://d"})
    assert task.get_local_to_remote_file_mounts() == {"/a": "b"}
    task.sync_storage_mounts()
    with pytest.raises(NotSupportedError, match="Storage mounts"):
        task.set_storage_mounts({"/d": Storage(name="d")}).sync_storage_mounts()


def test_k19_spot_recovery() -> None:
    assert Task(resources=Resources(spot_recovery="FAILOVER")).need_spot_recovery
    assert not Task(resources=Resources(job_recovery="none")).need_spot_recovery
    assert not Task().need_spot_recovery


def test_k19_local_to_remote_file_mounts() -> None:
    assert Task().get_local_to_remote_file_mounts() is None
    assert Task(file_mounts={"/a": "b"}).get_local_to_remote_file_mounts() == {"/a": "b"}


def test_validate_looks_at_the_workdir(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").touch()
    for fine in ("folder", "link"):
        Task(workdir=str(tmp_path / fine)).validate()
    with pytest.raises(InvalidTaskError, match="is not a folder"):
        Task(workdir=str(tmp_path / "file")).validate()
    with pytest.raises(InvalidTaskError, match="does not exist"):
        Task(workdir=str(tmp_path / "absent")).validate()


def test_validate_looks_at_the_mounts(tmp_path: Path) -> None:
    Task(file_mounts={"/a": str(tmp_path), "relative": str(tmp_path)}).validate()
    with pytest.raises(InvalidTaskError, match=r"file_mounts\['/a'\]: the source .* does not exist"):
        Task(file_mounts={"/a": str(tmp_path / "absent")}).validate()
    both = Task(workdir=str(tmp_path), file_mounts={"~/sky_workdir": str(tmp_path)})
    with pytest.raises(ValueError, match="Cannot mount ~/sky_workdir as both the workdir and file_mounts contains it"):
        both.validate()
    both.workdir = None
    both.validate()


@pytest.mark.parametrize("name", ["a", "A.b_c-d", "a--b", "1", "a._b"])
def test_names(name: str) -> None:
    Task(name).validate()


@pytest.mark.parametrize("name", ["", "-a", "a-", "a---b", "a b", "é", "a\n", "x" * 201])
def test_wrong_names(name: str) -> None:
    with pytest.raises(InvalidTaskError, match="Invalid task name"):
        Task(name).validate()


def test_null_envs_take_the_value_of_the_caller() -> None:
    text = "envs: {TOKEN: null, A: 1}\nworkdir: /$TOKEN"
    with pytest.raises(InvalidTaskError, match="line 1: Environment variable 'TOKEN' is None"):
        Task.from_yaml_str(text)
    task = Task.from_yaml_str(text, env_overrides={"TOKEN": "x", "MORE": "y"})
    assert task.envs == {"TOKEN": "x", "A": "1", "MORE": "y"} and task.workdir == "/x"


def test_substitution_leaves_setup_and_run_to_the_shell() -> None:
    task = Task.from_yaml_str("envs: {A: x}\nrun: echo $A\nsetup: echo ${A}\nworkdir: $A/${A}/$AB/${A:-z}/$$A")
    assert (task.run, task.setup) == ("echo $A", "echo ${A}")
    assert task.workdir == "x/x/$AB/${A:-z}/$x"


def test_two_destinations_that_become_one() -> None:
    with pytest.raises(InvalidTaskError, match="line 4: file_mounts: the destination '/x' is there twice"):
        Task.from_yaml_str("envs: {A: x}\nfile_mounts:\n  /x: a\n  /$A: b")


def test_fields_without_a_value_are_absent() -> None:
    text = "name:\nrun:\nsetup:\nenvs:\nworkdir:\nnum_nodes:\nfile_mounts:\nresources:\nsecrets:\n"
    assert Task.from_yaml_str(text).to_yaml_config() == {}


def test_a_copy_shares_nothing() -> None:
    task = Task.from_yaml_str(FULL)
    task.best_resources = {"place": "x"}
    copied = copy.deepcopy(task)
    copied.update_envs({"NEW": "1"}).update_file_mounts({"/new": "x"})
    copied.best_resources["place"] = "y"
    assert "NEW" not in task.envs and "/new" not in (task.file_mounts or {}) and task.best_resources == {"place": "x"}


def test_repr_does_not_show_the_environment() -> None:
    assert repr(Task("a", run="true", envs={"TOKEN": "hunter2"})) == "Task(name='a', run='true')"


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/task.yaml")), ids=lambda path: path.parent.name)
def test_the_examples_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    task = Task.from_yaml("task.yaml")
    task.validate()
    assert task.name and path.parent.name.endswith(task.name)


# The words of a command line


def test_a_path_is_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("task.yaml", "task.YML", "my task.yaml", "plain"):
        Path(name).write_text("name: here\nenvs: {A: null}")
        task = entrypoint(name.split(), envs={"A": "1"})
        assert (task.name, task.run, task.envs) == ("here", None, {"A": "1"})


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["nvidia-smi"], "nvidia-smi"),
        (["python", "train.py", "--lr", "0.1"], "python train.py --lr 0.1"),
        (["cat", "task.yaml"], "cat task.yaml"),
        (["cat task.yaml && echo a"], "cat task.yaml && echo a"),
        (["./script"], "./script"),
        (["./program"], "./program"),
        (["folder"], "folder"),
    ],
)
def test_anything_else_is_a_command(
    words: list[str], run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("task.yaml").write_text("name: here")
    Path("script").write_text("#!/bin/sh\necho 'a: b'\n---\ntrue\n")
    Path("program").write_bytes(b"\x7fELF\x00\xff")
    Path("folder").mkdir()
    task = entrypoint(words, envs={"A": "1"})
    assert (task.name, task.run, task.envs) == ("sky-cmd", run, {"A": "1"})


def test_a_yaml_path_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.yaml").mkdir()
    with pytest.raises(InvalidTaskError, match=r"Task YAML 'tsk\.yaml' does not exist; check the path"):
        entrypoint(["tsk.yaml"])
    with pytest.raises(InvalidTaskError, match=r"Task YAML 'folder\.yaml' is a folder"):
        entrypoint(["folder.yaml"])
    with pytest.raises(UsageError, match="Nothing to run"):
        entrypoint([" "])


# Properties

# Without the line breaks of Unicode: PyYAML writes them as they are, and reads them as line breaks.
SAFE_TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\x85\u2028\u2029"), max_size=30)
ENV_KEYS = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
PATHS = st.from_regex(r"[~]?(/[a-zA-Z0-9 ._é-]{0,6}[a-z.é])+|[a-z.][a-z /]{0,8}[a-z.]", fullmatch=True)
PLACES = st.sampled_from([None, "local", "*", "aws/us-east-1", "*/r", "*/*/z-1", "aws/*/z-1", "GCP/r/z"])
AMOUNTS = st.builds(
    "{}{}".format,
    st.one_of(st.integers(1, 10**6), st.floats(0.001, 1000).map(lambda x: f"{x:.4f}")),
    st.sampled_from("+ "),
)
TASKS = st.fixed_dictionaries(
    {},
    optional={
        "name": SAFE_TEXT,
        "run": SAFE_TEXT,
        "setup": SAFE_TEXT,
        "envs": st.dictionaries(ENV_KEYS, st.one_of(SAFE_TEXT, st.integers(), st.booleans(), st.floats())),
        "workdir": PATHS,
        "num_nodes": st.integers(1, 1000),
        "file_mounts": st.dictionaries(PATHS.filter(lambda path: not path.startswith("~~")), PATHS),
        "resources": st.fixed_dictionaries(
            {},
            optional={
                "infra": PLACES,
                "instance_type": st.sampled_from(["p3.2xlarge", "local-2", None]),
                "cpus": AMOUNTS,
                "memory": st.one_of(AMOUNTS, AMOUNTS.map(lambda amount: amount.replace("+", "GB+"))),
                "use_spot": st.booleans(),
            },
        ),
    },
)


@given(TASKS)
def test_round_trip(config: dict[str, object]) -> None:
    import yaml

    task = Task.from_yaml_config(config)
    again = task.to_yaml_config()
    assert Task.from_yaml_config(again).to_yaml_config() == again
    assert Task.from_yaml_str(yaml.safe_dump(again, allow_unicode=True)).to_yaml_config() == again
    assert set(again) <= set(config)


@given(st.text(max_size=200))
def test_any_text_is_a_task_or_a_typed_error(text: str) -> None:
    _read(text)


WORDS = [
    "run",
    "name",
    "envs",
    "resources",
    "file_mounts",
    "infra",
    "cpus",
    "A",
    "/a",
    "local",
    "null",
    "true",
    "1",
    "2+",
]
SIGNS = [
    ": ",
    "\n",
    "\n  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<",
    "!!int ",
    "!x ",
    "? ",
    "'",
    '"',
    "|\n",
    "---\n",
    "#",
    ",",
    "$",
    "\t",
]


@given(st.lists(st.sampled_from(WORDS + SIGNS), max_size=30).map("".join))
def test_any_yaml_like_text_is_a_task_or_a_typed_error(text: str) -> None:
    _read(text)


def _read(text: str) -> None:
    try:
        task = Task.from_yaml_str(text)
        task.validate()
    except SkyflowError as error:
        assert "\n" not in str(error)
    else:
        assert Task.from_yaml_config(task.to_yaml_config()).to_yaml_config() == task.to_yaml_config()


def test_importing_the_task_language_imports_nothing_heavy() -> None:
    heavy = ("pydantic", "temporalio", "rich", "typer", "yaml", "dataclasses", "asyncio", "difflib")
    code = f"import sys, skyflow.models.dag; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
