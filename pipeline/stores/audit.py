"""The audit log: a hash chain of everything that was decided, overridden, looked at or let in.

Each row's hash covers the row and the hash before it, so a changed, deleted or moved row breaks the
chain. A chain alone cannot show that its end was cut off: signed checkpoints, kept elsewhere, do.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.stores.database import Database
from pipeline.stores.tables import ledger as tables

GENESIS: Final = "0" * 64
CHECKPOINT_ROWS: Final = 1_000
CHECKPOINT_AGE: Final = timedelta(minutes=10)
ROWS_PER_READ: Final = 10_000

Sign = Callable[[bytes], tuple[str, str]]
"""Sign bytes: returns (key id, signature in hex)."""
Verify = Callable[[str, bytes, str], bool]
"""Tell whether (key id, bytes, signature in hex) fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened: who did what to what, and the facts of it."""

    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]


def link(previous_hash: str, sequence: int, entry: Entry) -> dict[str, Any]:
    """Make the row that follows ``previous_hash``."""
    detail = orjson.dumps(dict(entry.detail), option=orjson.OPT_SORT_KEYS).decode()
    row = {
        "sequence": sequence,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "detail": detail,
        "previous_hash": previous_hash,
    }
    return row | {"hash": row_hash(row)}


def row_hash(row: Mapping[str, Any]) -> str:
    """Hash one row of the log: SHA-256 over its canonical JSON, the previous hash included."""
    fields = [
        row["previous_hash"], row["sequence"], row["at"].isoformat(), row["actor"], row["action"],
        row["subject"], row["detail"],
    ]  # fmt: skip
    return hashlib.sha256(orjson.dumps(fields)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The chain's head at a moment, signed."""

    sequence: int
    hash: str
    at: str
    key_id: str
    signature: str

    def signed_bytes(self) -> bytes:
        """Return what the signature covers."""
        return _checkpoint_bytes(self.sequence, self.hash, self.at)


def _checkpoint_bytes(sequence: int, head: str, at: str) -> bytes:
    return orjson.dumps(["bountyguard.audit", sequence, head, at])


class CheckpointFile:
    """Checkpoints as JSON lines in a file that should lie on other storage than the database."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Checkpoint]:
        """Return all checkpoints, oldest first. A torn last line, of a killed writer, is left out."""
        if not self._path.is_file():
            return []
        found = []
        for line in self._path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n") and line.strip():
                found.append(Checkpoint(**orjson.loads(line)))
        return found

    def append(self, checkpoint: Checkpoint) -> None:
        """Write one checkpoint and see it onto the disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fields = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
        torn = self._path.is_file() and not self._path.read_bytes().endswith(b"\n")
        with self._path.open("ab") as file:
            # a killed writer may have left half a line: end it, so that this one stands alone
            file.write(
                (b" \n" if torn and self._path.stat().st_size else b"")
                + orjson.dumps(fields)
                + b"\n"
            )
            file.flush()
            os.fsync(file.fileno())


class AuditLog:
    """Reads, checkpoints and verifies the chain. The ledger alone appends to it."""

    def __init__(self, database: Database, checkpoints: CheckpointFile | None = None) -> None:
        self._database = database
        self._checkpoints = checkpoints

    def checkpoint(self, sign: Sign, now: datetime, *, force: bool = False) -> Checkpoint | None:
        """Sign the head if a thousand rows or ten minutes have passed since the last checkpoint."""
        if self._checkpoints is None:
            return None
        known = self._checkpoints.read()
        with self._database.read() as connection:
            head = connection.execute(
                sa.select(tables.heads.c.audit_sequence, tables.heads.c.audit_hash)
            ).one()
        last = known[-1] if known else None
        if last is not None and (
            head.audit_sequence <= last.sequence
            or not (
                force
                or head.audit_sequence - last.sequence >= CHECKPOINT_ROWS
                or now - datetime.fromisoformat(last.at) >= CHECKPOINT_AGE
            )
        ):
            return None
        at = now.isoformat()
        key_id, signature = sign(_checkpoint_bytes(head.audit_sequence, head.audit_hash, at))
        made = Checkpoint(
            sequence=head.audit_sequence, hash=head.audit_hash, at=at, key_id=key_id,
            signature=signature,
        )  # fmt: skip
        self._checkpoints.append(made)
        return made

    def verify(self, verify: Verify | None = None) -> list[str]:
        """Walk the chain and return every fault found; an empty list means that it is whole."""
        with self._database.read() as connection:
            checkpoints = self._checkpoints.read() if self._checkpoints else []
            return verify_chain(_rows(connection), _head(connection), checkpoints, verify)


def verify_chain(
    rows: Iterable[Mapping[str, Any]],
    head: tuple[int, str],
    checkpoints: Sequence[Checkpoint],
    verify: Verify | None,
) -> list[str]:
    """Check rows in order against each other, the head and the checkpoints."""
    faults: list[str] = []
    wanted = {c.sequence: c for c in checkpoints}
    previous, expected = GENESIS, 1
    for row in rows:
        if row["sequence"] != expected:
            faults.append(f"row {expected} is missing: row {row['sequence']} follows")
        if row["previous_hash"] != previous:
            faults.append(f"row {row['sequence']} does not follow the row before it")
        if row_hash(row) != row["hash"]:
            faults.append(f"row {row['sequence']} was changed")
        previous, expected = row["hash"], row["sequence"] + 1
        stood = wanted.pop(row["sequence"], None)
        if stood is not None and stood.hash != row["hash"]:
            faults.append(
                f"row {row['sequence']} is not the one that was checkpointed at {stood.at}"
            )
    if head != (expected - 1, previous):
        faults.append(f"the chain ends at row {expected - 1}, its head says {head[0]}")
    wanted.pop(0, None)
    for sequence in sorted(wanted):
        faults.append(f"row {sequence} was checkpointed at {wanted[sequence].at} and is gone")
    if verify is not None:
        for c in checkpoints:
            if not verify(c.key_id, c.signed_bytes(), c.signature):
                faults.append(f"the checkpoint of row {c.sequence} is not signed by a known key")
    return faults


def _head(connection: Connection) -> tuple[int, str]:
    row = connection.execute(
        sa.select(tables.heads.c.audit_sequence, tables.heads.c.audit_hash)
    ).one()
    return int(row.audit_sequence), str(row.audit_hash)


def _rows(connection: Connection) -> Iterable[Mapping[str, Any]]:
    after = -1
    while True:
        page = (
            connection.execute(
                sa.select(tables.audit)
                .where(tables.audit.c.sequence > after)
                .order_by(tables.audit.c.sequence)
                .limit(ROWS_PER_READ)
            )
            .mappings()
            .all()
        )
        if not page:
            return
        yield from (dict(row) for row in page)
        after = page[-1]["sequence"]
