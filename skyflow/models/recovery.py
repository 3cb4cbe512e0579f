"""Job recovery: what becomes of a managed job that loses a node or fails (PARITY §2.1, §4.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skyflow.models.document import Document, Path, show
from skyflow.models.shape import error, integer, listing, record, spell, wrong

FAILOVER = "FAILOVER"
EAGER_NEXT_REGION = "EAGER_NEXT_REGION"
STRATEGIES = (FAILOVER, EAGER_NEXT_REGION)
OFF = "none"

_EXIT_CODE = integer(least=0, most=255)


@dataclass(frozen=True)
class JobRecovery:
    """How a managed job is recovered.

    Args:
        strategy: FAILOVER (first the same region, then elsewhere), EAGER_NEXT_REGION (elsewhere at once), `none` (not
            at all), or None for the default.
        max_restarts_on_errors: how often a job that failed by itself is started again.
        recover_on_exit_codes: a job that ends with one of these is started again, however often.
        others: what else is said, for SkyPilot's plugins.
    """

    strategy: str | None = None
    max_restarts_on_errors: int = 0
    recover_on_exit_codes: tuple[int, ...] = ()
    others: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def enabled(self) -> bool:
        """Whether a job that loses a node is recovered."""
        return self.strategy != OFF

    def to_yaml_config(self) -> str | dict[str, Any]:
        """The value of `job_recovery` that means the same."""
        limits = {
            "max_restarts_on_errors": self.max_restarts_on_errors,
            "recover_on_exit_codes": list(self.recover_on_exit_codes),
        }
        limits = {field: value for field, value in limits.items() if value} | self.others
        if self.strategy is None:
            return limits
        return {"strategy": self.strategy, **limits} if limits else self.strategy


def check_job_recovery(document: Document, value: object, path: Path) -> JobRecovery:
    """The name of a strategy, or a mapping of the fields of JobRecovery."""
    if isinstance(value, str):
        return JobRecovery(_check_strategy(document, value, path))
    if isinstance(value, Mapping):
        found = _FIELDS(document, value, path)
        own = {name: found.pop(name) for name in _NAMES if name in found}
        return JobRecovery(**own, others=found)
    raise wrong(document, path, "the name of a strategy or a mapping", value)


def _check_strategy(document: Document, value: Any, path: Path) -> str:
    choices = {name.lower(): name for name in (*STRATEGIES, OFF)}
    if not isinstance(value, str):
        raise wrong(document, path, "the name of a strategy", value)
    if value.lower() not in choices:
        names = ", ".join(choices.values())
        raise error(document, path, f"{spell(path)}: there is no strategy {show(value)}; choose {names}.")
    return choices[value.lower()]


def _check_exit_codes(document: Document, value: Any, path: Path) -> tuple[int, ...]:
    must = "an exit code from 0 to 255, or a list of them"
    if isinstance(value, int):
        return (_EXIT_CODE(document, value, path),)
    codes = listing(_EXIT_CODE, must)(document, value, path)
    if len(set(codes)) < len(codes):
        raise error(document, path, f"{spell(path)} has an exit code twice.")
    return tuple(codes)


_NAMES = ("strategy", "max_restarts_on_errors", "recover_on_exit_codes")
_FIELDS = record(
    "job_recovery",
    {
        "strategy": _check_strategy,
        "max_restarts_on_errors": integer(),
        "recover_on_exit_codes": _check_exit_codes,
    },
    "strategy: FAILOVER",
    open=True,
)
