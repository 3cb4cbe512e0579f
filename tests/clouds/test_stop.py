"""Stopped local nodes: nothing runs, nothing starts them by itself, and they come back like a rebooted machine."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from skyflow import __version__
from skyflow.cli import local as cli
from skyflow.clouds.local import process
from skyflow.clouds.local.cloud import LocalCloud
from skyflow.clouds.local.faults import Faults
from skyflow.clouds.local.folder import hold
from skyflow.clouds.local.host_client import ensure_host
from skyflow.errors import NodeUnreachableError, ProvisionError
from skyflow.models.node import GangRef, GangRequest, Node
from skyflow.nodes import runner
from skyflow.nodes.connection import Connection
from tests.clouds.local_lab import LocalLab, until
from tests.clouds.test_node import login
from tests.contract.stop_contract import StopContract

STUBBORN = "setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' >/dev/null 2>&1 & echo $!"


class TestLocal(StopContract):
    @pytest.fixture
    def world(self, lab: LocalLab) -> LocalLab:
        return lab


@pytest.fixture
def request_(lab: LocalLab) -> GangRequest:
    return lab.request()


@pytest.fixture
def gang(lab: LocalLab, request_: GangRequest) -> GangRef:
    return lab.reference(request_)


@pytest.fixture
async def node(lab: LocalLab, request_: GangRequest) -> Node:
    (node,) = await lab.cloud.create_nodes(request_)
    return node


@asynccontextmanager
async def connected(lab: LocalLab, node: Node) -> AsyncIterator[Connection]:
    connection = Connection(node, lab.private_key)
    await connection.open()
    try:
        yield connection
    finally:
        connection.close()


async def start_unit(lab: LocalLab, node: Node, gang: GangRef, script: str) -> None:
    """Returns when the script, which says `up` in the end, has come so far."""
    up = lab.folder.node(node.id).home / "up"
    up.unlink(missing_ok=True)
    async with connected(lab, node) as connection:
        assert await runner.start(connection, gang.uid, "1", script.encode()) == "started"
    await until(up.exists)


async def show_unit(lab: LocalLab, node: Node, gang: GangRef) -> str:
    async with connected(lab, node) as connection:
        return (await runner.show(connection, gang.uid))["1"].state


async def state(lab: LocalLab, gang: GangRef) -> str:
    (status,) = await lab.cloud.describe_nodes(gang)
    return status.state


async def boot_id(lab: LocalLab, node: Node) -> str:
    return (await lab.run(node, "echo $SKYFLOW_BOOT_ID")).stdout.decode().strip()


async def test_the_same_address_and_the_same_key_with_nobody_behind(lab: LocalLab, node: Node, gang: GangRef) -> None:
    assert await lab.cloud.stop_nodes(gang) == 1
    assert lab.node_pid(node) is None
    assert list(process.marked(node.id)) == []
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(node.address, node.port)
    assert await lab.cloud.start_nodes(gang) == [node]
    assert (await lab.run(node, "true")).status == 0


async def test_what_does_not_heed_sigterm_is_killed(lab: LocalLab, node: Node, gang: GangRef) -> None:
    await lab.run(node, STUBBORN)
    await lab.cloud.stop_nodes(gang)
    assert list(process.marked(node.id)) == []


@pytest.mark.parametrize("fault", ["freeze", "cut"])
async def test_a_node_that_does_not_answer_can_be_stopped(lab: LocalLab, node: Node, gang: GangRef, fault: str) -> None:
    await lab.run(node, "setsid sleep 1000 >/dev/null 2>&1 &")
    faults = Faults(lab.settings)
    getattr(faults, fault)(faults.nodes())
    await lab.cloud.stop_nodes(gang)
    assert list(process.marked(node.id)) == []
    await lab.cloud.start_nodes(gang)
    assert (await lab.run(node, "true")).status == 0


@pytest.mark.parametrize(
    "mess",
    ["mkdir -p a/b; chmod 500 a/b a .", "cd; rm -r $TMPDIR; mkdir kept; ln -s ~/kept $TMPDIR", "cd; rm -r $TMPDIR"],
)
async def test_tmp_is_empty_after_a_stop(lab: LocalLab, node: Node, gang: GangRef, mess: str) -> None:
    await lab.run(node, f"cd $TMPDIR; {mess}; touch ~/kept/file")
    await lab.cloud.stop_nodes(gang)
    await lab.cloud.start_nodes(gang)
    assert (await lab.run(node, "ls -A $TMPDIR; touch $TMPDIR/file; ls $TMPDIR")).stdout == b"file\n"
    home = lab.folder.node(node.id).home
    assert not (home / "kept").exists() or (home / "kept/file").exists()


# Jobs


@pytest.mark.parametrize(
    "script", ["touch ~/up; sleep 1000", "trap 'touch ~/saved; exit 0' TERM; touch ~/up; while :; do sleep 0.01; done"]
)
async def test_a_unit_that_ran_is_lost_after_a_start(lab: LocalLab, node: Node, gang: GangRef, script: str) -> None:
    await start_unit(lab, node, gang, script)
    await lab.cloud.stop_nodes(gang)
    await lab.cloud.start_nodes(gang)
    assert await show_unit(lab, node, gang) == "lost"
    assert (lab.folder.node(node.id).home / "saved").exists() == ("saved" in script)


async def test_a_unit_that_ran_is_lost_also_if_its_process_id_is_taken(
    lab: LocalLab, node: Node, gang: GangRef
) -> None:
    await start_unit(lab, node, gang, "touch ~/up; sleep 1000")
    await lab.cloud.stop_nodes(gang)
    await lab.cloud.start_nodes(gang)
    # As if the supervisor had left no word, and another process had its id and began at the same time.
    unit = lab.folder.node(node.id).home / ".skyflow/jobs" / gang.uid / "1"
    other = int((await lab.run(node, STUBBORN)).stdout)
    ticks = Path(f"/proc/{other}/stat").read_text().rpartition(")")[2].split()[19]
    _, _, boot, began = (unit / "claim").read_text().split()
    (unit / "claim").write_text(f"{other} {ticks} {boot} {began}\n")
    (unit / "end").unlink()
    assert await show_unit(lab, node, gang) == "lost"
    (unit / "claim").write_text(f"{other} {ticks} {await boot_id(lab, node)} {began}\n")
    (unit / "end").unlink()
    assert await show_unit(lab, node, gang) == "running"  # so it was the boot id that told


@pytest.mark.parametrize("was_stopped", [False, True])
async def test_a_unit_outlives_the_server_of_its_node(
    lab: LocalLab, node: Node, gang: GangRef, was_stopped: bool
) -> None:
    if was_stopped:
        await lab.cloud.stop_nodes(gang)
        await lab.cloud.start_nodes(gang)
    await start_unit(lab, node, gang, "touch ~/up; sleep 1000")
    before = await boot_id(lab, node)
    assert bool(before) == was_stopped
    await lab.kill_host()
    await lab.kill_server(node)
    assert await state(lab, gang) == "running"
    assert await show_unit(lab, node, gang) == "running"
    assert await boot_id(lab, node) == before


async def test_every_start_has_a_boot_id_of_its_own(lab: LocalLab, node: Node, gang: GangRef) -> None:
    found = [await boot_id(lab, node)]
    for _ in range(2):
        await lab.cloud.stop_nodes(gang)
        await lab.cloud.start_nodes(gang)
        found.append(await boot_id(lab, node))
    assert len(set(found)) == 3
    machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert all(one.startswith(machine) for one in found[1:])  # when the machine reboots, so has the node


# The host


async def test_a_host_that_was_killed_between_mark_and_end(lab: LocalLab, node: Node, gang: GangRef) -> None:
    await lab.run(node, "setsid sleep 1000 >/dev/null 2>&1 &")
    await lab.kill_host()
    lab.folder.node(node.id).mark_stopped()
    await ensure_host(lab.settings)
    await until(lambda: lab.node_pid(node) is None and not list(process.marked(node.id)))
    assert await state(lab, gang) == "stopped"


async def test_a_start_finishes_a_stop_that_was_left_half_done(lab: LocalLab, node: Node, gang: GangRef) -> None:
    """Killed with all its children: the server is gone, a process of the node is not."""
    await lab.run(node, "setsid sleep 1000 >/dev/null 2>&1 &")
    lab.folder.node(node.id).mark_stopped()
    await lab.kill_server(node)
    assert await lab.cloud.start_nodes(gang) == [node]
    assert list(process.marked(node.id)) == []


async def test_a_host_that_is_killed_while_it_stops(lab: LocalLab, node: Node, gang: GangRef) -> None:
    """What is still ending the old processes then does not touch those of the next start."""
    await lab.run(node, STUBBORN)
    stopping = asyncio.create_task(lab.cloud.stop_nodes(gang))
    await until(lambda: lab.node_pid(node) is None)
    stopping.cancel()  # else it asks the next host for the same
    await lab.kill_host()
    assert await lab.cloud.start_nodes(gang) == [node]
    server = lab.node_pid(node)
    pid = int((await lab.run(node, STUBBORN)).stdout)
    await asyncio.wait([stopping])
    assert await state(lab, gang) == "running"
    assert lab.node_pid(node) == server
    assert pid in set(process.marked(node.id))


async def test_no_start_while_an_earlier_host_may_still_be_ending_processes(
    lab: LocalLab, node: Node, gang: GangRef
) -> None:
    await lab.cloud.stop_nodes(gang)
    lock = hold(lab.folder.node(node.id).stop_lock)
    assert lock is not None
    starting = asyncio.create_task(lab.cloud.start_nodes(gang))
    done, _ = await asyncio.wait([starting], timeout=0.2)
    assert not done and lab.node_pid(node) is None
    os.close(lock)
    assert await starting == [node]


async def test_the_next_host_does_not_start_what_is_stopped(lab: LocalLab, gang: GangRef) -> None:
    request = lab.request(num_nodes=2)
    nodes = await lab.cloud.create_nodes(request)
    faults = Faults(lab.settings)
    await faults.stop(faults.nodes("dev", [1]))
    await lab.kill_host()
    await lab.kill_server(nodes[0])
    await ensure_host(lab.settings)
    await until(lambda: bool(lab.node_pid(nodes[0])))
    assert lab.node_pid(nodes[1]) is None
    found = await lab.cloud.describe_nodes(gang)
    assert {status.node.rank: status.state for status in found} == {0: "running", 1: "stopped"}
    assert await lab.cloud.start_nodes(gang) == nodes


async def test_a_host_adopts_what_is_stopped_and_refuses_to_create_it(
    lab: LocalLab, node: Node, request_: GangRequest, gang: GangRef
) -> None:
    await lab.cloud.stop_nodes(gang)
    with pytest.raises(ProvisionError, match="is stopped"):
        await lab.cloud.create_nodes(request_)
    assert await state(lab, gang) == "stopped"


async def test_a_refused_gang_is_left_as_it_is(lab: LocalLab) -> None:
    request = lab.request(num_nodes=3)
    gang = lab.reference(request)
    nodes = await lab.cloud.create_nodes(request)
    await lab.cloud.stop_nodes(gang)
    lab.allow(request.offer, 2)
    with pytest.raises(ProvisionError) as refused:
        await lab.cloud.start_nodes(gang)
    assert refused.value.code == "InsufficientCapacity"
    assert {status.state for status in await lab.cloud.describe_nodes(gang)} == {"stopped"}
    lab.allow(request.offer, 3)
    assert await lab.cloud.start_nodes(gang) == nodes


async def test_a_refusal_of_a_start_is_about_the_zone(
    lab: LocalLab, node: Node, request_: GangRequest, gang: GangRef
) -> None:
    await lab.cloud.stop_nodes(gang)
    lab.stock_out(request_.offer, scope="region")
    with pytest.raises(ProvisionError) as refused:
        await lab.cloud.start_nodes(gang)
    assert (refused.value.scope, refused.value.code) == ("zone", "Stockout")


async def test_a_node_whose_port_is_taken_stays_stopped(lab: LocalLab, node: Node, gang: GangRef) -> None:
    await lab.cloud.stop_nodes(gang)
    taken = await asyncio.start_server(lambda *_: None, node.address, node.port)
    async with taken:
        with pytest.raises(ProvisionError, match="cannot be started"):
            await lab.cloud.start_nodes(gang)
    assert await state(lab, gang) == "stopped"
    assert await lab.cloud.start_nodes(gang) == [node]


@pytest.mark.parametrize(("end", "left"), [("stop", ["stopped"]), ("delete", [])])
async def test_the_last_request_wins_over_a_slow_start(
    lab: LocalLab, node: Node, gang: GangRef, end: str, left: list[str]
) -> None:
    await lab.cloud.stop_nodes(gang)
    path = lab.folder.socket()
    assert path
    reader, writer = await asyncio.open_unix_connection(path)
    start = {"op": "start", "version": __version__, "nodes": [{"id": node.id, "limits": [], "delay": 1000}]}
    writer.write(json.dumps(start).encode() + b"\n")
    await ensure_host(lab.settings)  # it has read what came before
    assert await getattr(lab.cloud, f"{end}_nodes")(gang) == 1
    assert "while it was being" in json.loads(await reader.readline())["refused"]["message"]
    writer.close()
    assert [status.state for status in await lab.cloud.describe_nodes(gang)] == left
    assert lab.node_pid(node) is None


async def test_a_slow_start(lab: LocalLab, node: Node, request_: GangRequest, gang: GangRef) -> None:
    await lab.cloud.stop_nodes(gang)
    lab.slow_down(request_.offer, 0.3)
    lab.allow(request_.offer, 1)
    started, again = await asyncio.gather(lab.cloud.start_nodes(gang), lab.cloud.start_nodes(gang))
    assert started == again == [node]  # what is being started has its room already


async def test_a_node_that_is_stopped_while_it_is_made(lab: LocalLab, request_: GangRequest, gang: GangRef) -> None:
    lab.slow_down(request_.offer, 1000)
    creating = asyncio.create_task(lab.cloud.create_nodes(request_))
    await until(lambda: any(lab.folder.nodes.glob("local-*")))
    assert await lab.cloud.stop_nodes(gang) == 1
    with pytest.raises(ProvisionError, match="stopped while it was being started"):
        await creating
    assert await state(lab, gang) == "stopped"


# A node that switches itself off


async def test_a_node_whose_lease_is_over_is_stopped_for_its_cloud(lab: LocalLab, node: Node, gang: GangRef) -> None:
    await lab.kill_host()  # it needs nobody for that
    (lab.folder.node(node.id).home / ".bashrc").touch()
    power_off = LocalCloud.capabilities.power_off
    async with connected(lab, node) as connection:
        await runner.lease(connection, gang.uid, 1000, power_off)
        await runner.lease(connection, gang.uid, 0, power_off)
    for pid in process.marked(node.id):  # the guard looks every 30 s: the next one does so at once
        os.kill(pid, signal.SIGKILL)
    await lab.run(node, f"SKYFLOW_LEASE_LOOK=0.05 sh ~/.skyflow/bin/runner-*.sh {gang.uid} contact")
    await until(lambda: lab.node_pid(node) is None)
    assert await state(lab, gang) == "stopped"
    assert not set(process.marked(node.id))
    assert await lab.cloud.start_nodes(gang) == [node]
    assert (lab.folder.node(node.id).home / ".bashrc").exists()
    async with connected(lab, node) as connection:  # the old lease is still there, and a start is contact
        await runner.lease(connection, gang.uid, None, power_off)
    assert await state(lab, gang) == "running"


async def test_a_start_waits_for_a_node_that_switches_itself_off(lab: LocalLab, node: Node, gang: GangRef) -> None:
    await start_unit(lab, node, gang, f"{STUBBORN} >~/pid; echo >~/up; sleep 1000")
    with pytest.raises(NodeUnreachableError):
        await lab.run(node, 'eval "$SKYFLOW_POWER_OFF"')
    await until(lab.folder.node(node.id).stopped.exists)
    assert await lab.cloud.start_nodes(gang) == [node]
    pid = int((lab.folder.node(node.id).home / "pid").read_text())
    assert pid not in set(process.marked(node.id))
    assert await show_unit(lab, node, gang) == "lost"


async def test_who_counts_as_a_user(lab: LocalLab, node: Node, gang: GangRef) -> None:
    async with connected(lab, node) as connection:
        assert await runner.sessions(connection, gang.uid) is None
        async with login(lab, node):  # without any command, as for a forwarded port
            assert await runner.sessions(connection, gang.uid) == 0
        await until(lambda: not any(lab.folder.node(node.id).sessions.iterdir()))
        assert await runner.sessions(connection, gang.uid) is None


# The laboratory


async def test_skyflow_local_stop(
    lab: LocalLab, gang: GangRef, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = await lab.cloud.create_nodes(lab.request(num_nodes=3))
    monkeypatch.setenv("SKYFLOW_HOME", str(lab.settings.home))
    await asyncio.to_thread(cli.accident, "stop", "dev", [0, 2])
    assert "Node(s) 0, 2 of dev: stopped." in "".join(capsys.readouterr())
    await lab.kill_server(nodes[1])
    cli.nodes("json")
    shown = json.loads(capsys.readouterr().out)
    assert [one["state"] for one in shown] == ["stopped", "dead", "stopped"]
    found = await lab.cloud.describe_nodes(gang)
    assert [status.state for status in sorted(found, key=lambda one: one.node.rank)] == [
        "stopped",
        "running",
        "stopped",
    ]
