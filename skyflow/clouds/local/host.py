"""The host of local nodes: one small process that makes nodes, keeps them running and deletes them.

    python -m skyflow.clouds.local.host --home <folder>

It has imported asyncssh, so a node is a fork away (a fresh Python would take ten times as long). It is single-threaded
and never waits: work that takes time happens in forks, which say through a pipe how it went. It may be killed at any
moment: nodes live on, and the next host adopts what the folder holds.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skyflow import __version__
from skyflow.clouds.local import node, server
from skyflow.clouds.local.admission import Limit, Refusal, refusal
from skyflow.clouds.local.folder import (
    DELETED,
    NEW,
    Folder,
    NodeFolder,
    NodeRecord,
    NodeSpec,
    hold,
    holder,
    sign,
    write_atomically,
)
from skyflow.clouds.local.process import erase, halt, remove

IDLE_SECONDS = 600.0
"""A host that has no nodes and nothing to do for this long ends."""

LOOK_SECONDS = 60.0
SEND_SECONDS = 5.0
READY = b"ok"


@dataclass
class _Wait:
    """Somebody who waits for pieces of work."""

    left: set[str]
    finish: Callable[[dict[str, str]], None]
    failed: dict[str, str] = field(default_factory=dict)
    """Piece of work → what went wrong."""


@dataclass
class _Peer:
    """A client that is connected."""

    socket: socket.socket
    received: bytes = b""


class Host:
    """Serves requests: one JSON object a line, one answer each.

    `create` {nodes: [NodeSpec], limits: [Limit], delay} → {nodes: [NodeRecord]} or {refused: {message, scope, code}};
    `list` {match} → {nodes: [{record, state}]}; `delete` {match} → {count} when all of it is gone;
    `stop` {match} → {count} when nothing runs there any more; `ping` → {};
    `start` {nodes: [{id, limits: [Limit], delay}]} → as `create`. Refused is all of it or nothing.

    Pieces of work are named `start <node>`, `stop <node>` and `delete <node>`, and done once however many wait for
    them. A start that was asked for waits until the stop is through. The last request wins.
    """

    def __init__(self, folder: Folder, lock: int) -> None:
        self._folder = folder
        self._lock = lock
        self._selector = selectors.DefaultSelector()
        self._running: set[str] = set()
        """Work that happens in a fork."""
        self._due: dict[str, float] = {}
        """Work that begins later, on the monotonic clock."""
        self._waiting: list[_Wait] = []
        self._used = time.monotonic()
        self._ending = False

    def run(self) -> None:
        """Serves until there has been nothing to do for long, or its socket is gone."""
        self._clean_up()
        listener = socket.socket(socket.AF_UNIX)
        path = self._folder.new_socket()
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(64)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        for record in self._folder.records():
            self._start(record)
        while not self._ending:
            events = self._selector.select(self._patience())
            for key, _ in events:
                key.data()
            self._start_due()
            if not events and self._is_idle(path):
                return

    # Requests

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.settimeout(SEND_SECONDS)
        peer = _Peer(connection)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._receive(peer))

    def _receive(self, peer: _Peer) -> None:
        self._used = time.monotonic()
        try:
            data = peer.socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(peer.socket)
            peer.socket.close()
            return
        *lines, peer.received = (peer.received + data).split(b"\n")
        for line in lines:
            self._serve(peer, json.loads(line))

    def _serve(self, peer: _Peer, request: dict[str, Any]) -> None:
        try:
            self._do(peer, request)
        except OSError as error:  # the disk is full, no more processes
            self._answer(peer, {"failed": str(error)})

    def _do(self, peer: _Peer, request: dict[str, Any]) -> None:
        if request["version"] != __version__:
            self._answer(peer, {"outdated": True})
            self._ending = True  # the client starts one of its own version, which adopts the nodes
            return
        match request["op"]:
            case "create":
                self._create(peer, request)
            case "list":
                self._list(peer, request["match"])
            case "delete":
                self._delete(peer, request["match"])
            case "stop":
                self._stop(peer, request["match"])
            case "start":
                self._boot(peer, request["nodes"])
            case "ping":
                self._answer(peer, {})

    def _create(self, peer: _Peer, request: dict[str, Any]) -> None:
        limits = [Limit(**limit) for limit in request["limits"]]
        records = []
        for spec in map(NodeSpec.from_json, request["nodes"]):
            folder = self._folder.node(spec.id)
            record = folder.read()
            if record is None:
                if refused := self._refusal(spec, limits, self._in_use()):
                    self._answer(peer, {"refused": asdict(refused)})
                    return
                record = node.make(self._folder, spec)
                self._due[f"start {spec.id}"] = time.monotonic() + request["delay"]
            records.append(record)
        self._give(peer, records)

    def _boot(self, peer: _Peer, wanted: list[dict[str, Any]]) -> None:
        found = [(record, one) for one in wanted if (record := self._folder.node(one["id"]).read())]
        stopped = [(record, one) for record, one in found if self._is_off(record.id)]
        in_use = self._in_use()
        for record, one in stopped:
            if refused := self._refusal(record, [Limit(**limit) for limit in one["limits"]], in_use):
                self._answer(peer, {"refused": asdict(refused)})
                return
            in_use.append(record)
        for record, one in stopped:
            self._due[f"start {record.id}"] = time.monotonic() + one["delay"]
            self._halt(record.id)  # a stop that was left half done is not forgotten
        self._give(peer, [record for record, _ in found])

    def _give(self, peer: _Peer, records: list[NodeRecord]) -> None:
        """Answers with the nodes when they run."""

        def answer(failed: dict[str, str]) -> None:
            if failed:
                message = "; ".join(failed.values())
                self._answer(peer, {"refused": asdict(Refusal(message, "zone", "NodeNotStarted"))})
            else:
                self._answer(peer, {"nodes": [asdict(record) for record in records]})

        self._start_due()
        self._ensure(records, answer)

    def _list(self, peer: _Peer, match: dict[str, Any]) -> None:
        records = list(_matching(self._folder.records(), match))
        for record in records:
            folder = self._folder.node(record.id)
            if folder.stopped.exists() and holder(folder.stop_lock) is not None:
                self._halt(record.id)  # it is switching itself off: that is waited for

        def answer(failed: dict[str, str]) -> None:
            # One that cannot be started now (its port is taken) is not stopped: its jobs may run on.
            stopped = {record.id for record in records if self._folder.node(record.id).stopped.exists()}
            nodes = [
                {"record": asdict(record), "state": "stopped" if record.id in stopped else "running"}
                for record in records
            ]
            self._answer(peer, {"nodes": nodes})

        self._ensure(records, answer)

    def _delete(self, peer: _Peer, match: dict[str, Any]) -> None:
        found = list(_matching(self._folder.records(), match))
        for record in found:
            self._folder.node(record.id).path.rename(self._folder.deleted(record.id).path)
            self._give_up_start(record.id, "The node was deleted while it was being made.")
        doomed = [record.id for record in _matching(self._folder.deletions(), match)]
        for node_id in doomed:
            self._erase(node_id)
        self._count(peer, {f"delete {node_id}" for node_id in doomed}, len(found))

    def _stop(self, peer: _Peer, match: dict[str, Any]) -> None:
        found = list(_matching(self._folder.records(), match))
        for record in found:
            self._folder.node(record.id).mark_stopped()
            self._give_up_start(record.id, "The node was stopped while it was being started.")
            self._halt(record.id)
        self._count(peer, {f"stop {record.id}" for record in found}, len(found))

    def _count(self, peer: _Peer, work: set[str], count: int) -> None:
        """Answers how many it were when the work is done."""

        def answer(failed: dict[str, str]) -> None:
            self._answer(peer, {"failed": "; ".join(failed.values())} if failed else {"count": count})

        self._when_done(work, {}, answer)

    def _is_off(self, node_id: str) -> bool:
        """Whether it is stopped and nobody has asked for its start."""
        return self._folder.node(node_id).stopped.exists() and f"start {node_id}" not in self._due

    def _in_use(self) -> list[NodeSpec]:
        """The nodes that count: what is stopped takes no room."""
        return [record for record in self._folder.records() if not self._is_off(record.id)]

    def _refusal(self, spec: NodeSpec, limits: list[Limit], in_use: list[NodeSpec]) -> Refusal | None:
        if self._folder.deleted(spec.id).path.exists():
            return Refusal(f"Node {spec.id} is still being deleted.", "retry", "BeingDeleted")
        struck: dict[str, int] = {}
        if self._folder.stockouts.exists():
            struck = json.loads(self._folder.stockouts.read_bytes())
        refused = refusal(spec, limits, in_use, struck)
        if refused and refused.struck:
            struck[refused.struck] = struck.get(refused.struck, 0) + 1
            write_atomically(self._folder.stockouts, json.dumps(struck))
        return refused

    def _answer(self, peer: _Peer, answer: dict[str, Any]) -> None:
        try:
            peer.socket.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            return  # it has gone; it asks again if it still wants to know

    # Nodes

    def _ensure(self, records: Iterable[NodeRecord], finish: Callable[[dict[str, str]], None]) -> None:
        """Starts those of the nodes that do not run and are not stopped, then calls `finish`.

        A stop that is under way is waited for: what is said to be stopped runs no more.
        """
        failed = {}
        names = set()
        for record in records:
            name = f"start {record.id}"
            names |= {name, f"stop {record.id}"}
            if name not in self._running and name not in self._due and (problem := self._start(record)):
                failed[name] = problem
        self._when_done(names, failed, finish)

    def _start(self, record: NodeRecord, *, boot: bool = False) -> str:
        """Starts a node's server unless it runs; a stopped node's only to `boot` it. Returns what is in the way."""
        folder = self._folder.node(record.id)
        if folder.stopped.exists() and not boot:
            return f"Node {record.id} is stopped."
        lock = hold(folder.lock)
        if lock is None:
            return ""

        def work(ready: Callable[[], None]) -> None:
            server.run(record, folder, listener, lock, ready)

        # The lock and the listener are in place before the fork: at no moment does the node seem dead or refuse anyone.
        try:
            with node.listen(record.address, record.port) as listener:
                if boot and not self._mark_started(folder):
                    return f"Node {record.id} is still being stopped."
                self._fork(f"start {record.id}", work)
        except OSError as error:
            return f"Node {record.id} cannot be started on {record.address}:{record.port}: {error.strerror}."
        finally:
            os.close(lock)
        return ""

    def _mark_started(self, folder: NodeFolder) -> bool:
        """Takes the mark of a stop away; not while a process of an earlier host may still be ending what runs there."""
        lock = hold(folder.stop_lock)
        if lock is None:
            return False
        folder.mark_started()
        os.close(lock)  # before the fork, which would keep it
        return True

    def _start_due(self) -> None:
        now = time.monotonic()
        for name, due in list(self._due.items()):
            if due > now or self._waits_for_stop(name):
                continue
            del self._due[name]
            record = self._folder.node(name.removeprefix("start ")).read()
            problem = self._start(record, boot=True) if record else "The node was deleted while it was being made."
            if problem or name not in self._running:
                self._done(name, problem)

    def _waits_for_stop(self, start: str) -> bool:
        return start.replace("start", "stop", 1) in self._running

    def _give_up_start(self, node_id: str, why: str) -> None:
        """A start that has not begun yet does not happen."""
        name = f"start {node_id}"
        if self._due.pop(name, None) is not None:
            self._done(name, why)

    def _halt(self, node_id: str) -> None:
        name = f"stop {node_id}"
        if name in self._running:
            return

        def work(ready: Callable[[], None]) -> None:
            halt(self._folder.node(node_id), node_id)
            ready()

        self._fork(name, work)

    def _erase(self, node_id: str) -> None:
        name = f"delete {node_id}"
        if name in self._running:
            return

        def work(ready: Callable[[], None]) -> None:
            erase(self._folder.deleted(node_id), self._folder.node(node_id).path, node_id)
            ready()

        self._fork(name, work)

    def _clean_up(self) -> None:
        """Ends what an earlier host left half done."""
        for path in self._folder.nodes.glob(f"{NEW}*"):
            remove(path)
        for path in self._folder.nodes.glob(f"{DELETED}*"):
            self._erase(path.name.removeprefix(DELETED))
        for record in self._folder.records():
            if self._folder.node(record.id).stopped.exists():
                self._halt(record.id)

    # Work

    def _fork(self, name: str, work: Callable[[Callable[[], None]], None]) -> None:
        """Runs work in a child, which calls its argument when the others need not wait any longer."""
        pipe, report = os.pipe()
        if os.fork() == 0:
            self._let_go()
            os.close(pipe)
            _run_child(work, report)
        os.close(report)
        self._running.add(name)
        self._selector.register(pipe, selectors.EVENT_READ, lambda: self._reported(name, pipe))

    def _let_go(self) -> None:
        """Closes, in a child, what is the host's: above all its lock."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
            else:
                os.close(key.fd)
        self._selector.close()
        os.close(self._lock)

    def _reported(self, name: str, pipe: int) -> None:
        self._selector.unregister(pipe)
        message = os.read(pipe, 4096)
        os.close(pipe)
        self._running.discard(name)
        problem = "" if message == READY else message.decode() or f"The process that should {name} was killed."
        if problem and name.startswith("stop "):
            self._give_up_start(name.removeprefix("stop "), problem)
        self._done(name, problem)

    def _done(self, name: str, problem: str) -> None:
        for wait in list(self._waiting):
            if name in wait.left:
                wait.left.discard(name)
                if problem:
                    wait.failed[name] = problem
                self._settle(wait)

    def _when_done(self, names: set[str], failed: dict[str, str], finish: Callable[[dict[str, str]], None]) -> None:
        wait = _Wait({name for name in names if name in self._running or name in self._due}, finish, failed)
        self._waiting.append(wait)
        self._settle(wait)

    def _settle(self, wait: _Wait) -> None:
        if not wait.left:
            self._waiting.remove(wait)
            wait.finish(wait.failed)

    def _patience(self) -> float:
        due = [due - time.monotonic() for name, due in self._due.items() if not self._waits_for_stop(name)]
        return max(0.0, min([LOOK_SECONDS, *due]))

    def _is_idle(self, path: Path) -> bool:
        if not path.exists():
            return True  # nobody can ask it anything any more
        unused = time.monotonic() - self._used > IDLE_SECONDS
        return unused and not self._running and next(self._folder.records(), None) is None


