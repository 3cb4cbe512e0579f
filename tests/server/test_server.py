"""The embedded server as its users meet it: real processes, killed in every way."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from skyflow import __version__
from skyflow.embedded import MARK, find_temporal
from skyflow.endpoint import log_path, start, status, stop
from skyflow.errors import EmbeddedServerError
from skyflow.worker.dev_server import PORT, SEARCH_ATTRIBUTES

from .home import Home, supervisor, until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")]


def temporal(address: str, *words: str) -> str:
    """The `temporal` command against a server."""
    command = [str(find_temporal([])), *words, "--address", address, "--command-timeout", "20s"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def test_start_says_so_once_and_stop_leaves_no_process(home: Home) -> None:
    record = home.start()
    assert record.address.startswith("127.0.0.1:") and record.version == __version__
    assert set(record.children) == {"server", "worker"}
    assert len(home.notices) == 1 and record.address in home.notices[0] and record.ui in home.notices[0]
    assert "\n" not in home.notices[0]

    assert home.start() == record, "it runs already"
    assert len(home.notices) == 1

    environ = Path(f"/proc/{record.children['server']}/environ").read_bytes().split(b"\0")
    assert b"GOGC=50" in environ, "it would take 10 MB more"

    listed = temporal(record.address, "operator", "search-attribute", "list")
    assert all(name in listed for name in SEARCH_ATTRIBUTES)
    assert home.endpoint().connect_config() == {"target_host": record.address, "namespace": "default"}

    said = f"serving {record.address}\n"
    until(lambda: _worker_log(home).endswith(said), "the worker")
    assert stop(home.settings) is True
    assert home.processes() == []
    assert _worker_log(home).endswith(f"{said}drained\n")
    assert status(home.settings) is None
    assert stop(home.settings) is False


def test_clients_at_once_start_one(home: Home) -> None:
    home.settle()
    program = f"""
