"""The keys of the settings: what each may hold, and who it is for. Names and values are the same in every source."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from skyflow.errors import UsageError

Value = str | list[str] | None
"""As a source has it: a text, a list of texts, or None for anything nested."""

Target = Literal["cost", "time"]
"""What a plan is best in."""

Callbacks = Literal["auto", "on", "off"]
"""Whether a worker runs the callbacks of tasks."""

CLOUDS = (
    "aws azure cudo do fluidstack gcp hyperbolic ibm kubernetes lambda local mithril nebius oci paperspace "
    "primeintellect runpod scp seeweb shadeform slurm ssh vast verda vsphere yotta"
).split()
"""Every cloud that a task may name (`skyflow.models.place`), which is above this layer."""

_EVERY = "all"
_NONE = "none"
_WEBHOOK = re.compile(r"https?://[^\s,/@?#]+([/?][^\s,#]*)?", re.IGNORECASE)
_SWITCH = {"auto": "auto"} | dict.fromkeys(("on", "true", "yes"), "on") | dict.fromkeys(("off", "false", "no"), "off")


@dataclass(frozen=True)
class Key:
    """One setting that a file can have."""

    read: Callable[[Value], Any]
    """Makes the setting of a value. Raises ValueError."""
    expected: str
    """What the value has to be, for errors."""
    shared: bool = False
    """Whether the worker has to know it: then it cannot differ from project to project."""


def as_text(value: Any) -> str:
    """A setting as its environment variable has it."""
    return (",".join(value) or _NONE) if isinstance(value, tuple) else str(value)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"SKYFLOW_{name.upper()}"


def read(name: str, value: Value, where: str) -> Any:
    """The setting that a value stands for.

    Args:
        name: of the setting.
        value: as its source has it.
        where: begins the error's sentence: `config.yaml:3: check_seconds`.

    Raises:
        UsageError: it is not what the setting needs.
    """
    key = KEYS[name]
    try:
        return key.read(value)
    except ValueError:
        raise UsageError(f"{where} is {_describe(value)}; it has to be {key.expected}.") from None


def check_name(name: str, at: str) -> None:
    """Raises UsageError, with what was probably meant, if there is no such setting to be put into a file."""
    if name in KEYS:
        return
    if name == "home":
        raise UsageError(f"{at}home says where the settings are, so it cannot be one of them: set {variable(name)}.")
    import difflib

    close = difflib.get_close_matches(name, KEYS, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there is: {', '.join(KEYS)}."
    raise UsageError(f"{at}There is no setting {name[:40]!r}; {hint}")


def _number(at_least: float) -> Callable[[Value], float]:
    def read(value: Value) -> float:
        number = float(_text(value))
        if not at_least <= number < math.inf:
            raise ValueError
        return number

    return read


def _whole_number(value: Value) -> int:
    number = _number(1)(value)
    if number != int(number):
        raise ValueError
    return int(number)


def _url(value: Value) -> str:
    text = _text(value)
    if not re.match(r"(file|s3|gs)://.", text):
        raise ValueError
    return text


def _target(value: Value) -> str:
    text = _text(value).lower()
    if text not in ("cost", "time"):
        raise ValueError
    return text


def _clouds(value: Value) -> tuple[str, ...] | None:
    words = value if isinstance(value, list) else _text(value).removeprefix("[").removesuffix("]").split(",")
    names = [word.strip().lower() for word in words]
    if names == [_EVERY]:
        return None
    if not names or _EVERY in names or not set(names) <= set(CLOUDS):
        raise ValueError
    return tuple(dict.fromkeys(names))


def _webhooks(value: Value) -> tuple[str, ...]:
    words = value if isinstance(value, list) else re.sub(r"^\[(.*)\]$", r"\1", _text(value)).split(",")
    urls = [word.strip() for word in words]
    if urls == [_NONE]:
        return ()
    if not urls or not all(_WEBHOOK.fullmatch(url) for url in urls):
        raise ValueError
    return tuple(dict.fromkeys(urls))


def _switch(value: Value) -> str:
    text = _text(value).lower()
    if text not in _SWITCH:
        raise ValueError
    return _SWITCH[text]


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _describe(value: Value) -> str:
    if isinstance(value, str):
        return repr(value) if len(value) <= 80 else f"{value[:79]!r}…"
    return "an empty list" if value == [] else "nested" if value is None else f"the list {', '.join(value)[:80]!r}"


KEYS = {
    "store": Key(_url, "a URL: file:///folder, s3://bucket/folder or gs://bucket/folder", shared=True),
    "check_seconds": Key(_number(0.1), "a number, 0.1 or more", shared=True),
    "safety_minutes": Key(_whole_number, "a whole number, 1 or more", shared=True),
    "webhooks": Key(
        _webhooks, "a list of http:// or https:// URLs (no user, space or comma in them), or none", shared=True
    ),
    "event_callbacks": Key(_switch, "auto, on or off", shared=True),
    "allowed_clouds": Key(_clouds, "a list of clouds such as [aws, gcp, local], or all"),
    "optimize_target": Key(_target, "cost or time"),
}
