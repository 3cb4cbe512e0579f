"""The one line in the user's own config: added once, at the top, and nothing else is touched."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from skyflow.ssh.entry import words_of
from skyflow.ssh.folder import SshFolder
from skyflow.ssh.include import add_include, taken_names

from .conftest import entry, needs_ssh, understood

TEXT = "# mine\r\n\n  Host *\n\tForwardAgent no\nHost b\xff\n  User x"


def test_a_config_is_made_if_there_is_none(folder: SshFolder) -> None:
    assert folder.include()
    [line] = folder.user_config.read_text().splitlines()
    assert words_of(line)[0] == "include"


def test_everything_else_stays_as_it_is(folder: SshFolder) -> None:
    folder.user_config.parent.mkdir()
    folder.user_config.write_bytes(TEXT.encode("latin-1"))
    folder.user_config.chmod(0o644)
    assert folder.include()
    first, _, rest = folder.user_config.read_bytes().partition(b"\n")
    assert first.startswith(b"Include ") and rest == TEXT.encode("latin-1")
    assert stat.S_IMODE(folder.user_config.stat().st_mode) == 0o644
    assert [path.name for path in folder.user_config.parent.iterdir()] == ["config"]


def test_once_is_once(folder: SshFolder) -> None:
    assert folder.include() and not folder.include()
    folder.user_config.write_text("")  # the user does not want it
    assert not folder.include() and folder.user_config.read_text() == ""


@needs_ssh
def test_ssh_understands_it_and_the_users_other_hosts(folder: SshFolder) -> None:
    folder.user_config.parent.mkdir()
    folder.user_config.write_text("User everywhere\nHost own\n  Port 7\n")
    folder.update([entry()], {})
    folder.include()
    assert understood(folder.user_config, "dev")["hostname"] == "127.0.0.1"
    own = understood(folder.user_config, "own")
    assert (own["port"], own["user"], own["stricthostkeychecking"]) == ("7", "everywhere", "ask")


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_stays_a_link(folder: SshFolder, home: Path, dangling: bool) -> None:
    (home / "dotfiles").mkdir()
    target = home / "dotfiles" / "ssh_config"
    if not dangling:
        target.write_text("Host a\n")
    folder.user_config.parent.mkdir()
    folder.user_config.symlink_to("../dotfiles/ssh_config")
    assert folder.include()
    assert folder.user_config.is_symlink() and not target.is_symlink()
    assert target.read_text().partition("\n")[2] == ("" if dangling else "Host a\n")


@pytest.mark.parametrize("line", ['include "{}"', "Include other {}", "Include={}", "Include ~/elsewhere/config"])
def test_a_line_that_is_there_already_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ours, user = tmp_path / "elsewhere" / "config", tmp_path / "config"
    user.write_text(f"Host a\n{line.format(ours)}\n")
    assert not add_include(user, ours)
    user.write_text(f"# {line.format(ours)}\n")
    assert add_include(user, ours)


def test_a_config_that_cannot_be_changed_is_told_once(folder: SshFolder) -> None:
    folder.user_config.mkdir(parents=True)
    with pytest.raises(OSError, match="Is a directory"):
        folder.include()
    assert not folder.include()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Host a b\nhost=c", {"a", "b", "c"}),
        ('\tHOST "d e" # f', {"d e"}),
        ("Host g* ?\nHost !h\n#Host i\nMatch host j\nHostName k", set()),
        ("", set()),
    ],
)
def test_names_that_are_taken(tmp_path: Path, text: str, names: set[str]) -> None:
    (tmp_path / "config").write_text(text)
    assert taken_names(tmp_path / "config") == names
    assert taken_names(tmp_path / "absent") == taken_names(tmp_path) == set()
