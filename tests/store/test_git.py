"""Workdirs from git, out of real repositories: over file://, git's own daemon, and http with a password."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyflow.errors import InvalidTaskError, SkyflowError, UsageError
from skyflow.store import git as git_module
from skyflow.store.git import checkout
from skyflow.store.git_command import Git, Remote
from skyflow.store.snapshot import take_snapshot
from skyflow.store.store import Store

from .git_server import HttpServer, Repository, daemon, files, git, self_signed

SECRET = "s3cr3t/token"


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user whose git is configured by nobody else; the home folder."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "SSH_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return home


def configure(user: Path, text: str) -> None:
    """Adds to the user's own configuration of git."""
    with (user / ".gitconfig").open("a") as file:
        file.write(text)


@pytest.fixture
def repository(tmp_path: Path, user: Path) -> Repository:
    return Repository(tmp_path / "served" / "code")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the git commands that are run from now on."""
    found: list[str] = []
    call = Git.__call__

    def record(self: Git, *words: str, timeout: float, network: bool = False) -> str:
        found.append(words[0])
        return call(self, *words, timeout=timeout, network=network)

    monkeypatch.setattr(Git, "__call__", record)
    return found


def text(tree: Path) -> str:
    return (tree / "file.txt").read_text()


def refused(url: str, ref: str | None, cache: Path, kind: type[SkyflowError] = InvalidTaskError) -> str:
    """The one line that says why."""
    with pytest.raises(kind) as caught:
        checkout(url, ref, cache)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    return str(caught.value)


# Which tree


def test_every_kind_of_ref(repository: Repository, cache: Path) -> None:
    first = repository.commit("one")
    repository.git("tag", "light")
    repository.git("tag", "--annotate", "v1.0", "--message", "release")
    repository.git("update-ref", "refs/pull/7/head", first)
    repository.git("checkout", "--quiet", "-b", "feature/x")
    repository.commit("feature")
    repository.git("checkout", "--quiet", "main")
    repository.commit("two")
    for ref, wanted in {
        None: "two",
        "HEAD": "two",
        "main": "two",
        "refs/heads/main": "two",
        "feature/x": "feature",
        "light": "one",
        "v1.0": "one",
        "refs/tags/v1.0": "one",
        "pull/7/head": "one",
        first: "one",
        first.upper(): "one",
        first[:7]: "one",
    }.items():
        tree = checkout(repository.url, ref, cache)
        assert text(tree) == wanted, ref
        assert git(tree, "rev-parse", "HEAD") == (first if wanted == "one" else git(tree, "rev-parse", "@")), ref
        assert git(tree, "status", "--porcelain") == ""


def test_of_a_branch_and_a_tag_of_one_name_the_branch_counts(repository: Repository, cache: Path) -> None:
    repository.commit("tagged")
    repository.git("tag", "both")
    repository.git("checkout", "--quiet", "-b", "both")
    repository.commit("branch")
    assert text(checkout(repository.url, "both", cache)) == "branch"
    assert text(checkout(repository.url, "refs/tags/both", cache)) == "tagged"


def test_a_branch_that_looks_like_a_commit_is_a_branch(repository: Repository, cache: Path) -> None:
    repository.commit("main")
    repository.git("checkout", "--quiet", "-b", "deadbeef")
    repository.commit("branch")
    repository.git("checkout", "--quiet", "main")
    assert text(checkout(repository.url, "deadbeef", cache)) == "branch"


def test_the_default_branch_may_have_any_name(repository: Repository, cache: Path) -> None:
    repository.commit("x")
    repository.git("branch", "--move", "trunk")
    assert git(checkout(repository.url, None, cache), "branch", "--show-current") == "trunk"
    repository.git("checkout", "--quiet", "--detach")
    repository.commit("detached")
    assert text(checkout(repository.url, None, cache)) == "detached"


def test_a_folder_is_a_repository_too(
    repository: Repository, cache: Path, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("here")
    monkeypatch.chdir(repository.path.parent)
    (user / "linked").symlink_to(repository.path)
    for url in ("code", "./code", str(repository.path), "~/linked"):
        assert text(checkout(url, None, cache)) == "here"


# What the tree is


def test_the_tree_is_a_working_clone_of_one_commit(repository: Repository, cache: Path) -> None:
    for number in range(5):
        repository.commit(str(number))
    tree = checkout(repository.url, "main", cache)
    assert git(tree, "rev-list", "--count", "HEAD") == "1"
    assert git(tree, "remote", "get-url", "origin") == repository.url
    assert git(tree, "status", "--short", "--branch") == "## main...origin/main"
    assert {path.name for path in (tree / ".git").iterdir()} == {
        "HEAD",
        "config",
        "index",
        "objects",
        "refs",
        "shallow",
    }
    repository.commit("later")
    git(tree, "pull", "--quiet")
    assert text(tree) == "later"


def test_a_tag_is_known_in_its_tree(repository: Repository, cache: Path) -> None:
    repository.commit("x")
    repository.git("tag", "--annotate", "v2", "--message", "two")
    assert git(checkout(repository.url, "v2", cache), "describe") == "v2"


def test_what_is_in_the_commit_is_there_and_nothing_else(repository: Repository, cache: Path) -> None:
    repository.commit("*.bin\n", ".gitignore")
    repository.commit(b"\0\1", "deep/er/model.bin")  # ignored, and committed all the same
    (repository.path / "link").symlink_to("deep")
    (repository.path / "run.sh").write_text("#!/bin/sh\n")
    (repository.path / "run.sh").chmod(0o755)
    repository.git("add", "link", "run.sh")
    repository.commit("x")
    (repository.path / "untracked").write_text("")
    tree = checkout(repository.url, None, cache)
    names = {str(path.relative_to(tree)) for path in tree.rglob("*") if ".git" not in path.parts}
    assert names == {".gitignore", "deep", "deep/er", "deep/er/model.bin", "link", "run.sh", "file.txt"}
    assert os.readlink(tree / "link") == "deep"
    assert os.access(tree / "run.sh", os.X_OK)


def test_large_files_are_not_sent_twice(repository: Repository, cache: Path, user: Path) -> None:
    configure(user, '[filter "lfs"]\nsmudge = mkdir -p .git/lfs/objects && tee .git/lfs/objects/copy\n')
    repository.commit("* filter=lfs\n", ".gitattributes")
    repository.commit("large")
    tree = checkout(repository.url, None, cache)
    assert text(tree) == "large"
    assert not (tree / ".git/lfs").exists()


async def test_a_second_snapshot_of_it_uploads_nothing(repository: Repository, cache: Path, store: Store) -> None:
    repository.commit("x" * 1000)
    first = await take_snapshot(store, checkout(repository.url, "main", cache))
    second = await take_snapshot(store, checkout(repository.url, "main", cache))
    assert (first.uploaded_files > 0, second.uploaded_files) == (True, 0)
    assert first.ref == second.ref


# What is fetched


def test_a_ref_that_did_not_move_is_not_fetched_again(repository: Repository, cache: Path, commands: list[str]) -> None:
    repository.commit("one")
    trees = []
    for ref in ("main", None, "refs/heads/main", "main"):
        trees.append(checkout(repository.url, ref, cache))
    assert len(set(trees)) == 1
    assert commands.count("fetch") == 2, "from the server, and into the tree"
    assert commands[-3:] == ["ls-remote"] * 3


def test_a_whole_commit_that_is_there_needs_no_server(repository: Repository, cache: Path, commands: list[str]) -> None:
    commit = repository.commit("one")
    tree = checkout(repository.url, commit, cache)
    assert "ls-remote" not in commands
    commands.clear()
    repository.path.rename(repository.path.parent / "gone")
    assert checkout(repository.url, commit, cache) == tree
    assert commands == []


def test_when_a_ref_moves_only_what_is_new_is_fetched_and_the_old_tree_stays(
    repository: Repository, cache: Path
) -> None:
    repository.commit(os.urandom(300_000), "weights")
    repository.commit("one")
    old = checkout(repository.url, "main", cache)
    repository.commit("two")
    new = checkout(repository.url, "main", cache)
    assert (text(old), text(new)) == ("one", "two")
    packs = sorted(path.stat().st_size for path in cache.glob("*/repository.git/objects/pack/*.pack"))
    assert len(packs) == 2 and packs[0] < 10_000 < 300_000 < packs[1]


def test_a_branch_that_was_rewritten(repository: Repository, cache: Path) -> None:
    repository.commit("one")
    checkout(repository.url, "main", cache)
    repository.git("commit", "--quiet", "--amend", "--message", "again")
    (repository.path / "file.txt").write_text("other")
    repository.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    assert text(checkout(repository.url, "main", cache)) == "other"


def test_a_branch_in_place_of_another(repository: Repository, cache: Path) -> None:
    first = repository.commit("one")
    repository.git("branch", "a")
    assert text(checkout(repository.url, first[:6], cache)) == "one"
    repository.git("branch", "--delete", "--force", "a")
    repository.git("checkout", "--quiet", "-b", "a/b")
    hidden = repository.commit("two")
    repository.commit("three")
    assert text(checkout(repository.url, hidden[:10], cache)) == "two"


# Servers


def test_a_daemon(repository: Repository, cache: Path) -> None:
    first = repository.commit("one")
    repository.commit("two")
    with daemon(repository.path.parent) as url:
        assert text(checkout(f"{url}/code", None, cache)) == "two"
        assert text(checkout(f"{url}/code", first, cache)) == "one"
        said = refused(f"{url}/nowhere", None, cache)
    assert said.startswith(f"Cannot get the workdir {url}/nowhere: ")
    assert "fatal: " in refused(f"{url}/code", None, cache)  # nobody there any more


@pytest.mark.parametrize("length", [40, 12])
def test_a_server_that_does_not_give_every_commit(
    repository: Repository, cache: Path, user: Path, commands: list[str], length: int
) -> None:
    configure(user, "[protocol]\nversion = 0\n")
    wanted = repository.commit("one")
    later = repository.commit("two")
    repository.commit("three")
    with daemon(repository.path.parent) as url:
        assert text(checkout(f"{url}/code", None, cache)) == "three"  # from here on it is a shallow repository
        commands.clear()
        assert text(checkout(f"{url}/code", wanted[:length], cache)) == "one"
        # The server refuses a commit that no ref names, so all is fetched, and then the tree from what is here now.
        assert commands.count("fetch") == (3 if length == 40 else 2)
        commands.clear()
        assert text(checkout(f"{url}/code", later[:length], cache)) == "two"
        assert commands.count("fetch") == 1, "the history is here"
        assert "no such branch, tag or commit" in refused(f"{url}/code", "0123456789" * 4, cache)
        assert "no such branch, tag or commit" in refused(f"{url}/code", "0123456", cache)


def test_the_beginning_of_several_commits(repository: Repository, cache: Path) -> None:
    seen: dict[str, str] = {}
    tree = repository.git("write-tree")
    for number in range(2000):
        commit = repository.git("commit-tree", tree, "-m", str(number))
        if (prefix := commit[:4]) in seen:
            break
        seen[prefix] = commit
    for name, each in (("main", commit), ("other", seen[prefix])):
        repository.git("update-ref", f"refs/heads/{name}", each)
    assert "2 of its commits begin like this" in refused(repository.url, prefix, cache)


@pytest.fixture
def bare(repository: Repository) -> Path:
    """What an HTTP server without any program needs."""
    repository.commit("one")
    path = repository.path.parent / "private.git"
    repository.git("clone", "--quiet", "--bare", ".", str(path))
    git(path, "update-server-info")
    return path


def test_a_password_in_the_url_reaches_the_server_and_nothing_else(
    bare: Path, cache: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(user, "[credential]\nhelper = store\n")
    trace = tmp_path / "trace"
    monkeypatch.setenv("GIT_TRACE", str(trace))
    with HttpServer(bare.parent, f"ada:{SECRET}") as server:
        tree = checkout(f"http://ada:{quote(SECRET, safe='')}@{server.address}/private.git", "main", cache)
        assert text(tree) == "one"
        assert git(tree, "remote", "get-url", "origin") == f"http://{server.address}/private.git"
    assert "remote-http" in trace.read_text()
    secrets = [SECRET.encode(), quote(SECRET, safe="").encode()]
    for content in (*files(cache), *files(user), trace.read_bytes()):
        assert not any(secret in content for secret in secrets)


def test_a_token_in_place_of_the_user(bare: Path, cache: Path) -> None:
    with HttpServer(bare.parent, "ghp_0123456789:") as server:
        assert text(checkout(f"http://ghp_0123456789@{server.address}/private.git", "main", cache)) == "one"


def test_a_user_whose_own_git_knows_the_password(bare: Path, cache: Path, user: Path) -> None:
    with HttpServer(bare.parent, f"ada:{SECRET}") as server:
        (user / ".git-credentials").write_text(f"http://ada:{quote(SECRET, safe='')}@{server.address}\n")
        configure(user, "[credential]\nhelper = store\n")
        assert text(checkout(f"http://ada@{server.address}/private.git", "main", cache)) == "one"
        assert text(checkout(f"http://{server.address}/private.git", "main", cache / "other")) == "one"


def test_a_token_in_the_environment_is_for_https_only(
    bare: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TOKEN", SECRET)
    certificate = self_signed(tmp_path / "certificate.pem")
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    login = f"x-access-token:{SECRET}"
    with HttpServer(bare.parent, login, certificate) as server:
        assert text(checkout(f"https://{server.address}/private.git", "main", cache)) == "one"
    with HttpServer(bare.parent, login) as server:
        refused(f"http://{server.address}/private.git", "main", cache)
        assert set(server.authorizations) == {None}


@pytest.mark.parametrize("login", [f"ada:{quote(SECRET, safe='')}", "ada", ""])
def test_what_a_server_keeps_closed(bare: Path, cache: Path, login: str) -> None:
    with HttpServer(bare.parent, "somebody:else") as server:
        said = refused(f"http://{login}{'@' * bool(login)}{server.address}/private.git", "main", cache)
    assert said.startswith(f"Cannot get the workdir http://{'***@' * bool(login)}{server.address}/private.git (main): ")
    assert "fatal: " in said and "ada" not in said and "s3cr3t" not in said
    assert not [path for path in cache.glob("*/*") if path.is_dir()], "nothing half made"


def test_no_such_repository_on_a_server(bare: Path, cache: Path) -> None:
    with HttpServer(bare.parent, "") as server:
        assert "not found" in refused(f"http://{server.address}/none.git", None, cache)


# What ssh is told


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Takes a host, and gives the words with which git calls ssh for it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/words\nexit 255\n')
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def ask(host: str) -> list[str]:
        refused(f"{host}:group/code.git", None, tmp_path / "cache")
        return (folder / "words").read_text().splitlines()

    return ask


def test_ssh_asks_nobody(ssh: Callable[[str], list[str]]) -> None:
    words = ssh("git@example.org")
    assert "BatchMode=yes" in words and "git@example.org" in words and "-i" not in words


def test_ssh_with_a_key_of_its_own(
    ssh: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, user: Path
) -> None:
    monkeypatch.setenv("GIT_SSH_KEY_PATH", "~/my key")
    words = ssh("git@example.org")
    assert words[words.index("-i") + 1] == str(user / "my key")
    assert "IdentitiesOnly=yes" in words


@pytest.mark.parametrize("how", ["GIT_SSH_COMMAND", "core.sshCommand"])
def test_the_users_own_ssh_command(
    ssh: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, user: Path, how: str
) -> None:
    if how == "GIT_SSH_COMMAND":
        monkeypatch.setenv(how, "ssh -p 2222")
    else:
        configure(user, "[core]\nsshCommand = ssh -p 2222\n")
    words = ssh("example.org")
    assert words[:2] == ["-p", "2222"] and "BatchMode=yes" not in words


# What is refused


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "workdir.url '' is no URL of a git repository."),
        ("--upload-pack=touch proof", "workdir.url '--upload-pack=touch proof' is no URL"),
        ("ext::sh -c 'touch proof'", "is no URL of a git repository."),
        ("ext://sh", "Cannot get the workdir ext://sh: "),
        ("https://host/a\nb", "is no URL of a git repository."),
        ("file://\ud800", "is no URL of a git repository."),
        ("nowhere/code", "workdir.url 'nowhere/code' is neither a URL (https://…, ssh://…, "),
        ("ssh://ada:pass@host/code", "workdir.url 'ssh://***@host/code': only an https:// URL can hold a password."),
        ("https://ada:pa/ss@host/code", "workdir.url is no valid URL; in a password, write / as %2F and @ as %40."),
        ("https://[::1", "workdir.url is no valid URL"),
        ("file:///nowhere/at/all", "Cannot get the workdir file:///nowhere/at/all: fatal: '/nowhere/at/all' does not "),
        ("git://127.0.0.1:1/x", "Cannot get the workdir git://127.0.0.1:1/x: fatal: unable to connect to 127.0.0.1"),
        ("-oProxyCommand=touch proof:code", "is no URL"),
        ("ssh://-oProxyCommand=touch%20proof/code", "Cannot get the workdir ssh://-oProxyCommand"),
    ],
)
def test_a_wrong_url(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(url, None, cache)
    assert list(tmp_path.rglob("proof")) == []


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "-h",
        "--upload-pack=x",
        "a:b",
        "+main",
        "main^",
        "v1~2",
        "a..b",
        "refs/heads/*",
        "a b",
        "m?",
        "@{1}",
        "x\ny",
        "@",
    ],
)
def test_a_ref_that_is_no_name(repository: Repository, cache: Path, ref: str) -> None:
    repository.commit("x")
    assert refused(repository.url, ref, cache) == (f"workdir.ref {ref!r} is no name of a branch, a tag or a commit.")


@pytest.mark.parametrize("ref", ["mian", "refs/heads/none", "feature/none", "abcdef0", "origin/main"])
def test_a_ref_that_is_not_there(repository: Repository, cache: Path, ref: str) -> None:
    repository.commit("x")
    assert refused(repository.url, ref, cache) == (
        f"Cannot get the workdir {repository.url} ({ref}): it has no such branch, tag or commit."
    )


def test_the_name_of_a_tree_is_no_commit(repository: Repository, cache: Path) -> None:
    repository.commit("x")
    tree = repository.git("rev-parse", "HEAD^{tree}")
    assert "no such branch, tag or commit" in refused(repository.url, tree, cache)


def test_an_empty_repository(repository: Repository, cache: Path) -> None:
    assert "it has no commit yet" in refused(repository.url, None, cache)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=12) | st.text(alphabet="ab./-@{}~^:*\\ lock", max_size=10))
def test_every_ref_that_git_would_not_take_is_refused_here(ref: str) -> None:
    if ref and not git_module._NO_REF.search(ref):
        checked = subprocess.run(["git", "check-ref-format", f"refs/heads/{ref}"], check=False)
        assert checked.returncode == 0


@settings(max_examples=200)
@given(
    user=st.text(alphabet="abc%@", min_size=1, max_size=8),
    password=st.text(alphabet="xyz:@%?#&", min_size=1, max_size=8),
)
def test_a_url_is_never_shown_with_its_password(user: str, password: str) -> None:
    remote = Remote.of(f"https://{quote(user, safe='')}:{quote(password, safe='')}@example.org/o/r.git")
    assert (remote.url, remote.shown) == ("https://example.org/o/r.git", "https://***@example.org/o/r.git")
    assert (remote.user, remote.password) == (user, password)


def test_without_git(repository: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    assert "needs the program git, which is not installed" in refused(repository.url, None, cache, UsageError)


def test_a_server_that_says_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_module, "QUERY_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = refused(f"git://127.0.0.1:{silent.getsockname()[1]}/x", None, cache)
    assert said.endswith("git ls-remote did not end within 0.2 s.")


def test_a_cache_that_cannot_be_written(repository: Repository, cache: Path) -> None:
    repository.commit("x")
    cache.write_text("a file")
    assert refused(repository.url, None, cache, UsageError).startswith(f"The cache {cache} of git cannot be used: ")


def test_the_repository_of_a_hook_is_left_alone(
    repository: Repository, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repository(tmp_path / "other")
    other.commit("other")
    repository.commit("wanted")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git/index"))
    before = sorted(files(other.path))
    assert text(checkout(repository.url, None, cache)) == "wanted"
    assert sorted(files(other.path)) == before


# Several at once, and deaths


def test_several_at_once_get_one_tree(repository: Repository, cache: Path, commands: list[str]) -> None:
    first = repository.commit("one")
    repository.commit("two")
    wanted = ["main", first] * 4
    with ThreadPoolExecutor(len(wanted)) as pool:
        trees = list(pool.map(lambda ref: checkout(repository.url, ref, cache), wanted))
    assert [text(tree) for tree in trees] == ["two", "one"] * 4
    assert len(set(trees)) == 2
    assert commands.count("checkout") == 2


def test_two_urls_do_not_wait_for_each_other(repository: Repository, cache: Path, tmp_path: Path) -> None:
    other = Repository(tmp_path / "other")
    repository.commit("one")
    other.commit("two")
    checkout(repository.url, None, cache)
    (lock,) = cache.glob("*/lock")
    with git_module._lock(lock):
        assert text(checkout(other.url, None, cache)) == "two"


@pytest.mark.parametrize("at", ["fetch", "checkout"])
def test_killed_in_the_middle(
    repository: Repository, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """A git that stops for ever at one command, so that the process can be killed just there."""
    repository.commit("one")
    fake = tmp_path / "bin"
    fake.mkdir()
    os.mkfifo(fake / "reached")
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    (fake / "git").write_text(
        f'#!/bin/sh\ncase " $* " in *" {at} "*) echo $$ > {fake}/reached; exec sleep 300;; esac\nexec {real} "$@"\n'
    )
    (fake / "git").chmod(0o755)
    program = "import sys; from pathlib import Path; from skyflow.store.git import checkout;"
    program += "checkout(sys.argv[1], 'main', Path(sys.argv[2]))"
    env = os.environ | {"PATH": f"{fake}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program, repository.url, str(cache)]
    with subprocess.Popen(command, env=env, start_new_session=True) as process:
        left = int((fake / "reached").read_text())
        process.kill()
    os.kill(left, signal.SIGKILL)
    (folder,) = cache.glob("*")
    assert {path.name[:4] for path in folder.iterdir()} <= {"lock", "repo", "tmp-"}, "no tree yet"
    (folder / "repository.git/shallow.lock").write_text("")  # as git leaves it when it is killed
    assert text(checkout(repository.url, "main", cache)) == "one"
    assert [path for path in folder.iterdir() if path.name.startswith("tmp-")] == []


def test_a_failed_checkout_leaves_nothing(repository: Repository, cache: Path, user: Path, commands: list[str]) -> None:
    repository.commit("* filter=broken\n", ".gitattributes")
    repository.commit("x")
    configure(user, '[filter "broken"]\nsmudge = false\nrequired = true\n')
    assert "smudge filter broken failed" in refused(repository.url, None, cache)
    assert {path.name for path in cache.glob("*/*")} == {"lock", "repository.git"}


def test_what_nobody_asks_for_is_forgotten(repository: Repository, cache: Path) -> None:
    trees = []
    for name in ("one", "two", "three"):
        repository.commit(name)
        trees.append(checkout(repository.url, "main", cache))
        if name != "three":
            os.utime(trees[-1], (0, 0))
        if name == "two":
            assert not trees[0].exists()
            checkout(repository.url, "main", cache)  # asked for again
    assert [tree.exists() for tree in trees] == [False, True, True]
