"""Autostop: when an idle cluster is stopped or taken down (PARITY §2.1, §4.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skyflow.models.document import Document, Path
from skyflow.models.duration import check_minutes
from skyflow.models.idle import WAIT_FOR
from skyflow.models.shape import boolean, choice, integer, record, text, written, wrong

DEFAULT_IDLE_MINUTES = 5


@dataclass(frozen=True)
class Autostop:
    """When an idle cluster is stopped.

    Args:
        enabled: false switches it off; the rest then means nothing.
        idle_minutes: how long it must have been idle.
        down: whether it is taken down instead of stopped.
        wait_for: one of WAIT_FOR.
        hook: a shell script that runs before.
        hook_timeout: seconds after which it is ended.
        down_after: minutes after which the stopped cluster is taken down. (SkyPilot does not have it.)
    """

    enabled: bool = True
    idle_minutes: int = DEFAULT_IDLE_MINUTES
    down: bool = False
    wait_for: str | None = None
    hook: str | None = None
    hook_timeout: int | None = None
    down_after: int | None = None

    def to_yaml_config(self) -> bool | dict[str, Any]:
        """The value of `autostop` that means the same."""
        if not self.enabled:
            return False
        return written({**vars(self), "enabled": None, "down": self.down or None})


def check_autostop(document: Document, value: object, path: Path) -> Autostop:
    """`false`, `true`, minutes, `"2h"`, or a mapping of the fields of Autostop. Negative minutes switch it off."""
    if isinstance(value, bool):
        return Autostop(enabled=value)
    if isinstance(value, int) and value < 0:
        return Autostop(enabled=False)
    if isinstance(value, int | str):
        return Autostop(idle_minutes=check_minutes(document, value, path))
    if isinstance(value, Mapping):
        rule = Autostop(**_FIELDS(document, value, path))
        if rule.down and rule.down_after is not None:
            raise wrong(
                document, (*path, "down_after"), "without down: it is for a cluster that is stopped", rule.down_after
            )
        return rule
    raise wrong(document, path, "true, false, minutes such as 10, '2h', or a mapping", value)


def _check_idle_minutes(document: Document, value: Any, path: Path) -> int:
    return check_minutes(document, integer()(document, value, path), path)


_FIELDS = record(
    "autostop",
    {
        "idle_minutes": _check_idle_minutes,
        "down": boolean,
        "wait_for": choice(WAIT_FOR),
        "hook": text("a shell script"),
        "hook_timeout": integer(least=1),
        "down_after": check_minutes,
    },
    "idle_minutes: 10",
)
