"""Where files lie: below a folder, or in an object store by URL. Keys are relative paths with slashes.

An object is written once under a key that is made from what it holds, and is whole or absent. Of an
object store a folder of this machine holds copies of what was read as a file: they are never stale,
because an object never changes, and may be deleted at any time.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from pipeline.model.errors import StoreError, UsageError
from pipeline.stores.files import write_once

SCHEMES: Final = ("s3://", "gs://", "az://")


class Objects(Protocol):
    """Bytes by key."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object durably, if it is not there yet. Raises ``StoreError``."""
        ...

    def get(self, key: str) -> bytes:
        """Return the bytes. Raises ``FileNotFoundError``."""
        ...

    def has(self, key: str) -> bool:
        """Tell whether the object is there."""
        ...

    def local(self, key: str) -> Path | None:
        """Return a file of this machine that holds the object; None where there is no object."""
        ...

    def remove(self, key: str) -> bool:
        """Remove the object; return whether it was there."""
        ...

    def listed(self) -> Iterator[tuple[str, float]]:
        """List keys and when they were written (seconds since the epoch)."""
        ...


def open_objects(place: str | Path, cache: Path) -> Objects:
    """Open a folder, or ``s3://bucket/prefix`` (``gs://``, ``az://``) with its copies in ``cache``.

    Credentials and endpoint of an object store are those of its own environment (``AWS_…``).
    """
    if isinstance(place, str) and "://" in place:
        if not place.startswith(SCHEMES):
            raise UsageError("settings.objects", f"{place!r}: name one of {', '.join(SCHEMES)}")
        return RemoteObjects(place, cache)
    return FolderObjects(Path(place))


class FolderObjects:
    """Objects as files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, data: bytes) -> None:
        """Write an object durably, if it is not there yet."""
        path = self.root / key
        if not path.exists():
            write_once(path, data)

    def get(self, key: str) -> bytes:
        """Return the bytes. Raises ``FileNotFoundError``."""
        return (self.root / key).read_bytes()

    def has(self, key: str) -> bool:
        """Tell whether the object is there."""
        return (self.root / key).exists()

    def local(self, key: str) -> Path | None:
        """Return the file itself."""
        path = self.root / key
        return path if path.exists() else None

    def remove(self, key: str) -> bool:
        """Remove the object; return whether it was there."""
        path = self.root / key
        existed = path.exists()
        path.unlink(missing_ok=True)
        return existed

    def listed(self) -> Iterator[tuple[str, float]]:
        """List keys and when they were written; what a killed writer left behind is listed too."""
        for path in self.root.rglob("*"):
            if path.is_file():
                yield path.relative_to(self.root).as_posix(), path.stat().st_mtime


class RemoteObjects:
    """Objects of an object store; a write is acknowledged once the store has the whole of it."""

    def __init__(self, url: str, cache: Path) -> None:
        from obstore.store import from_url

        self._url = url
        self._cache = FolderObjects(cache)
        self._store: Any = from_url(url, client_options={"allow_http": True})

    def put(self, key: str, data: bytes) -> None:
        """Write an object, if it is not there yet. Raises ``StoreError``."""
        import obstore

        with self._failures(key):
            if not self.has(key):
                obstore.put(self._store, key, data)

    def get(self, key: str) -> bytes:
        """Return the bytes. Raises ``FileNotFoundError``."""
        import obstore

        with self._failures(key):
            return bytes(obstore.get(self._store, key).bytes())

    def has(self, key: str) -> bool:
        """Tell whether the object is there."""
        import obstore

        try:
            with self._failures(key):
                obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def local(self, key: str) -> Path | None:
        """Return a copy on this machine, fetched at the first question."""
        found = self._cache.local(key)
        if found is not None:
            return found
        try:
            data = self.get(key)
        except FileNotFoundError:
            return None
        self._cache.put(key, data)
        return self._cache.local(key)

    def remove(self, key: str) -> bool:
        """Remove the object and its copy here; return whether it was there."""
        import obstore

        existed = self.has(key)
        with self._failures(key):
            obstore.delete(self._store, key)
        self._cache.remove(key)
        return existed

    def listed(self) -> Iterator[tuple[str, float]]:
        """List keys and when they were written."""
        import obstore

        with self._failures("listing"):
            for some in obstore.list(self._store):
                for found in some:
                    yield str(found["path"]), found["last_modified"].timestamp()

    def forget(self, *, older_than_s: float) -> int:
        """Remove copies of this machine that were made that long ago; return how many."""
        old = [k for k, at in self._cache.listed() if time.time() - at > older_than_s]
        return sum(self._cache.remove(key) for key in old)

    def _failures(self, key: str) -> "_Failures":
        return _Failures(self._url, key)


class _Failures:
    """Says of every failure of an object store that the store is the trouble."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from obstore.exceptions import BaseError

        if isinstance(error, BaseError) and not isinstance(error, FileNotFoundError):
            raise StoreError(
                "store.objects", f"{self._url} does not answer for {self._key}: {error}"
            ) from error
