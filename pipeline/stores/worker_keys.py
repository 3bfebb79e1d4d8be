"""A key for each worker: whoever destroys it has erased what was sealed with it, wherever copies lie.

AES-256-GCM (NIST SP 800-38D) with a random key a worker and a random nonce a message. What was sealed
names its key by a digest, so that a key that is gone is told from a message that was altered.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.model.errors import StoreError

KEY_BYTES: Final = 32
NAME_BYTES: Final = 8
NONCE_BYTES: Final = 12
IDS_PER_QUERY: Final = 500


class WorkerKeys:
    """The keys in one small file, apart from the record and from every back-up of it.

    ``secure_delete`` overwrites what is deleted. There may be one copy of this file, not many: a key
    is destroyed only where every copy of it is.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, timeout=30.0)
        for pragma in ("secure_delete=ON", "journal_mode=TRUNCATE", "synchronous=FULL"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS keys (worker_id TEXT PRIMARY KEY, key BLOB NOT NULL)"
            " WITHOUT ROWID"
        )
        self._connection.commit()
        self._known: dict[str, bytes] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def make(self, worker_ids: Iterable[str]) -> None:
        """Make the keys that are not there yet."""
        rows = [(w, secrets.token_bytes(KEY_BYTES)) for w in sorted(set(worker_ids))]
        with self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", rows)

    def read(self, worker_ids: Iterable[str]) -> None:
        """Hold the keys of those workers in memory, as far as they are there."""
        wanted = sorted(set(worker_ids) - self._known.keys())
        for start in range(0, len(wanted), IDS_PER_QUERY):
            some = wanted[start : start + IDS_PER_QUERY]
            marks = ",".join("?" * len(some))
            query = f"SELECT worker_id, key FROM keys WHERE worker_id IN ({marks})"
            self._known.update(self._connection.execute(query, some).fetchall())

    def get(self, worker_id: str) -> bytes | None:
        """Return a worker's key; None where there is none, or it was destroyed."""
        if worker_id not in self._known:
            self.read([worker_id])
        return self._known.get(worker_id)

    def destroy(self, worker_id: str) -> bool:
        """Destroy a worker's key; return whether there was one. It cannot be undone."""
        with self._connection:
            gone = self._connection.execute("DELETE FROM keys WHERE worker_id = ?", (worker_id,))
        self._known.pop(worker_id, None)
        return gone.rowcount > 0


def seal(keys: WorkerKeys, owners: Sequence[str], data: bytes) -> bytes:
    """Seal ``data`` so that it opens only while the keys of all ``owners`` are there."""
    for owner in owners:
        key = keys.get(owner)
        if key is None:
            raise LookupError(f"no key was made for {owner!r}")
        data = _locked(key, data)
    return data


def unseal(keys: WorkerKeys, owners: Sequence[str], sealed: bytes) -> bytes | None:
    """Open what was sealed for ``owners``; None where a key of theirs is gone.

    Raises ``StoreError('backup.damaged')`` where it is not what was sealed.
    """
    data = sealed
    for owner in reversed(owners):
        key = keys.get(owner)
        if key is None or data[:NAME_BYTES] != _name(key):
            return None
        data = _opened(key, data)
    return data


def share(keys: WorkerKeys, owners: Sequence[str], data: bytes) -> bytes:
    """Seal ``data`` so that it opens while the key of any of ``owners`` is there."""
    inner = secrets.token_bytes(KEY_BYTES)
    wrapped = {owner: seal(keys, [owner], inner) for owner in owners}
    return msgspec.msgpack.encode((wrapped, _locked(inner, data)))


def unshare(keys: WorkerKeys, shared: bytes) -> bytes | None:
    """Open what was shared; None where nobody's key is left. Raises like ``unseal``."""
    try:
        wrapped, data = msgspec.msgpack.decode(shared, type=tuple[dict[str, bytes], bytes])
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StoreError("backup.damaged", "a sealed file cannot be read") from error
    for owner, held in wrapped.items():
        if (inner := unseal(keys, [owner], held)) is not None:
            return _opened(inner, data)
    return None


def _name(key: bytes) -> bytes:
    return hashlib.sha256(b"worker key\x1f" + key).digest()[:NAME_BYTES]


def _locked(key: bytes, data: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return _name(key) + nonce + AESGCM(key).encrypt(nonce, data, None)


def _opened(key: bytes, data: bytes) -> bytes:
    nonce = data[NAME_BYTES : NAME_BYTES + NONCE_BYTES]
    try:
        return AESGCM(key).decrypt(nonce, data[NAME_BYTES + NONCE_BYTES :], None)
    except (InvalidTag, ValueError) as error:
        raise StoreError("backup.damaged", "what was sealed has been altered") from error
