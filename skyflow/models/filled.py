"""Values of secrets that were filled into a task: kept out of what is written and said of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from skyflow.models.document import SHOWN_CHARACTERS

FIELDS = ("workdir", "file_mounts", "service", "volumes")
"""Those of a task YAML in which variables are filled in (PARITY §2)."""

HIDDEN = "***"


class Filled:
    """What the values of secrets were filled into.

    Args:
        values: name of a secret → its value.
        filled: the task as YAML, with the values.
        written: the same with the references instead, as far as it makes sense without the values.
    """

    def __init__(self, values: Mapping[str, str], filled: Mapping[str, Any], written: Mapping[str, Any]) -> None:
        self._names = {value: name for name, value in values.items() if value}
        self._filled = {field: filled.get(field) for field in FIELDS}
        self._written = {field: written.get(field) for field in FIELDS if field in written}

    def hide(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The task as YAML, with references for the values, from which the same comes once the values are known."""
        return {field: self._hide(field, value) if field in FIELDS else value for field, value in config.items()}

    def redact(self, message: str) -> str:
        """A message without the values, also of one that was cut off."""
        spelled = {form for value in self._names for form in (value, repr(value)[1:-1])}
        cut = {f"{form[:length]}…" for form in spelled for length in range(3, min(len(form), SHOWN_CHARACTERS))}
        return _replace(message, dict.fromkeys(spelled, HIDDEN) | dict.fromkeys(cut, f"{HIDDEN}…"))

    def _hide(self, field: str, value: Any) -> Any:
        if value == self._filled[field] and field in self._written:
            return self._written[field]
        # Somebody changed it since: the values are looked for.
        return _map(value, lambda text: _replace(text, {value: f"${{{name}}}" for value, name in self._names.items()}))


def _replace(text: str, instead: Mapping[str, str]) -> str:
    """The longest that fits is replaced, and what stands there then is left alone."""
    if not instead:
        return text
    pattern = "|".join(map(re.escape, sorted(instead, key=len, reverse=True)))
    return re.sub(pattern, lambda found: instead[found[0]], text)


def _map(value: Any, change: Callable[[str], str]) -> Any:
    """The same with every string of it changed, the names of its mappings included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map(one, change) for one in value]
    if isinstance(value, dict):
        return {_map(key, change): _map(one, change) for key, one in value.items()}
    return value
