"""What jobs run, kept in the store: neither a queue nor a history carries scripts."""

from __future__ import annotations

from skyflow.models.job import JobSpec
from skyflow.models.name import safe_name, spec_key
from skyflow.store.store import Store


async def put_spec(store: Store, cluster: str, uid: str, job_id: int, spec: JobSpec) -> str:
    """Puts a job's spec if it is absent; returns its key."""
    key = spec_key(cluster, uid, job_id)
    await store.put_new(key, spec.model_dump_json().encode())
    return key


async def job_ids(store: Store, cluster: str, uid: str) -> list[int]:
    """The jobs of one life of a cluster that have a spec."""
    return [int(name) for name in await store.folders(f"jobs/{safe_name(cluster)}/{uid}")]


async def get_spec(store: Store, key: str) -> JobSpec:
    """The spec that was put there."""
    return JobSpec.model_validate_json(await store.get(key))
