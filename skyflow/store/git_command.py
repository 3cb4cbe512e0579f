"""The git program: a repository's URL without its secrets, and commands that ask nobody anything."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from urllib.parse import unquote, urlsplit

from skyflow.errors import InvalidTaskError

PROTOCOLS = "file:git:http:https:ssh"
"""Not `ext`, which runs whatever command a URL holds."""
MAX_WORDS = 300
"""Characters of git's own words in an error."""
SHORTEST_SECRET = 6
"""Characters. In URLs, everything before the host is hidden, however short."""

_OPTIONS = (
    # A gc that goes on in the background would outlive the lock of the cache. Packs are sent as they are.
    "gc.autoDetach=false maintenance.autoDetach=false fetch.unpackLimit=1 core.logAllRefUpdates=false "
    "advice.detachedHead=false http.lowSpeedLimit=1 http.lowSpeedTime=60"
).split()
_OF_ANOTHER_REPOSITORY = (  # set where skyflow is called by a hook
    "GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR "
    "GIT_NAMESPACE GIT_PREFIX GIT_SHALLOW_FILE GIT_QUARANTINE_PATH GIT_GRAFT_FILE GIT_CONFIG"
).split()
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$SKYFLOW_GIT_USER" "$SKYFLOW_GIT_PASSWORD"; }; f'
)
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_SSH = re.compile(r"[^/:]+:")
_USER = re.compile(r"(?<=://)[^/\s]+@")


class GitFailed(Exception):
    """A command of git failed. The message is what it said, in one line, without secrets."""


@dataclass(frozen=True)
class Remote:
    """Where a repository is, and who may read it."""

    url: str
    """Without a password, and without a user where that may be a token."""
    shown: str
    """For errors."""
    user: str = ""
    password: str = ""

    @classmethod
    def of(cls, url: str) -> Remote:
        """Of what the user wrote; a path is made absolute. Raises InvalidTaskError if it cannot be a repository's."""
        if (
            not url
            or url.startswith("-")
            or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", url)
            or "::" in url.partition("/")[0]
        ):
            raise InvalidTaskError(f"workdir.url {_hidden(url)!r} is no URL of a git repository.")
        if not (scheme := _SCHEME.match(url)):
            return cls(url, url) if _SSH.match(url) else cls._of_path(url)
        rest = url[scheme.end() :]
        user_info, at, _ = rest.partition("/")[0].rpartition("@")
        user, colon, password = user_info.partition(":")
        if scheme[1].lower() not in ("http", "https"):
            if colon:
                raise InvalidTaskError(f"workdir.url {_hidden(url)!r}: only an https:// URL can hold a password.")
            return cls(url, url)
        remote = cls(scheme[0] + rest[len(user_info + at) :], _hidden(url), unquote(user), unquote(password))
        try:
            _ = urlsplit(remote.url).port
        except ValueError:  # not shown: what looks like a port may be the beginning of a password
            raise InvalidTaskError("workdir.url is no valid URL; in a password, write / as %2F and @ as %40.") from None
        return remote

    @classmethod
    def _of_path(cls, text: str) -> Remote:
        path = Path(text).expanduser().absolute()
        if not path.exists():
            raise InvalidTaskError(
                f"workdir.url {text!r} is neither a URL (https://…, ssh://…, user@host:path, file://…) nor a folder."
            )
        return cls(str(path), str(path))

    @property
    def site(self) -> str:
        """`https://host:port`; empty if it has nothing to do with http."""
        parts = urlsplit(self.url) if self.url.lower().startswith("http") else None
        return f"{parts.scheme}://{parts.netloc}" if parts else ""


class Git:
    """Runs git in a folder, for one remote.

    Args:
        folder: where.
        remote: what its commands are about.
        env: the environment; `os.environ` if not given.
    """

    def __init__(self, folder: Path, remote: Remote, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.remote = remote
        self._env = dict(os.environ if env is None else env)

    def __call__(self, *words: str, timeout: float, network: bool = False) -> str:
        """Returns what a command printed. Nobody is asked for a password: it succeeds without, or fails.

        Args:
            words: the command; what a user wrote must come after `--`.
            timeout: in seconds.
            network: whether it talks to the remote, and so may need its credentials.

        Raises:
            GitFailed: the command failed, or took too long.
        """
        env = {name: value for name, value in self._env.items() if name not in _OF_ANOTHER_REPOSITORY}
        env |= {"GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
        options = [*_OPTIONS]
        if network:
            env.setdefault("GIT_ALLOW_PROTOCOL", PROTOCOLS)
            options += self._credentials(env)
            self._ssh(env)
        else:
            env["GIT_ALLOW_PROTOCOL"] = "file"
        command = ["git", *(word for option in options for word in ("-c", option)), *words]
        # Files, not pipes: a child of a git that was killed would keep a pipe open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                done = subprocess.run(
                    command,
                    cwd=self.folder,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    timeout=timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise GitFailed(f"git {words[0]} did not end within {timeout:g} s.") from None
            if done.returncode:
                err.seek(0)
                raise GitFailed(self._words(err.read()) or f"git {words[0]} ended with {done.returncode}.")
            out.seek(0)
            return out.read().decode(errors="replace")

    def _credentials(self, env: dict[str, str]) -> list[str]:
        """Options that make git ask the environment, which nobody else can read, and only for the remote's own host."""
        remote = self.remote
        password = remote.password or (env.get("GIT_TOKEN", "") if remote.site.startswith("https:") else "")
        if not remote.site or not (remote.user or password):
            return []
        env |= {"SKYFLOW_GIT_USER": remote.user or "x-access-token", "SKYFLOW_GIT_PASSWORD": password}
        option = f"credential.{remote.site}.helper"
        if password:  # nothing else is asked, and nothing else is told to keep it
            return [f"{option}=", f"{option}={_HELPER}"]
        number = int(env.get("GIT_CONFIG_COUNT") or 0)
        env |= {
            "GIT_CONFIG_COUNT": str(number + 1),
            f"GIT_CONFIG_KEY_{number}": f"credential.{remote.site}.username",
            f"GIT_CONFIG_VALUE_{number}": remote.user,
        }
        return [f"{option}={_HELPER}"]  # after the user's own: the password may be empty, or they know it

    def _ssh(self, env: dict[str, str]) -> None:
        """Keeps ssh from asking on the terminal, unless the user has an ssh of their own."""
        if env.get("GIT_SSH_COMMAND") or env.get("GIT_SSH"):
            return
        if key := env.get("GIT_SSH_KEY_PATH"):
            path = quote(os.path.expanduser(key))
            env["GIT_SSH_COMMAND"] = f"ssh -o BatchMode=yes -o IdentitiesOnly=yes -i {path}"
            return
        asked = ["git", "config", "--get", "core.sshCommand"]
        if subprocess.run(asked, cwd=self.folder, env=env, capture_output=True, check=False).returncode:
            env["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes"

    def _words(self, said: bytes) -> str:
        """What git said, in one line."""
        lines = [line.strip() for line in said.decode(errors="replace").splitlines()]
        text = " ".join(line for line in lines if line and not line.startswith(("hint:", "warning:")))
        for secret in (self.remote.password, self.remote.user, self._env.get("GIT_TOKEN", "")):
            if len(secret) >= SHORTEST_SECRET:  # a shorter one is a name, and part of words
                text = text.replace(secret, "***")
        text = _hidden(text)
        return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 1] + "…"


def _hidden(text: str) -> str:
    """A text without the users and passwords of the URLs in it."""
    return _USER.sub("***@", text)
