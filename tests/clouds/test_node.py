"""A local node: a fresh machine's environment, sshd's manners, and an end that leaves nothing."""

import asyncio
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from skyflow.clouds.local import process
from skyflow.errors import ProvisionError
from skyflow.models.node import Node
from skyflow.nodes.connection import Connection
from tests.clouds.local_lab import LocalLab, until


@pytest.fixture
async def node(lab: LocalLab) -> Node:
    (node,) = await lab.cloud.create_nodes(lab.request())
    return node


def login(lab: LocalLab, node: Node) -> Any:
    """A connection of asyncssh's own."""
    host_key = asyncssh.import_public_key(node.host_key)
    return asyncssh.connect(
        node.address, node.port, username=node.user, client_keys=[lab.key], known_hosts=([host_key], [], []),
        config=None, agent_path=None,
    )  # fmt: skip


def is_alive(pid: int) -> bool:
    """Whether it runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_the_environment_is_that_of_a_fresh_machine(
    lab: LocalLab, monkeypatch: pytest.MonkeyPatch, node: Node
) -> None:
    out = (await lab.run(node, "env")).stdout.decode()
    env = dict(line.split("=", 1) for line in out.splitlines())
    home = str(lab.folder.node(node.id).home)
    assert env.pop("SKYFLOW_POWER_OFF").endswith(f"-m skyflow.clouds.local.power_off {home[:-5]} {node.id}")
    assert {name: env.pop(name) for name in list(env) if name in ("PWD", "_", "SHLVL", "OLDPWD")}["PWD"] == home
    assert env == {
        "HOME": home,
        "USER": node.user,
        "LOGNAME": node.user,
        "SHELL": "/bin/bash",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "TMPDIR": str(lab.folder.node(node.id).tmp),
        "SKYFLOW_NODE": node.id,
        "SKYFLOW_SESSIONS": str(lab.folder.node(node.id).sessions),
    }


async def test_a_command_inherits_no_descriptors_and_no_ignored_signals(lab: LocalLab, node: Node) -> None:
    assert (await lab.run(node, "ls /proc/self/fd")).stdout.split() == [b"0", b"1", b"2", b"3"]  # 3 is the listing's
    ignored = (await lab.run(node, "grep SigIgn /proc/self/status")).stdout.split()[1]
    own = 0b11 << 31  # signals 32 and 33 are the C library's: no program can say what becomes of them
    assert int(ignored, 16) & ~own == 0


async def test_the_ssh_command_works(lab: LocalLab, node: Node, tmp_path: Path) -> None:
    ssh = shutil.which("ssh")
    if ssh is None:
        pytest.skip("no ssh command")
    key, known = tmp_path / "key", tmp_path / "known_hosts"
    key.write_text(lab.private_key)
    key.chmod(0o600)
    known.write_text(f"[{node.address}]:{node.port} {node.host_key}\n")
    options = ["-F", "none", "-i", str(key), "-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes"]
    ssh_to = [ssh, *options, "-o", "StrictHostKeyChecking=yes", "-p", str(node.port), f"{node.user}@{node.address}"]

    async def run(*command: str) -> tuple[int, bytes, bytes]:
        done = await asyncio.to_thread(
            subprocess.run, [*ssh_to, *command], input=b"a\0b", capture_output=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    assert await run("true") == (0, b"", b"")
    assert await run("cat; echo e >&2; exit 4") == (4, b"a\0b", b"e\n")
    assert await run("cat /dev/stdin") == (0, b"a\0b", b"")
    for command in ([], ["-s", "nothing"]):
        done = await asyncio.to_thread(
            subprocess.run, [*ssh_to, *command], input=b"shopt login_shell; exit 5", capture_output=True, check=False
        )
        assert (done.returncode, done.stdout) == ((1, b"") if command else (5, b"login_shell    \ton\n")), done


async def test_a_terminal_is_the_shells_own(lab: LocalLab, node: Node) -> None:
    async with (
        login(lab, node) as connection,
        connection.create_process(term_type="dumb", term_size=(90, 30)) as shell,
    ):

        async def say(words: str, answer: str) -> None:
            shell.stdin.write(words)
            await asyncio.wait_for(shell.stdout.readuntil(answer), 20)

        await say("test -t 0 -a -t 1 -a -t 2 && stty size && echo $TERM\n", "30 90\r\ndumb\r\n")
        shell.change_terminal_size(100, 40)
        await say("until [ \"$(stty size)\" = '40 100' ]; do sleep 0.01; done; echo re''sized\n", "resized")
        await say("sh -c \"trap 'echo cau''ght; exit' INT; echo wai''ting; sleep 60\"\n", "waiting")
        caught = asyncio.ensure_future(shell.stdout.readuntil("caught"))
        while not caught.done():  # a shell that is about to wait for the sleep would take note only after it
            shell.stdin.write("\x03")
            await asyncio.wait([caught], timeout=5)
        shell.stdin.write("sleep 60 & disown; exit 6\n")  # what is left behind does not hold it open
        assert (await asyncio.wait_for(shell.wait(), 20)).exit_status == 6


async def test_files_can_be_copied_without_rsync(lab: LocalLab, node: Node) -> None:
    data = os.urandom(1 << 20)
    async with (
        login(lab, node) as connection,
        connection.start_sftp_client() as files,
    ):
        home = lab.folder.node(node.id).home
        assert await files.realpath(".") == str(home.resolve())
        async with files.open("data", "wb") as file:
            await file.write(data)
        assert (home / "data").read_bytes() == data
        assert await files.exists("/etc/passwd")


async def test_only_the_clusters_key_and_the_nodes_user_get_in(lab: LocalLab, node: Node) -> None:
    async def connect(user: str, key: object) -> None:
        options: dict[str, Any] = {"known_hosts": ([asyncssh.import_public_key(node.host_key)], [], []), "config": None}
        async with asyncssh.connect(
            node.address, node.port, username=user, client_keys=[key], agent_path=None, **options
        ):
            pass

    await connect(node.user, lab.key)
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(node.user, asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(asyncssh.PermissionDenied):
        await connect("somebody", lab.key)


async def test_signals_and_exit_codes_are_reported(lab: LocalLab, node: Node) -> None:
    assert (await lab.run(node, "exit 255")).status == 255
    assert (await lab.run(node, "kill -9 $$")).status == 137
    assert (await lab.run(node, "no-such-command")).status == 127
    assert (await lab.run(node, ": " + "x" * 200_000)).status == 126


async def test_8_mib_each_way_are_exact(lab: LocalLab, node: Node) -> None:
    data = os.urandom(8 << 20)
    done = await lab.run(node, "cat", data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


async def test_a_slow_reader_holds_the_command_back(lab: LocalLab, node: Node) -> None:
    size = 8 << 20
    connection = Connection(node, lab.private_key)
    await connection.open()
    async with connection.stream(f"head -c {size} /dev/zero | tee ~/copy; echo done > ~/done") as stream:
        received = b""
        async for chunk in stream:
            received += chunk
            if len(received) < 4 << 20:
                await asyncio.sleep(0.001)
    connection.close()
    assert stream.completed and stream.completed.status == 0
    assert received == bytes(size)


async def test_a_command_that_does_not_read_its_input_still_ends(lab: LocalLab, node: Node) -> None:
    assert (await lab.run(node, "exec <&-; exit 5", os.urandom(4 << 20))).status == 5


async def test_a_closed_connection_kills_the_group_but_not_sessions_of_their_own(lab: LocalLab, node: Node) -> None:
    connection = Connection(node, lab.private_key)
    await connection.open()
    command = "setsid sleep 1000 >/dev/null 2>&1 & echo $!; sleep 1000 & echo $!; echo end; wait"
    async with connection.stream(command) as stream:
        received = b""
        async for chunk in stream:
            received += chunk
            if received.endswith(b"end\n"):
                break
        job, child = (int(word) for word in received.split()[:2])
        await until(lambda: {job, child} <= set(process.marked(node.id)))
    # Leaving the block closed the channel, not the connection.
    await until(lambda: set(process.marked(node.id)) == {job})
    connection.close()


async def test_half_an_input_is_never_taken_for_a_whole_one(lab: LocalLab, node: Node) -> None:
    async def broken():  # type: ignore[no-untyped-def]
        yield b"half"
        raise RuntimeError("the source broke")

    connection = Connection(node, lab.private_key)
    await connection.open()
    with pytest.raises(RuntimeError):
        await connection.run("cat > ~/part && mv ~/part ~/whole", input=broken(), timeout=30)
    await connection.run("true", input=b"", timeout=30)  # the node has read what came before
    await until(lambda: not list(process.marked(node.id)))
    assert not (lab.folder.node(node.id).home / "whole").exists()
    connection.close()


async def test_a_client_that_gives_up_while_nobody_reads_its_input(lab: LocalLab, node: Node) -> None:
    known = ([asyncssh.import_public_key(node.host_key)], [], [])
    async with asyncssh.connect(
        node.address, node.port, username=node.user, client_keys=[lab.key], known_hosts=known, config=None
    ) as ssh:
        command = await ssh.create_process("echo up; exec sleep 1000", encoding=None)
        command.stdin.write(bytes(8 << 20))
        assert await command.stdout.readline() == b"up\n"
        command.channel.abort()
        await until(lambda: not list(process.marked(node.id)))
        assert not ssh.is_closed()


async def test_deleting_kills_every_process_of_the_node_and_nothing_else(lab: LocalLab, node: Node) -> None:
    (other,) = await lab.cloud.create_nodes(lab.request(launch_id="launch/dev/2"))
    start = "setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' >/dev/null 2>&1 & echo $!"
    doomed = int((await lab.run(node, start)).stdout)
    spared = int((await lab.run(other, start)).stdout)
    await lab.run(node, "mkdir -p ro/deep && touch ro/deep/file && chmod 500 ro/deep ro && ln -s /etc ro2")
    server = lab.node_pid(node)
    assert server
    request = lab.request()
    assert await lab.cloud.delete_nodes(lab.reference(request, request.launch_id)) == 1
    assert not is_alive(doomed) and not is_alive(server)
    assert list(process.marked(node.id)) == []
    assert is_alive(spared)
    assert (await lab.run(other, "true")).status == 0
    assert [path.name for path in lab.folder.nodes.iterdir()] == [other.id]


async def test_a_process_that_writes_while_its_node_is_deleted_leaves_nothing(lab: LocalLab, node: Node) -> None:
    """The folder is renamed before the last process is dead: what that writes under the old name goes too."""
    await lab.run(node, "setsid sh -c 'while :; do mkdir -p $HOME/again; done' >/dev/null 2>&1 &")
    assert await lab.cloud.delete_nodes(lab.reference(lab.request())) == 1
    assert list(lab.folder.nodes.iterdir()) == []


async def test_a_slow_start(lab: LocalLab) -> None:
    request = lab.request()
    lab.slow_down(request.offer, 0.3)
    first = asyncio.create_task(lab.cloud.create_nodes(request))
    await until(lambda: any(lab.folder.nodes.glob("local-*")))
    assert not first.done()
    assert await lab.cloud.create_nodes(request) == await first


async def test_a_node_that_is_deleted_while_it_starts(lab: LocalLab) -> None:
    request = lab.request()
    lab.slow_down(request.offer, 1000)
    creating = asyncio.create_task(lab.cloud.create_nodes(request))
    await until(lambda: any(lab.folder.nodes.glob("local-*")))
    assert await lab.cloud.delete_nodes(lab.reference(request)) == 1
    with pytest.raises(ProvisionError, match="deleted while it was being made"):
        await creating
    assert list(lab.folder.nodes.iterdir()) == []
