"""The key of a cluster: one pair a life, private, and usable by SSH."""

import asyncio
import stat
from pathlib import Path

import asyncssh
import pytest

from skyflow.errors import StoreError
from skyflow.models.name import safe_name
from skyflow.store.key import client_key
from skyflow.store.store import Store


async def test_all_callers_get_the_same_pair(store: Store, tmp_path: Path) -> None:
    pairs = await asyncio.gather(*(client_key(store, "dev", "uid") for _ in range(8)))
    assert len(set(pairs)) == 1
    assert await client_key(store, "dev", "other-life") != pairs[0]
    kept = tmp_path / "store/keys" / safe_name("dev") / "uid"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


async def test_ssh_reads_the_pair(store: Store) -> None:
    pair = await client_key(store, "dev", "uid")
    private = asyncssh.import_private_key(pair.private)
    assert pair.public.startswith("ssh-ed25519 ")
    assert asyncssh.import_public_key(pair.public).public_data == private.public_data
    assert pair.private not in repr(pair)


async def test_a_damaged_key_is_one_sentence(store: Store) -> None:
    await store.put(f"keys/{safe_name('dev')}/uid", b"{")
    with pytest.raises(StoreError, match="is damaged"):
        await client_key(store, "dev", "uid")
