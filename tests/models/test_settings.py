"""What the sources of settings say, which of them wins, and what none of them must say."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from skyflow.errors import UsageError
from skyflow.models import place
from skyflow.settings import Settings, user_name
from skyflow.settings.key import CLOUDS, KEYS, as_text, variable

NAMES = [field.name for field in fields(Settings) if field.name != "sources"]


@dataclass
class Machine:
    """A user's home, with a project in it."""

    home: Path

    def __post_init__(self) -> None:
        self.project.mkdir(parents=True)
        self.skyflow.mkdir()
        (self.home / ".sky").mkdir()

    @property
    def project(self) -> Path:
        return self.home / "code" / "project"

    @property
    def skyflow(self) -> Path:
        return self.home / ".skyflow"

    @property
    def files(self) -> dict[str, Path]:
        return {
            "skypilot": self.home / ".sky/config.yaml",
            "user": self.skyflow / "config.yaml",
            "project": self.project / ".skyflow.yaml",
        }

    def write(self, which: str, text: str) -> Path:
        self.files[which].write_text(text)
        return self.files[which]

    def load(self, *overrides: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
        return Settings.load({"HOME": str(self.home)} | dict(env or {}), cwd or self.project, overrides)

    def error(self, *overrides: str, env: Mapping[str, str] | None = None) -> str:
        with pytest.raises(UsageError) as caught:
            self.load(*overrides, env=env)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(f"{self.home}/", "~/")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "ada")


# The environment


@pytest.mark.parametrize("name", ["SKYFLOW_CHECK_SECONDS", "SKYFLOW_SAFETY_MINUTES"])
@pytest.mark.parametrize("value", ["1m", "0", "-5", "nan", "inf", " "])
def test_a_number_that_is_none(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} is '{value}'; it has to be a (whole )?number"):
        Settings.from_env({"HOME": "/home/ada", name: value})


@pytest.mark.parametrize(
    "value",
    ["example.com/x", "ftp://a/b", "file:///x", "http://", "http://a b", "http://me:pw@a/", "http://a,none", " "],
)
def test_a_webhook_that_is_none(value: str) -> None:
    with pytest.raises(UsageError, match=r"SKYFLOW_WEBHOOKS is .* has to be a list of http:// or https:// URLs"):
        Settings.from_env({"HOME": "/home/ada", "SKYFLOW_WEBHOOKS": value})


def test_minutes_are_not_rounded() -> None:
    with pytest.raises(UsageError, match="whole number"):
        Settings.from_env({"HOME": "/home/ada", "SKYFLOW_SAFETY_MINUTES": "2.5"})
    assert Settings.from_env({"HOME": "/home/ada", "SKYFLOW_SAFETY_MINUTES": "2.0"}).safety_minutes == 2


def test_defaults() -> None:
    settings = Settings.from_env({"HOME": "/home/ada", "SKYFLOW_CHECK_SECONDS": ""})
    assert settings.store == "file:///home/ada/.skyflow/store"
    assert (settings.check_seconds, settings.safety_minutes) == (60, 60)
    assert (settings.allowed_clouds, settings.optimize_target) == (None, "cost")
    assert set(settings.sources.values()) == {"default"}


@pytest.mark.parametrize(
    ("variables", "field", "value"),
    [
        ({"SKYFLOW_HOME": "/data/sky"}, "home", Path("/data/sky")),
        ({"SKYFLOW_HOME": "/data/sky"}, "store", "file:///data/sky/store"),
        ({"SKYFLOW_STORE": "s3://team/x"}, "store", "s3://team/x"),
        ({"SKYFLOW_CHECK_SECONDS": "0.5"}, "check_seconds", 0.5),
        ({"SKYFLOW_ALLOWED_CLOUDS": "AWS, gcp,aws"}, "allowed_clouds", ("aws", "gcp")),
        ({"SKYFLOW_ALLOWED_CLOUDS": "all"}, "allowed_clouds", None),
        ({"SKYFLOW_OPTIMIZE_TARGET": "TIME"}, "optimize_target", "time"),
        ({"SKYFLOW_WEBHOOKS": "http://a:1/x, https://b,http://a:1/x"}, "webhooks", ("http://a:1/x", "https://b")),
        ({"SKYFLOW_WEBHOOKS": "none"}, "webhooks", ()),
        ({"SKYFLOW_EVENT_CALLBACKS": "Yes"}, "event_callbacks", "on"),
        ({"SKYFLOW_EVENT_CALLBACKS": "false"}, "event_callbacks", "off"),
    ],
)
def test_a_variable(variables: dict[str, str], field: str, value: object) -> None:
    settings = Settings.from_env({"HOME": "/home/ada", **variables})
    assert getattr(settings, field) == value
    assert settings.sources[field] in ("default", *variables)


