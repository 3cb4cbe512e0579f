"""The supervisor: one light background process that keeps the dev server and the worker of this machine running.

It holds the lock of its folder, starts both children at once, says in `server.json` where they are, starts again
whatever dies, and takes them with it when it ends. It sleeps until a child or a signal wakes it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from skyflow import __version__
from skyflow.embedded import MARK, NAMESPACE, Folder, Part, find_temporal, last_line
from skyflow.errors import EmbeddedServerError
from skyflow.settings import Settings
from skyflow.worker.dev_server import PORT, UI_PORT, arguments

WORKER = (sys.executable, "-m", "skyflow.worker")

PROBE_SECONDS = 0.01
STEADY_SECONDS = 10.0
"""A child that lived this long is not part of a crash loop."""

LONGEST_DELAY_SECONDS = 30.0
MANY_DEATHS = 5
"""After so many deaths in a row the record says that it does not work. It is tried on, ever more slowly."""

BOOT_DEATHS = 3
"""A server that never got ready and died so often is given up: somebody must do something first."""

REWRITE_SECONDS = 5.0
WORKER_DRAIN_SECONDS = 10.0
GARBAGE_PERCENT = "50"
"""How much the server's heap may grow before Go collects (GOGC): half of Go's default takes 10 MB less, and no time
that could be measured. Who sets GOGC has decided otherwise."""
SERVER_STOP_SECONDS = 5.0


class Child:
    """A process that is kept running."""

    def __init__(self, part: Part, folder: Folder) -> None:
        self.part = part
        self.deaths = 0
        """In a row."""
        self.due = 0.0
        """When to start it, on the monotonic clock."""
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self._started = 0.0
        self._log_start = 0
        self._trouble = ""

    def start(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Starts it, with its output in its log. Raises OSError if that cannot be done."""
        self._trouble = ""
        log = self._folder.open_log(self.part)
        self._log_start = os.fstat(log).st_size
        self._started = time.monotonic()
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                cwd=self._folder.path,
                preexec_fn=_end_with_parent(os.getpid()),
            )
        finally:
            os.close(log)

    def reap(self) -> bool:
        """Whether it has died since it was last asked. Sets when to start it again: at once after the first death."""
        if self.process is None or self.process.poll() is None:
            return False
        self._died(f"it ended with {self.process.returncode}")
        self.process = None
        return True

    def fail(self, trouble: str) -> None:
        """Notes that it could not even be started."""
        self._started = time.monotonic()
        self._trouble = trouble
        self._died(trouble)

    def _died(self, why: str) -> None:
        now = time.monotonic()
        self.deaths = 1 if now - self._started > STEADY_SECONDS else self.deaths + 1
        self.due = now + (0 if self.deaths == 1 else min(0.05 * 2**self.deaths, LONGEST_DELAY_SECONDS))
        _say(f"{self.part}: {why} ({self.deaths} in a row)")

    def is_steady(self) -> bool:
        """Whether it has lived long enough to be trusted again."""
        return self.process is not None and time.monotonic() - self._started > STEADY_SECONDS

    def end(self, patience: float) -> None:
        """Asks it to end, and kills it after `patience` seconds."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def last_words(self) -> str:
        """Why it could not be started, or what it wrote last since it was."""
        return self._trouble or last_line(self._folder.log(self.part), self._log_start)


class Supervisor:
    """Keeps one server and one worker running.

    Args:
        folder: where they live. The caller holds its lock.
        env: the environment of the children.
        worker: the command of the worker.
        version: of skyflow, for the record.
    """

    def __init__(
        self, folder: Folder, env: Mapping[str, str], worker: Sequence[str] = WORKER, version: str = __version__
    ) -> None:
        self._folder = folder
        self._env = {name: value for name, value in env.items() if not name.startswith("TEMPORAL_")}
        self._worker_argv = worker
        self._record = replace(
            folder.read(),
            state="starting",
            pid=os.getpid(),
            version=version,
            store=Settings.from_env(dict(env)).store,
            started=time.time(),
        )
        self._server = Child("server", folder)
        self._worker = Child("worker", folder)
        self._http_port = 0
        self._was_ready = False
        self._written = True
        self._stopping = False
        self._wake, self._woken = socket.socketpair()

    def run(self) -> int:
        """Runs until SIGTERM or until the server is given up; returns the exit code."""
        self._listen()
        self._folder.end_leftovers()
        self._record = replace(self._record, children={}, error="")
        while not self._stopping:
            self._reap()
            if self._is_hopeless():
                error = self._complaint(self._server)
                self._end()
                self._note(state="failed", error=error, pid=0, children={})
                return 1
            self._start_due()
            self._look()
            self._sleep()
        self._note(state="stopping")
        self._end()
        self._note(state="stopped", pid=0, children={})
        return 0

    def _listen(self) -> None:
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake up
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(
            signal.SIGQUIT, signal.SIG_DFL
        )  # the shell that started it ignores this one, and children inherit

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _reap(self) -> None:
        if self._server.reap() and self._record.state == "ready":
            self._note(state="starting")
        self._worker.reap()

    def _is_hopeless(self) -> bool:
        return not self._was_ready and self._server.deaths >= BOOT_DEATHS

    def _start_due(self) -> None:
        now = time.monotonic()
        due = False
        for child, start in ((self._server, self._start_server), (self._worker, self._start_worker)):
            if child.process is None and child.due <= now:
                due = True
                try:
                    start()
                except (OSError, EmbeddedServerError) as error:  # a full disk, a package that is being replaced
                    child.fail(str(error))
        if due:
            children = {child.part: child.process.pid for child in (self._server, self._worker) if child.process}
            self._note(children=children)

    def _start_server(self) -> None:
        address, ui, self._http_port = self._choose_ports()
        if self._record.address not in ("", address) and self._worker.process is not None:
            self._worker.process.kill()  # it talks to an address that is somebody else's now
        self._record = replace(self._record, address=address, ui=ui)
        flags = arguments(str(self._folder.database), port=_port(address), ui_port=_port(ui))
        program = find_temporal(os.get_exec_path(dict(self._env)))
        env = {"GOGC": GARBAGE_PERCENT, **self._env, MARK: str(self._folder.path)}
        self._server.start([str(program), *flags, "--http-port", str(self._http_port)], env)

    def _choose_ports(self) -> tuple[str, str, int]:
        """The addresses of before if they are free, else Temporal's own, else others. Nobody else's port is touched."""
        pairs = [(PORT, UI_PORT)]
        if self._record.address and self._record.ui:
            pairs.insert(0, (_port(self._record.address), _port(self._record.ui)))
        free = next((pair for pair in pairs if _is_free(pair[0]) and _is_free(pair[1])), None)
        port, ui_port, http_port = _free_ports(3)
        if free is not None:
            port, ui_port = free
        return f"127.0.0.1:{port}", f"http://127.0.0.1:{ui_port}", http_port

    def _start_worker(self) -> None:
        env = {
            **self._env,
            MARK: str(self._folder.path),
            "TEMPORAL_ADDRESS": self._record.address,
            "TEMPORAL_NAMESPACE": NAMESPACE,
            "TEMPORAL_CONFIG_FILE": os.devnull,  # a profile that is written later is not for this worker
        }
        self._worker.start(self._worker_argv, env)

    def _look(self) -> None:
        """Brings the record up to date."""
        if not self._written:
            self._note()
        if self._record.state == "starting":
            if self._server.process is not None and _answers(self._http_port):
                self._was_ready = True
                self._note(state="ready", error="")
        elif self._record.state == "failed" and self._server.is_steady() and self._worker.is_steady():
            self._note(state="starting", error="")
        for child in (self._server, self._worker):
            if child.deaths >= MANY_DEATHS and not child.is_steady() and self._record.state != "failed":
                self._note(state="failed", error=self._complaint(child))

    def _complaint(self, child: Child) -> str:
        words = child.last_words()
        advice = "Correct that, then run `skyflow server stop` and try again."
        if child is self._server:
            advice = (
                f"If its database is damaged, move {self._folder.database} away to begin with an empty one: "
                "what it knew of clusters is lost then, nodes are not deleted."
            )
        return (
            f"The background {child.part} does not stay up{f': {words}' if words else ''} "
            f"(log: {self._folder.log(child.part)}). {advice}"
        )

    def _sleep(self) -> None:
        """Until a signal, the next start that is due, or the next look at a server that boots."""
        now = time.monotonic()
        waits = [child.due - now for child in (self._server, self._worker) if child.process is None]
        if self._record.state == "starting":
            waits.append(PROBE_SECONDS)
        elif self._record.state == "failed":
            waits.append(STEADY_SECONDS)
        if not self._written:
            waits.append(REWRITE_SECONDS)
        select.select([self._wake], [], [], max(0.0, min(waits)) if waits else None)
        with suppress(BlockingIOError):
            self._wake.recv(4096)

    def _end(self) -> None:
        self._worker.end(WORKER_DRAIN_SECONDS)
        self._server.end(SERVER_STOP_SECONDS)

    def _note(self, **changes: object) -> None:
        self._record = replace(self._record, **changes)  # type: ignore[arg-type]  # the fields of Record
        try:
            self._folder.write(self._record)
            self._written = True
        except OSError as error:  # a full disk must not end the server
            self._written = False
            _say(f"cannot write the record: {error}")
        if "state" in changes:
            _say(f"{self._record.state} at {self._record.address}")


def _answers(port: int) -> bool:
    """Whether the server serves its namespace. (Its gRPC port accepts 25 ms earlier, but is «not healthy yet».)"""
    request = f"GET /api/v1/namespaces/{NAMESPACE} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode()
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(request)
            return connection.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _end_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child does before it starts, so that the kernel kills it when its supervisor is gone (Linux only)."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def _say(text: str) -> None:
    with suppress(OSError):  # a full disk must not end the server
        sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        sys.stderr.flush()


def main(
    argv: Sequence[str], env: Mapping[str, str], worker: Sequence[str] = WORKER, version: str = __version__
) -> int:
    """Runs a supervisor.

    Args:
        argv: the descriptor of the lock, inherited from the client that starts it; if empty, it takes the lock itself.
        env: the environment.
        worker: the command of the worker.
        version: of skyflow.
    """
    folder = Folder(Settings.from_env(dict(env)).server_dir)
    lock = int(argv[0]) if argv else folder.lock()
    if lock is None:
        _say("another supervisor runs")
        return 0
    os.set_inheritable(lock, False)
    return Supervisor(folder, env, worker, version).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
