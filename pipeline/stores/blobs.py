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


def write_once(path: Path, data: bytes) -> None:
    """Write a file that never changes: whole or absent, and a kill leaves no other file behind.

    The bytes go to an unnamed file that is linked to its name when it is whole. Where the system has
    no unnamed files it is ``write_durably``. A name that another writer gave first is as good.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        unnamed = os.open(path.parent, os.O_WRONLY | os.O_TMPFILE, 0o666)
    except (AttributeError, OSError):
        return write_durably(path, data)
    try:
        with os.fdopen(unnamed, "wb", closefd=False) as file:
            file.write(data)
        os.fsync(unnamed)
        _link(unnamed, path)
    except OSError as error:
        raise StoreError(
            "store.write_failed", f"cannot write {path.name}: {error.strerror}"
        ) from error
    finally:
        os.close(unnamed)
    return None


def _link(unnamed: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # Naming a folder makes Python call linkat, the one call that follows this kind of link.
        os.link(f"/proc/self/fd/{unnamed}", path.name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except FileExistsError:
        pass
    finally:
        os.close(folder)


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
            write_once(path, data)
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
