"""The `local` cloud keeps the contract."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clouds.local_lab import LocalLab
from tests.contract.cloud_contract import CloudContract


class TestLocal(CloudContract):
    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[LocalLab]:
        lab = LocalLab(tmp_path)
        yield lab
        await lab.close()
