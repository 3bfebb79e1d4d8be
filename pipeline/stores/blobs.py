"""Files, each stored once by the SHA-256 digest of its bytes."""

import hashlib
import os
import secrets
from pathlib import Path

from pipeline.model.errors import ContentError, StoreError


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that it is whole or absent: temporary name, fsync, rename, fsync the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(
            "store.write_failed", f"cannot write {path.name}: {error.strerror}"
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class FolderBlobs:
    """Blobs below a folder, spread by the first two digits of their digest."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, digest: str) -> Path:
        """Say where the bytes of that digest are kept."""
        return self._root / digest[:2] / digest[2:]

    def put(self, data: bytes) -> str:
        """Keep the bytes, once, and return their digest. Raises ``StoreError`` on a full disk."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        if not path.exists():
            write_durably(path, data)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes. Raises ``ContentError('blob.absent')``."""
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise ContentError("blob.absent", f"no blob {digest}") from error

    def remove(self, digest: str) -> bool:
        """Forget the bytes (erasure). Returns whether they were there."""
        path = self.path(digest)
        existed = path.exists()
        path.unlink(missing_ok=True)
        return existed
