"""One cluster in OpenSSH's words: its part of a config, and its host keys. Text only; nothing is written here."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skyflow.errors import SkyflowError, UsageError
from skyflow.models.name import safe_name

MARK = "# skyflow:"
"""Begins the first line of a cluster's config; its name, and what its nodes are reached by, follow."""

_WORD = re.compile(r"[A-Za-z0-9_.:@+-]+")
_HOST_KEY = re.compile(r"[A-Za-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\n]*)?")
_UNQUOTABLE = re.compile(r'["\\\n$]')


@dataclass(frozen=True)
class Entry:
    """A cluster that is up."""

    cluster: str
    ways: str
    """Another text whenever its nodes are reached otherwise."""
    nodes: Sequence[Mapping[str, Any]]
    """By rank: `rank`, `address`, `port`, `user`, `host_key`."""
    key: str = field(repr=False)
    """The private key, in OpenSSH's PEM text."""

    def __post_init__(self) -> None:
        """Raises SkyflowError: a config that OpenSSH obeys must not hold whatever somebody wrote into a workflow."""
        words = [self.cluster, self.ways]
        for node in self.nodes:
            words += [node["address"], node["user"], str(node["port"]), str(node["rank"])]
        if not all(map(_WORD.fullmatch, words)) or not all(
            _HOST_KEY.fullmatch(node["host_key"]) for node in self.nodes
        ):
            raise SkyflowError(f"Cluster {self.cluster!r} has a node that an SSH config cannot describe.")

    def config(self, key: Path, known_hosts: Path) -> str:
        """Its part of a config: an entry for each node."""
        lines = [f"{MARK} {self.cluster} {self.ways}"]
        for node in self.nodes:
            lines += [
                f"Host {host_name(self.cluster, node['rank'])}",
                f"  HostName {node['address']}",
                f"  Port {node['port']}",
                f"  User {node['user']}",
                f"  IdentityFile {_file(key)}",
                "  IdentitiesOnly yes",
                f"  UserKnownHostsFile {_file(known_hosts)}",
                "  GlobalKnownHostsFile /dev/null",
                f"  HostKeyAlias {self._alias(node)}",
                "  StrictHostKeyChecking yes",
                "  UpdateHostKeys no",
                "  PasswordAuthentication no",
            ]
        return "\n".join(lines) + "\n"

    def known_hosts(self) -> str:
        """The host keys that are pinned."""
        return "".join(f"{self._alias(node)} {node['host_key']}\n" for node in self.nodes)

    def _alias(self, node: Mapping[str, Any]) -> str:
        return f"{safe_name(self.cluster)}-{node['rank']}"


def host_name(cluster: str, rank: int) -> str:
    """What `ssh` calls a node."""
    return cluster if rank == 0 else f"{cluster}-worker{rank}"


def marked(config: str) -> tuple[str, str] | None:
    """The cluster of a config, and its ways. None if that is no config of ours."""
    first = config.partition("\n")[0]
    words = first.removeprefix(MARK).split() if first.startswith(MARK) else []
    return (words[0], words[1]) if len(words) == 2 else None


def hosts(config: str) -> list[str]:
    """The names that a config has entries for. Patterns are no names."""
    found = []
    for line in config.splitlines():
        keyword, words = words_of(line)
        if keyword == "host":
            found += [word for word in words if not re.search(r"[*?!]", word)]
    return found


def words_of(line: str) -> tuple[str, list[str]]:
    """The keyword of a line, in lower case, and its arguments, without quotes and comments."""
    keyword, _, rest = re.sub(r"^\s*([^\s=]+)\s*=?\s*", r"\1 ", line).partition(" ")
    words = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', rest)]
    comment = next((index for index, word in enumerate(words) if word.startswith("#")), len(words))
    return keyword.lower(), words[:comment]


def include_line(path: Path) -> str:
    """Includes another config, in whose path `*` means `*`. Raises UsageError."""
    return f"Include {_quoted(glob.escape(str(path)))}\n"


def _file(path: Path) -> str:
    """A file as an argument, in which `%` means `%`. Raises UsageError."""
    return _quoted(str(path).replace("%", "%%"))


def _quoted(text: str) -> str:
    if _UNQUOTABLE.search(text):
        raise UsageError(f"{text!r} cannot be written into an SSH config; set SKYFLOW_HOME to a plainer path.")
    return f'"{text}"'
