"""The lease of a node: without a unit, a user and a call it switches itself off, and never otherwise."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from skyflow.errors import SkyflowError
from skyflow.nodes import runner
from skyflow.nodes.connection import Connection

from .conftest import UID, Gate, until
from .server import SshServer

pytestmark = [pytest.mark.timeout(20), pytest.mark.parametrize("kind", ["dash", "busybox"])]

OFF = "echo off >>~/off"
"""Never the system's own command: these nodes are this machine."""

LOOK = "0.011"
"""Seconds between two looks of a guard; nothing else sleeps for so long."""


class Lab:
    """A node whose uptime is what the test says, and whose guard counts its looks."""

    def __init__(self, server: SshServer) -> None:
        self.server, self.now, self.home = server, 1000, server.home
        self.sessions = self.home / "sessions"
        self.sessions.mkdir()
        self.pass_by(0)
        stubs = self.home / "stubs"
        stubs.mkdir()
        (stubs / "sleep").write_text(f'#!/bin/sh\n[ "$1" != {LOOK} ] || echo >>~/looks\nexec /bin/sleep "$@"\n')
        (stubs / "sleep").chmod(0o700)
        server.env |= {
            "PATH": f"{stubs}:{server.env['PATH']}",
            "SKYFLOW_LEASE_LOOK": LOOK,
            "SKYFLOW_SESSIONS": str(self.sessions),
            "SKYFLOW_UPTIME": str(self.home / "uptime"),
        }

    @property
    def is_off(self) -> bool:
        return (self.home / "off").exists()

    def guards(self) -> list[int]:
        return self.server.processes(f"{UID}\0guard")

    def lease(self, name: str) -> Path:
        return self.home / ".skyflow/lease" / name

    async def tell(self, conn: Connection) -> None:
        """A lease of 100 s, which the guard has begun to watch over."""
        await runner.lease(conn, UID, 100, OFF)
        await self.look()

    async def go_on(self, seconds: int) -> None:
        """Time passes. Returns when the guard has seen it."""
        self.pass_by(seconds)
        await self.look()

    def pass_by(self, seconds: int) -> None:
        self.now += seconds
        fresh = self.home / "uptime.new"
        fresh.write_text(f"{self.now}.50 1\n")
        fresh.rename(self.home / "uptime")

    async def look(self) -> None:
        """Returns when the guard has looked once more, from beginning to end."""
        before = self._looks()
        await until(lambda: self._looks() > before + 1)

    async def kill_guard(self) -> None:
        os.kill(self.guards()[0], signal.SIGKILL)
        await until(lambda: not self.guards())

    def _looks(self) -> int:
        looks = self.home / "looks"
        return looks.stat().st_size if looks.exists() else 0


@pytest.fixture
def lab(server: SshServer) -> Lab:
    return Lab(server)


async def test_a_node_that_nobody_needs_switches_itself_off_and_tries_again(conn: Connection, lab: Lab) -> None:
    await lab.tell(conn)
    await lab.go_on(100)
    assert not lab.is_off
    await lab.go_on(1)
    assert lab.is_off
    await until(lambda: (lab.home / "off").read_text().count("off") > 1)


async def test_a_unit_a_user_and_a_call_keep_it_on(conn: Connection, lab: Lab) -> None:
    gate, other = Gate(lab.home / "gate"), UID.replace("ab", "cd")
    await runner.start(conn, other, "1", b"read x <~/gate")
    await lab.tell(conn)
    for _ in range(2):
        await lab.go_on(101)
    (lab.sessions / "one").touch()
    await gate.open()
    await runner.wait(conn, other, "1")
    for _ in range(2):
        await lab.go_on(101)
    (lab.sessions / "one").unlink()
    for _ in range(3):
        await lab.go_on(60)
        await runner.contact(conn, UID)
        await lab.look()
    assert not lab.is_off
    await lab.go_on(101)
    assert lab.is_off


async def test_a_machine_that_was_suspended_is_not_switched_off_when_it_wakes(conn: Connection, lab: Lab) -> None:
    await lab.tell(conn)
    await lab.go_on(50_000)
    await lab.go_on(100)
    assert not lab.is_off
    await lab.go_on(1)
    assert lab.is_off


async def test_no_lease_no_end(conn: Connection, lab: Lab) -> None:
    await lab.tell(conn)
    for _ in range(2):
        await runner.lease(conn, UID, None, OFF)
        await until(lambda: not lab.guards())
    assert not lab.is_off


async def test_two_that_tell_it_at_once_leave_one_guard(conn: Connection, lab: Lab) -> None:
    await asyncio.gather(*(runner.lease(conn, UID, 100, OFF) for _ in range(6)))
    await until(lambda: len(lab.guards()) == 1)
    await lab.go_on(101)
    assert (lab.is_off, len(lab.guards())) == (True, 1)


async def test_whatever_is_called_next_brings_the_guard_back(conn: Connection, lab: Lab) -> None:
    await lab.tell(conn)
    for again in (runner.show(conn, UID), runner.lease(conn, UID, 100, OFF)):
        await lab.look()
        await lab.kill_guard()
        await again
    await lab.look()
    await lab.kill_guard()
    lab.pass_by(101)
    lab.server.env["SKYFLOW_BOOT_ID"] = "another"  # and a reboot is contact
    await runner.contact(conn, UID)
    await lab.go_on(1)
    assert not lab.is_off
    assert lab.lease("guard").read_text().endswith(" another\n")


async def test_a_damaged_lease_switches_nothing_off(conn: Connection, lab: Lab) -> None:
    await lab.tell(conn)
    for text in ("", "soon x\n", "-5 x\n", "\0\0\n", "\n"):
        lab.lease("lease").write_text(text)
        await lab.go_on(101)
        assert not lab.is_off
    await lab.tell(conn)
    await lab.go_on(101)
    assert lab.is_off


async def test_when_a_user_was_last_seen(conn: Connection, lab: Lab) -> None:
    assert await runner.sessions(conn, UID) is None
    await lab.tell(conn)
    assert await runner.sessions(conn, UID) is None
    (lab.sessions / "one").touch()
    assert await runner.sessions(conn, UID) == 0
    await lab.look()
    (lab.sessions / "one").unlink()
    await lab.look()
    assert await runner.sessions(conn, UID) == 1
    await lab.go_on(70)
    assert await runner.sessions(conn, UID) == 70
    lab.server.env["SKYFLOW_BOOT_ID"] = "another"
    assert await runner.sessions(conn, UID) is None


async def test_words_that_are_no_lease(conn: Connection, lab: Lab) -> None:
    for word in ("''", "-1", "1h", "'1;reboot'"):
        with pytest.raises(SkyflowError, match="bad lease"):
            await runner._call(conn, UID, "lease", word, "x")
    assert not lab.lease("lease").exists()


async def test_the_systems_own_way_to_switch_it_off(conn: Connection, lab: Lab, kind: str) -> None:
    if kind == "busybox":
        pytest.skip("it may have a `poweroff` of its own")
    for name in ("poweroff", "sudo", "systemctl", "shutdown", "halt"):  # all that may be tried, so that none is real
        (lab.home / "stubs" / name).write_text(f'#!/bin/sh\necho {name} "$@" >>~/tried\n[ "$2" = systemctl ]\n')
        (lab.home / "stubs" / name).chmod(0o700)
    await runner.lease(conn, UID, 100, "")
    await lab.look()
    await lab.go_on(101)
    tried = (lab.home / "tried").read_text().splitlines()
    assert tried[:4] == ["poweroff", "sudo -n poweroff", "systemctl poweroff", "sudo -n systemctl poweroff"]
