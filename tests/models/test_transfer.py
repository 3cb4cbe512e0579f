"""Inputs and outputs, whose traffic has a price."""

from __future__ import annotations

import pytest

from skyflow.models.document import Document
from skyflow.models.transfer import Transfer, check_transfer


@pytest.mark.parametrize("size", [0, 0.5, 1500])
def test_one_uri_with_its_size(size: float) -> None:
    found = check_transfer(Document(None), {"s3://data": size}, ("inputs",))
    assert found == Transfer("s3://data", size)
    assert found.to_yaml_config() == {"s3://data": size}


def test_none_at_all() -> None:
    assert check_transfer(Document(None), {}, ("outputs",)) is None
