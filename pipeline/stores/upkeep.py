"""Keeping the record in shape: compaction, retention of raw traces, erasure of one worker.

Each step writes new files first and swaps the list in one transaction; the files that are no longer named
are removed afterwards, so a kill leaves at worst an orphan for ``Segments.sweep``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Final

import orjson
import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.stores.blobs import BlobStore
from pipeline.stores.database import Database
from pipeline.stores.segments import Segment, Segments
from pipeline.stores.tables import record
from pipeline.stores.traces import EVENT_KEY, day_of, may_hold

ROWS_MAX: Final = 500_000
"""Rows that one compacted segment has at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """How many segments went in and how many came out."""

    before: int
    after: int


class Upkeep:
    """Works on the record beside everything else that runs."""

    def __init__(self, database: Database, segments: Segments, blobs: BlobStore) -> None:
        self._database = database
        self._segments = segments
        self._blobs = blobs

    def compact(self) -> Compacted:
        """Join small segments of one table and partition; stale fingerprints are left out."""
        before = after = 0
        for table in ("events", "fingerprints"):
            with self._database.read() as connection:
                listed = self._segments.listed(connection, table)
            for group in _groups(listed):
                self._join(table, group)
                before, after = before + len(group), after + 1
        return Compacted(before=before, after=after)

    def _join(self, table: str, group: Sequence[Segment]) -> None:
        rows = self._segments.scan(group).collect()
        if table == "fingerprints":
            rows = self._standing(rows, group)
            rows = rows.sort("kind", "submission_id", "content_index", maintain_order=True)
        else:
            rows = rows.unique(list(EVENT_KEY), keep="first", maintain_order=True).sort(
                "session_id", "at", "event_id"
            )
        joined = self._segments.write(table, group[0].partition, rows)
        old = [s.segment_id for s in group if s.segment_id != joined.segment_id]
        with self._database.write() as connection:
            still = {s.segment_id for s in self._segments.named(connection, old)}
            if still != set(old):
                return  # another compaction was first; what was written here is an orphan
            self._segments.enlist(connection, [joined])
            self._rename(connection, old, joined.segment_id)
            self._unlist(connection, old)
        self._segments.remove([s for s in group if s.segment_id in set(old)])

    def _standing(self, rows: pl.DataFrame, group: Sequence[Segment]) -> pl.DataFrame:
        """Keep the rows whose submission and detector still stand in one of these segments."""
        table = record.fingerprinted.c
        with self._database.read() as connection:
            stand = connection.execute(
                sa.select(table.submission_id, table.detector).where(
                    table.segment_id.in_([s.segment_id for s in group])
                )
            ).all()
        keep = pl.DataFrame(
            [tuple(r) for r in stand],
            schema={"submission_id": pl.String, "detector": pl.String},
            orient="row",
        )
        newest = rows.unique(
            ["submission_id", "detector", "kind", "content_index"], keep="last", maintain_order=True
        )
        return newest.join(keep, on=["submission_id", "detector"], how="semi")

    def _rename(self, connection: Connection, old: Sequence[str], new: str) -> None:
        connection.execute(
            sa.update(record.fingerprinted)
            .where(record.fingerprinted.c.segment_id.in_(old))
            .values(segment_id=new)
        )
        names, held = record.named_events, record.sessions
        naming = connection.execute(
            sa.select(names.c.submission_id).where(names.c.segment_id.in_(old)).distinct()
        ).scalars()
        rows = [{"submission_id": value, "segment_id": new} for value in naming]
        self._database.insert_new(connection, names, rows)
        spans = connection.execute(
            sa.select(
                held.c.session_id, sa.func.min(held.c.at_first), sa.func.max(held.c.at_last),
                sa.func.count() == sa.func.count(held.c.at_first),
            )
            .where(held.c.segment_id.in_(old))
            .group_by(held.c.session_id)
        )  # fmt: skip
        joined = [
            {
                "session_id": session, "segment_id": new,
                "at_first": first if told else None, "at_last": last if told else None,
            }
            for session, first, last, told in spans
        ]  # fmt: skip
        self._database.insert_new(connection, held, joined)

    @staticmethod
    def _unlist(connection: Connection, ids: Sequence[str]) -> None:
        for table in (record.sessions, record.named_events, record.segments):
            connection.execute(sa.delete(table).where(table.c.segment_id.in_(ids)))

    def retain_events(self, *, since: date) -> int:
        """Forget raw traces of the days before ``since``; features and findings stay.

        Returns how many segments went. The day is that of the server's clock, in UTC.
        """
        with self._database.read() as connection:
            listed = self._segments.listed(connection, "events")
        old = [s for s in listed if day_of(s.partition) < since.isoformat()]
        with self._database.write() as connection:
            self._unlist(connection, [s.segment_id for s in old])
        self._segments.remove(old)
        return len(old)

    def evict(self, kind: str, *, before: datetime) -> int:
        """Forget the fingerprints of a kind of what was handed in before; return how many went.

        Findings stay. What is evicted can no longer be the source of a later copy, and the index of
        the kind is as small as what is left.
        """
        subs = record.submissions.c
        with self._database.read() as connection:
            old = connection.execute(
                sa.select(subs.submission_id).where(subs.submitted_at < before)
            ).scalars()
            ids = pl.Series(list(old), dtype=pl.String)
            listed = self._segments.listed(connection, "fingerprints")
        gone = (pl.col("kind") == kind) & pl.col("submission_id").is_in(ids.implode())
        evicted = 0
        for segment in listed:
            count = self._segments.scan([segment]).filter(gone).select(pl.len()).collect().item()
            if count:
                rows = self._segments.scan([segment]).filter(~gone).collect()
                self._replace(segment, rows)
                evicted += count
        return evicted

    def erase_worker(self, worker_id: str) -> int:
        """Erase what one worker wrote, sent and did; return how many submissions were emptied.

        Ids, times and ledger entries stay, because other people's money rests on them; text, files
        that nobody else handed in, traces, fingerprints, device, address and evidence go.
        """
        subs, files = record.submissions, record.contents
        with self._database.write() as connection:
            ids = list(
                connection.execute(
                    sa.select(subs.c.submission_id).where(subs.c.worker_id == worker_id)
                ).scalars()
            )
            digests = set(
                connection.execute(
                    sa.select(files.c.digest).where(files.c.submission_id.in_(ids))
                ).scalars()
            )
            connection.execute(
                sa.update(subs)
                .where(subs.c.worker_id == worker_id)
                .values(text="", device_id=None, ip=None, extra="{}")
            )
            connection.execute(
                sa.update(record.workers)
                .where(record.workers.c.worker_id == worker_id)
                .values(payout_account_hash=None, skills="[]", extra="{}")
            )
            sessions = sa.select(subs.c.session_id).where(subs.c.worker_id == worker_id)
            clocks = record.session_clocks
            connection.execute(sa.delete(clocks).where(clocks.c.session_id.in_(sessions)))
            for table in (files, record.fingerprinted, record.named_events):
                connection.execute(sa.delete(table).where(table.c.submission_id.in_(ids)))
            self._erase_evidence(connection, ids)
            digests |= self._erase_deliveries(connection, worker_id)
            shared = set(
                connection.execute(
                    sa.select(files.c.digest).where(files.c.digest.in_(digests))
                ).scalars()
            )
        for digest in sorted(digests - shared):
            self._blobs.remove(digest)
        self._erase_segments(worker_id, ids)
        return len(ids)

    @staticmethod
    def _erase_deliveries(connection: Connection, worker_id: str) -> set[str]:
        """Forget the marked copies of a worker's work; return the digests of those that are kept."""
        table = record.deliveries
        mine = table.c.worker_id == worker_id
        kept = connection.execute(sa.select(table.c.digest).where(mine)).scalars()
        digests = {digest for digest in kept if digest is not None}
        connection.execute(sa.delete(table).where(mine))
        return digests

    @staticmethod
    def _erase_evidence(connection: Connection, ids: Sequence[str]) -> None:
        """Evidence may quote the worker, in findings about them and about those who are like them."""
        about = record.signals.c.submission_id.in_(
            ids
        ) | record.signals.c.matched_submission_id.in_(ids)
        connection.execute(
            sa.update(record.signals).where(about).values(evidence='{"state":"erased"}')
        )
        connection.execute(
            sa.update(record.assessments)
            .where(record.assessments.c.submission_id.in_(ids))
            .values(signals="[]", arithmetic='{"families":{},"rules":[],"score":0}')
        )
        _erase_quotes(connection, frozenset(ids))

    def _erase_segments(self, worker_id: str, ids: Sequence[str]) -> None:
        with self._database.read() as connection:
            events = self._segments.listed(connection, "events")
            prints = self._segments.listed(connection, "fingerprints")
        mine = {"events": pl.col("worker_id") == worker_id,
                "fingerprints": pl.col("submission_id").is_in(list(ids))}  # fmt: skip
        held = [s for s in events if may_hold(s.partition, worker_id)]
        for segment in (*held, *prints):
            rows = self._segments.scan([segment]).collect()
            left = rows.filter(~mine[segment.table])
            if left.height < rows.height:
                self._replace(segment, left)

    def _replace(self, segment: Segment, rows: pl.DataFrame) -> None:
        new = self._segments.write(segment.table, segment.partition, rows)
        with self._database.write() as connection:
            self._segments.enlist(connection, [new])
            self._rename(connection, [segment.segment_id], new.segment_id)
            self._unlist(connection, [segment.segment_id])
        self._segments.remove([segment])


