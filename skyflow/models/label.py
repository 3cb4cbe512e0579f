"""Labels: names and values that a cloud shows with the nodes."""

from __future__ import annotations

from skyflow.models.document import Document, Path
from skyflow.models.shape import mapping, text

_LABELS = mapping(text("a string in quotes", empty=True), "a mapping of names to strings")


def check_labels(document: Document, value: object, path: Path) -> dict[str, str]:
    """The labels of the nodes. What a cloud allows in them is for the cloud to say."""
    return _LABELS(document, value, path)
