"""Tar streams, member by member, in GNU's format."""

from __future__ import annotations

import tarfile
from zlib import adler32

from skyflow.models.snapshot import name_bytes

FILE, FOLDER, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE
BLOCK = tarfile.BLOCKSIZE
NAME_BYTES = 100
MAX_SIZE = 0o77777777777
"""What fits into the fields of a plain header."""
END = bytes(2 * BLOCK)
"""Ends a stream."""

_PADDING = [bytes(size) for size in range(BLOCK)]
_FIELDS = b"%07o\0" + b"0000000\0" * 2 + b"%011o\0%011o\0"
"""Mode, nobody's numbers, size, time."""
_REST = bytes(100) + b"ustar  \0" + bytes(64) + bytes(16) + bytes(167)
_CONSTANT_SUM = sum(_REST) + 8 * ord(" ") - 1
"""Of what is the same in all; the checksum counts its own field as spaces, and Adler's sum begins with 1."""


def member(name: str, kind: bytes, mode: int, *, size: int = 0, mtime: int = 0, target: str = "") -> bytes:
    """The header of a member. `size` bytes and their `padding` follow.

    Args:
        name: may hold any bytes (as lone surrogates) and be of any length.
        kind: FILE, FOLDER or LINK.
        mode: the permission bits.
        size: of a file, in bytes.
        mtime: in whole seconds, up to `skyflow.models.snapshot.LAST_TAR_SECOND`.
        target: of a link.
    """
    path = name_bytes(name if kind != FOLDER or name.endswith("/") else f"{name}/")
    if kind == LINK or len(path) > NAME_BYTES or size > MAX_SIZE:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.size, info.mtime, info.linkname = kind, mode, size, mtime, target
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    # The same bytes thirty times as fast: of 10,000 small files, tarfile's way would be half of a sync's time. The
    # lower half of Adler's checksum is the sum of the bytes, as long as they are few.
    head = path.ljust(NAME_BYTES, b"\0") + _FIELDS % (mode, size, mtime)
    return head + b"%06o\0 %b" % (_CONSTANT_SUM + kind[0] + (adler32(head) & 0xFFFF), kind) + _REST


def padding(size: int) -> bytes:
    """What follows the `size` bytes of a file."""
    return _PADDING[-size % BLOCK]
