"""The rows that could not be taken: found again, shown, mended and replayed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from pipeline.model.errors import ContentError, UsageError
from pipeline.ports import Decoder, EventChunk, Intake, RawRow
from pipeline.stages.ingest import take, take_events
from pipeline.stores.database import Database
from pipeline.stores.drops import FolderDrop
from pipeline.stores.jsonlines import json_row
from pipeline.stores.tables import record

TABLE = record.quarantine


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """Ids of the rows that were taken in, and of those that still cannot be."""

    taken: tuple[str, ...]
    still: tuple[str, ...]


class _NoDrop:
    """Stands in where a replay names no drop: any file is absent."""

    def rows(self, table: str) -> Sequence[RawRow]:
        """Nothing to read."""
        return ()

    def events(self) -> Sequence[EventChunk]:
        """Nothing to read."""
        return ()

    def blob(self, path: str) -> bytes:
        """Say what to do."""
        raise ContentError("blob.absent", f"{path}: name the drop that holds it with --drop")


class Quarantine:
    """Reads the quarantine and replays its rows through ingest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, *, code: str | None = None, open_only: bool = True) -> list[dict[str, Any]]:
        """Return the rows by file and line."""
        query = sa.select(TABLE).order_by(TABLE.c.file, TABLE.c.line, TABLE.c.quarantine_id)
        if code is not None:
            query = query.where(TABLE.c.code == code)
        if open_only:
            query = query.where(TABLE.c.status == "open")
        with self._database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def get(self, quarantine_id: str) -> dict[str, Any]:
        """Return one row by its id or the first characters of it. Raises ``UsageError``."""
        query = sa.select(TABLE).where(
            TABLE.c.quarantine_id.startswith(quarantine_id, autoescape=True)
        )
        with self._database.read() as connection:
            rows = connection.execute(query.limit(2)).all()
        if len(rows) != 1:
            problem = "several rows begin" if rows else "no row begins"
            raise UsageError("quarantine.unknown", f"{problem} with {quarantine_id!r}")
        return dict(rows[0]._mapping)

    def replay(
        self,
        quarantine_id: str | None,
        *,
        mended: bytes | None,
        drop: Path | None,
        intake: Intake,
        decoder: Decoder,
    ) -> ReplayReport:
        """Take one row (None: all open ones) in again, with its mended text where that is given."""
        rows = self.list() if quarantine_id is None else [self.get(quarantine_id)]
        source = FolderDrop(drop) if drop else _NoDrop()
        taken: list[str] = []
        still: list[str] = []
        for row in rows:
            text = mended if mended is not None else row["raw"].encode()
            raw = json_row(text, row["file"], row["line"])
            if row["table_name"] == "events":
                admitted = take_events(_event(raw), intake)
            else:
                admitted = take(row["table_name"], [raw], source, intake, decoder)
            (still if admitted.quarantined else taken).append(row["quarantine_id"])
        self._close(taken)
        return ReplayReport(taken=tuple(taken), still=tuple(still))

    def _close(self, taken: Sequence[str]) -> None:
        with self._database.write() as connection:
            connection.execute(
                sa.update(TABLE).where(TABLE.c.quarantine_id.in_(taken)).values(status="replayed")
            )


def _event(raw: RawRow) -> EventChunk:
    if raw.error is not None or not isinstance(raw.value, dict):
        return EventChunk(
            file=raw.file, frame=pl.DataFrame(), lines=pl.Series([], dtype=pl.Int64), broken=(raw,)
        )
    frame = pl.DataFrame([raw.value], strict=False)
    return EventChunk(file=raw.file, frame=frame, lines=pl.Series([raw.line], dtype=pl.Int64))
