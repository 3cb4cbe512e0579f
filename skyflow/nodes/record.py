"""The record: what a node remembers of our syncs to one target, so that the next one knows what is ours to replace.

Two files beside each other, both replaced by rename. The list says of every path what it holds. The changes amend it,
so that a sync of one file does not have to write down ten thousand; they count only for the list that they name:

    skyflow-sync 2 GENERATION KIND BYTES MORE changes       list
    skyflow-sync 2 GENERATION BASE BYTES MORE changes       changes; BASE is the list's generation

and then paths (BYTES of them, each with ./ before it and NUL after it) and marks (MORE bytes of lines), one for each
path. The generation is the changes', if they count. A list of version 1 ends after MORE, and has no changes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import zstandard

from skyflow.models.snapshot import EntryKind, name_bytes, name_text

FEW = 100
"""Paths that are always written as changes. Of more than these, up to one in `SHARE` of all that the list has."""
SHARE = 8
NOTHING = "none"
"""The generation of a target that we never put anything to."""

_GONE = "-"
"""The mark, among the changes, of a path of the list that is ours no more."""
_AMENDABLE = "2"
_STAT_LINE = re.compile(r"([0-9a-f]+) (\d+) (-?\d+) \./(.*)", re.DOTALL)
_KINDS: dict[int, EntryKind] = {0o100000: "f", 0o040000: "d", 0o120000: "l"}


class Seen(NamedTuple):
    """A path of the node, now."""

    kind: EntryKind | None
    """None for what a snapshot never holds (a socket, a device)."""
    mode: int
    size: int
    mtime: int


@dataclass(frozen=True)
class Record:
    """What earlier syncs put on the node, and what became of it."""

    zstd: bool = False
    """Whether the node can read it."""
    generation: str = NOTHING
    kind: str = ""
    base: str = ""
    """The generation of the list, if it can be amended."""
    listed: Mapping[str, str] = field(default_factory=dict)
    """By path, all that it could hold: one mark (see `skyflow.nodes.plan`), or several with commas if a sync died."""
    changes: Mapping[str, str] = field(default_factory=dict)
    stats: frozenset[str] = frozenset()
    """Lines in which `stat` says what is there, of all paths of the list and the changes; see `parse_stats`."""

    @cached_property
    def marks(self) -> Mapping[str, str]:
        """The list, amended."""
        if not self.changes:
            return self.listed
        both = {**self.listed, **self.changes}
        return {path: mark for path, mark in both.items() if mark != _GONE}


def parse_stats(lines: Iterable[str]) -> dict[str, Seen]:
    """By path, what lines say in which apply.sh has `stat` tell hexadecimal mode, size, seconds and path."""
    seen = {}
    for line in lines:
        if match := _STAT_LINE.fullmatch(line):
            mode = int(match[1], 16)
            seen[match[4]] = Seen(_KINDS.get(mode & 0o170000), mode & 0o777, int(match[2]), int(match[3]))
    return seen


def parse_record(data: bytes) -> Record:
    """Reads what `apply.sh list` says: whether there is zstd, the list, the changes (or an empty line), and stats."""
    first, _, data = data.partition(b"\n")
    zstd = first == b"zstd"
    if data.startswith(zstandard.FRAME_HEADER):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if not data:
        return Record(zstd)
    header, listed, data = _parse_part(data)
    _, version, generation, kind, *_ = header
    changes: dict[str, str] = {}
    base = generation if version == _AMENDABLE else ""
    header, amended, data = _parse_part(data)
    if header and base and header[3] == base:
        generation, changes = header[2], amended
    # no path holds //, so that ends a name, whatever else is in it
    stats = frozenset(name_text(data).split("//\n"))
    return Record(zstd, generation, kind, base, listed, changes, stats)


def amend(
    record: Record, kind: str, marks: Mapping[str, str], changed: Mapping[str, str], gone: Iterable[str]
) -> Iterable[tuple[str, bytes]]:
    """Names and contents of the files that apply.sh takes into the record.

    First of all `list`, or `before` as the changes: of every path all that it could hold until the sync is through. In
    the end `changes`: what it holds then.

    Args:
        record: as it is.
        kind: of the target.
        marks: what the snapshot has.
        changed: those of them that the record does not have.
        gone: paths that only the record has.
    """
    earlier = record.marks
    either = {path: _either(earlier.get(path), mark) for path, mark in changed.items()}
    generation = uuid.uuid4().hex
    if record.base and record.kind == kind and len(record.changes) + len(either) <= _few(record):
        listed, base = record.listed, record.base
        yield "before", _encode([generation, base], {**record.changes, **either})
    else:
        listed, base = {**earlier, **either}, generation
        yield "list", _encode([generation, kind], listed)
    after = {}
    for path in {*record.changes, *changed, *gone}:
        mark = marks.get(path, _GONE)
        if mark != listed.get(path, _GONE):
            after[path] = mark
    yield "changes", _encode([uuid.uuid4().hex, base], after)


def encode_paths(paths: Iterable[str]) -> bytes:
    """As `xargs -0` reads them, each with ./ before it."""
    joined = "\0./".join(paths)
    return name_bytes(f"./{joined}\0") if joined else b""


def _few(record: Record) -> int:
    return max(FEW, len(record.listed) // SHARE)


def _either(earlier: str | None, mark: str) -> str:
    return mark if earlier is None else ",".join(sorted({mark, *earlier.split(",")}))


def _encode(words: list[str], marks: Mapping[str, str]) -> bytes:
    paths = encode_paths(marks)
    lines = "".join([f"{mark}\n" for mark in marks.values()]).encode()
    return f"skyflow-sync {_AMENDABLE} {' '.join(words)} {len(paths)} {len(lines)} changes\n".encode() + paths + lines


def _parse_part(data: bytes) -> tuple[list[str], dict[str, str], bytes]:
    """The words of a header, the marks by path, and what comes behind them."""
    line, _, rest = data.partition(b"\n")
    if not line:
        return [], {}, rest
    header = line.decode().split(" ")
    middle = int(header[4])
    end = middle + int(header[5])
    paths = name_text(rest[2 : middle - 1]).split("\0./") if middle else []
    return header, dict(zip(paths, rest[middle:end].decode().splitlines(), strict=True)), rest[end:]
