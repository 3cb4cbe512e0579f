"""Making a local node: its address, its host key, and its folder, which appears complete or not at all."""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
from contextlib import suppress

import asyncssh

from skyflow.clouds.local.folder import NEW, Folder, NodeFolder, NodeRecord, NodeSpec
from skyflow.clouds.local.process import remove

BACKLOG = 128
ADDRESSES = 10
"""How many addresses of its own are tried for a node."""


def make(folder: Folder, spec: NodeSpec) -> NodeRecord:
    """Makes the folder of a node that does not exist. Nothing runs yet. Raises OSError."""
    address, port = _free_address(spec.id)
    key = asyncssh.generate_private_key("ssh-ed25519", comment=spec.id)
    public = key.export_public_key().decode().strip()
    record = NodeRecord(**vars(spec), address=address, port=port, user=_user(), host_key=public)
    new = NodeFolder(folder.nodes / f"{NEW}{spec.id}")
    remove(new.path)
    for path in (new.path, new.home, new.tmp):
        path.mkdir(mode=0o700)
    new.host_key.touch(mode=0o600)
    key.write_private_key(str(new.host_key))
    new.write(record)
    new.path.rename(folder.node(spec.id).path)
    return record


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens there; 0 is any free port. Raises OSError."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _free_address(node_id: str) -> tuple[str, int]:
    """An address of the node's own where loopback has many (Linux), else the one there is; and a free port there."""
    for attempt in range(ADDRESSES):
        a, b, c = hashlib.sha256(f"{node_id}/{attempt}".encode()).digest()[:3]
        with suppress(OSError), listen(f"127.{a or 1}.{b}.{c or 1}", 0) as probe:
            address, port = probe.getsockname()
            return address, port
    with listen("127.0.0.1", 0) as probe:
        return "127.0.0.1", int(probe.getsockname()[1])


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container that runs as a bare number
        return str(os.getuid())
