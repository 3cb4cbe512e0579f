"""The host of local nodes: started once, killed at any moment, replaced; the nodes do not notice."""

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from skyflow.clouds.local import folder, host_client
from skyflow.clouds.local.host_client import ask, ensure_host
from skyflow.errors import NodeUnreachableError, ProvisionError
from skyflow.models.node import GangRef
from tests.clouds.local_lab import LocalLab


async def test_many_at_once_start_one_host(lab: LocalLab) -> None:
    await asyncio.gather(*(ensure_host(lab.settings) for _ in range(4)))
    pid = lab.host_pid()
    assert pid
    await asyncio.gather(*(ensure_host(lab.settings) for _ in range(4)))
    assert lab.host_pid() == pid


async def test_a_second_host_ends_at_once(lab: LocalLab) -> None:
    await ensure_host(lab.settings)
    pid = lab.host_pid()
    argv = [sys.executable, "-m", "skyflow.clouds.local.host", "--home", str(lab.folder.path)]
    second = await asyncio.create_subprocess_exec(*argv)
    assert await second.wait() == 0
    assert lab.host_pid() == pid


async def test_the_socket_is_for_this_user_only(lab: LocalLab) -> None:
    await ensure_host(lab.settings)
    path = lab.folder.socket()
    assert path
    assert path.stat().st_mode & 0o777 == 0o600
    assert lab.folder.path.stat().st_mode & 0o777 == 0o700


async def test_nodes_outlive_the_host_and_are_adopted(lab: LocalLab) -> None:
    request = lab.request(num_nodes=2)
    nodes = await lab.cloud.create_nodes(request)
    servers = [lab.node_pid(node) for node in nodes]
    await lab.kill_host()
    assert (await lab.run(nodes[0], "echo still here")).stdout == b"still here\n"
    found = await lab.cloud.describe_nodes(lab.reference(request))
    assert [status.state for status in found] == ["running", "running"]
    assert await lab.cloud.create_nodes(request) == nodes
    assert [lab.node_pid(node) for node in nodes] == servers
    assert lab.host_pid()


async def test_a_dead_server_is_started_again_by_the_next_host(lab: LocalLab) -> None:
    request = lab.request()
    (node,) = await lab.cloud.create_nodes(request)
    await lab.run(node, "echo precious > file")
    await lab.kill_host()
    await lab.kill_server(node)
    await ensure_host(lab.settings)
    assert (await lab.run(node, "cat file")).stdout == b"precious\n"  # same address, port and host key


async def test_a_dead_server_is_started_again_when_somebody_asks(lab: LocalLab) -> None:
    request = lab.request()
    (node,) = await lab.cloud.create_nodes(request)
    await lab.kill_server(node)
    (status,) = await lab.cloud.describe_nodes(lab.reference(request))
    assert (status.state, status.node) == ("running", node)
    assert (await lab.run(node, "true")).status == 0


async def test_a_node_whose_port_is_taken_is_not_said_to_be_stopped(lab: LocalLab) -> None:
    request = lab.request()
    (node,) = await lab.cloud.create_nodes(request)
    await lab.kill_server(node)
    taken = await asyncio.start_server(lambda *_: None, node.address, node.port)
    async with taken:
        (status,) = await lab.cloud.describe_nodes(lab.reference(request))
        assert status.state == "running", "its jobs may run on"
        with pytest.raises(ProvisionError, match="cannot be started"):
            await lab.cloud.create_nodes(request)
    (status,) = await lab.cloud.describe_nodes(lab.reference(request))
    assert status.state == "running"


async def test_a_host_of_another_version_is_replaced(lab: LocalLab) -> None:
    request = lab.request()
    (node,) = await lab.cloud.create_nodes(request)
    old, server = lab.host_pid(), lab.node_pid(node)
    path = lab.folder.socket()
    assert path
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"op": "ping", "version": "0.0.0"}\n')  # what a client of another version would ask
    assert json.loads(await reader.readline()) == {"outdated": True}
    writer.close()
    assert len(await lab.cloud.describe_nodes(lab.reference(request))) == 1
    assert lab.host_pid() != old
    assert lab.node_pid(node) == server