def test_a_process_that_skyflow_starts_reads_no_file(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for which in machine.files:
        machine.write(which, "wrong: [")
    monkeypatch.chdir(machine.project)
    assert Settings.from_env({"HOME": str(machine.home)}).optimize_target == "cost"


def test_a_worker_is_told_what_its_client_knows(machine: Machine) -> None:
    machine.write("user", "store: s3://b/x\ncheck_seconds: 2.5\nsafety_minutes: 7\noptimize_target: time\n")
    machine.write("user", machine.files["user"].read_text() + "webhooks: [http://a/?x=1&y=2, 'https://b:8443']\n")
    client = machine.load()
    worker = Settings.from_env({"HOME": "/elsewhere"} | client.environment())
    shared = ("home", "store", "check_seconds", "safety_minutes", "webhooks", "event_callbacks")
    assert [getattr(worker, name) for name in shared] == [getattr(client, name) for name in shared]
    assert worker.optimize_target == "cost"  # that one goes with the launch


# Which source wins


def test_each_source_wins_over_those_before(machine: Machine) -> None:
    assert machine.load().sources["allowed_clouds"] == "default"
    for which, cloud in {"skypilot": "aws", "user": "gcp", "project": "azure"}.items():
        path = machine.write(which, f"# a comment\nallowed_clouds: [{cloud}]\n")
        loaded = machine.load()
        assert loaded.allowed_clouds == ((cloud, "local") if which == "skypilot" else (cloud,))
        assert loaded.sources["allowed_clouds"] == f"{path}:2"
    env = {"SKYFLOW_ALLOWED_CLOUDS": "oci"}
    loaded = machine.load(env=env)
    assert (loaded.allowed_clouds, loaded.sources["allowed_clouds"]) == (("oci",), "SKYFLOW_ALLOWED_CLOUDS")
    loaded = machine.load("allowed_clouds=vast", env=env)
    assert (loaded.allowed_clouds, loaded.sources["allowed_clouds"]) == (("vast",), "--config")


LAYERS = ("user", "project", "env", "first", "second")
VALUES: dict[str, Sequence[str]] = {
    "allowed_clouds": ["all", "[aws]", "[aws, gcp]"],
    "optimize_target": ["cost", "time"],
    "check_seconds": ["1", "2.5"],
    "store": ["s3://a/b", "gs://c"],
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layers=st.fixed_dictionaries(
        {
            layer: st.fixed_dictionaries(
                {},
                optional={
                    name: st.sampled_from(values)
                    for name, values in VALUES.items()
                    if layer != "project" or not KEYS[name].shared
                },
            )
            for layer in LAYERS
        }
    )
)
def test_the_last_source_that_says_anything_decides(machine: Machine, layers: dict[str, dict[str, str]]) -> None:
    for which in ("user", "project"):
        machine.write(which, "".join(f"{name}: {value}\n" for name, value in layers[which].items()))
    env = {variable(name): value for name, value in layers["env"].items()}
    options = [",".join(f"{name}={value}" for name, value in layers[layer].items()) for layer in ("first", "second")]
    loaded = machine.load(*filter(None, options), env=env)
    for name in VALUES:
        last = next((layers[layer][name] for layer in reversed(LAYERS) if name in layers[layer]), None)
        wanted = Settings.from_env({"HOME": str(machine.home)} | ({variable(name): last} if last else {}))
        assert getattr(loaded, name) == getattr(wanted, name)
        assert (loaded.sources[name] == "default") == (last is None)


def test_one_source_changes_only_what_it_names(machine: Machine) -> None:
    machine.write("user", "optimize_target: time\nallowed_clouds: [gcp]\n")
    machine.write("project", "allowed_clouds: all\noptimize_target:\n")
    loaded = machine.load()
    assert (loaded.allowed_clouds, loaded.optimize_target) == (None, "time")


# SkyPilot's file


def test_of_skypilots_file_only_what_means_the_same_is_read(machine: Machine) -> None:
    machine.write(
        "skypilot",
        """
api_server: {endpoint: "http://10.0.0.1"}
optimize_target: time
store: 7
kubernetes: &k {pod_config: [{a: &x b}, *x]}
jobs: *k
? [strange]
: key
allowed_clouds:
  - AWS
  - Kubernetes
""",
    )
    loaded = machine.load()
    assert loaded.allowed_clouds == ("aws", "kubernetes", "local")  # SkyPilot has no `local` that it could allow
    assert (loaded.optimize_target, loaded.store) == ("cost", f"file://{machine.skyflow}/store")


@pytest.mark.parametrize("text", ["", "# nothing\n", "allowed_clouds:\n", "jobs: {}\n", "---\n"])
def test_skypilots_file_that_says_nothing(machine: Machine, text: str) -> None:
    machine.write("skypilot", text)
    assert machine.load().allowed_clouds is None


@pytest.mark.parametrize(
    "text",
    [
        "mine: &x [aws]\nallowed_clouds: *x\n",
        "mine: {jobs: [a, &x [aws]]}\nallowed_clouds: *x\n",
        "mine: &x aws\nallowed_clouds: [*x]\n",
        "? &x aws\n: 1\nallowed_clouds: *x\n",
    ],
)
def test_an_alias_stands_for_its_value(machine: Machine, text: str) -> None:
    machine.write("skypilot", text)
    assert machine.load().allowed_clouds == ("aws", "local")


def test_a_list_of_clouds_that_cannot_be_read_is_not_passed_over(machine: Machine) -> None:
    machine.write("skypilot", "a: 1\nallowed_clouds: {aws: yes}\n")
    assert machine.error().startswith("~/.sky/config.yaml:2: allowed_clouds is nested; it has to be a list of clouds")
    machine.write("skypilot", "a: 1\nallowed_clouds: [aws\n")
    assert machine.error().startswith("~/.sky/config.yaml:2: invalid YAML")


@pytest.mark.parametrize("home", ["relative", "~/sky", "./x"])
def test_a_home_is_the_same_from_everywhere(home: str) -> None:
    for load in (Settings.load, Settings.from_env):
        with pytest.raises(UsageError, match=r"SKYFLOW_HOME is .* absolute path"):
            load({"SKYFLOW_HOME": home, "HOME": "/nowhere"})


def test_skypilots_file_may_name_clouds_that_are_newer(machine: Machine) -> None:
    machine.write("skypilot", "allowed_clouds: [aws, newest]\n")
    assert machine.load().allowed_clouds == ("aws", "local")
    machine.write("skypilot", "allowed_clouds: [newest]\n")
    assert machine.load().allowed_clouds == ("local",)


def test_the_clouds_that_may_be_allowed_are_those_that_a_task_may_name() -> None:
    assert set(CLOUDS) == set(place.CLOUDS)


def test_skypilots_folder_that_is_closed_is_none_of_our_business(machine: Machine) -> None:
    machine.files["skypilot"].mkdir()
    assert machine.load().allowed_clouds is None


# The project's file


def test_the_projects_file_is_found_from_below(machine: Machine) -> None:
    machine.write("project", "optimize_target: time\n")
    below = machine.project / "a/b"
    below.mkdir(parents=True)
    assert machine.load(cwd=below).optimize_target == "time"
    (machine.project / "a/.skyflow.yaml").write_text("optimize_target: cost\n")
    assert machine.load(cwd=below).optimize_target == "cost"


def test_the_search_ends_at_a_git_root(machine: Machine) -> None:
    (machine.home / "code/.skyflow.yaml").write_text("optimize_target: time\n")
    assert machine.load().optimize_target == "time"
    (machine.project / ".git").write_text("gitdir: elsewhere\n")  # a worktree
    assert machine.load().optimize_target == "cost"
    machine.write("project", "optimize_target: time\n")  # in the root itself
    assert machine.load().optimize_target == "time"


def test_the_search_ends_at_home(machine: Machine) -> None:
    (machine.home.parent / ".skyflow.yaml").write_text("optimize_target: time\n")
    assert machine.load().optimize_target == "cost"
    assert machine.load(cwd=machine.home.parent).optimize_target == "time"
    (machine.home / ".skyflow.yaml").write_text("optimize_target: time\n")
    assert machine.load().optimize_target == "time"


def test_home_may_be_a_link(machine: Machine) -> None:
    link = machine.home.parent / "link"
    link.symlink_to(machine.home)
    (machine.home.parent / ".skyflow.yaml").write_text("optimize_target: time\n")
    for home, cwd in ((link, machine.project), (machine.home, link / "code/project")):
        assert Settings.load({"HOME": str(home)}, cwd).optimize_target == "cost"


def test_the_working_directory_by_default(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write("project", "optimize_target: time\n")
    monkeypatch.chdir(machine.project)
    for name in [name for name in os.environ if name.startswith("SKYFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(machine.home))
    assert Settings.load().optimize_target == "time"


def test_a_working_directory_that_is_gone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = machine.project / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert Settings.load({"HOME": str(machine.home)}).home == machine.skyflow


@pytest.mark.parametrize("name", ["store", "check_seconds", "safety_minutes"])
def test_a_project_cannot_set_what_its_worker_must_know(machine: Machine, name: str) -> None:
    machine.write("project", f"optimize_target: time\n{name}: whatever\n")
    message = machine.error()
    assert message.startswith(f"~/code/project/.skyflow.yaml:2: {name} is also the worker's")
    assert variable(name) in message


# --config


@pytest.mark.parametrize(
    "options",
    [
        ["optimize_target=time,allowed_clouds=aws,gcp"],
        ["allowed_clouds=[aws, gcp],optimize_target=time"],
        ["optimize_target=cost", " allowed_clouds = AWS,gcp ", "optimize_target=time"],
    ],
)
def test_pairs_on_the_command_line(machine: Machine, options: list[str]) -> None:
    loaded = machine.load(*options)
    assert (loaded.optimize_target, loaded.allowed_clouds) == ("time", ("aws", "gcp"))


def test_a_file_on_the_command_line(machine: Machine) -> None:
    file = machine.project / "a=b.yaml"
    file.write_text("store: s3://other\noptimize_target: time\n")
    for option in ("a=b.yaml", str(file)):
        loaded = machine.load(option)
        assert (loaded.store, loaded.optimize_target) == ("s3://other", "time")
        assert loaded.sources["optimize_target"] == f"{file}:2"
    (machine.home / "x.yaml").write_text("optimize_target: time\n")
    assert Settings.load({"HOME": str(machine.home)}, machine.home, ["x.yaml"]).optimize_target == "time"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("", "--config '': there is no such file"),
        ("nowhere.yaml", "--config 'nowhere.yaml': there is no such file; give a YAML file, or key=value."),
        ("optimize_targe=time", "--config: There is no setting 'optimize_targe'; did you mean 'optimize_target'?"),
        ("aws.labels.x=1", "--config: There is no setting 'aws.labels.x'; there is: store, "),
        ("=1", "--config: There is no setting ''"),
        ("home=/x", "--config: home says where the settings are, so it cannot be one of them: set SKYFLOW_HOME."),
        ("check_seconds=soon", "--config: check_seconds is 'soon'; it has to be a number, 0.1 or more."),
        ("optimize_target=", "--config: optimize_target is ''; it has to be cost or time."),
        ("x" * 5000 + "=1", "--config: There is no setting 'xxx"),
        ("a\0b", "--config 'a\\x00b': there is no such file"),
    ],
)
def test_a_wrong_option(machine: Machine, option: str, words: str) -> None:
    assert machine.error(option).startswith(words)


# What is wrong in a file

USER = "~/.skyflow/config.yaml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("allowed_cloud: [aws]\n", ":1: There is no setting 'allowed_cloud'; did you mean 'allowed_clouds'?"),
        ("\njobs: {}\n", ":2: There is no setting 'jobs'; there is: store, check_seconds, safety_minutes, "),
        ("home: /x\n", ":1: home says where the settings are, so it cannot be one of them: set SKYFLOW_HOME."),
        ("check_seconds: true\n", ":1: check_seconds is 'true'; it has to be a number, 0.1 or more."),
        ("check_seconds: [1]\n", ":1: check_seconds is the list '1'; it has to be a number, 0.1 or more."),
        ("safety_minutes: {a: 1}\n", ":1: safety_minutes is nested; it has to be a whole number, 1 or more."),
        ("store: 5\n", ":1: store is '5'; it has to be a URL: "),
        ("store: ftp://x\n", ":1: store is 'ftp://x'; it has to be a URL: "),
        (
            "allowed_clouds: [aws, gpc]\n",
            ":1: allowed_clouds is the list 'aws, gpc'; it has to be a list of clouds such as ",
        ),
        ("allowed_clouds: []\n", ":1: allowed_clouds is an empty list; it has to be a list of clouds such as "),
        ("allowed_clouds: [aws, all]\n", ":1: allowed_clouds is the list 'aws, all'; it has to be "),
        ("allowed_clouds: [aws, 3]\n", ":1: allowed_clouds is the list 'aws, 3'; it has to be "),
        ("allowed_clouds: [aws, ~]\n", ":1: allowed_clouds is the list 'aws, ~'; it has to be "),
        ("allowed_clouds: [[aws]]\n", ":1: allowed_clouds is nested; it has to be "),
        ("optimize_target: speed\n", ":1: optimize_target is 'speed'; it has to be cost or time."),
        (
            "optimize_target: time\n# again\noptimize_target: cost\n",
            ":3: optimize_target is there twice; it is also at ",
        ),
        ("? [a]\n: b\n", ":1: There is no setting '?'"),
        ("- time\n", ":1: settings are lines such as `optimize_target: time`."),
        ("just words\n", ":1: settings are lines such as `optimize_target: time`."),
        ("optimize_target: time\n---\nstore: s3://b\n", ":2: a file of settings is one YAML document."),
        ("optimize_target: time\n\tstore: s3://b\n", ":2: invalid YAML: "),
        ("optimize_target: [time\n\n\n", ":1: invalid YAML: "),
        ("optimize_target: time\nstore: s3://b\x01\n", ":2: invalid YAML: "),
        ("optimize_target: *nothing\n", ":1: optimize_target is nested"),
        ("check_seconds: " + "9" * 5000 + "\n", ":1: check_seconds is '999"),
    ],
)
def test_a_wrong_file(machine: Machine, text: str, words: str) -> None:
    machine.write("user", text)
    message = machine.error()
    assert message.startswith(f"{USER}{words}")
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "line"),
    [("optimise: x\ncheck_seconds: no\n", 1), ("check_seconds: no\noptimise: x\n", 1), ("a: 1\nb: [\n", 1)],
)
def test_of_two_errors_the_first_is_told(machine: Machine, text: str, line: int) -> None:
    machine.write("user", text)
    assert machine.error().startswith(f"{USER}:{line}: ")


