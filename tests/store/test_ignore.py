"""Ignore files: what stays at home, compared with what git itself says."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from skyflow.errors import InvalidTaskError
from skyflow.store.scan import scan

PATTERNS = {
    ".gitignore": "*.log\n!keep.log\n/build\n**/cache/\ndata/*\n!data/small\n# a comment\n\\#literal\ntrail \n",
    "sub/.gitignore": "!*.log\nlocal\n/only-here\n",
    "sub/deep/.gitignore": "*.log\n",
    ".git/info/exclude": "private\n",
}
FILES = [
    "a.log", "keep.log", "build/x", "sub/build/y", "sub/a.log", "sub/deep/a.log", "sub/local", "sub/deep/local",
    "local", "cache/x", "sub/cache/y", "cache-file", "data/big", "data/small", "private", "sub/private", "#literal",
    "trail", "sub/only-here", "sub/deep/only-here", "plain", "sub/deep/plain", "ü.log", "with space.log",
]  # fmt: skip


def files_of(root: Path) -> set[str]:
    found = scan(os.fsencode(root)).found
    return {item.path for item in found if item.kind == "f" and not item.path.startswith(".git/")}


def fill(root: Path, patterns: dict[str, str]) -> None:
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, text in patterns.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_as_git_does(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    fill(tmp_path, PATTERNS)
    listed = subprocess.run(
        ["git", "-C", str(tmp_path), "ls-files", "-z", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    ).stdout
    assert files_of(tmp_path) == {os.fsdecode(name) for name in listed.split(b"\0") if name}


def test_git_itself_is_carried_along(tmp_path: Path) -> None:
    fill(tmp_path, {".gitignore": "*\n", ".git/HEAD": "ref", ".git/logs/a.log": "x"})
    assert {item.path for item in scan(os.fsencode(tmp_path)).found} >= {".git", ".git/HEAD", ".git/logs/a.log"}
    assert files_of(tmp_path) == set()


def test_skyignore_replaces_gitignore(tmp_path: Path) -> None:
    fill(tmp_path, {**PATTERNS, ".skyignore": "plain\n.git\n"})
    (tmp_path / "sub/.skyignore").write_text("/a.log\n")
    paths = {item.path for item in scan(os.fsencode(tmp_path)).found if item.kind == "f"}
    assert paths == {*FILES, ".gitignore", "sub/.gitignore", "sub/deep/.gitignore", ".skyignore", "sub/.skyignore"} - {
        "plain", "sub/deep/plain", "sub/a.log"}  # fmt: skip


def test_ignored_folders_are_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {".gitignore": "node_modules\n", "node_modules/deep/x": "", "sub/node_modules/y": ""})
    walked: list[bytes] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: walked.append(path) or scandir(path))
    scan(os.fsencode(tmp_path))
    assert walked
    assert not [path for path in walked if b"node_modules" in path]


def test_an_ignore_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").mkdir()
    (tmp_path / ".skyignore").mkdir()
    (tmp_path / "x").touch()
    assert files_of(tmp_path) == {"x"}


def test_a_line_that_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / ".skyignore").write_text("fine\n!\n")
    with pytest.raises(InvalidTaskError, match=r"\.skyignore' has a line that is no pattern") as caught:
        scan(os.fsencode(tmp_path))
    assert "\n" not in str(caught.value)
