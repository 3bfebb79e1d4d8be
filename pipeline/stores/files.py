"""Writing files that survive a power loss, and that a kill leaves whole or absent."""

import os
import secrets
from pathlib import Path

from pipeline.model.errors import StoreError


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