def test_a_file_that_cannot_be_read(machine: Machine) -> None:
    machine.files["user"].mkdir()
    assert machine.error() == f"{USER} cannot be read: Is a directory."
    machine.files["user"].rmdir()
    machine.files["user"].write_bytes(b"#" * ((1 << 20) + 1))
    assert "1 MiB" in machine.error()
    machine.files["user"].write_bytes(b"optimize_target: \xff\n")
    assert machine.error().startswith(f"{USER}:1: ")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(b"[" * 100_000)
@example(b"a: &a [x]\n" + b"".join(b"%c: &%c [*%c,*%c]\n" % (98 + i, 98 + i, 97 + i, 97 + i) for i in range(20)))
@given(st.binary(max_size=60) | st.text(alphabet="ab:-[]{}&*!?|>%@'\" \n\t#,", max_size=40).map(str.encode))
def test_no_file_makes_a_traceback(machine: Machine, data: bytes) -> None:
    for which in ("skypilot", "project"):
        machine.files[which].write_bytes(data)
        try:
            machine.load()
        except UsageError as error:
            assert "\n" not in str(error)
        machine.files[which].unlink()


# The model, and its page


def test_nothing_is_imported_for_files_that_are_not_there(tmp_path: Path) -> None:
    program = "import sys; from skyflow.settings import Settings; Settings.load(overrides=['optimize_target=time']);"
    program += "print([name for name in ('yaml', 'difflib', 'pydantic') if name in sys.modules])"
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr


