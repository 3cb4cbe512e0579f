"""The SSH key of a cluster: one pair for each life of a cluster, made before its first node exists."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from skyflow.errors import ObjectAbsentError, StoreError
from skyflow.models.name import safe_name
from skyflow.store.store import Store


@dataclass(frozen=True)
class ClientKey:
    """An ed25519 pair in OpenSSH's formats."""

    private: str = field(repr=False)
    """PEM text."""
    public: str
    """One line."""


async def client_key(store: Store, cluster: str, uid: str) -> ClientKey:
    """The pair that opens the nodes of this life of the cluster. All callers get the same one; the first makes it."""
    path = _path(cluster, uid)
    try:
        return await existing_key(store, cluster, uid)
    except ObjectAbsentError:
        pair = _generate(f"skyflow {cluster}")
    if await store.put_new(path, _encode(pair), private=True):
        return pair
    return _decode(path, await store.get(path))


async def existing_key(store: Store, cluster: str, uid: str) -> ClientKey:
    """The pair that was made for this life of the cluster. Raises ObjectAbsentError: this store has none."""
    path = _path(cluster, uid)
    return _decode(path, await store.get(path))


def _path(cluster: str, uid: str) -> str:
    return f"keys/{safe_name(cluster)}/{uid}"


def _generate(comment: str) -> ClientKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return ClientKey(private.decode(), f"{public.decode()} {comment}")


def _encode(pair: ClientKey) -> bytes:
    """The one place that decides how a pair is kept (in plain text, behind the store's permissions)."""
    return json.dumps({"version": 1, "private": pair.private, "public": pair.public}).encode()


def _decode(path: str, data: bytes) -> ClientKey:
    try:
        raw = json.loads(data)
        return ClientKey(raw["private"], raw["public"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"The key {path!r} in the store is damaged; take the cluster down and launch it anew."
        ) from error
