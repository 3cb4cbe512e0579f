"""A storage: a bucket, or local files in a bucket, at a path of the nodes (PARITY §1.6, §2.2)."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from skyflow.errors import StorageModeError, StorageNameError, StorageSourceError, StorageSpecError
from skyflow.models.amount import DISK_TIERS
from skyflow.models.bucket import SCHEMES, StoreType, bucket_of
from skyflow.models.document import Document, Path, show
from skyflow.models.mount import is_uri
from skyflow.models.shape import Checker, boolean, choice, integer, listing, record, text, written
from skyflow.models.volume import check_size

__all__ = ["TYPES", "Storage", "StorageMode", "StoreType", "check_storage"]


class StorageMode(enum.Enum):
    """How a bucket comes to the nodes: as a file system, as a copy, or as a file system with a cache."""

    MOUNT = "MOUNT"
    COPY = "COPY"
    MOUNT_CACHED = "MOUNT_CACHED"


TYPES = ("MODEL_CHECKPOINT_RO", "MODEL_CHECKPOINT_RW", "DATASET_RO", "DATASET_RW")
"""What a MOUNT_CACHED is for, so that its cache is set up for that."""


class Storage:
    """A bucket, or local files in a bucket.

    Only the types of the arguments are checked at once. Whether name and source fit together is for `validate`.

    Args:
        name: of the bucket.
        source: a local folder, a list of local files and folders, or the URI of a bucket that exists.
        stores: where the bucket is kept; empty: where the nodes are.
        persistent: whether it stays when the cluster is taken down; if not given, a bucket does and a disk does not.
        mode: how it comes to the nodes.
        sync_on_reconstruction: SkyPilot's; says nothing here, where no storage outlives its launch.
        type: one of TYPES.
        config: of the mount: `mount`, `mount_cached`; of a disk: `disk_size`, `disk_tier`, `storage_type`,
            `attach_mode`.

    Raises:
        InvalidTaskError: an argument is of a wrong type.
    """

    def __init__(
        self,
        name: str | None = None,
        source: str | list[str] | None = None,
        stores: StoreType | str | Iterable[StoreType | str] | None = None,
        persistent: bool | None = None,
        mode: StorageMode | str = StorageMode.MOUNT,
        sync_on_reconstruction: bool = True,
        *,
        type: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        document, path = Document(None), ("storage",)
        several = [stores] if not isinstance(stores, Iterable) or isinstance(stores, str) else stores
        kept = [_check_store(document, store, (*path, "stores")) for store in several if store is not None]
        given = {"name": name, "source": source, "persistent": persistent, "type": type, "config": config}
        found = _FIELDS(document, given, path)
        self.name: str | None = found.get("name")
        self.source: str | list[str] | None = found.get("source")
        self.stores: dict[StoreType, None] = dict.fromkeys(kept)
        """Where it is kept."""
        self.persistent: bool = found.get("persistent", StoreType.VOLUME not in kept)
        self.mode = _check_mode(document, mode, (*path, "mode"))
        self.type: str | None = found.get("type")
        self.config: dict[str, Any] | None = found.get("config")
        self.internal: dict[str, Any] = {}
        """What SkyPilot writes for itself: held, and not read."""
        self.force_delete = False
        """Whether the bucket goes even if it was there before the task: set for what skyflow makes for itself."""

    @classmethod
    def from_yaml_config(cls, config: Mapping[str, Any]) -> Storage:
        """The storage object of a `file_mounts` section."""
        return check_storage(Document(None), config, ("storage",))

    def to_yaml_config(self) -> dict[str, Any]:
        """The storage object that means the same."""
        by_default = StoreType.VOLUME not in self.stores
        return written(
            {
                "name": self.name,
                "source": self.source,
                "store": next((one.value.lower() for one in self.stores), None),
                "persistent": None if self.persistent == by_default else self.persistent,
                "mode": self.mode.value,
                "type": self.type,
                "config": self.config,
                "_force_delete": self.force_delete or None,
                **self.internal,
            }
        )

    @property
    def is_local(self) -> bool:
        """Whether the source is on this machine."""
        return isinstance(self.source, list) or (self.source is not None and not is_uri(self.source))

    def validate(self, path: str = "<destination_path>", *, exists: bool = False) -> None:
        """Checks whether name, source and mode fit together, and looks at the local source.

        Args:
            path: on the nodes, for errors.
            exists: whether a bucket of this name is known to exist.

        Raises:
            StorageSourceError: the source is no local path or bucket, does not exist, or is missing.
            StorageNameError: the name is missing, or is a URI.
            StorageModeError: the mode cannot be had for this source.
            StorageSpecError: any other contradiction.
        """
        if StoreType.VOLUME in self.stores:
            for source in self._local_sources():
                _check_local(source)
            return
        name = self.name
        if self.source is None:
            if self.mode is StorageMode.COPY and not exists:
                raise StorageSourceError("New storage object: source must be specified when using COPY mode.")
            if not name:
                raise StorageSpecError("Storage source or storage name must be specified.")
        elif isinstance(self.source, str) and not self.is_local:
            _check_uri(self.source, self.mode)
            if name:
                raise StorageSpecError("Storage name should not be specified if the source is a remote URI.")
        else:
            self._check_local_sources(path)
            if not name:
                raise StorageNameError("Storage name must be specified if the source is local.")
        if name:
            _check_name(name)

    def _local_sources(self) -> list[str]:
        if not self.is_local:
            return []
        return self.source if isinstance(self.source, list) else [self.source or ""]

    def _check_local_sources(self, path: str) -> None:
        sources = self._local_sources()
        names = [os.path.basename(source) for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise StorageSourceError(
                "Cannot have multiple files or directories with the same name in source. Conflicts found for: "
                f"{show(', '.join(twice))}"
            )
        for source in sources:
            _check_local(source)
        if isinstance(self.source, str) and os.path.isfile(os.path.expanduser(self.source)):
            raise StorageSourceError(
                "Storage source path cannot be a file - only directories are supported as a source. To upload a single "
                f"file, specify it in a list by writing source: [{show(self.source)}]. It will then be in the root of "
                f"the bucket, at {show(f'{path}/{names[0]}')}. To bring it to the nodes without a bucket, write "
                f"{show(path)}: {show(self.source)} under file_mounts."
            )

    def __repr__(self) -> str:
        return f"Storage({', '.join(f'{field}={value!r}' for field, value in self.to_yaml_config().items())})"


def check_storage(document: Document, value: object, path: Path) -> Storage:
    """A storage object of `file_mounts`, its variables filled in. `{}` is one too: see Storage."""
    found = _FIELDS(document, value, path)
    force_delete = found.pop("_force_delete", False)
    store = found.pop("store", None)
    internal = {field: found.pop(field) for field in ("_is_sky_managed", "_bucket_sub_path") if field in found}
    storage = Storage(stores=None if store is None else [store], **found)
    storage.force_delete, storage.internal = force_delete, internal
    return storage


def _check_name(name: str) -> None:
    scheme, separator, _ = name.lower().partition("://")
    if separator and scheme in SCHEMES:
        raise StorageNameError(
            f"Prefix detected: `name` cannot start with {scheme}://. If you are trying to use an existing bucket "
            "created outside of skyflow, please specify it using the `source` field (e.g. `source: s3://mybucket/`). "
            "If you are trying to create a new bucket, please use the `store` field to specify the store type (e.g. "
            "`store: s3`)."
        )


def _check_local(source: str) -> None:
    if source.endswith("/"):
        raise StorageSourceError(
            'Storage source paths cannot end with a slash (try "/mydir: /mydir" or "/myfile: /myfile"). Found '
            f"source={show(source)}"
        )
    if not os.path.exists(os.path.expanduser(source)):
        raise StorageSourceError(f"Local source path does not exist: {show(source)}")


def _check_uri(source: str, mode: StorageMode) -> None:
    store, bucket = bucket_of(source)
    rest = source.split("://", 1)[1].rstrip("/")
    exact = bucket if store is not StoreType.IBM else f"{rest.partition('/')[0]}/{bucket}"
    if mode is not StorageMode.COPY and store not in (StoreType.AZURE, StoreType.HF) and rest != exact:
        raise StorageModeError(
            "MOUNT mode does not support mounting specific files from cloud storage. Please use COPY mode or specify "
            "only the bucket name as the source."
        )


def _check_source(document: Document, value: Any, path: Path) -> str | list[str]:
    if isinstance(value, list | tuple):
        return listing(text("a local path"), "a local path, or a list of them", least=1)(document, value, path)
    return text("a local path, a list of them, or the URI of a bucket")(document, value, path)


def _check_store(document: Document, value: Any, path: Path) -> StoreType:
    if isinstance(value, StoreType):
        return value
    return StoreType(choice([store.value for store in StoreType])(document, value, path))


def _check_mode(document: Document, value: Any, path: Path) -> StorageMode:
    if isinstance(value, StorageMode):
        return value
    return StorageMode(choice([mode.value for mode in StorageMode])(document, value, path))


def _of_form(pattern: str, must: str) -> Checker[str]:
    return text(must, form=re.compile(pattern, re.ASCII))


_SIZE = _of_form(r"[0-9]+[bkmgtpBKMGTP]?", "a size such as '64M'")
_DURATION = _of_form(
    r"(?:[-+]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:ms|[smhdwMy]))+|[-+]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)",
    "a duration such as '30s'",
)
_CONFIG = record(
    "storage.config",
    {
        "disk_size": check_size,
        "disk_tier": choice(DISK_TIERS),
        "storage_type": choice(("network", "instance")),
        "attach_mode": choice(("read_write", "read_only")),
        "mount_cached": record(
            "storage.config.mount_cached",
            {
                "transfers": integer(least=1),
                "buffer_size": _SIZE,
                "vfs_cache_max_size": _SIZE,
                "vfs_cache_max_age": _DURATION,
                "vfs_read_ahead": _SIZE,
                "vfs_read_chunk_size": _SIZE,
                "vfs_read_chunk_streams": integer(),
                "vfs_write_back": _DURATION,
                "read_only": boolean,
            },
            "read_only: true",
        ),
        "mount": record(
            "storage.config.mount", {"read_only": boolean, "hf_mount_args": listing(text())}, "read_only: true"
        ),
    },
    "mount: …",
)
_FIELDS = record(
    "storage",
    {
        "name": text("the name of a bucket"),
        "source": _check_source,
        "store": _check_store,
        "persistent": boolean,
        "mode": _check_mode,
        "type": choice(TYPES),
        "config": _CONFIG,
        "_force_delete": boolean,
        "_is_sky_managed": boolean,
        "_bucket_sub_path": text(),
    },
    "source: s3://my-bucket",
)
