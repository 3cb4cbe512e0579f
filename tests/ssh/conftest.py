"""Clusters as they are told to the SSH folder, and what OpenSSH itself makes of a config."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from skyflow.ssh.entry import Entry
from skyflow.ssh.folder import SshFolder

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPm6ngXEFIbNFCyzcQ0Yg1fIVQ3DmPSX8sZBUtkLLI8F"

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh command on this machine")


def entry(cluster: str = "dev", nodes: int = 1, ways: str = "a1", **change: object) -> Entry:
    """A cluster that is up. `change` is of its nodes."""
    node = {"port": 2200, "user": "me", "host_key": HOST_KEY}
    ranks = [{**node, "rank": rank, "address": f"127.0.0.{rank + 1}", **change} for rank in range(nodes)]
    return Entry(cluster=cluster, ways=ways, nodes=ranks, key=f"key of {cluster} {ways}\n")


def understood(config: Path, host: str) -> dict[str, str]:
    """What `ssh` would do for this host: option, in lower case, → value."""
    done = subprocess.run(["ssh", "-F", str(config), "-G", host], capture_output=True, text=True, check=True)
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's home, in which nothing is yet."""
    path = tmp_path / "home of 100% [me]"
    path.mkdir()
    return path


@pytest.fixture
def folder(home: Path) -> SshFolder:
    return SshFolder(home / ".skyflow" / "ssh", home)
