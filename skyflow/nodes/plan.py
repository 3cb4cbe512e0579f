"""The plan: what has to be done to a node so that its target becomes what a snapshot says.

Whether a file is as it should be is told by its mark (is it what we put there?) and by what `stat` says of it (did
nobody change it since?). Both are compared as text, all paths at once: of ten thousand files, most are as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

from skyflow.models.snapshot import LAST_TAR_SECOND, Entry, Manifest
from skyflow.nodes.record import Record, Seen, amend, encode_paths, parse_stats

_SECOND = 1_000_000_000
_LATEST = LAST_TAR_SECOND * _SECOND
_FILE = 0o100000
"""The type, in the mode of a file."""


class Wanted:
    """What is to be there, prepared for comparing."""

    def __init__(self, manifest: Manifest) -> None:
        self.kind = manifest.kind
        self.entries = manifest.entries
        self.folders = [entry for entry in manifest.entries if entry.kind == "d"]
        self.links = [entry for entry in manifest.entries if entry.kind == "l"]

    def prepare(self) -> None:
        """Makes now what a comparison needs."""
        _ = self._texts

    @property
    def marks(self) -> Mapping[str, str]:
        """By path, what it holds, as the node's record remembers it: kind and digest, size, seconds.

        The digest is cut: it has to tell two versions of one path apart, not all files of the world.
        """
        return self._texts[0]

    @property
    def stats(self) -> Mapping[str, str]:
        """By what `stat` says of a file that is as it should be (see `record.parse_stats`), its path."""
        return self._texts[1]

    @cached_property
    def _texts(self) -> tuple[dict[str, str], dict[str, str]]:
        marks, stats = {}, {}
        modes: dict[int, str] = {}
        for entry in self.entries:
            path, kind, mode, size, mtime_ns, digest, _, _, _, _ = entry
            if kind == "f":
                seconds = mtime_ns // _SECOND if 0 <= mtime_ns <= _LATEST else entry.mtime
                marks[path] = f"f{digest[:16]} {size} {seconds}"
                words = modes.get(mode) or modes.setdefault(mode, f"{_FILE | mode:x}")
                stats[f"{words} {size} {seconds} ./{path}"] = path
            else:
                marks[path] = f"{entry.content[:17]} {size} {entry.mtime}"
        return marks, stats


@dataclass
class Plan:
    """What has to be done to a node. Paths of folders are in the order in which they must be dealt with."""

    changed: Mapping[str, str] | None = None
    """Marks that its record does not have; None: it has none."""
    gone: Set[str] = frozenset()
    """Paths that only its record has."""
    send: list[Entry] = field(default_factory=list)
    """Files and links."""
    make: list[Entry] = field(default_factory=list)
    """Folders that are not there."""
    remove: list[str] = field(default_factory=list)
    rmdir: list[str] = field(default_factory=list)
    unlock: list[str] = field(default_factory=list)
    """Folders in which something changes and whose permissions forbid it."""
    chmod: list[Entry] = field(default_factory=list)
    """Folders whose permissions have to be set in the end, the deepest first."""
    is_new: bool = False
    """Whether something is sent that has a place of its own, where nothing of ours was."""
    is_done: bool = False
    """Whether nothing has to be done at all."""


def make_plan(wanted: Wanted, record: Record) -> Plan:
    """Compares what is to be there with what is."""
    if not record.marks:
        return _plan_all(wanted, record)
    changed = dict(wanted.marks.items() - record.marks.items())
    gone = record.marks.keys() - wanted.marks.keys()
    seen, absent = _look(wanted, record)
    absent.update(changed)
    absent.update(link.path for link in wanted.links if (now := seen.get(link.path)) is None or now.kind != "l")
    plan = Plan(changed, gone)
    if absent:
        plan.send = [entry for entry in wanted.entries if entry.path in absent and entry.kind != "d"]
    for entry in wanted.folders:
        now = seen.get(entry.path)
        if now is None or now.kind != "d":
            plan.make.append(entry)
        elif now.mode != entry.mode:
            plan.chmod.append(entry)
    for path in sorted(gone, reverse=True):
        now = seen.get(path)
        if now is not None and any(_is_ours(now, mark) for mark in record.marks[path].split(",")):
            (plan.rmdir if now.kind == "d" else plan.remove).append(path)
    _unlock(plan, wanted, seen)
    plan.is_done = not (changed or gone or plan.send or plan.make or plan.chmod)
    plan.is_new = any(entry.path.partition("/")[0] not in record.marks for entry in (*plan.make, *plan.send))
    return plan


def _plan_all(wanted: Wanted, record: Record) -> Plan:
    """Where nothing of ours is: whatever is there is somebody else's, and not looked at."""
    plan = Plan()
    plan.send = [entry for entry in wanted.entries if entry.kind != "d"]
    plan.make = wanted.folders
    plan.chmod = wanted.folders[::-1]
    plan.is_new = bool(wanted.entries)
    plan.is_done = not wanted.entries and record.kind == wanted.kind
    return plan


def control(plan: Plan, wanted: Wanted, record: Record) -> Iterable[tuple[str, bytes]]:
    """Names and contents of the files that tell apply.sh what to do."""
    changed = wanted.marks if plan.changed is None else plan.changed
    yield from amend(record, wanted.kind, wanted.marks, changed, plan.gone)
    if plan.is_new:
        yield "graft", b""
    for name, paths in (("unlock", plan.unlock), ("remove", plan.remove), ("rmdir", plan.rmdir)):
        if paths:
            yield name, encode_paths(paths)
    for number, (mode, group) in enumerate(groupby(plan.chmod, key=lambda entry: entry.mode)):
        yield f"mode.{number:06}.{mode:o}", encode_paths(entry.path for entry in group)


def _look(wanted: Wanted, record: Record) -> tuple[dict[str, Seen], set[str]]:
    """What is there, by path, but for files that are as they should be; and files that are not as they should be.

    What is reached through a link is not where we put it, and so not there.
    """
    if not record.stats:
        return {}, set()
    seen = parse_stats(record.stats - wanted.stats.keys())
    absent = {wanted.stats[line] for line in wanted.stats.keys() - record.stats}
    through = tuple(f"{path}/" for path, now in seen.items() if now.kind != "d" and _was_folder(record, path))
    if through:
        seen = {path: now for path, now in seen.items() if not path.startswith(through)}
        absent.update(path for path in wanted.marks if path.startswith(through))
    return seen, absent


def _was_folder(record: Record, path: str) -> bool:
    return any(mark[0] == "d" for mark in record.marks.get(path, "-").split(","))


def _is_ours(now: Seen, mark: str) -> bool:
    """Whether what is there is what we put there. What a job changed belongs to the job."""
    content, size, mtime = mark.split(" ")
    return now.kind == content[0] and (now.kind != "f" or (now.size, now.mtime) == (int(size), int(mtime)))


def _unlock(plan: Plan, wanted: Wanted, seen: Mapping[str, Seen]) -> None:
    changed = [*(entry.path for entry in (*plan.send, *plan.make)), *plan.remove, *plan.rmdir]
    parents = {path.rpartition("/")[0] for path in changed}
    folders = {path for path in parents & seen.keys() if seen[path].kind == "d"}
    locked = {path for path in folders if seen[path].mode & 0o700 != 0o700}
    plan.unlock = sorted(locked)
    again = {entry for entry in wanted.folders if entry.path in locked}
    plan.chmod = sorted(again.union(plan.make, plan.chmod), reverse=True)
