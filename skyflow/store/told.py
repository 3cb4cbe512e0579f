"""How far listeners were told of a cluster's changes: who tells them anew after a worker's death goes on from there.

told/<cluster>/<uid>/<digest of the webhook's URL>      number of the last change that it acknowledged
callbacks/<cluster>/<launch>/spec.json                  the script of a job's callback
callbacks/<cluster>/<launch>/<uid>-<number>.json        what came of it after one change
"""

from __future__ import annotations

import hashlib

from skyflow.errors import ObjectAbsentError
from skyflow.models.change import CallbackSpec, Change
from skyflow.models.name import safe_name
from skyflow.store.store import Store


async def read(store: Store, change: Change, url: str) -> int:
    """The last change that a webhook has acknowledged, of the life of the cluster that this one is of; 0 if none."""
    try:
        return int(await store.get(_mark(change, url)))
    except ObjectAbsentError:
        return 0


async def note(store: Store, change: Change, url: str) -> None:
    """A webhook has acknowledged this change."""
    await store.put(_mark(change, url), str(change.number).encode())


async def put_callback(store: Store, spec: CallbackSpec) -> None:
    """Keeps the script of a launch."""
    await store.put(f"{_folder(spec.cluster, spec.launch)}/spec.json", spec.model_dump_json().encode())


async def get_callback(store: Store, change: Change) -> CallbackSpec:
    """The script of the launch whose job has changed."""
    data = await store.get(f"{_folder(change.cluster, change.workflow_id)}/spec.json")
    return CallbackSpec.model_validate_json(data)


async def has_run(store: Store, change: Change) -> bool:
    """Whether the callback was run to its end for this change."""
    return await store.size(_run(change)) is not None


async def note_run(store: Store, change: Change, result: bytes) -> None:
    """The callback was run to its end for this change, and this came of it."""
    await store.put_new(_run(change), result)


def _mark(change: Change, url: str) -> str:
    return f"told/{safe_name(change.cluster)}/{change.uid}/{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def _run(change: Change) -> str:
    return f"{_folder(change.cluster, change.workflow_id)}/{change.uid}-{change.number}.json"


def _folder(cluster: str, launch: str) -> str:
    return f"callbacks/{safe_name(cluster)}/{safe_name(launch)}"
