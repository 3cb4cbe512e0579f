"""A snapshot: what a folder (or one file) held at one moment, and where in the store its bytes are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

EntryKind = Literal["f", "d", "l"]
"""A regular file, a folder, a symbolic link."""

MANIFEST_VERSION = 2
PLACE = 7
"""Where, in an entry, that begins which says where its bytes are."""
LAST_TAR_SECOND = 0o77777777777
"""The latest time that a tar header can hold (in the year 2242)."""


class Entry(NamedTuple):
    """One path of a snapshot. A plain tuple, because a snapshot of 100,000 files must parse fast."""

    path: str
    """Relative, with `/`. Bytes that are not UTF-8 are kept as lone surrogates (`surrogateescape`)."""
    kind: EntryKind
    mode: int
    """The nine permission bits."""
    size: int = 0
    """Bytes of a file; 0 otherwise."""
    mtime_ns: int = 0
    """Of a file; 0 otherwise."""
    digest: str = ""
    """SHA-256 of a file's bytes."""
    target: str = ""
    """Of a link."""
    pack: str = ""
    """Key of the object that holds the bytes, as zstd frames. Empty when there are none."""
    offset: int = 0
    length: int = 0
    """Where they are in the pack."""

    @property
    def mtime(self) -> int:
        """Whole seconds, within what a tar header can hold: what a node is given and asked for."""
        return min(max(self.mtime_ns // 1_000_000_000, 0), LAST_TAR_SECOND)

    @property
    def content(self) -> str:
        """Differs whenever what the path holds differs (its permissions apart)."""
        return self.kind + (hashlib.sha256(name_bytes(self.target)).hexdigest() if self.kind == "l" else self.digest)


@dataclass(frozen=True)
class Manifest:
    """All paths of a snapshot, sorted, every folder before what it holds.

    Of a single file it has one entry, whose path is the file's own name.
    """

    kind: Literal["f", "d"]
    entries: tuple[Entry, ...]

    @cached_property
    def _contents(self) -> bytes:
        """What the snapshot holds, and not where its bytes are."""
        rows = [entry[:PLACE] for entry in self.entries]
        contents = {"version": MANIFEST_VERSION, "kind": self.kind, "entries": rows}
        return json.dumps(contents, separators=(",", ":")).encode()

    @cached_property
    def digest(self) -> str:
        """Of what the snapshot holds: the same tree has the same digest."""
        return hashlib.sha256(self._contents).hexdigest()

    def encode(self) -> bytes:
        """Two lines of JSON: what the snapshot holds (the digest is of this line), and where the bytes are."""
        places = [entry[PLACE:] for entry in self.entries]
        return self._contents + b"\n" + json.dumps(places, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes, digest: str) -> Manifest:
        """Raises ValueError (or KeyError, TypeError) if these are not the bytes of a manifest with this digest."""
        contents, _, places = data.partition(b"\n")
        if hashlib.sha256(contents).hexdigest() != digest:
            raise ValueError("the manifest is damaged")
        raw = json.loads(contents)
        if raw["version"] != MANIFEST_VERSION:
            raise ValueError(f"manifest version {raw['version']} is unknown")
        rows = zip(raw["entries"], json.loads(places), strict=True)
        return cls(raw["kind"], tuple(Entry(*row, *place) for row, place in rows))


def name_bytes(name: str) -> bytes:
    """The bytes of a path or a link's target, as the file system has them."""
    return name.encode("utf-8", "surrogateescape")


def name_text(name: bytes) -> str:
    """The reverse of `name_bytes`."""
    return name.decode("utf-8", "surrogateescape")
