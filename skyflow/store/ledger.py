"""The ledger, kept in the store for longer than Temporal remembers: one record for each node and time that it was up.

An interval is two objects, each written once: who comes second with the same one changes nothing.

    ledger/<cluster>/<uid>/<node>/<start in ms>          the interval as it began
    ledger/<cluster>/<uid>/<node>/<start in ms>.end      {"ended": epoch seconds}
"""

from __future__ import annotations

import json

from skyflow.models.name import safe_name
from skyflow.models.usage import UpInterval
from skyflow.store.store import Store

ROOT = "ledger"
END = ".end"


async def book(store: Store, interval: UpInterval) -> None:
    """Notes an interval: that it began, and if it has ended, when."""
    key = _key(interval)
    begun = interval.model_copy(update={"ended": None})
    await store.put_new(key, begun.model_dump_json().encode())
    if interval.ended is not None:
        await store.put_new(key + END, json.dumps({"ended": interval.ended}).encode())


async def close(store: Store, cluster: str, uid: str, now: float) -> None:
    """Ends every interval of one life of a cluster that is still open."""
    for interval in await open_intervals(store, cluster, uid):
        await book(store, interval.model_copy(update={"ended": now}))


async def open_intervals(store: Store, cluster: str, uid: str) -> list[UpInterval]:
    """Those of one life of a cluster that have not ended."""
    found = await _read(store, f"{ROOT}/{safe_name(cluster)}/{uid}")
    return [interval for interval in found if interval.ended is None]


async def intervals(store: Store) -> list[UpInterval]:
    """All of them, by their start."""
    return sorted(await _read(store, ROOT), key=lambda interval: (interval.started, interval.node))


async def _read(store: Store, prefix: str) -> list[UpInterval]:
    keys = {key for key, _ in await store.list(prefix)}
    found = []
    for key in sorted(key for key in keys if not key.endswith(END)):
        interval = UpInterval.model_validate_json(await store.get(key))
        if key + END in keys:
            interval.ended = json.loads(await store.get(key + END))["ended"]
        found.append(interval)
    return found


def _key(interval: UpInterval) -> str:
    folder = f"{ROOT}/{safe_name(interval.cluster)}/{interval.uid}/{interval.node}"
    return f"{folder}/{round(interval.started * 1000)}"
