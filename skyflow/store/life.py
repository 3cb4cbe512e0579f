"""What is kept of clusters for the day when Temporal's database is lost.

Each edition of a life is one object, written once; the highest counts, and whoever writes it deletes those before. So
a writer that comes late changes nothing. When the life is over, all of it goes.

    lives/<cluster>/<uid>/<edition, 12 digits>      a Life
    deployments/<id>                                a namespace that has worked with this store
"""

from __future__ import annotations

import json

from pydantic import ValidationError

from skyflow.errors import ObjectAbsentError, ObjectDamagedError
from skyflow.models.life import Life
from skyflow.models.name import safe_name
from skyflow.store.store import Store

ROOT = "lives"
DEPLOYMENTS = "deployments"


async def keep(store: Store, life: Life) -> None:
    """Keeps this edition of a life."""
    key = f"{_folder(life.state.name, life.state.uid)}/{life.state.edition:012}"
    await store.put_new(key, life.model_dump_json().encode())
    await store.delete([old for old, _ in await store.list(key.rpartition("/")[0]) if old < key])


async def read(store: Store, cluster: str, uid: str) -> Life | None:
    """The last edition of a life; None if nothing is kept of it. Raises ObjectDamagedError."""
    keys = [key for key, _ in await store.list(_folder(cluster, uid))]
    return await _read(store, max(keys)) if keys else None


async def lives(store: Store) -> list[Life]:
    """The last edition of every life that has not ended. Raises ObjectDamagedError."""
    last = {key.rpartition("/")[0]: key for key, _ in await store.list(ROOT)}
    found = [await _read(store, key) for key in last.values()]
    return [life for life in found if life is not None]


async def forget(store: Store, cluster: str, uid: str) -> None:
    """The life is over."""
    await store.delete([key for key, _ in await store.list(_folder(cluster, uid))])


async def note_deployment(store: Store, deployment: str, namespace: str) -> None:
    """Somebody works with this store: nodes may have its tags."""
    await store.put_new(f"{DEPLOYMENTS}/{deployment}", json.dumps({"namespace": namespace}).encode())


async def deployments(store: Store) -> list[str]:
    """Every deployment that has ever worked with this store."""
    return [key.rpartition("/")[2] for key, _ in await store.list(DEPLOYMENTS)]


async def _read(store: Store, key: str) -> Life | None:
    try:
        return Life.model_validate_json(await store.get(key))
    except ObjectAbsentError:  # there is a newer one, or it has ended
        return None
    except ValidationError as error:
        raise ObjectDamagedError(f"What the store has under {key!r} is no cluster's life: delete it.") from error


def _folder(cluster: str, uid: str) -> str:
    return f"{ROOT}/{safe_name(cluster)}/{uid}"
