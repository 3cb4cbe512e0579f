"""The stages of a launch, in their order."""

from __future__ import annotations

import enum


class Stage(enum.Enum):
    """`list(Stage)` is the full life of a launch (PARITY E05)."""

    OPTIMIZE = enum.auto()
    PROVISION = enum.auto()
    SYNC_WORKDIR = enum.auto()
    SYNC_FILE_MOUNTS = enum.auto()
    SETUP = enum.auto()
    PRE_EXEC = enum.auto()
    EXEC = enum.auto()
    DOWN = enum.auto()
