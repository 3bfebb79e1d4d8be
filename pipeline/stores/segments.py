"""Immutable Parquet segments: written and synced first, then listed by one SQL transaction.

A reader reads the list and never the folder, so a file counts only once a committed row names it; one
that a killed run left behind is an orphan, and ``sweep`` removes it. A segment is named by what it
holds, so that the same rows written twice are one segment.
"""

import hashlib
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.model.errors import StoreError
from pipeline.stores.database import Database
from pipeline.stores.fetch import among
from pipeline.stores.objects import FolderObjects, Objects
from pipeline.stores.tables import record

ROW_GROUP = 32_768
ORPHAN_AGE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One file: its name, where it lies below the lake's folder, and how many rows it has."""

    segment_id: str
    table: str
    partition: str
    path: str
    sha256: str
    row_count: int


class Segments:
    """The segments of all tables, in one folder or object store."""

    def __init__(self, place: Path | Objects, database: Database) -> None:
        self.objects = FolderObjects(place) if isinstance(place, Path) else place
        self._database = database

    def write(self, table: str, partition: str, frame: pl.DataFrame) -> Segment:
        """Write a file durably. It does not count until ``enlist`` has named it."""
        buffer = io.BytesIO()
        frame.write_parquet(
            buffer,
            compression="zstd",
            compression_level=3,
            row_group_size=ROW_GROUP,
            statistics=True,
        )
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        path = (
            f"{table}/{partition}/{digest[:32]}.parquet"
            if partition
            else f"{table}/{digest[:32]}.parquet"
        )
        self.objects.put(path, data)
        return Segment(
            segment_id=f"{table}-{digest[:32]}", table=table, partition=partition, path=path,
            sha256=digest, row_count=frame.height,
        )  # fmt: skip

    def enlist(self, connection: Connection, segments: Sequence[Segment]) -> frozenset[str]:
        """Name segments in this transaction; return the ids of those that were not yet named."""
        if not segments:
            return frozenset()
        last = connection.execute(sa.select(sa.func.max(record.segments.c.ordinal))).scalar() or 0
        rows = [
            {
                "segment_id": s.segment_id, "table_name": s.table, "partition": s.partition,
                "path": s.path, "sha256": s.sha256, "row_count": s.row_count, "ordinal": last + 1 + i,
            }
            for i, s in enumerate(segments)
        ]  # fmt: skip
        return frozenset(k for (k,) in self._database.insert_new(connection, record.segments, rows))

    def listed(self, connection: Connection, table: str) -> list[Segment]:
        """List the segments of a table, oldest first."""
        columns = record.segments.c
        found = connection.execute(
            sa.select(record.segments).where(columns.table_name == table).order_by(columns.ordinal)
        )
        return [_segment(row) for row in found]

    def named(self, connection: Connection, ids: Sequence[str]) -> list[Segment]:
        """Return those segments, oldest first."""
        columns = record.segments.c
        found = connection.execute(
            sa.select(record.segments)
            .where(among(columns.segment_id, ids))
            .order_by(columns.ordinal)
        )
        return [_segment(row) for row in found]

    def scan(self, segments: Sequence[Segment]) -> pl.LazyFrame:
        """Scan segments of one table lazily. Raises ``StoreError`` where a listed file is gone."""
        paths = [self.objects.local(s.path) for s in segments]
        gone = [s.path for s, path in zip(segments, paths, strict=True) if path is None]
        if gone:
            raise StoreError(
                "store.segment_lost", f"listed segments are not stored: {', '.join(gone[:5])}"
            )
        return pl.scan_parquet([p for p in paths if p is not None])

    def remove(self, segments: Sequence[Segment]) -> None:
        """Remove the files of segments that no row names any more."""
        for segment in segments:
            self.objects.remove(segment.path)

    def sweep(self) -> int:
        """Remove files that no row names and that are old enough to belong to no running writer."""
        with self._database.read() as connection:
            known = set(connection.execute(sa.select(record.segments.c.path)).scalars())
        orphans = [
            key
            for key, at in self.objects.listed()
            if key not in known and time.time() - at > ORPHAN_AGE_S
        ]
        return sum(self.objects.remove(key) for key in orphans)


def _segment(row: sa.Row[tuple[object, ...]]) -> Segment:
    found = row._mapping
    return Segment(
        segment_id=found["segment_id"], table=found["table_name"], partition=found["partition"],
        path=found["path"], sha256=found["sha256"], row_count=found["row_count"],
    )  # fmt: skip
