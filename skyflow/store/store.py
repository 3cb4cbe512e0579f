"""The store: bulk bytes under keys, in a folder (`file://`) or a bucket (`s3://`, `gs://`), through obstore."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from skyflow.errors import ObjectAbsentError, StoreError, UsageError

if TYPE_CHECKING:
    from obstore.store import RetryConfig

STREAM_CHUNK = 1 << 20
SCHEMES = ("file", "s3", "gs")
PATIENCE: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
"""Of a bucket: after this, the caller hears of it (a worker tries again later, a person wants to know)."""


class Store:
    """One store. A write is whole or absent to every reader, also when the writer is killed in the middle of it."""

    def __init__(self, url: str, backend: Any, root: Path | None) -> None:
        """Use `open_store`."""
        self.url = url
        self._backend = backend
        self._root = root

    @property
    def folder(self) -> tuple[Path, ...]:
        """Where it is on this machine; nothing for a bucket."""
        return (self._root,) if self._root else ()

    async def get(self, key: str) -> bytes:
        """The whole object. Raises ObjectAbsentError if there is none."""
        import obstore

        with self._errors("read", key):
            result = await obstore.get_async(self._backend, key)
            return bytes(await result.bytes_async())

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Bytes `offset` to `offset + length` of an object; fewer where it ends before that."""
        import obstore

        with self._errors("read", key):
            return bytes(await obstore.get_range_async(self._backend, key, start=offset, length=length))

    async def stream(self, key: str, offset: int, length: int) -> AsyncIterator[bytes]:
        """The same bytes in chunks of about one MiB, never all in memory."""
        import obstore

        with self._errors("read", key):
            result = await obstore.get_async(self._backend, key, options={"range": (offset, offset + length)})
            async for chunk in result.stream(STREAM_CHUNK):
                yield bytes(chunk)

    async def size(self, key: str) -> int | None:
        """Bytes of an object, or None if there is none."""
        import obstore

        try:
            with self._errors("read", key):
                return int((await obstore.head_async(self._backend, key))["size"])
        except ObjectAbsentError:
            return None

    async def put(self, key: str, data: bytes | Path | AsyncIterable[bytes]) -> None:
        """Writes or replaces an object. What the iterator raises passes through, and then nothing was written."""
        import obstore

        with self._errors("write", key):
            await obstore.put_async(self._backend, key, data)

    async def put_new(self, key: str, data: bytes, *, private: bool = False) -> bool:
        """Writes an object unless the key has one already.

        Args:
            private: in a folder, nobody but this user may read the object (0600) or list its folder (0700).

        Returns:
            Whether this call wrote it. Of several callers at the same moment exactly one gets True.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._errors("write", key):
            if private and self._root is not None:
                _private_folder((self._root / key).parent, self._root)
            try:
                await obstore.put_async(self._backend, key, data, mode="create")
            except AlreadyExistsError:
                return False
            if private and self._root is not None:
                (self._root / key).chmod(0o600)
            return True

    async def folders(self, prefix: str) -> list[str]:
        """Names of the folders directly below `prefix`, sorted."""
        import obstore

        with self._errors("list", prefix):
            found = await obstore.list_with_delimiter_async(self._backend, prefix)
            return sorted(path.rsplit("/", 1)[-1] for path in found["common_prefixes"])

    async def delete(self, keys: Sequence[str]) -> None:
        """Deletes objects; those that are absent are no error."""
        import obstore

        for key in keys:
            try:
                with self._errors("delete", key):
                    await obstore.delete_async(self._backend, key)
            except ObjectAbsentError:
                continue

    async def list(self, prefix: str, *, after: str | None = None) -> list[tuple[str, int]]:
        """Keys below the folder `prefix` (after the key `after`, if given) with their sizes, sorted."""
        import obstore

        with self._errors("list", prefix):
            chunks = obstore.list(self._backend, prefix, offset=after)
            return sorted([(item["path"], item["size"]) async for chunk in chunks for item in chunk])

    @contextmanager
    def _errors(self, verb: str, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as error:
            raise ObjectAbsentError(f"The store {self.url} has nothing under {key!r}.") from error
        except (BaseError, OSError, ValueError) as error:
            raise StoreError(f"Cannot {verb} {key!r} in the store {self.url}: {_reason(error)}") from error


def open_store(url: str) -> Store:
    """Opens a store; a folder is created (0700) where there is none. Raises StoreError for a URL that cannot be one."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise StoreError(
            f"{url!r} is not the URL of a store; use file:///a/folder, s3://bucket/prefix or gs://bucket/prefix."
        )
    if parts.scheme == "file":
        return _open_folder(url, parts.netloc, Path(unquote(parts.path)))
    if not parts.netloc:
        raise StoreError(f"{url!r} names no bucket; write {parts.scheme}://bucket/prefix.")
    return _open_bucket(url, parts.scheme)


def check_reachable(url: str, temporal_is_loopback: bool) -> None:
    """Refuses a store that workers on other hosts could not see. Raises UsageError."""
    if urlsplit(url).scheme == "file" and not temporal_is_loopback:
        raise UsageError(
            f"The store {url} is a folder of this machine, but Temporal runs elsewhere: its workers could not see it; "
            "set SKYFLOW_STORE to s3://bucket/prefix or gs://bucket/prefix."
        )


def check_same(own: str, workers: str) -> None:
    """Refuses a client with another store than the worker's: each would look for what the other has written in vain.

    Raises:
        UsageError: it is another one.
    """
    if own.rstrip("/") != workers.rstrip("/"):
        raise UsageError(
            f"The client's store is {own}, the worker's is {workers}: set SKYFLOW_STORE to the same URL for both. "
            "(A background worker keeps the one that it was started with: skyflow server stop.)"
        )


def _open_folder(url: str, host: str, root: Path) -> Store:
    from obstore.store import LocalStore

    if host not in ("", "localhost") or not root.is_absolute():
        raise StoreError(f"{url!r} is not an absolute path on this machine; write file:///a/folder.")
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"Cannot create the store {url}: {_reason(error)}") from error
    return Store(url, LocalStore(root), root)


def _open_bucket(url: str, scheme: str) -> Store:
    from obstore.exceptions import BaseError
    from obstore.store import GCSStore, S3Store

    try:
        if scheme == "gs":
            return Store(url, GCSStore.from_url(url, retry_config=PATIENCE), None)
        return Store(url, S3Store.from_url(url, retry_config=PATIENCE), None)
    except (BaseError, OSError, ValueError) as error:
        raise StoreError(f"Cannot open the store {url}: {_reason(error)}") from error


def _private_folder(folder: Path, root: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    while folder != root:
        folder.chmod(0o700)
        folder = folder.parent


def _reason(error: Exception) -> str:
    """One line of what obstore or the system says; obstore appends pages of debug text."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.removeprefix("Generic LocalFileSystem error: ").rstrip(".") + "."
