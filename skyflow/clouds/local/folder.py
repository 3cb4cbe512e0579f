"""The folder of local nodes: where everything is, and what is recorded of each node. The only truth about nodes.

host-id  host.lock  host.starting  host.log  host.sock (or host.socket-path)  config.yaml  stockouts.json
nodes/<id>/           node.json  host_key  lock  node.log  home/  tmp/  sessions/
                      stopped  stop.lock  boot-id (if it was ever stopped)
nodes/.new-<id>/      a node that is being made
nodes/.deleted-<id>/  a node that is being deleted
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

MAX_SOCKET_PATH = 100
"""Bytes. The kernel's limit is 108 on Linux and 104 on macOS, with the zero at the end."""

NEW = ".new-"
DELETED = ".deleted-"


@dataclass(frozen=True, kw_only=True)
class NodeSpec:
    """A node that is wanted."""

    id: str
    token: str
    deployment: str
    cluster: str
    uid: str
    launch_id: str
    rank: int
    generation: int
    region: str
    zone: str
    instance_type: str
    use_spot: bool
    client_key: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From a dict; what this version does not know is ignored."""
        return cls(**{field.name: data[field.name] for field in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class NodeRecord(NodeSpec):
    """A node that exists."""

    address: str
    port: int
    user: str
    host_key: str
    """Public, in OpenSSH's one-line form."""


@dataclass(frozen=True)
class NodeFolder:
    """Everything of one node."""

    path: Path

    @property
    def home(self) -> Path:
        return self.path / "home"

    @property
    def tmp(self) -> Path:
        return self.path / "tmp"

    @property
    def log(self) -> Path:
        return self.path / "node.log"

    @property
    def lock(self) -> Path:
        """Held by the node's SSH server while it lives, which wrote its process id into it."""
        return self.path / "lock"

    @property
    def host_key(self) -> Path:
        return self.path / "host_key"

    @property
    def sessions(self) -> Path:
        """Has a file for each connection of a user."""
        return self.path / "sessions"

    @property
    def stopped(self) -> Path:
        """There while the node is stopped. Holds the boot id of its next start, whose name it takes then."""
        return self.path / "stopped"

    @property
    def stop_lock(self) -> Path:
        """Held while the processes of the stopped node are being ended, and while it is being started."""
        return self.path / "stop.lock"

    @property
    def boot_file(self) -> Path:
        return self.path / "boot-id"

    @property
    def record_file(self) -> Path:
        return self.path / "node.json"

    def read(self) -> NodeRecord | None:
        """What the node is, or None if there is none here."""
        try:
            return NodeRecord.from_json(json.loads(self.record_file.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError) as error:  # damaged by hand: the other nodes must not suffer
            sys.stderr.write(f"{self.record_file} cannot be read: {error!r}\n")
            return None

    def write(self, record: NodeRecord) -> None:
        write_atomically(self.record_file, json.dumps(asdict(record), indent=1))

    def mark_stopped(self) -> None:
        """From now on the node is stopped, whatever still runs there. Raises OSError."""
        if not self.stopped.exists():
            write_atomically(self.stopped, uuid.uuid4().hex)

    def mark_started(self) -> None:
        """From now on the node is not stopped any more, and has another boot id. Raises OSError."""
        with suppress(FileNotFoundError):
            self.stopped.rename(self.boot_file)

    def boot_id(self) -> str | None:
        """Differs between any two starts after a stop; None if it was never stopped."""
        try:
            return self.boot_file.read_text()
        except FileNotFoundError:
            return None


@dataclass(frozen=True)
class Folder:
    """The folder of all local nodes of one installation."""

    path: Path

    @property
    def nodes(self) -> Path:
        return self.path / "nodes"

    @property
    def lock(self) -> Path:
        """Held by the host while it lives, which wrote its process id into it."""
        return self.path / "host.lock"

    @property
    def log(self) -> Path:
        return self.path / "host.log"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def stockouts(self) -> Path:
        """How often each limited stockout has struck."""
        return self.path / "stockouts.json"

    def create(self) -> None:
        """Makes the folder, for this user only. Raises OSError."""
        self.nodes.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def host_id(self) -> str:
        """The id of this host, made by whoever asks first. Raises OSError."""
        file = self.path / "host-id"
        with suppress(FileNotFoundError):
            return file.read_text().strip()
        self.create()
        name = re.sub(r"[^a-z0-9-]", "-", platform.node().partition(".")[0].lower())[:30].strip("-") or "host"
        own = self.path / f"host-id.{uuid.uuid4().hex}"
        own.write_text(f"{name}-{uuid.uuid4().hex[:8]}\n")
        try:
            with suppress(FileExistsError):
                os.link(own, file)
        finally:
            own.unlink()
        return file.read_text().strip()

    def socket(self) -> Path | None:
        """Where the host listens: in this folder, or where the last host said if that path is too long for a socket."""
        own = self.path / "host.sock"
        if len(os.fsencode(own)) <= MAX_SOCKET_PATH:
            return own
        with suppress(FileNotFoundError):
            return Path((self.path / "host.socket-path").read_text())
        return None

    def new_socket(self) -> Path:
        """A path on which the host can listen. What was there before is removed."""
        path = self.socket()
        if path is None or not path.parent.is_dir():
            path = Path(tempfile.mkdtemp(prefix="skyflow-", dir="/tmp")) / "host.sock"
            write_atomically(self.path / "host.socket-path", str(path))
        path.unlink(missing_ok=True)
        return path

    def node(self, node_id: str) -> NodeFolder:
        return NodeFolder(self.nodes / node_id)

    def deleted(self, node_id: str) -> NodeFolder:
        """The folder of a node that is being deleted."""
        return NodeFolder(self.nodes / f"{DELETED}{node_id}")

    def records(self) -> Iterator[NodeRecord]:
        """All nodes that exist."""
        for path in sorted(self.nodes.glob("[!.]*")):
            if record := NodeFolder(path).read():
                yield record

    def deletions(self) -> Iterator[NodeRecord]:
        """All nodes that are being deleted."""
        for path in sorted(self.nodes.glob(f"{DELETED}*")):
            if record := NodeFolder(path).read():
                yield record


def hold(path: Path) -> int | None:
    """Takes the lock of a file until the descriptor is closed, or its last holder dies. None if somebody has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    return descriptor


def holder(path: Path) -> int | None:
    """The process that holds a lock; 0 if it has not said yet who it is; None if nobody holds it.

    The lock makes the number trustworthy: the kernel frees it when its process dies.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, 32, 0) or 0)
    else:
        return None
    finally:
        os.close(descriptor)


def sign(descriptor: int) -> None:
    """Writes the own process id into a lock that is held."""
    os.pwrite(descriptor, b"%d" % os.getpid(), 0)


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file; whoever reads it sees the old or the new content."""
    own = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    own.write_text(text)
    own.replace(path)
