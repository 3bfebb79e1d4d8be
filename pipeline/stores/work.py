"""The queue of submissions to be judged, and the one way in which judgements are written down.

Three depths, each ticked off in the transaction that writes its result: 0 fingerprint, 1 look, 2 look
with the others' findings at hand, score and decide. A kill between two transactions repeats work and
changes nothing.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import orjson
import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.model import frames
from pipeline.ports import Ticket
from pipeline.stores import tallies, unsettled
from pipeline.stores.database import Database, insert_rows
from pipeline.stores.fetch import IDS_PER_QUERY, among, fetch_by_ids, in_chunks
from pipeline.stores.segments import Segment, Segments
from pipeline.stores.tables import record

DIRTY = record.dirty
JSON_LISTS = ("reason_codes",)
IDS_PER_PAGE = 50_000
"""Submissions that a window is queued by at a time."""


def mark_dirty(connection: Connection, submission_ids: Iterable[str], *, depth: int) -> None:
    """Queue known submissions, at the lower of the depth asked for and the one already queued.

    Who waits before that depth comes to it anyway, so work begun there stays good.
    """
    known = record.submissions.c
    dialect = _dialect(connection)
    for some in in_chunks(sorted(set(submission_ids)), IDS_PER_QUERY):
        source = sa.select(known.submission_id, known.doc, sa.literal(depth), sa.literal(1)).where(
            among(known.submission_id, some)
        )
        insert = dialect.insert(DIRTY).from_select(
            ["submission_id", "doc", "depth", "generation"], source
        )
        asked = insert.excluded.depth
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["submission_id"],
                set_={"depth": asked, "generation": DIRTY.c.generation + 1},
                where=DIRTY.c.depth >= asked,
            )
        )


def _dialect(connection: Connection) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    return sqlite if connection.dialect.name == "sqlite" else postgresql


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Fingerprints in a file that nothing names yet: ``made`` says of whom, and by which detector."""

    segment: Segment | None
    made: frozenset[tuple[str, str]]


