"""A choice of resources: sets of which any will do (`any_of`), or the first that can be had (`ordered`).

Accelerators can be a choice too: `{A100: 1, V100: 1}` is any of them, `[A100, V100]` is in that order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skyflow.errors import InvalidTaskError
from skyflow.models import accelerator
from skyflow.models.document import Document, Path, describe
from skyflow.models.place import check_infra
from skyflow.models.resources import ALIASES, PLACE_FIELDS, SCHEMA, Resources

CHOICES = ("any_of", "ordered")

MOST = 1000
"""Sets of resources in one task."""


class Choice(list[Resources]):
    """The sets of resources that would do. At least one; no two are equal.

    Attributes:
        ordered: whether an earlier one is better, whatever it costs.
    """

    def __init__(self, resources: Iterable[Resources] = (), *, ordered: bool = False) -> None:
        super().__init__(dict.fromkeys(resources))
        if not self:
            self.append(Resources())
        self.ordered = ordered and len(self) > 1

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Choice) and not self.ordered and not other.ordered:
            return set(self) == set(other)
        return list(self) == other and self.ordered == getattr(other, "ordered", self.ordered)

    def __ne__(self, other: object) -> bool:  # that of a list knows nothing of the order
        return not self == other

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (list(self), self.ordered)

    def to_yaml_config(self) -> dict[str, Any]:
        """The `resources` section of a task YAML from which the same choice comes."""
        if len(self) == 1:
            return self[0].to_yaml_config()
        return {"ordered" if self.ordered else "any_of": [one.to_yaml_config() for one in self]}

    def override(self, values: Mapping[str, Any]) -> Choice:
        """Every set with these values instead of its own; None takes a value away (PARITY K12)."""
        if not isinstance(values, Mapping):
            raise InvalidTaskError(f"What overrides resources must be a mapping of fields, found {describe(values)}.")
        for field in values:
            if problem := SCHEMA.unknown(field, None):
                raise problem
        given = {ALIASES.get(field, field): value for field, value in values.items()}
        if "infra" in given and given["infra"] is None:
            given = dict.fromkeys(PLACE_FIELDS) | given
        accelerators = given.get("accelerators")
        if accelerators is None:
            return Choice((one.copy(**given) for one in self), ordered=self.ordered)
        kinds = accelerator.parse(accelerators)
        bare = [one.copy(**given | {"accelerators": None}) for one in self]
        ordered = self.ordered or isinstance(accelerators, list)
        return Choice((one.copy(accelerators=kind) for one in bare for kind in kinds), ordered=ordered)


def _rebuild(resources: list[Resources], ordered: bool) -> Choice:
    return Choice(resources, ordered=ordered)


def check_resources(value: object) -> Choice:
    """Resources as Python code may give them: one, a dict, a set (any of them), a list (in that order; PARITY K11).

    Raises:
        InvalidTaskError: it is something else.
    """
    if value is None:
        return Choice()
    if isinstance(value, Choice):
        return value
    if isinstance(value, Resources):
        return Choice(_split(value))
    if isinstance(value, Mapping):
        return read_choice(Document(None), value, ())
    if not isinstance(value, list | tuple | set | frozenset):
        raise InvalidTaskError(
            f"resources must be a Resources or a mapping, or a list or set of Resources, found {describe(value)}."
        )
    for one in value:
        if not isinstance(one, Resources):
            raise InvalidTaskError(f"resources must be a list or set of Resources, found {describe(one)} in it.")
    if not value:
        raise InvalidTaskError("resources is empty; give at least one Resources, or None.")
    several = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
    sets = [part for one in several for part in _split(one)]
    _agree(Document(None), sets, ())
    return Choice(sets, ordered=isinstance(value, list | tuple))


def read_choice(document: Document, section: object, path: Path) -> Choice:
    """The `resources` section of a document. Errors name the line."""
    if section is None:
        return Choice()
    given = document.fields(section, path, SCHEMA)
    base = {field: value for field, value in given.items() if field not in CHOICES or value not in ([], ())}
    choices = [field for field in CHOICES if field in base]
    if len(choices) == 2:
        raise InvalidTaskError(f"{document.at((*path, 'ordered'))}resources: give either any_of or ordered, not both.")
    entries: list[tuple[dict[str, Any], Path]] = [({}, path)]
    where = path
    if choices:
        where = (*path, choices[0])
        entries = _entries(document, base.pop(choices[0]), where)
    sets: list[Resources] = []
    ordered = choices == ["ordered"]
    for entry, at in entries:
        merged = _merge(base, entry)
        lines = _Merged(document, entry, at, path)
        kinds, in_order = _kinds(lines, merged, path)
        if (in_order and choices) or (ordered and len(kinds) > 1):
            raise InvalidTaskError(
                f"{document.at(at)}resources: several accelerators cannot be combined with {choices[0]}; write one "
                "entry for each."
            )
        ordered = ordered or in_order
        sets += [Resources.from_document(lines, {**merged, **kind}, path) for kind in kinds]
        if len(sets) > MOST:
            raise InvalidTaskError(f"{document.at(where)}resources: more than {MOST} alternatives.")
    _agree(document, sets, where)
    return Choice(sets, ordered=ordered)


class _Merged(Document):
    """A document in which a field of the base, or of one entry of a choice, is found where it was written."""

    def __init__(self, document: Document, entry: Mapping[str, Any], entry_path: Path, path: Path) -> None:
        super().__init__(None, document.name, document.lines)
        self._entry, self._entry_path, self._path = entry, entry_path, path

    def at(self, path: Path = ()) -> str:
        rest = path[len(self._path) :]
        if rest and rest[0] in self._entry:
            return super().at((*self._entry_path, *rest))
        return super().at(path)


def _entries(document: Document, value: object, path: Path) -> list[tuple[dict[str, Any], Path]]:
    if not isinstance(value, list | tuple):
        raise InvalidTaskError(
            f"{document.at(path)}resources.{path[-1]} must be a list of resources, one entry for each, "
            f"found {describe(value)}."
        )
    found = []
    for index, entry in enumerate(value):
        at = (*path, index)
        fields = document.fields({} if entry is None else entry, at, SCHEMA)
        if nested := next((field for field in CHOICES if field in fields), None):
            raise InvalidTaskError(
                f"{document.at((*at, nested))}resources.{path[-1]}: {nested} cannot be nested in it."
            )
        found.append((fields, at))
    return found


def _merge(base: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """The fields of an entry over those of the base. What says the same thing in another way is replaced, too."""
    replaced: set[str] = set()
    if "infra" in entry:
        replaced |= set(PLACE_FIELDS)
    elif "infra" in base and any(field in entry for field in PLACE_FIELDS):
        base = _spread(base, next(field for field in PLACE_FIELDS if field in entry))
    for alias, field in ALIASES.items():
        if alias in entry or field in entry:
            replaced |= {alias, field}
    merged = {field: value for field, value in base.items() if field not in replaced} | entry
    labels = [part["labels"] for part in (base, entry) if isinstance(part.get("labels"), Mapping)]
    return merged | ({"labels": {key: label for part in labels for key, label in part.items()}} if labels[1:] else {})


def _spread(base: dict[str, Any], field: str) -> dict[str, Any]:
    """The base with cloud, region and zone for its infra, down to the field that an entry gives anew."""
    try:
        place = dict(zip(PLACE_FIELDS, check_infra(base["infra"]), strict=True))
    except InvalidTaskError:
        return base  # told when the entry is checked, with its line
    kept = PLACE_FIELDS[: PLACE_FIELDS.index(field)]
    fields = {name: value for name, value in base.items() if name != "infra"}
    return fields | {name: place[name] for name in kept if place[name] is not None}


def _kinds(lines: Document, merged: dict[str, Any], path: Path) -> tuple[list[dict[str, Any]], bool]:
    """The alternatives of accelerators, taken out of the fields; whether they are in order of preference."""
    names = [name for name in ("accelerators", "gpus") if name in merged]
    if len(names) != 1:
        return [{}], False  # none, or both, which is an error that Resources tells
    value = merged.pop(names[0])
    kinds = lines.check_items((*path, names[0]), accelerator.parse, value)
    return [{"accelerators": kind} for kind in kinds], isinstance(value, list) and len(kinds) > 1


def _split(resources: Resources) -> list[Resources]:
    """One set for each of its accelerators."""
    kinds = resources.accelerators or {}
    if len(kinds) < 2:
        return [resources]
    return [resources.copy(accelerators={name: count}) for name, count in kinds.items()]


def _agree(document: Document, sets: list[Resources], path: Path) -> None:
    """What is the cluster's must not depend on the choice (PARITY §2.1)."""
    if any(one.autostop != sets[0].autostop for one in sets):
        raise InvalidTaskError(f"{document.at(path)}All resources must have the same autostop config.")
