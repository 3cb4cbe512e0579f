"""A laboratory a test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clouds.local_lab import LocalLab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[LocalLab]:
    lab = LocalLab(tmp_path)
    yield lab
    await lab.close()