class WorkQueue:
    """Implements ``pipeline.ports.Work``."""

    def __init__(self, database: Database, segments: Segments) -> None:
        self._database = database
        self._segments = segments

    def waiting(self, depth: int) -> int:
        """Count the submissions queued at that depth."""
        with self._database.read() as connection:
            query = sa.select(sa.func.count()).select_from(DIRTY).where(DIRTY.c.depth == depth)
            return int(connection.execute(query).scalar() or 0)

    def next(self, depth: int, limit: int) -> list[Ticket]:
        """Return the oldest arrivals queued at that depth."""
        query = (
            sa.select(DIRTY.c.submission_id, DIRTY.c.generation)
            .where(DIRTY.c.depth == depth)
            .order_by(DIRTY.c.doc)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [Ticket(submission_id=i, generation=g) for i, g in connection.execute(query)]

    def queue(self, submission_ids: Iterable[str], *, depth: int) -> None:
        """Queue submissions to be judged anew."""
        with self._database.write() as connection:
            mark_dirty(connection, submission_ids, depth=depth)

    def queue_all(self, *, depth: int) -> None:
        """Queue everything known: after a change of rules (2) or of a detector (0)."""
        self.queue_window(None, None, depth=depth)

    def queue_window(self, since: datetime | None, until: datetime | None, *, depth: int) -> int:
        """Queue what was handed in within [since, until), page by page; return how many that is."""
        at, name = record.submissions.c.submitted_at, record.submissions.c.submission_id
        query = sa.select(at, name).order_by(at, name).limit(IDS_PER_PAGE)
        if since is not None:
            query = query.where(at >= since)
        if until is not None:
            query = query.where(at < until)
        count, page = 0, query
        with self._database.write() as connection:
            while rows := connection.execute(page).all():
                mark_dirty(connection, [row[1] for row in rows], depth=depth)
                count += len(rows)
                last = sa.tuple_(sa.literal(rows[-1][0], at.type), sa.literal(rows[-1][1]))
                page = query.where(sa.tuple_(at, name) > last)
        return count

    def write_fingerprints(self, made: pl.DataFrame) -> Written:
        """Write fingerprints to a file. They do not count until ``keep_fingerprints`` names it."""
        segment = self._segments.write("fingerprints", "", made) if made.height else None
        pairs = made.select("submission_id", "detector").unique().iter_rows()
        return Written(segment=segment, made=frozenset((s, d) for s, d in pairs))

    def keep_fingerprints(
        self, tickets: Sequence[Ticket], written: Written, versions: Mapping[str, str]
    ) -> None:
        """Remember fingerprints, for all of these submissions, by these detectors.

        The tickets stay where they are until ``move_on``: whom the arrival touches is not known yet.
        """
        segment, has = written.segment, written.made
        rows = [
            {
                "submission_id": t.submission_id, "detector": d, "version": v,
                "segment_id": segment.segment_id if segment and (t.submission_id, d) in has else None,
            }
            for t in tickets
            for d, v in versions.items()
        ]  # fmt: skip
        with self._database.write() as connection:
            if segment:
                self._segments.enlist(connection, [segment])
            self._forget(connection, record.fingerprinted, tickets, tuple(versions))
            insert_rows(connection, record.fingerprinted, rows)

    def move_on(
        self, tickets: Sequence[Ticket], touched: Iterable[str] | None, *, depth: int
    ) -> bool:
        """Move tickets to ``depth``, and queue whom they touched, in one transaction.

        ``None`` stands for everybody: done, and True returned, only where every known submission waits
        at that depth or before it already, as while a first drop is taken in.
        """
        with self._database.write() as connection:
            if touched is not None:
                mark_dirty(connection, touched, depth=depth)
            elif not _all_wait(connection, depth):
                return False
            else:
                connection.execute(
                    sa.update(DIRTY)
                    .where(DIRTY.c.depth == depth)
                    .values(generation=DIRTY.c.generation + 1)
                )
            _advance(connection, tickets, depth=depth)
        return True

    def keep_findings(
        self,
        tickets: Sequence[Ticket],
        signals: pl.DataFrame,
        abstentions: pl.DataFrame,
        ran: pl.DataFrame,
        detectors: Sequence[str],
    ) -> None:
        """Replace what those detectors say of these submissions; the tickets stay where they are."""
        with self._database.write() as connection:
            self._replace(connection, tickets, signals, abstentions, ran, detectors)

    def keep_assessments(
        self,
        tickets: Sequence[Ticket],
        signals: pl.DataFrame,
        abstentions: pl.DataFrame,
        ran: pl.DataFrame,
        detectors: Sequence[str],
        assessments: pl.DataFrame,
        *,
        now: datetime,
    ) -> int:
        """Replace those detectors' findings and add the assessments that say something new.

        Returns how many were added; one whose ``input_digest`` is that of the standing assessment is
        a duplicate and is not.
        """
        with self._database.write() as connection:
            self._replace(connection, tickets, signals, abstentions, ran, detectors)
            _tick_off(connection, tickets)
            added = self._append(connection, assessments, now)
        return added

    def _replace(
        self,
        connection: Connection,
        tickets: Sequence[Ticket],
        signals: pl.DataFrame,
        abstentions: pl.DataFrame,
        ran: pl.DataFrame,
        detectors: Sequence[str],
    ) -> None:
        for table in (record.signals, record.abstentions, record.ran):
            self._forget(connection, table, tickets, detectors)
        rows = [row | {"signal_id": _signal_id(row)} for row in signals.iter_rows(named=True)]
        insert_rows(connection, record.signals, rows)
        unique = abstentions.unique(["submission_id", "detector", "code"], keep="first")
        insert_rows(connection, record.abstentions, unique.to_dicts())
        insert_rows(connection, record.ran, ran.to_dicts())

    @staticmethod
    def _forget(
        connection: Connection, table: sa.Table, tickets: Sequence[Ticket], detectors: Sequence[str]
    ) -> None:
        ids = [t.submission_id for t in tickets]
        for some in in_chunks(ids, IDS_PER_QUERY):
            connection.execute(
                sa.delete(table).where(
                    among(table.c.submission_id, some), table.c.detector.in_(list(detectors))
                )
            )

    def _append(self, connection: Connection, assessments: pl.DataFrame, now: datetime) -> int:
        standing = _standing(connection, assessments["submission_id"].to_list())
        rows = []
        for row in assessments.iter_rows(named=True):
            revision, digest = standing.get(row["submission_id"], (0, None))
            if digest == row["input_digest"]:
                continue
            rows.append(
                row
                | {name: orjson.dumps(row[name]).decode() for name in JSON_LISTS}
                | {
                    "revision": revision + 1,
                    "evaluated_at": now,
                    "evaluation_status": "superseding" if revision else "new",
                }
            )
        if self._database.is_sqlite:  # one writer at a time: no revision can be there already
            insert_rows(connection, record.assessments, rows)
        else:
            self._database.insert_new(connection, record.assessments, rows)
        names = [row["submission_id"] for row in rows]
        unsettled.mark(connection, names)
        tallies.judged(connection, names)
        return len(rows)

    def findings(
        self, submission_ids: Sequence[str]
    ) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """Return the kept signals, abstentions and ``ran`` rows of those submissions."""
        with self._database.read() as connection:
            return (
                fetch_by_ids(
                    connection, sa.select(record.signals), record.signals.c.submission_id,
                    submission_ids, frames.SIGNALS,
                ),
                fetch_by_ids(
                    connection, sa.select(record.abstentions), record.abstentions.c.submission_id,
                    submission_ids, frames.ABSTENTIONS,
                ),
                fetch_by_ids(
                    connection, sa.select(record.ran), record.ran.c.submission_id, submission_ids,
                    frames.RAN,
                ),
            )  # fmt: skip


def _all_wait(connection: Connection, depth: int) -> bool:
    known = sa.select(sa.func.count()).select_from(record.submissions)
    waiting = sa.select(sa.func.count()).select_from(DIRTY).where(DIRTY.c.depth <= depth)
    return connection.execute(known).scalar() == connection.execute(waiting).scalar()


def _advance(connection: Connection, tickets: Sequence[Ticket], *, depth: int) -> None:
    """Move tickets on, except those that were marked again since they were drawn."""
    for drawn in _drawn(tickets):
        connection.execute(sa.update(DIRTY).where(drawn).values(depth=depth))


def _tick_off(connection: Connection, tickets: Sequence[Ticket]) -> None:
    """Take tickets from the queue, except those that were marked again since they were drawn."""
    for drawn in _drawn(tickets):
        connection.execute(sa.delete(DIRTY).where(drawn))


def _drawn(tickets: Sequence[Ticket]) -> Iterator[sa.ColumnElement[bool]]:
    """Say which rows of the queue stand as they were drawn, a few thousand at a time."""
    ordered = sorted(tickets, key=lambda t: t.generation)
    for generation, group in groupby(ordered, key=lambda t: t.generation):
        for some in in_chunks([t.submission_id for t in group], IDS_PER_QUERY):
            yield sa.and_(among(DIRTY.c.submission_id, some), DIRTY.c.generation == generation)


def _standing(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return revision and input digest of the assessment that stands, by submission."""
    table = record.assessments.c
    found: dict[str, tuple[int, str]] = {}
    for some in in_chunks(ids, IDS_PER_QUERY):
        query = (
            sa.select(table.submission_id, table.revision, table.input_digest)
            .where(among(table.submission_id, some))
            .order_by(table.revision)
        )
        found.update({s: (r, d) for s, r, d in connection.execute(query)})
    return found


def _signal_id(row: Mapping[str, Any]) -> str:
    """Name a signal by what it says, so that the same finding has the same name for ever."""
    canonical = orjson.dumps(dict(row), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:32]