def test_the_model_is_frozen_and_knows_every_source() -> None:
    loaded = Settings.from_env({"HOME": "/home/ada"})
    assert [*loaded.sources] == ["home", *KEYS] == NAMES
    with pytest.raises(FrozenInstanceError):
        loaded.home = Path("/x")  # type: ignore[misc]
    assert len({loaded, Settings.from_env({"HOME": "/home/ada", "SKYFLOW_CHECK_SECONDS": "60"})}) == 1


def test_every_field_has_a_manual() -> None:
    body = ast.parse(inspect.getsource(Settings)).body[0]
    assert isinstance(body, ast.ClassDef)
    manuals = {
        node.target.id: ast.unparse(text)
        for node, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for name in NAMES:
        assert variable(name) in manuals[name]
        assert "default `" in re.sub(r"\\n\s+", " ", manuals[name]) or "default 60" in manuals[name]


def test_the_page_is_about_these_keys() -> None:
    page = (Path(__file__).parents[2] / "docs/settings.md").read_text()
    rows = {row[0].strip("`"): row for row in (_cells(line) for line in page.splitlines() if line.startswith("| `"))}
    assert [*rows] == NAMES
    defaults = Settings.from_env({"HOME": "/home/ada"})
    for name, (_, environment, default, whose, _) in rows.items():
        assert environment == f"`{variable(name)}`"
        value = getattr(defaults, name)
        shown = "all" if value is None else as_text(value).replace("/home/ada", "~")
        assert default == f"`{shown}`".replace("file://~/.skyflow", "file://<home>")
        shared = name == "home" or KEYS[name].shared
        assert ("worker" in whose) == shared


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert user_name() == "4000000000"
