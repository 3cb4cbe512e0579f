"""The folder of SSH files: true, private, and whole at every moment."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from skyflow.errors import SkyflowError, UsageError
from skyflow.models.name import safe_name
from skyflow.ssh.folder import SshFolder

from .conftest import HOST_KEY, entry, needs_ssh, understood


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@needs_ssh
def test_every_node_is_there_with_its_key_and_its_pinned_host_key(folder: SshFolder) -> None:
    assert folder.update([entry(nodes=2)], {}) == []
    for config in (folder.config, folder.config_of("dev")):
        for rank, host in enumerate(["dev", "dev-worker1"]):
            found = understood(config, host)
            assert (found["hostname"], found["port"], found["user"]) == (f"127.0.0.{rank + 1}", "2200", "me")
            assert found["stricthostkeychecking"] == "true" and found["identitiesonly"] == "yes"
            assert found["hostkeyalias"] == f"{safe_name('dev')}-{rank}"
            assert found["userknownhostsfile"] == str(folder.config_of("dev").with_name("a1.known_hosts"))
            assert Path(found["identityfile"].replace("%%", "%")).read_text() == "key of dev a1\n"
        assert understood(folder.config, "dev-worker2")["hostname"] == "dev-worker2"
    known_hosts = folder.config_of("dev").with_name("a1.known_hosts").read_text()
    assert known_hosts == "".join(f"{safe_name('dev')}-{rank} {HOST_KEY}\n" for rank in (0, 1))


def test_nobody_else_can_read_anything(folder: SshFolder) -> None:
    before = os.umask(0)
    try:
        folder.update([entry()], {})
        folder.include()
    finally:
        os.umask(before)
    for path in folder.path.rglob("*"):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path
    assert mode(folder.path) == 0o700
    assert mode(folder.user_config) == 0o600 and mode(folder.user_config.parent) == 0o700


def test_what_is_gone_vanishes_with_its_key(folder: SshFolder) -> None:
    folder.update([entry("dev"), entry("other")], {})
    folder.update([], {"dev": "a1"})
    assert folder.known() == {"other": "a1"}
    assert "dev" not in folder.config.read_text()
    assert not folder.config_of("dev").parent.exists()


def test_a_cluster_that_was_launched_anew_meanwhile_is_not_gone(folder: SshFolder) -> None:
    folder.update([entry(ways="b2")], {})
    folder.update([], {"dev": "a1", "never": "c3"})
    assert folder.known() == {"dev": "b2"}


def test_another_life_has_other_files_and_the_old_ones_go(folder: SshFolder) -> None:
    folder.update([entry(ways="a1")], {})
    folder.update([entry(ways="b2")], {})
    assert sorted(path.name for path in folder.config_of("dev").parent.iterdir()) == [
        "b2.key", "b2.known_hosts", "config"
    ]  # fmt: skip


@needs_ssh
@pytest.mark.parametrize("name", ["My-Cluster", "my.cluster", "my_cluster", "a", "A" * 60])
def test_odd_names(folder: SshFolder, name: str) -> None:
    others = ["my-cluster", "MY.CLUSTER", "b"]
    folder.update([entry(name, ways="a1"), *(entry(other, ways="b2", port=1) for other in others)], {})
    assert folder.known() == {name: "a1"} | dict.fromkeys(others, "b2")
    assert understood(folder.config, name)["port"] == "2200"
    assert understood(folder.config, "my-cluster")["port"] == "1"


@needs_ssh
def test_a_cluster_that_is_called_like_a_worker_of_another(folder: SshFolder) -> None:
    folder.update([entry("dev", 3, port=1), entry("dev-worker1", 2, port=2)], {})
    ports = {host: understood(folder.config, host)["port"] for host in ("dev", "dev-worker1", "dev-worker2")}
    assert ports == {"dev": "1", "dev-worker1": "2", "dev-worker2": "1"}
    assert understood(folder.config, "dev-worker1-worker1")["port"] == "2"
    assert understood(folder.config_of("dev"), "dev-worker1")["port"] == "1"  # for skyflow ssh dev -w 1


@needs_ssh
@pytest.mark.parametrize("host", ["dev", "dev-worker1", '"dev"'])
def test_a_host_of_the_users_own_is_left_to_them(folder: SshFolder, host: str) -> None:
    folder.user_config.parent.mkdir()
    folder.user_config.write_text(f"Host other {host}\n  HostName example.org\nHost d*\n")
    assert folder.update([entry("dev", 2), entry("d2")], {}) == ["dev"]
    folder.include()
    assert understood(folder.user_config, host.strip('"'))["hostname"] == "example.org"
    assert understood(folder.user_config, "d2")["hostname"] == "127.0.0.1"
    assert understood(folder.config_of("dev"), "dev")["hostname"] == "127.0.0.1"
    folder.user_config.write_text("")
    assert folder.update([], {}) == []
    assert understood(folder.config, "dev")["hostname"] == "127.0.0.1"


@needs_ssh
def test_many_writers_at_once_lose_nothing(folder: SshFolder) -> None:
    folder.user_config.parent.mkdir()
    folder.user_config.write_text("Host own\n")
    included: list[bool] = []
    problems: list[Exception] = []

    def write(number: int) -> None:
        own = SshFolder(folder.path, folder.user_config.parents[1])
        try:
            for ways in ("a1", "b2", "c3"):
                own.update([entry(f"c{number}", ways=ways), entry("shared", ways=f"{ways}{number}")], {})
                assert own.config.read_text().endswith("\n")
            own.update([entry("brief")], {})
            own.update([], {"brief": "a1"})
            included.append(own.include())
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    known = folder.known()
    assert known.pop("shared")[:2] == "c3"
    assert known == {f"c{number}": "c3" for number in range(8)}
    assert all(understood(folder.config, f"c{number}")["hostname"] == "127.0.0.1" for number in (0, 7))
    (of_shared,) = folder.config_of("shared").parent.glob("*.key")
    assert of_shared.name in folder.config_of("shared").read_text()
    assert sorted(included) == [False] * 7 + [True]
    assert folder.user_config.read_text().count("Include") == 1


def test_nobody_waits_for_ever(folder: SshFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skyflow.ssh.folder.LOCK_SECONDS", 0.05)
    folder.update([entry()], {})
    with (folder.path / "lock").open("r+") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="another process holds the lock"):
            folder.update([], {})
    folder.update([], {})


def test_what_somebody_else_left_in_the_folder_is_no_cluster(folder: SshFolder) -> None:
    folder.update([entry()], {})
    for name, text in (("x", b"Host x\n"), ("y", b"\xff"), ("z", b"# skyflow: z\n")):
        (folder.path / name).mkdir()
        (folder.path / name / "config").write_bytes(text)
    assert folder.known() == {"dev": "a1"}
    folder.update([], {})
    assert folder.config.read_text().count("Include") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"address": "1.2.3.4\n  ProxyCommand evil"},
        {"address": "1.2.3.4 ProxyCommand"},
        {"user": "me %h"},
        {"port": "22\nLocalCommand x"},
        {"host_key": "ssh-ed25519 AAAA\n* ssh-ed25519 BBBB"},
        {"address": ""},
    ],
)
def test_nothing_that_a_workflow_says_becomes_a_command(change: dict[str, Any]) -> None:
    with pytest.raises(SkyflowError, match="has a node that an SSH config cannot describe"):
        entry(**change)
    with pytest.raises(SkyflowError):
        entry(ways="../../x")


def test_the_key_is_in_no_repr() -> None:
    assert "key of" not in repr(entry())


@pytest.mark.parametrize("name", ['a"b', "a\nb", "a$b"])
def test_a_home_that_cannot_be_written_into_a_config(tmp_path: Path, name: str) -> None:
    folder = SshFolder(tmp_path / name, tmp_path)
    with pytest.raises(UsageError, match="set SKYFLOW_HOME to a plainer path"):
        folder.update([entry()], {})