def _erase_quotes(connection: Connection, ids: frozenset[str]) -> None:
    """Take the evidence that quotes these submissions out of the evaluations of others."""
    table = record.assessments
    told = connection.execute(
        sa.select(table.c.submission_id, table.c.revision, table.c.signals).where(
            table.c.signals != "[]"
        )
    )
    amended = []
    for submission_id, revision, text in told:
        signals = orjson.loads(text)
        quoting = [s for s in signals if s.get("matched_submission_id") in ids]
        for signal in quoting:
            signal["evidence"] = {"state": "erased"}
        if quoting:
            row = {"who": submission_id, "which": revision, "left": orjson.dumps(signals).decode()}
            amended.append(row)
    if amended:
        connection.execute(
            sa.update(table)
            .where(
                table.c.submission_id == sa.bindparam("who"),
                table.c.revision == sa.bindparam("which"),
            )
            .values(signals=sa.bindparam("left")),
            amended,
        )


def _groups(listed: Iterable[Segment]) -> list[list[Segment]]:
    """Gather segments of one partition, oldest first, until they have ``ROWS_MAX`` rows."""
    groups: list[list[Segment]] = []
    ordered = sorted(listed, key=lambda s: s.partition)
    for _, some in groupby(ordered, key=lambda s: s.partition):
        group: list[Segment] = []
        rows = 0
        for segment in some:
            if group and rows + segment.row_count > ROWS_MAX:
                groups.append(group)
                group, rows = [], 0
            group.append(segment)
            rows += segment.row_count
        groups.append(group)
    return [g for g in groups if len(g) > 1]
