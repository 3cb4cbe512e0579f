"""The job runner over real SSH, with the tools of different systems."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path

import pytest

from skyflow.errors import NodeUnreachableError, SkyflowError
from skyflow.models.job import LOST
from skyflow.nodes import runner
from skyflow.nodes.connection import Connection
from skyflow.nodes.runner import RunnerEvent, UnitEnd

from .conftest import UID, Gate, until
from .server import SshServer

pytestmark = [pytest.mark.timeout(60), pytest.mark.parametrize("kind", ["dash", "busybox", "bare"])]


def unit_file(server: SshServer, unit: str, name: str) -> Path:
    return server.home / ".skyflow/jobs" / UID / unit / name


def supervisor(server: SshServer, unit: str) -> int:
    return int(unit_file(server, unit, "claim").read_text().split()[0])


def ends(server: SshServer) -> list[str]:
    lines = (server.home / ".skyflow/jobs" / UID / "events").read_text().splitlines()
    return [line for line in lines if line.split()[1] == "end"]


async def start(conn: Connection, unit: str, script: str) -> str:
    return await runner.start(conn, UID, unit, script.encode())


async def first(conn: Connection, kind: str, offset: int = 0) -> RunnerEvent:
    async with aclosing(runner.events(conn, UID, offset)) as stream:
        async for event in stream:
            if event.kind == kind:
                return event
    raise AssertionError


async def test_a_unit_runs_once_and_leaves_its_code(conn: Connection, server: SshServer) -> None:
    assert await start(conn, "1", "echo out; echo err >&2; exit 3") == "started"
    assert await runner.wait(conn, UID, "1") == UnitEnd(3, 8)
    assert await start(conn, "1", "echo again") == "exists"
    state = (await runner.show(conn, UID))["1"]
    assert (state.state, state.code, state.size) == ("ended", 3, 8)
    assert state.start is not None and state.end is not None and state.start <= state.end
    assert unit_file(server, "1", "log").read_bytes() == b"out\nerr\n"


async def test_once_the_runner_is_there_a_start_is_one_command(conn: Connection, server: SshServer) -> None:
    await start(conn, "1", "true")
    server.commands.clear()
    await start(conn, "2", "true")
    assert len(server.commands) == 1


async def test_concurrent_starts_are_one_run(conn: Connection, server: SshServer) -> None:
    answers = await asyncio.gather(*(start(conn, "1", "echo run >>~/count; exit 0") for _ in range(10)))
    assert sorted(answers) == ["exists"] * 9 + ["started"]
    await runner.wait(conn, UID, "1")
    assert (server.home / "count").read_text() == "run\n"


async def test_a_cut_script_is_refused_before_the_lock(conn: Connection, server: SshServer) -> None:
    await runner.install(conn)
    path = next((server.home / ".skyflow/bin").iterdir())
    done = await conn.run(f"sh {path} {UID} start 1 100", input=b"rm -rf /tm", timeout=20)
    assert (done.status, done.stderr) == (75, b"the script was cut: 10 of 100 bytes arrived\n")
    assert await runner.show(conn, UID, ["1"]) == {}
    assert await start(conn, "1", "exit 4") == "started"
    assert (await runner.wait(conn, UID, "1")).code == 4


async def test_a_cut_runner_is_not_installed(conn: Connection, server: SshServer) -> None:
    await runner.install(conn)
    path = next((server.home / ".skyflow/bin").iterdir())
    whole = path.read_bytes()
    install = server.commands[-1]
    path.unlink()
    assert (await conn.run(install, input=whole[:-1], timeout=20)).status != 0
    assert not path.exists()
    assert await start(conn, "1", "true") == "started"
    assert path.read_bytes() == whole


async def test_cancel_before_start(conn: Connection, server: SshServer) -> None:
    for _ in range(2):
        await runner.cancel(conn, UID, "1", 1, 137)
    assert await start(conn, "1", "echo run >>~/count") == "cancelled"
    state = (await runner.show(conn, UID, ["1"]))["1"]
    assert (state.state, state.code, state.size) == ("cancelled", 137, 0)
    assert await runner.wait(conn, UID, "1") == UnitEnd(137, 0)
    assert not (server.home / "count").exists()
    assert len(ends(server)) == 1


async def test_cancel_reaches_what_hides(conn: Connection, server: SshServer) -> None:
    gate = Gate(server.home / "gate")
    stubborn = "trap '' TERM; while :; do sleep 60; done"
    script = f"""
        bash -c "setsid bash -c \\"{stubborn}\\" &"
        env -i "$(command -v bash)" -c "{stubborn}" &
        trap '' TERM
        echo up >~/gate
        while :; do sleep 60; done
    """
    if "setsid" not in os.listdir(server.env["PATH"].split(":")[-1]):
        script = script.replace("setsid", "perl -e 'use POSIX; POSIX::setsid(); exec @ARGV'")
    await start(conn, "1", script)
    await gate.passed()
    await asyncio.gather(runner.cancel(conn, UID, "1", 0.3, 137), runner.cancel(conn, UID, "1", 0.3, 137))
    assert (await runner.wait(conn, UID, "1")).code == 137
    assert not server.processes("sleep")
    assert len(ends(server)) == 1


async def test_cancel_lets_a_unit_clean_up(conn: Connection, server: SshServer) -> None:
    gate = Gate(server.home / "gate")
    await start(conn, "1", "trap 'echo cleaned; exit 5' TERM; echo up >~/gate; while :; do sleep 0.01; done")
    await gate.passed()
    await runner.cancel(conn, UID, "1", 30, 137)
    assert (await runner.show(conn, UID))["1"].code == 137
    assert unit_file(server, "1", "log").read_text().endswith("cleaned\n")


async def test_cancel_of_what_has_ended_changes_nothing(conn: Connection, server: SshServer) -> None:
    await start(conn, "1", "exit 6")
    await runner.wait(conn, UID, "1")
    await runner.cancel(conn, UID, "1", 1, 137)
    assert (await runner.show(conn, UID))["1"].code == 6
    assert len(ends(server)) == 1


async def test_cancel_of_one_leaves_the_others(conn: Connection, server: SshServer) -> None:
    gate = Gate(server.home / "gate")
    await start(conn, "1", "sleep 60")
    await start(conn, "1-setup", "read x <~/gate; exit 7")
    await runner.cancel(conn, UID, "1", 30, 137)
    await gate.open()
    assert (await runner.wait(conn, UID, "1-setup")).code == 7


async def test_a_reboot_is_found_and_told_once(conn: Connection, server: SshServer) -> None:
    gate = Gate(server.home / "gate")
    await start(conn, "1", "echo half; echo up >~/gate; sleep 60")
    await gate.passed()
    os.kill(supervisor(server, "1"), signal.SIGSTOP)  # another process with the same id and time, as it were
    server.env["SKYFLOW_BOOT_ID"] = "another"
    states = await asyncio.gather(*(runner.show(conn, UID) for _ in range(4)))
    assert {(state["1"].state, state["1"].code, state["1"].size) for state in states} == {("lost", LOST, 5)}
    assert await runner.wait(conn, UID, "1") == UnitEnd(LOST, 5)
    assert await start(conn, "1", "true") == "exists"
    assert len(ends(server)) == 1


@pytest.mark.parametrize("script", ["sleep 60", "trap 'echo saved; exit 0' TERM; while :; do sleep 0.01; done"])
async def test_what_a_node_that_goes_down_takes_with_it_is_lost(
    conn: Connection, server: SshServer, script: str
) -> None:
    """A machine that is switched off asks all processes at once; what the unit says then is not its exit code."""
    gate = Gate(server.home / "gate")
    await start(conn, "1", f"echo up >~/gate; {script}")
    await gate.passed()
    unit = next(pid for pid in server.processes("jobs") if pid != supervisor(server, "1"))
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT):
        for pid in [supervisor(server, "1"), *server.processes("sleep"), unit]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    assert (await runner.wait(conn, UID, "1")).code == LOST
    assert (await runner.show(conn, UID))["1"].state == "lost"
    assert len(ends(server)) == 1


async def test_a_vanished_process_is_found(conn: Connection, server: SshServer) -> None:
    gate = Gate(server.home / "gate")
    await start(conn, "1", "echo up >~/gate; sleep 60")
    await gate.passed()
    os.kill(supervisor(server, "1"), signal.SIGKILL)
    await until(lambda: not server.processes("runner"))
    assert (await runner.show(conn, UID))["1"].state == "lost"
    assert not server.processes("sleep")
    assert len(ends(server)) == 1


async def test_a_zombie_is_not_alive(conn: Connection, server: SshServer) -> None:
    await runner.install(conn)
    path = next((server.home / ".skyflow/bin").iterdir())
    unit_file(server, "1", "script").parent.mkdir(parents=True)
    script = server.home / "script"
    script.write_text("sleep 60")
    argv = ["sh", str(path), UID, "run", "1", str(script)]
    # Popen does not reap before it is asked to; asyncio's processes would be reaped at once.
    popen = partial(subprocess.Popen, env=server.env, stdout=subprocess.PIPE, start_new_session=True)
    with await asyncio.to_thread(popen, argv) as process:
        assert await asyncio.to_thread(process.stdout.readline) == b"started\n"
        process.send_signal(signal.SIGKILL)
        await until(lambda: Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "Z")
        assert (await runner.show(conn, UID))["1"].state == "lost"


async def test_a_unit_runs_though_nobody_is_there_to_be_told_that_it_started(
    conn: Connection, server: SshServer
) -> None:
    """The connection broke at that moment; whoever asks again finds it running."""
    await runner.install(conn)
    path = next((server.home / ".skyflow/bin").iterdir())
    unit_file(server, "1", "script").parent.mkdir(parents=True)
    script = server.home / "script"
    script.write_text("exit 7")
    reading, writing = os.pipe()
    os.close(reading)
    argv = ["sh", str(path), UID, "run", "1", str(script)]
    popen = partial(subprocess.Popen, env=server.env, stdout=writing, stderr=writing, start_new_session=True)
    with await asyncio.to_thread(popen, argv):
        os.close(writing)
        assert (await runner.wait(conn, UID, "1")).code == 7


async def test_lives_do_not_mix(conn: Connection) -> None:
    await start(conn, "1", "exit 1")
    other = UID.replace("ab", "cd")
    assert await runner.show(conn, other) == {}
    assert await runner.start(conn, other, "1", b"exit 2") == "started"
    assert (await runner.wait(conn, other, "1")).code == 2
    assert (await runner.wait(conn, UID, "1")).code == 1


async def test_what_a_script_does_to_itself_is_recorded(conn: Connection) -> None:
    await start(conn, "group", "trap '' TERM; kill 0; exit 8")
    await start(conn, "kill", "kill -s KILL $$")
    await start(conn, "syntax", "if then")
    assert (await runner.wait(conn, UID, "group")).code == 8
    assert (await runner.wait(conn, UID, "kill")).code == 137
    assert (await runner.wait(conn, UID, "syntax")).code == 2


async def test_a_unit_has_no_input_and_the_users_umask(conn: Connection, server: SshServer) -> None:
    await start(conn, "1", "cat; umask; pwd")
    await runner.wait(conn, UID, "1")
    assert unit_file(server, "1", "log").read_text() == f"0022\n{server.home}\n"
    assert unit_file(server, "1", "log").stat().st_mode & 0o077 == 0


async def test_events_from_a_cursor_on(conn: Connection, server: SshServer) -> None:
    gate = Gate(server.home / "gate")
    await start(conn, "1", "exit 1")
    end = await first(conn, "end")
    await start(conn, "2", "read x <~/gate; exit 2")
    assert (await first(conn, "running", end.offset)).unit == "2"
    began = await first(conn, "start", end.offset)
    assert (began.unit, began.offset > end.offset) == ("2", True)
    following = asyncio.create_task(first(conn, "end", began.offset))
    await gate.open()
    assert await following == RunnerEvent("end", "2", following.result().offset, 2, 0)
    assert (await first(conn, "ready", 10**9)).offset == 0, "another file: from its beginning"
    await until(lambda: not server.processes("tail"))


async def test_the_log_from_an_offset_on(conn: Connection, server: SshServer) -> None:
    gate, ready = Gate(server.home / "gate"), Gate(server.home / "ready")
    await start(conn, "1", "printf 'ab\\0\\377c'; echo up >~/ready; read x <~/gate; echo d")
    await ready.passed()
    got = b""
    async with aclosing(runner.log(conn, UID, "1", 1)) as stream:
        async for chunk in stream:
            got += chunk
            if got == b"b\0\xffc":
                await gate.open()
            if got == b"b\0\xffcd\n":
                break
    await until(lambda: not server.processes("tail"))


async def test_a_stream_that_cannot_go_on_says_why(conn: Connection) -> None:
    with pytest.raises(NodeUnreachableError, match=r"A stream from node node-0 ended .*log"):
        await anext(runner.log(conn, UID, "none", 0))


async def test_a_node_that_cannot_be_written(conn: Connection, server: SshServer) -> None:
    (server.home / ".skyflow").write_text("not a folder")
    with pytest.raises(SkyflowError, match="The job runner on node node-0 cannot be brought there") as caught:
        await start(conn, "1", "true")
    assert not isinstance(caught.value, NodeUnreachableError)
    (server.home / ".skyflow").unlink()
    await runner.install(conn)
    (server.home / ".skyflow/jobs").write_text("not a folder")
    with pytest.raises(SkyflowError, match=r"The job runner on node node-0 failed \(status 1: mkdir: "):
        await start(conn, "1", "true")


@pytest.fixture
def small_disk(server: SshServer) -> Iterator[Path]:
    """Units live on a disk of 256 KiB."""
    if os.getuid() != 0 or sys.platform != "linux":
        pytest.skip("only root can mount a small disk")
    disk = server.home / ".skyflow/jobs"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "skyflow-test", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_a_full_disk_hides_no_end(conn: Connection, small_disk: Path) -> None:
    fill = "cat /dev/zero >~/.skyflow/jobs/big 2>/dev/null; "
    assert await start(conn, "1", f"{fill} exit 7") == "started"
    assert (await runner.wait(conn, UID, "1")).code == 7
    (small_disk / "big").unlink()
    assert await start(conn, "2", f"{fill} sleep 100") == "started"
    await until(lambda: (small_disk / "big").exists() and not os.statvfs(small_disk).f_bavail)
    assert (await runner.show(conn, UID, ["2"]))["2"].state == "running"
    await runner.cancel(conn, UID, "2", 1, 137)
    state = (await runner.show(conn, UID, ["2"]))["2"]
    assert state.state in ("ended", "lost")
    assert state.code in (143, 137, -1)  # by SIGTERM, if there was no room for who sent it; lost, if for nothing
    with pytest.raises(SkyflowError, match=r"cannot write|No space left"):
        await start(conn, "3", "true")
    assert "3" not in await runner.show(conn, UID)
    await runner.cancel(conn, UID, "2", 1, 137)


async def test_names_that_are_none(conn: Connection) -> None:
    for name in ("", "..", "a/b", "a b", ".hidden", "$(reboot)"):
        with pytest.raises(ValueError, match="cannot name a unit"):
            await start(conn, name, "true")
