"""Buckets and files in buckets: what can be read, and what fits together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyflow.errors import (
    InvalidTaskError,
    SkyflowError,
    StorageModeError,
    StorageNameError,
    StorageSourceError,
    StorageSpecError,
    rebuild,
)
from skyflow.models.bucket import SCHEMES, bucket_of
from skyflow.models.storage import Storage, StorageMode, StoreType


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "folder/deep").mkdir(parents=True)
    (tmp_path / "file.txt").write_text("x")


def test_what_is_left_out() -> None:
    storage = Storage.from_yaml_config({"mode": "COPY"})
    assert (storage.name, storage.source, storage.stores, storage.persistent) == (None, None, {}, True)
    assert storage.mode is StorageMode.COPY
    assert storage.force_delete is False
    assert Storage.from_yaml_config({}).mode is StorageMode.MOUNT


@pytest.mark.parametrize(
    "config",
    [
        {"mode": "COPY"},
        {"name": "b", "mode": "MOUNT"},
        {"name": "b", "source": "~/folder", "store": "s3", "persistent": False, "mode": "MOUNT_CACHED"},
        {"name": "b", "source": ["a", "b/c"], "mode": "MOUNT"},
        {"source": "s3://b/x", "mode": "COPY"},
        {
            "source": "gs://b",
            "mode": "MOUNT_CACHED",
            "type": "MODEL_CHECKPOINT_RW",
            "config": {
                "mount_cached": {
                    "transfers": 4,
                    "buffer_size": "64M",
                    "vfs_cache_max_size": "10g",
                    "vfs_cache_max_age": "1h30m",
                    "vfs_read_ahead": "0",
                    "vfs_read_chunk_size": "1024",
                    "vfs_read_chunk_streams": 0,
                    "vfs_write_back": "1.5",
                    "read_only": True,
                },
                "mount": {"read_only": False, "hf_mount_args": ["--a", "b"]},
            },
        },
        {
            "name": "disk",
            "store": "volume",
            "mode": "MOUNT",
            "config": {
                "disk_size": "100",
                "disk_tier": "best",
                "storage_type": "network",
                "attach_mode": "read_write",
            },
        },
        {"store": "volume", "persistent": True, "mode": "MOUNT"},
        {"name": "b", "mode": "MOUNT", "_force_delete": True, "_is_sky_managed": True, "_bucket_sub_path": "a/b"},
    ],
)
def test_the_same_yaml_comes_back(config: dict[str, Any]) -> None:
    assert Storage.from_yaml_config(config).to_yaml_config() == config


@pytest.mark.parametrize("store", StoreType)
def test_stores_and_modes_in_any_letters(store: StoreType) -> None:
    for lone in (store, store.value.lower()):
        assert list(Storage(name="a", stores=lone).stores) == [store]
    storage = Storage.from_yaml_config({"store": store.value.title(), "mode": "mount_Cached", "type": "dataset_ro"})
    assert list(storage.stores) == [store]
    assert (storage.mode, storage.type) == (StorageMode.MOUNT_CACHED, "DATASET_RO")
    assert storage.persistent is (store is not StoreType.VOLUME)


def test_python_code_may_use_the_enums() -> None:
    storage = Storage("b", "folder", [StoreType.S3, "gcs"], False, StorageMode.COPY)
    assert storage.to_yaml_config() == {
        "name": "b", "source": "folder", "store": "s3", "persistent": False, "mode": "COPY",
    }  # fmt: skip
    assert repr(storage).startswith("Storage(name='b', source='folder', store='s3'")
    with pytest.raises(InvalidTaskError, match=r"^storage\.source must be a local path"):
        Storage("b", 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "config",
    [
        {"name": "b", "store": "azure"},
        {"name": "b", "source": "~/folder", "store": "gcs"},
        {"name": "b", "source": ["folder", "./file.txt"]},
        {"source": "s3://b/"},
        {"source": "s3://b/some/object", "mode": "COPY"},
        {"source": "cos://us-east/b"},
        {"source": "hf://datasets/who/what/part"},
        {"source": "https://account.blob.core.windows.net/box/part"},
        {"source": "gs://b", "store": "s3"},
        {"store": "volume", "source": "file.txt"},
    ],
)
def test_what_fits_together(config: dict[str, Any]) -> None:
    Storage.from_yaml_config(config).validate()


def test_a_bucket_that_is_known_needs_no_source_for_a_copy() -> None:
    Storage("b", mode="COPY", stores=["s3"]).validate(exists=True)


MOUNT = (
    "MOUNT mode does not support mounting specific files from cloud storage. Please use COPY mode or specify only the "
    "bucket name as the source."
)
PATHS = (
    "Supported paths: local, s3://, gs://, https://, r2://, cos://, oci://, nebius://, cw://, vastdata://, hf:// with "
    "a bucket behind it. Got:"
)


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        ({}, StorageSpecError, "Storage source or storage name must be specified."),
        (
            {"mode": "COPY"},
            StorageSourceError,
            "New storage object: source must be specified when using COPY mode.",
        ),
        (
            {"name": "b", "mode": "COPY"},
            StorageSourceError,
            "New storage object: source must be specified when using COPY mode.",
        ),
        ({"source": "folder"}, StorageNameError, "Storage name must be specified if the source is local."),
        (
            {"name": "b", "source": "s3://b"},
            StorageSpecError,
            "Storage name should not be specified if the source is a remote URI.",
        ),
        (
            {"name": "S3://b"},
            StorageNameError,
            "Prefix detected: `name` cannot start with s3://. If you are trying to use an existing bucket created "
            "outside of skyflow, please specify it using the `source` field (e.g. `source: s3://mybucket/`). If you "
            "are trying to create a new bucket, please use the `store` field to specify the store type (e.g. "
            "`store: s3`).",
        ),
        ({"name": "b", "source": "absent"}, StorageSourceError, "Local source path does not exist: 'absent'"),
        (
            {"name": "b", "source": ["folder", "absent"]},
            StorageSourceError,
            "Local source path does not exist: 'absent'",
        ),
        ({"store": "volume", "source": "absent"}, StorageSourceError, "Local source path does not exist: 'absent'"),
        (
            {"name": "b", "source": "folder/"},
            StorageSourceError,
            'Storage source paths cannot end with a slash (try "/mydir: /mydir" or "/myfile: /myfile"). Found '
            "source='folder/'",
        ),
        (
            {"name": "b", "source": "file.txt"},
            StorageSourceError,
            "Storage source path cannot be a file - only directories are supported as a source. To upload a single "
            "file, specify it in a list by writing source: ['file.txt']. It will then be in the root of the bucket, at "
            "'/data/file.txt'. To bring it to the nodes without a bucket, write '/data': 'file.txt' under file_mounts.",
        ),
        (
            {"name": "b", "source": ["a/x", "b/x", "y"]},
            StorageSourceError,
            "Cannot have multiple files or directories with the same name in source. Conflicts found for: 'x'",
        ),
        ({"source": "s3://b/object"}, StorageModeError, MOUNT),
        ({"source": "gs://b/folder/", "mode": "MOUNT_CACHED"}, StorageModeError, MOUNT),
        ({"source": "cos://region/b/object"}, StorageModeError, MOUNT),
        ({"source": "ftp://b"}, StorageSourceError, f"{PATHS} 'ftp://b'"),
        ({"source": "s3://"}, StorageSourceError, f"{PATHS} 's3://'"),
        ({"source": "cos://region"}, StorageSourceError, f"{PATHS} 'cos://region'"),
        ({"source": "https://host/x"}, StorageSourceError, f"{PATHS} 'https://host/x'"),
    ],
)
def test_what_does_not_fit_together(config: dict[str, Any], kind: type[StorageSpecError], message: str) -> None:
    storage = Storage.from_yaml_config(config)
    with pytest.raises(StorageSpecError) as caught:
        storage.validate("/data")
    assert str(caught.value) == message
    assert type(caught.value) is kind


@pytest.mark.parametrize("kind", [StorageSpecError, StorageNameError, StorageSourceError, StorageModeError])
def test_the_errors_travel(kind: type[StorageSpecError]) -> None:
    assert issubclass(kind, ValueError) and issubclass(kind, SkyflowError)
    assert kind.exit_code == 2
    assert type(rebuild(kind.__name__, "message")) is kind


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme not in ("https", "cos", "hf")])
def test_the_bucket_of_a_uri(scheme: str) -> None:
    assert bucket_of(f"{scheme.upper()}://b/x/y") == (SCHEMES[scheme], "b")


def test_the_bucket_of_a_model() -> None:
    assert bucket_of("hf://who/what/file") == (StoreType.HF, "who/what")
