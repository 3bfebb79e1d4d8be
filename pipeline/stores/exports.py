"""What can be exported, by table name: frames in a fixed order, so that equal states are equal bytes."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeAlias

import polars as pl
import sqlalchemy as sa

from pipeline.model import frames
from pipeline.model.errors import UsageError
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch
from pipeline.stores.tables import record

S, I = pl.String(), pl.Int64()  # noqa: E741 - one letter a type, in tables below
Export: TypeAlias = Callable[[Database, datetime | None], pl.DataFrame]

QUARANTINE: Final[frames.Schema] = {
    "quarantine_id": S, "table_name": S, "file": S, "line": I, "row_id": S, "code": S, "reason": S,
    "raw": S, "status": S,
}  # fmt: skip
SEGMENTS: Final[frames.Schema] = {
    "segment_id": S, "table_name": S, "partition": S, "path": S, "sha256": S, "row_count": I,
}  # fmt: skip
ASSETS: Final[frames.Schema] = {
    "name": S, "version": I, "digest": S, "made_at": frames.UTC, "note": S,
}  # fmt: skip
CLOCKS: Final[frames.Schema] = {"session_id": S, "delay_ms": pl.Float64()}
DELIVERIES: Final[frames.Schema] = {
    "key_id": S, "serial": S, "submission_id": S, "worker_id": S, "task_id": S, "recipient": S,
    "delivered_at": frames.UTC,
}  # fmt: skip


def assessments(database: Database, since: datetime | None) -> pl.DataFrame:
    """The standing assessment of each submission: an ASSESSMENTS frame, by submission."""
    table = record.assessments
    newest = (
        sa.select(table.c.submission_id, sa.func.max(table.c.revision).label("revision"))
        .group_by(table.c.submission_id)
        .subquery()
    )
    query = sa.select(table).join(
        newest,
        sa.and_(
            table.c.submission_id == newest.c.submission_id, table.c.revision == newest.c.revision
        ),
    )
    if since is not None:
        query = query.where(table.c.evaluated_at >= since)
    return _read(database, query, frames.ASSESSMENTS).sort("submission_id")


def evaluations(database: Database, since: datetime | None) -> pl.DataFrame:
    """Every assessment that ever stood, oldest first: ASSESSMENTS and ``revision``."""
    table = record.assessments
    query = sa.select(table)
    if since is not None:
        query = query.where(table.c.evaluated_at >= since)
    schema = {"revision": I, **frames.ASSESSMENTS}
    return _read(database, query, schema).sort("submission_id", "revision")


def evaluations_of(database: Database, submission_id: str) -> pl.DataFrame:
    """Every assessment of one submission, oldest first."""
    table = record.assessments
    query = sa.select(table).where(table.c.submission_id == submission_id)
    return _read(database, query, {"revision": I, **frames.ASSESSMENTS}).sort("revision")


def signals(database: Database, since: datetime | None) -> pl.DataFrame:
    """The standing findings: a SIGNALS frame."""
    table = record.signals
    query = _since(sa.select(table), table.c.submission_id, since)
    found = _read(database, query, frames.SIGNALS)
    return found.sort(found.columns, nulls_last=True)


def abstentions(database: Database, since: datetime | None) -> pl.DataFrame:
    """The standing abstentions: an ABSTENTIONS frame."""
    table = record.abstentions
    found = _read(
        database, _since(sa.select(table), table.c.submission_id, since), frames.ABSTENTIONS
    )
    return found.sort(found.columns, nulls_last=True)


def _plain(table: sa.Table, schema: frames.Schema, *order: str) -> Export:
    def export(database: Database, since: datetime | None) -> pl.DataFrame:
        query = sa.select(table)
        if since is not None and "submitted_at" in table.c:
            query = query.where(table.c.submitted_at >= since)
        elif since is not None and "submission_id" in table.c:
            query = _since(query, table.c.submission_id, since)
        return _read(database, query, schema).sort(list(order))

    return export


def _since(
    query: sa.Select[tuple[object, ...]], column: sa.Column[str], since: datetime | None
) -> sa.Select[tuple[object, ...]]:
    if since is None:
        return query
    handed_in = sa.select(record.submissions.c.submission_id).where(
        record.submissions.c.submitted_at >= since
    )
    return query.where(column.in_(handed_in))


def _read(
    database: Database, query: sa.Select[tuple[object, ...]], schema: frames.Schema
) -> pl.DataFrame:
    with database.read() as connection:
        return fetch(connection, query, schema)


EXPORTS: Final[Mapping[str, Export]] = MappingProxyType(
    {
        "assessments": assessments,
        "evaluations": evaluations,
        "signals": signals,
        "abstentions": abstentions,
        "quarantine": _plain(record.quarantine, QUARANTINE, "file", "line", "quarantine_id"),
        "tasks": _plain(record.tasks, frames.TASKS, "task_id"),
        "workers": _plain(record.workers, frames.WORKERS, "worker_id"),
        "submissions": _plain(
            record.submissions, frames.SUBMISSIONS, "submitted_at", "submission_id"
        ),
        "contents": _plain(record.contents, frames.CONTENTS, "submission_id", "content_index"),
        "segments": _plain(record.segments, SEGMENTS, "segment_id"),
        "deliveries": _plain(record.deliveries, DELIVERIES, "delivered_at", "key_id", "serial"),
        "assets": _plain(record.assets, ASSETS, "name", "version"),
        "clocks": _plain(record.session_clocks, CLOCKS, "session_id"),
    }
)


def export(
    database: Database, table: str, *, since: datetime | None = None,
    more: Mapping[str, Export] = MappingProxyType({}),
) -> pl.DataFrame:  # fmt: skip
    """Return a table as a frame. Raises ``UsageError`` for a table that there is not."""
    known = {**EXPORTS, **more}
    if table not in known:
        raise UsageError(
            "export.unknown_table",
            f"there is no table {table!r}; there are {', '.join(sorted(known))}",
        )
    return known[table](database, since)
