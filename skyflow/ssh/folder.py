"""Our folder of SSH files: a config that has all clusters, and for each of them its own config, key and host keys.

config  included  lock
<cluster>/config  <cluster>/<ways>.key  <cluster>/<ways>.known_hosts

Everything is replaced whole. What a cluster's config names has the same ways, so that a reader never gets the key of
one life of a cluster with the host keys of another.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from skyflow.models.name import safe_name
from skyflow.ssh.entry import Entry, hosts, include_line, marked
from skyflow.ssh.include import add_include, taken_names, user_config, write

LOCK_SECONDS = 5.0
LOOK_SECONDS = 0.02

NOTICE = "# Written by skyflow, again and again. It is included by ~/.ssh/config.\n"


class SshFolder:
    """The SSH files of one installation.

    Args:
        path: of the folder, which need not exist.
        home: of the user, for `~/.ssh/config`.
    """

    def __init__(self, path: Path, home: Path) -> None:
        self.path = path
        self.config = path / "config"
        self.user_config = user_config(home)
        self._included = path / "included"

    def config_of(self, cluster: str) -> Path:
        """The config that has the nodes of one cluster, and only them."""
        return self.path / safe_name(cluster) / "config"

    def has(self, cluster: str) -> bool:
        """Whether everything was done for this cluster, as far as can be told without asking anybody."""
        return self.config_of(cluster).exists() and self._included.exists()

    def known(self) -> dict[str, str]:
        """The clusters that there are files of, and the ways of each."""
        return dict(found for _, found in self._configs())

    def update(self, entries: Iterable[Entry], gone: Mapping[str, str]) -> list[str]:
        """Writes clusters, and removes those that are gone.

        Args:
            entries: clusters that are up.
            gone: cluster → its ways. One that has others by now is not gone.

        Returns:
            The names that the user's own config has hosts of, so that they are not in ours.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._locked():
            for entry in entries:
                self._write(entry)
            known = self.known()
            for cluster, ways in gone.items():
                if known.get(cluster) == ways:
                    shutil.rmtree(self.config_of(cluster).parent)
            return self._write_config()

    def include(self) -> bool:
        """Has `~/.ssh/config` include ours. Once: whoever takes the line out again does not want it. Raises OSError.

        Returns:
            Whether the line was added just now.
        """
        if self._included.exists():
            return False
        with self._locked():
            if self._included.exists():
                return False
            self._included.touch(0o600)  # first: one that fails is not tried, and told, with every launch
            return add_include(self.user_config, self.config)

    def _write(self, entry: Entry) -> None:
        config = self.config_of(entry.cluster)
        key, known_hosts = (config.with_name(f"{entry.ways}.{kind}") for kind in ("key", "known_hosts"))
        text = entry.config(key, known_hosts)
        config.parent.mkdir(mode=0o700, exist_ok=True)
        write(key, entry.key)
        write(known_hosts, entry.known_hosts())
        write(config, text)
        for path in config.parent.iterdir():
            if path not in (config, key, known_hosts):
                path.unlink()

    def _write_config(self) -> list[str]:
        """The longest names first: where `dev-worker1` is a cluster too, it means that, not the worker of `dev`."""
        taken = taken_names(self.user_config)
        clashing, lines = [], [NOTICE]
        for path, (cluster, _) in sorted(self._configs(), key=lambda found: (-len(found[1][0]), found[1][0])):
            if taken.intersection(hosts(path.read_text())):
                clashing.append(cluster)
            else:
                lines.append(include_line(path))
        if not self.config.exists() or self.config.read_text() != "".join(lines):
            write(self.config, "".join(lines))
        return clashing

    def _configs(self) -> Iterator[tuple[Path, tuple[str, str]]]:
        for path in sorted(self.path.glob("*/config")):
            with suppress(OSError, UnicodeDecodeError):
                if (found := marked(path.read_text())) is not None:
                    yield path, found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time. Nobody holds it while asking a server anything, so nobody waits for long."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Raises TimeoutError: its holder has stopped."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError("another process holds the lock of skyflow's SSH folder") from None
            time.sleep(LOOK_SECONDS)
