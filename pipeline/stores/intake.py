"""The writing side of ingest: rows, files and events into the record, one transaction a chunk.

Whatever a new row may change is marked dirty in the same transaction, so that a kill between taking
in and judging loses nothing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.model.rows import KEYS
from pipeline.ports import Admission, RawRow, Refusal
from pipeline.stores import tallies, unsettled
from pipeline.stores.blobs import BlobStore
from pipeline.stores.database import Database, insert_rows
from pipeline.stores.fetch import IDS_PER_QUERY, among, in_chunks
from pipeline.stores.segments import Segments
from pipeline.stores.tables import record
from pipeline.stores.traces import Traces, partitions
from pipeline.stores.work import mark_dirty

TABLES = {"tasks": record.tasks, "workers": record.workers, "submissions": record.submissions}
ADMISSION_LOCK = 0x626F756E7479
"""One admission at a time numbers the submissions (PostgreSQL advisory lock; SQLite has one writer)."""


class RecordIntake:
    """Implements ``pipeline.ports.Intake``."""

    def __init__(self, database: Database, blobs: BlobStore, segments: Segments) -> None:
        self._database = database
        self._blobs = blobs
        self._segments = segments
        self._traces = Traces(database, segments)

    def keep_blob(self, data: bytes) -> str:
        """Store bytes once and return their digest."""
        return self._blobs.put(data)

    def admit(
        self,
        table: str,
        rows: Sequence[tuple[RawRow, Mapping[str, Any]]],
        refusals: Sequence[Refusal],
    ) -> Admission:
        """Take in checked rows; one that differs from a known row of its id is quarantined."""
        key = KEYS[table]
        with self._database.write() as connection:
            self._lock(connection)
            known = self._digests(connection, table, [row[key] for _, row in rows])
            new: list[Mapping[str, Any]] = []
            conflicts: list[Refusal] = []
            duplicate = 0
            for raw, row in rows:
                if row[key] not in known:
                    known[row[key]] = row["row_digest"]
                    new.append(row)
                elif known[row[key]] == row["row_digest"]:
                    duplicate += 1
                else:
                    conflicts.append(_conflict(table, raw, row[key]))
            if new:
                self._insert(connection, table, new)
                self._dirty_after(connection, table, new)
            refused = self._quarantine(connection, [*refusals, *conflicts])
            if new:
                _count(connection, table, [row[key] for row in new])
        return Admission(new=len(new), duplicate=duplicate, quarantined=refused)

    def admit_events(self, events: pl.DataFrame, refusals: Sequence[Refusal]) -> Admission:
        """Take in the events that are not known, and mark whose log has grown."""
        written = [
            (self._segments.write("events", partition, part), part)
            for partition, part in partitions(self._traces.unknown(events))
        ]
        with self._database.write() as connection:
            self._lock(connection)
            fresh = self._segments.enlist(connection, [s for s, _ in written])
            new = 0
            for segment, part in written:
                if segment.segment_id in fresh:
                    new += segment.row_count
                    self._list_events(connection, segment.segment_id, part)
            self._traces.keep_clocks(connection, events)
            refused = self._quarantine(connection, refusals)
        return Admission(new=new, duplicate=events.height - new, quarantined=refused)

    def _lock(self, connection: Connection) -> None:
        if not self._database.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADMISSION_LOCK)))

    @staticmethod
    def _digests(connection: Connection, table: str, ids: Sequence[str]) -> dict[str, str]:
        target, known = TABLES[table], {}
        key = target.c[KEYS[table]]
        for some in in_chunks(ids, IDS_PER_QUERY):
            query = sa.select(key, target.c.row_digest).where(among(key, some))
            known.update({row[0]: row[1] for row in connection.execute(query)})
        return known

    def _insert(self, connection: Connection, table: str, new: Sequence[Mapping[str, Any]]) -> None:
        if table == "submissions":
            doc = connection.execute(sa.select(sa.func.max(record.submissions.c.doc))).scalar()
            first = 0 if doc is None else doc + 1
            rows = [_without(row, "contents") | {"doc": first + i} for i, row in enumerate(new)]
            insert_rows(connection, record.submissions, rows)
            files = [
                {"submission_id": row["submission_id"]} | content
                for row in new
                for content in row["contents"]
            ]
            insert_rows(connection, record.contents, files)
        else:
            lists = "skills" if table == "workers" else "reference_digests"
            rows = [dict(row) | {lists: orjson.dumps(row[lists]).decode()} for row in new]
            insert_rows(connection, TABLES[table], rows)

    def _dirty_after(
        self, connection: Connection, table: str, new: Sequence[Mapping[str, Any]]
    ) -> None:
        """Mark what a new row may change: itself, its session's and its chain's other submissions."""
        columns = record.submissions.c
        ids = [row[KEYS[table]] for row in new]
        touched: set[str] = set()
        if table == "submissions":
            touched.update(ids)
            sessions = sorted({row["session_id"] for row in new if row["session_id"]})
            touched |= _ids(connection, columns.session_id, sessions)
            touched |= _ids(connection, columns.supersedes, ids)
        else:
            column = columns.task_id if table == "tasks" else columns.worker_id
            touched |= _ids(connection, column, ids)
        mark_dirty(connection, touched, depth=0)

    def _list_events(self, connection: Connection, segment_id: str, part: pl.DataFrame) -> None:
        sessions = self._traces.list(connection, segment_id, part)
        named = part["submission_id"].drop_nulls().unique().sort().to_list()
        self._database.insert_new(
            connection,
            record.named_events,
            [{"submission_id": s, "segment_id": segment_id} for s in named],
        )
        touched = _ids(connection, record.submissions.c.session_id, sessions)
        touched |= _ids(connection, record.submissions.c.submission_id, named)
        mark_dirty(connection, touched, depth=0)

    def _quarantine(self, connection: Connection, refusals: Sequence[Refusal]) -> int:
        rows = [_quarantine_row(r) for r in refusals]
        unique = list({row["quarantine_id"]: row for row in rows}.values())
        self._database.insert_new(connection, record.quarantine, unique)
        return len(unique)


def _count(connection: Connection, table: str, ids: Sequence[str]) -> None:
    """Keep the tallies true; a task that was not known may be what a payout waited for."""
    if table == "submissions":
        tallies.arrived(connection, ids)
    elif table == "tasks":
        waited = unsettled.of_tasks(connection, ids)
        if waited:
            unsettled.mark(connection, waited)
            tallies.priced(connection, ids)


def _ids(connection: Connection, column: sa.Column[Any], values: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for some in in_chunks(values, IDS_PER_QUERY):
        query = sa.select(record.submissions.c.submission_id).where(among(column, some))
        found.update(connection.execute(query).scalars())
    return found


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k != name}


def _conflict(table: str, raw: RawRow, row_id: str) -> Refusal:
    return Refusal(
        table=table,
        file=raw.file,
        line=raw.line,
        row_id=row_id,
        code="row.conflict",
        reason=f"{row_id} is known with other content; the known row stands",
        raw=raw.raw,
    )


def _quarantine_row(refusal: Refusal) -> dict[str, Any]:
    """A row is one quarantine entry for its place, its bytes and what is wrong with it."""
    parts = (refusal.table, refusal.file, str(refusal.line), refusal.code, refusal.raw)
    name = hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return {
        "quarantine_id": name,
        "table_name": refusal.table,
        "file": refusal.file,
        "line": refusal.line,
        "row_id": _storable(refusal.row_id),
        "code": refusal.code,
        "reason": _storable(refusal.reason),
        "raw": _storable(refusal.raw),
        "status": "open",
    }


def _storable(text: str | None) -> str | None:
    """Text that both databases can keep: no NUL, no lone surrogates; both are written out."""
    if text is None:
        return None
    return text.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()