async def test_a_killed_host_leaves_no_half_made_node_and_finishes_deletions(lab: LocalLab) -> None:
    request = lab.request()
    (node,) = await lab.cloud.create_nodes(request)
    await lab.run(node, "setsid sleep 1000 >/dev/null 2>&1 &")
    await lab.kill_host()
    half_made = lab.folder.nodes / f"{folder.NEW}local-x"
    half_made.mkdir()
    lab.folder.node(node.id).path.rename(lab.folder.deleted(node.id).path)  # killed right after the rename
    await ensure_host(lab.settings)
    assert not half_made.exists()
    assert await lab.cloud.delete_nodes(lab.reference(request)) == 0  # waits for what is being deleted
    assert lab.node_pid(node) is None
    assert list(lab.folder.nodes.iterdir()) == []


async def test_a_path_that_is_too_long_for_a_socket(tmp_path: Path) -> None:
    lab = LocalLab(tmp_path / ("long-" * 20) / ("path-" * 20))
    try:
        (node,) = await lab.cloud.create_nodes(lab.request())
        assert (await lab.run(node, "true")).status == 0
        path = lab.folder.socket()
        assert path and len(os.fsencode(path)) <= folder.MAX_SOCKET_PATH
        await lab.kill_host()
        await ensure_host(lab.settings)
        assert lab.folder.socket() == path
    finally:
        await lab.close()
        if path := lab.folder.socket():
            shutil.rmtree(path.parent)


async def test_a_host_that_is_stopped_is_waited_for(lab: LocalLab, monkeypatch: pytest.MonkeyPatch) -> None:
    await ensure_host(lab.settings)
    monkeypatch.setattr(host_client, "START_SECONDS", 0.2)
    pid = lab.host_pid()
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(NodeUnreachableError, match="did not answer"):
            await ask(lab.settings, {"op": "ping"}, timeout=0.1)
    finally:
        os.kill(pid, signal.SIGCONT)
    await ensure_host(lab.settings)


async def test_a_host_that_cannot_start_says_why(lab: LocalLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.folder.create()
    lab.folder.log.write_text("No space left on device\n")
    monkeypatch.setattr(host_client, "START_SECONDS", 0.1)
    monkeypatch.setattr(host_client.sys, "executable", "/bin/false")
    with pytest.raises(ProvisionError, match="No space left on device") as failed:
        await lab.cloud.create_nodes(lab.request())
    assert failed.value.scope == "cloud"
    with pytest.raises(NodeUnreachableError):
        await lab.cloud.describe_nodes(lab.reference(lab.request()))


async def test_nodes_of_another_host_are_not_said_to_be_gone(lab: LocalLab) -> None:
    gang = GangRef(deployment="d", cluster="c", uid="u", cloud="local", host="elsewhere-12345678")
    with pytest.raises(NodeUnreachableError, match="elsewhere-12345678"):
        await lab.cloud.describe_nodes(gang)
    with pytest.raises(NodeUnreachableError):
        await lab.cloud.delete_nodes(gang)
    with pytest.raises(NodeUnreachableError):
        await lab.cloud.stop_nodes(gang)
    with pytest.raises(NodeUnreachableError):
        await lab.cloud.start_nodes(gang)
    offer = lab.offers()[0].model_copy(update={"host": "elsewhere-12345678"})
    with pytest.raises(ProvisionError) as refused:
        await lab.cloud.create_nodes(lab.request(offer=offer))
    assert refused.value.scope == "cloud"


async def test_the_host_keeps_no_credentials(lab: LocalLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    await ensure_host(lab.settings)
    assert b"hush" not in Path(f"/proc/{lab.host_pid()}/environ").read_bytes()
