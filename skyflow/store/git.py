"""Workdirs that come from git: one ref of a repository as a working clone, in a cache of this machine.

For each URL the cache has one bare repository, which everything is fetched into (so what is there already is never
fetched again), and a folder for each commit and name that was asked for. Such a folder appears by rename, whole, and is
never changed afterwards: whoever was given one can read it for as long as it takes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skyflow.errors import InvalidTaskError, UsageError
from skyflow.store.git_command import Git, GitFailed, Remote

QUERY_SECONDS = 60.0
"""What a server may take to say which refs it has."""
FETCH_SECONDS = 1800.0
"""What a fetch may take."""
LOCAL_SECONDS = 600.0
"""What a checkout on this machine may take."""
KEEP_SECONDS = 7 * 24 * 3600.0
"""A folder that nobody asked for this long makes room for the next one."""

_BARE = "repository.git"
_TEMPORARY = "tmp-"
_COMMIT = re.compile(r"[0-9a-fA-F]{4,64}")
_WHOLE_COMMIT = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")
_NO_REF = re.compile(r"^[-+/]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|[/.]$|\.lock(/|$)|/\.|^\.|[\ud800-\udfff]|^@$")
"""What no ref has (git-check-ref-format): so none can be taken for an option, a pattern or a refspec."""


@dataclass(frozen=True)
class _Wanted:
    """What a ref stands for now."""

    commit: str
    """Or the annotated tag of it."""
    name: str = ""
    """`refs/heads/main`, `refs/tags/v1`; empty for a commit."""

    @property
    def folder(self) -> str:
        return "-".join([self.commit, *([_digest(self.name, 8)] if self.name else [])])


def checkout(url: str, ref: str | None, cache: Path) -> Path:
    """The tree of one ref of a repository, with a `.git` that has this one commit. Blocks; call it in a thread.

    A branch or tag is looked up every time, and fetched if it moved. The repository's credentials are those of the
    user's git; besides, as in SkyPilot, `GIT_TOKEN` (https) and `GIT_SSH_KEY_PATH` (ssh) of this environment.

    Args:
        url: what `git clone` takes: `https://…`, `ssh://…`, `host:path`, `file://…`, a folder.
        ref: a branch, a tag, another name below `refs/`, or a commit, all of it or its beginning; the default branch if
            not given. Of a branch and a tag of the same name, the branch.
        cache: folder of the cache; made if need be, and may be deleted while no launch is being prepared.

    Returns:
        A folder that nobody changes any more.

    Raises:
        InvalidTaskError: there is no such repository or ref, or git cannot get it.
        UsageError: git is not installed, or the cache cannot be written.
    """
    remote = Remote.of(url)
    if ref is not None and (not ref or _NO_REF.search(ref)):
        raise InvalidTaskError(f"workdir.ref {ref!r} is no name of a branch, a tag or a commit.")
    if shutil.which("git") is None:
        raise UsageError(f"The workdir {remote.shown} needs the program git, which is not installed here; install it.")
    folder = cache / _digest(remote.url, 24)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = _look_up(Git(folder, remote), ref)
        with _lock(folder / "lock"):
            return _Cache(folder, remote).get(wanted)
    except GitFailed as error:
        named = f" ({ref})" if ref else ""
        raise InvalidTaskError(f"Cannot get the workdir {remote.shown}{named}: {error}") from None
    except OSError as error:
        raise UsageError(f"The cache {cache} of git cannot be used: {error.strerror or error}.") from error


def _look_up(git: Git, ref: str | None) -> _Wanted:
    """Asks the server, unless the ref is a whole commit, which cannot move."""
    if ref and _WHOLE_COMMIT.fullmatch(ref):
        return _Wanted(ref.lower())
    if ref in (None, "HEAD"):
        names = ["HEAD"]
    else:
        names = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}"]
    said = git("ls-remote", "--symref", "--", git.remote.url, *names, timeout=QUERY_SECONDS, network=True)
    lines = [line.split("\t") for line in said.splitlines() if "\t" in line]
    targets = {name: target.removeprefix("ref: ") for target, name in lines if target.startswith("ref: ")}
    commits = {name: commit for commit, name in lines if not commit.startswith("ref: ")}
    for name in names:
        if name in commits:
            return _Wanted(commits[name], targets.get(name, "" if name == "HEAD" else name))
    if ref and _COMMIT.fullmatch(ref):
        return _Wanted(ref.lower())
    what = "no commit yet" if names == ["HEAD"] else "no such branch, tag or commit"
    raise GitFailed(f"it has {what}.")


class _Cache:
    """Of one URL. For who holds its lock."""

    def __init__(self, folder: Path, remote: Remote) -> None:
        self.folder = folder
        self.url = remote.url
        self.git = Git(folder / _BARE, remote)

    def get(self, wanted: _Wanted) -> Path:
        """The folder of what is wanted, made if there is none."""
        if not (tree := self.folder / wanted.folder).is_dir():
            self._tidy()
            wanted = self._obtain(wanted)
            tree = self.folder / wanted.folder
        if not tree.is_dir():
            fresh = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self.folder))
            try:
                self._fill(fresh, wanted)
                fresh.rename(tree)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        os.utime(tree)
        return tree

    def _tidy(self) -> None:
        """Removes what earlier processes left when they were killed, and what nobody has asked for since long."""
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*"):
            for left in (self.folder / _BARE).glob(pattern):
                left.unlink(missing_ok=True)
        for child in self.folder.iterdir():
            if not child.is_dir() or child.name == _BARE:
                continue
            if not child.name.startswith(_TEMPORARY):
                if time.time() - child.stat().st_mtime < KEEP_SECONDS:
                    continue
                child = child.rename(self.folder / f"{_TEMPORARY}{child.name}")
            shutil.rmtree(child, ignore_errors=True)

    def _obtain(self, wanted: _Wanted) -> _Wanted:
        """Sees to it that the bare repository has what is wanted: alone if the server gives it, else with everything.

        Returns:
            The same, with the whole commit.
        """
        self.git.folder.mkdir(mode=0o700, exist_ok=True)
        self.git("init", "--quiet", "--bare", "--template=", timeout=LOCAL_SECONDS)
        if (found := self._find(wanted.commit)) is None and _WHOLE_COMMIT.fullmatch(wanted.commit):
            spec = f"+{wanted.commit}:refs/commits/{wanted.commit}"
            try:
                self._fetch("--depth=1", "--no-tags", "--", self.url, spec)
                found = self._find(wanted.commit)
            except GitFailed:  # not every server gives what no ref names, or knows depths
                pass
        if found is None:
            found = self._find_in_history(wanted.commit)
        self.git("update-ref", f"refs/commits/{found}", found, timeout=LOCAL_SECONDS)
        return _Wanted(found, wanted.name)

    def _find_in_history(self, commit: str) -> str:
        deepen = ["--unshallow"] if (self.git.folder / "shallow").exists() else []
        specs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        self._fetch(*deepen, "--prune", "--", self.url, *specs)
        if (found := self._find(commit)) is None:
            raise GitFailed("it has no such branch, tag or commit.")
        return found

    def _find(self, commit: str) -> str | None:
        """The whole name of an object that the bare repository has. The beginning of a name means a commit."""
        if _WHOLE_COMMIT.fullmatch(commit):
            return commit if self._kind(commit) in ("commit", "tag") else None
        said = self.git("rev-parse", f"--disambiguate={commit}", timeout=LOCAL_SECONDS)
        found = [name for name in said.split() if self._kind(name) == "commit"]
        if len(found) > 1:
            raise GitFailed(f"{len(found)} of its commits begin like this; write more of the one that is meant.")
        return found[0] if found else None

    def _kind(self, name: str) -> str:
        try:
            return self.git("cat-file", "-t", name, timeout=LOCAL_SECONDS).strip()
        except GitFailed:
            return ""

    def _fetch(self, *words: str) -> None:
        self.git("fetch", "--quiet", *words, timeout=FETCH_SECONDS, network=True)

    def _fill(self, fresh: Path, wanted: _Wanted) -> None:
        """Makes a working clone of the one commit, as `git clone --depth 1 --branch` would: small, and able to pull."""
        git = Git(fresh, self.git.remote)
        kind, _, name = wanted.name.removeprefix("refs/").partition("/")
        branch, tag = (name if kind == each else "" for each in ("heads", "tags"))
        local = f":refs/remotes/origin/{branch}" if branch else f":{wanted.name}" if tag else ""
        source = f"refs/commits/{wanted.commit}"
        git("init", "--quiet", "--template=", timeout=LOCAL_SECONDS)
        git("remote", "add", *(["-t", branch] if branch else []), "--", "origin", self.url, timeout=LOCAL_SECONDS)
        fetch = [
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--",
            str(self.git.folder.absolute()),
            f"{source}{local}",
        ]
        git(*fetch, timeout=LOCAL_SECONDS)
        head = ["-b", branch, "--track", f"origin/{branch}"] if branch else ["--detach", "FETCH_HEAD"]
        git("checkout", "--quiet", *head, "--", timeout=LOCAL_SECONDS)
        (fresh / ".git" / "FETCH_HEAD").unlink(missing_ok=True)
        shutil.rmtree(fresh / ".git" / "lfs", ignore_errors=True)  # a second copy of what was checked out


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Waits until nobody else of this machine has the lock. The kernel lets go of it when its holder dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