import sys
from skyflow.endpoint import resolve
from skyflow.settings import Settings
starting = resolve(Settings.from_env(), supervisor={supervisor()!r}).start_if_needed(print)
starting.wait_ready()
"""
    command = [sys.executable, "-c", program]
    clients = [subprocess.Popen(command, env=home.env, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [client.communicate(timeout=60)[0] for client in clients]
    assert [client.returncode for client in clients] == [0] * 4
    assert sum(text.count("Started Temporal") for text in said) == 1
    assert len(home.servers()) == 1


def test_threads_at_once_start_one(home: Home) -> None:
    home.settle()
    threads = [threading.Thread(target=home.start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(home.notices) == 1
    assert len(home.servers()) == 1


def test_ports_of_others_are_left_alone_and_our_own_are_kept(home: Home) -> None:
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(AssertionError):  # then somebody else has it all the time, which is as good
            until(lambda: _listens(other, PORT), "a moment in which the port is free", seconds=5)
        first = home.start_anywhere()
        assert first.address != f"127.0.0.1:{PORT}"
    stop(home.settings)
    assert home.start_anywhere().address == first.address


def _listens(server: socket.socket, port: int) -> bool:
    try:
        server.bind(("127.0.0.1", port))
    except OSError:
        return False
    server.listen()
    return True


def test_a_foreign_temporal_on_our_address_is_not_used(home: Home, tmp_path: Path) -> None:
    ours = home.start()
    temporal(ours.address, "workflow", "start", "--type", "X", "--task-queue", "q", "--workflow-id", "mine")
    stop(home.settings)
    port = ours.address.rpartition(":")[2]
    command = [str(find_temporal([])), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", port]
    with (tmp_path / "foreign.log").open("w+") as log, subprocess.Popen(command, stdout=log, stderr=log) as foreign:
        try:
            until(lambda: _accepts(int(port)), "the foreign server")
            again = home.start()
            assert again.address != ours.address
            assert "mine" in temporal(again.address, "workflow", "describe", "--workflow-id", "mine")
            assert foreign.poll() is None, (tmp_path / "foreign.log").read_text()
        finally:
            foreign.kill()
    stop(home.settings)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("victim", ["server", "worker"])
def test_what_dies_is_started_again(home: Home, victim: str) -> None:
    before = home.start()
    survivor = {"server": "worker", "worker": "server"}[victim]
    os.kill(before.children[victim], signal.SIGKILL)

    def is_back() -> bool:
        now = home.folder.read()
        return now.state == "ready" and now.children[victim] != before.children[victim]

    until(is_back, f"another {victim}")
    after = home.start()
    assert after.address == before.address
    assert after.pid == before.pid
    assert after.children[survivor] == before.children[survivor]
    assert len(home.servers()) == 1


def test_a_killed_supervisor_is_replaced_and_the_database_has_one_server(home: Home) -> None:
    before = home.start()
    temporal(before.address, "workflow", "start", "--type", "X", "--task-queue", "q", "--workflow-id", "kept")
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: not home.folder.is_held(), "the death of the supervisor")
    after = home.start()
    assert after.pid != before.pid
    assert home.servers() == [after.children["server"]]
    assert "kept" in temporal(after.address, "workflow", "describe", "--workflow-id", "kept")


def test_leftovers_are_ended_only_if_recorded_and_marked(home: Home) -> None:
    lock = home.folder.lock()
    assert lock is not None
    marked = home.env | {MARK: str(home.folder.path)}
    sleeper = ["/bin/sleep", "1000"]
    ours, stranger, node = (subprocess.Popen(sleeper, env=env) for env in (marked, home.env, marked))
    try:
        until(lambda: len(home.processes()) == 3, "three processes")
        home.folder.write(replace(home.folder.read(), children={"server": ours.pid, "worker": stranger.pid}))
        ending = threading.Thread(target=home.folder.end_leftovers)
        ending.start()
        assert ours.wait(10) == -signal.SIGKILL
        ending.join(10)
        assert stranger.poll() is None, "its process id was used again by somebody else"
        assert node.poll() is None, "it inherited the mark"
        assert home.folder.read().children == {}
    finally:
        for process in (ours, stranger, node):
            process.kill()
            process.wait()
        os.close(lock)


def test_a_supervisor_of_another_version_is_drained_and_replaced(home: Home) -> None:
    home.settle()
    home.endpoint(supervisor("0.0.1")).start_if_needed()
    until(lambda: home.folder.read().state == "ready" and "serving" in _worker_log(home), "the old one")
    old = home.folder.read()
    assert old.version == "0.0.1"
    temporal(old.address, "workflow", "start", "--type", "X", "--task-queue", "q", "--workflow-id", "kept")
    new = home.start()
    assert (new.version, new.address) == (__version__, old.address)
    assert "drained" in _worker_log(home)
    assert home.servers() == [new.children["server"]]
    assert "kept" in temporal(new.address, "workflow", "describe", "--workflow-id", "kept")


def _worker_log(home: Home) -> str:
    path = log_path(home.settings, "worker")
    return path.read_text() if path.exists() else ""


def test_a_corrupt_database_is_one_clear_sentence(home: Home) -> None:
    home.folder.path.mkdir(parents=True)
    home.folder.database.write_bytes(os.urandom(50_000))
    for _ in range(2):
        with pytest.raises(EmbeddedServerError, match="file is not a database") as raised:
            home.start()
        message = str(raised.value)
        assert str(log_path(home.settings, "server")) in message
        assert f"move {home.folder.database} away" in message
        assert "\n" not in message and raised.value.exit_code == 5
        until(lambda: home.processes() == [], "the end of the supervisor")
    home.folder.database.unlink()
    home.start()


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        (("/bin/sh", "-c", "echo ModuleNotFoundError: no such thing; exit 1"), "ModuleNotFoundError"),
        (("/nowhere/python", "-m", "skyflow.worker"), r"\[Errno 2\] No such file or directory: '/nowhere/python'"),
    ],
)
def test_a_worker_that_does_not_stay_up_is_reported(home: Home, worker: tuple[str, ...], words: str) -> None:
    broken = supervisor(worker=worker)
    home.settle()
    home.endpoint(broken).start_if_needed()
    until(lambda: home.folder.read().state == "failed", "the report")
    with pytest.raises(EmbeddedServerError, match=rf"worker does not stay up: {words}.*worker\.log"):
        home.start(broken)
    assert len(home.servers()) == 1, "the server goes on"


def test_a_supervisor_that_ends_while_it_starts(home: Home) -> None:
    with pytest.raises(EmbeddedServerError, match=r"supervisor ended while it started: Boom .*supervisor\.log"):
        home.start(("/bin/sh", "-c", "echo Boom; exit 3", "sh"))


def test_a_server_that_never_gets_ready(home: Home) -> None:
    program = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from skyflow.embedded import Folder
folder = Folder(Path(sys.argv[1]))
folder.write(replace(folder.read(), pid=os.getpid()))
signal.pause()
"""
    hanging = (sys.executable, "-c", program, str(home.folder.path))
    starting = home.endpoint(hanging).start_if_needed()
    until(lambda: home.folder.read().pid > 0, "the supervisor")
    with pytest.raises(EmbeddedServerError, match=r"server did not get ready in time .*server\.log.*server stop"):
        starting.wait_ready(timeout=0.1)
    assert stop(home.settings) is True


def test_stop_forces_a_supervisor_that_hangs(home: Home) -> None:
    record = home.start()
    os.kill(record.pid, signal.SIGSTOP)
    assert stop(home.settings, patience=0.3) is True
    until(lambda: home.processes() == [], "the end of everything")


def test_a_second_supervisor_ends_at_once(home: Home) -> None:
    home.start()
    second = subprocess.run([*supervisor()], env=home.env, capture_output=True, text=True, timeout=30, check=True)
    assert "another supervisor runs" in second.stderr
    assert len(home.servers()) == 1


def test_start_for_the_command_line(home: Home) -> None:
    home.start()
    assert start(home.settings, home.env, home.notices.append).state == "ready"
    assert len(home.notices) == 1
