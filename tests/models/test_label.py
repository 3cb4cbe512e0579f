"""Labels of the nodes."""

from __future__ import annotations

from skyflow.models.document import Document
from skyflow.models.label import check_labels


def test_labels_are_a_copy() -> None:
    labels = {"team": "ml", "empty": "", "a/b.c": "x y"}
    found = check_labels(Document(None), labels, ("resources", "labels"))
    assert found == labels
    found["team"] = "changed"
    assert labels["team"] == "ml"
