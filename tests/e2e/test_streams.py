"""Output that cannot be written, or that nobody reads, is no traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.e2e.conftest import User

pytestmark = pytest.mark.e2e


def shell(user: User, command: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash in which `sky` is the command; its exit code is that of the first in a pipe."""
    program = f'sky() {{ "{sys.executable}" -m skyflow.cli.main "$@"; }}; {command}; exit ${{PIPESTATUS[0]}}'
    return subprocess.run(
        ["bash", "-c", program], env=user.env, cwd=user.home, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("command", ["catalog show", "gpus list", "--version", "--help"])
def test_a_full_disk_is_one_line(user: User, command: str) -> None:
    done = shell(user, f"sky {command} >/dev/full")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "skyflow: No space left on device.")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["status", "gpus list"])
def test_streams_may_be_closed(user: User, command: str, closed: str) -> None:
    done = shell(user, f"sky {command} {closed}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_a_reader_who_has_enough_is_no_failure(user: User) -> None:
    user.ok("launch", "-c", "talks", "true")
    for command in ("exec talks 'seq 1 1000000'", "logs talks 2"):
        done = shell(user, f"sky {command} | head -1")
        assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    user.ok("down", "talks", "-y")


def test_folders_that_cannot_be_written_are_one_line(user: User) -> None:
    home = "/proc/skyflow"  # not even root can make it
    for words in (["local", "stockout"], ["optimize", "--cloud", "local", "x"]):
        done = user.run(*words, SKYFLOW_HOME=home)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert home in done.stderr
