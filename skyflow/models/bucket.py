"""Buckets: who keeps them, and how their addresses are written."""

from __future__ import annotations

import enum
import re

from skyflow.errors import StorageSourceError
from skyflow.models.document import show


class StoreType(enum.Enum):
    """Who keeps the bytes."""

    S3 = "S3"
    GCS = "GCS"
    AZURE = "AZURE"
    R2 = "R2"
    IBM = "IBM"
    OCI = "OCI"
    NEBIUS = "NEBIUS"
    COREWEAVE = "COREWEAVE"
    VASTDATA = "VASTDATA"
    HF = "HF"
    VOLUME = "VOLUME"
    """A disk, and not a bucket."""


SCHEMES = {
    "s3": StoreType.S3, "gs": StoreType.GCS, "https": StoreType.AZURE, "r2": StoreType.R2, "cos": StoreType.IBM,
    "oci": StoreType.OCI, "nebius": StoreType.NEBIUS, "cw": StoreType.COREWEAVE, "vastdata": StoreType.VASTDATA,
    "hf": StoreType.HF,
}  # fmt: skip
"""Of a bucket's URI."""

_URI = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://(.*)", re.DOTALL)
_AZURE = re.compile(r"[a-z0-9]+\.blob\.core\.windows\.net/([^/]+)(?:/.*)?")


def bucket_of(uri: str) -> tuple[StoreType, str]:
    """The store and the bucket of a URI: `s3://bucket/…`, `cos://region/bucket/…`, `hf://datasets/who/what/…`."""
    found = _URI.fullmatch(uri)
    scheme, rest = (found[1].lower(), found[2].strip("/")) if found else ("", "")
    parts = rest.split("/")
    bucket = parts[0]
    if scheme == "cos":
        bucket = parts[1] if len(parts) > 1 else ""
    elif scheme == "hf":
        bucket = "/".join(parts[: 3 if bucket in ("datasets", "spaces", "buckets") else 2])
    elif scheme == "https":
        azure = _AZURE.fullmatch(rest)
        bucket = azure[1] if azure else ""
    if scheme not in SCHEMES or not bucket:
        raise StorageSourceError(
            f"Supported paths: local, {', '.join(f'{scheme}://' for scheme in SCHEMES)} with a bucket behind it. "
            f"Got: {show(uri)}"
        )
    return SCHEMES[scheme], bucket
