"""What is kept of a life: the highest edition counts, whoever comes late."""

from __future__ import annotations

import pytest

from skyflow.errors import ObjectDamagedError
from skyflow.models.life import Life
from skyflow.store import life
from skyflow.store.store import Store
from tests.models.test_cluster import fresh, launch


def edition(number: int, uid: str = "life-1") -> Life:
    state = fresh()
    launch(state, "a")
    state.edition, state.uid = number, uid
    return Life(owner="d", state=state)


async def test_an_older_writer_changes_nothing(store: Store) -> None:
    for number in (1, 12, 3):
        await life.keep(store, edition(number))
    assert await life.read(store, "dev", "life-1") == edition(12)
    await life.keep(store, edition(13))
    assert len(await store.list("lives")) == 1


async def test_lives_that_are_over_are_forgotten(store: Store) -> None:
    await life.keep(store, edition(1))
    await life.keep(store, edition(5, "life-2"))
    await life.forget(store, "dev", "life-1")
    await life.forget(store, "dev", "life-1")
    assert [one.state.uid for one in await life.lives(store)] == ["life-2"]
    assert await life.read(store, "dev", "life-1") is None


async def test_deployments_are_remembered(store: Store) -> None:
    assert await life.deployments(store) == []
    for _ in range(2):
        await life.note_deployment(store, "d", "default")
    assert await life.deployments(store) == ["d"]


async def test_damage_is_named(store: Store) -> None:
    await store.put("lives/x/y/000000000001", b"{}")
    with pytest.raises(ObjectDamagedError, match="lives/x/y"):
        await life.lives(store)