def _matching(records: Iterable[NodeRecord], match: dict[str, Any]) -> Iterable[NodeRecord]:
    """The nodes whose tags are these."""
    return (record for record in records if all(getattr(record, tag) == value for tag, value in match.items()))


def _run_child(work: Callable[[Callable[[], None]], None], report: int) -> None:
    """Does the work of a forked child, says how it went, and ends the process."""
    for number in signal.valid_signals():
        # Whatever the host, or who started it, ignores, every command on a node would inherit. SIGPIPE and SIGXFSZ are
        # Python's own: it gives them back to the commands that it starts.
        if signal.getsignal(number) is signal.SIG_IGN and number not in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)

    reported = False

    def tell(message: bytes) -> None:
        nonlocal reported
        if not reported:
            os.write(report, message)
            os.close(report)
        reported = True

    code = 1
    try:
        work(lambda: tell(READY))
        code = 0
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        tell(str(error).encode()[:1000] or repr(error).encode())
    finally:
        os._exit(code)


def main(argv: list[str]) -> int:
    """Runs the host of a folder; a second one ends at once."""
    parser = argparse.ArgumentParser(prog="python -m skyflow.clouds.local.host", description="The host of local nodes.")
    parser.add_argument("--home", type=Path, required=True, help="folder of the nodes")
    folder = Folder(parser.parse_args(argv).home.absolute())
    folder.create()
    lock = hold(folder.lock)
    if lock is None:
        return 0
    sign(lock)
    os.umask(0o022)
    os.chdir("/")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for: their pipes and locks tell
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    gc.freeze()  # so that collections in the children do not copy what they share
    Host(folder, lock).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
