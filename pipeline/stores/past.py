"""Everything known, read-only: the record, the fingerprints and the files behind ``ports.Past``."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import sqlalchemy as sa

from pipeline.model import frames, sessions
from pipeline.model.carriers import Carriers, Sketches
from pipeline.ports import DELIVERIES, DELIVERY, Batch, Decoder
from pipeline.stores.assets import Assets
from pipeline.stores.blobs import BlobStore
from pipeline.stores.database import Database
from pipeline.stores.deliveries import Deliveries
from pipeline.stores.fetch import fetch, fetch_by_ids
from pipeline.stores.fingerprints import FingerprintStore
from pipeline.stores.segments import Segments
from pipeline.stores.tables import ledger, record

WINDOW: frames.Schema = {
    **{n: t for n, t in frames.SUBMISSIONS.items() if n not in ("text", "extra")},
    "publisher_id": pl.String(),
    "category": pl.String(),
    "bounty_minor": pl.Int64(),
    "currency": pl.String(),
    "payout_account_hash": pl.String(),
}


ORDER = ("submitted_at", "submission_id")
"""The order of submission."""

_Window = tuple[datetime | None, datetime | None, int]
WINDOWS_KEPT = 4
"""Windows kept in memory: every part of a round asks for the same ones."""
RECORD_STATE = sa.select(
    sa.select(sa.func.max(record.submissions.c.doc)).scalar_subquery(),
    sa.select(sa.func.count()).select_from(record.tasks).scalar_subquery(),
    sa.select(sa.func.count()).select_from(record.workers).scalar_subquery(),
    sa.select(sa.func.max(ledger.audit.c.sequence)).scalar_subquery(),
)
"""Changes whenever a window may: rows are only added, and an erasure is written into the audit chain."""


class StorePast:
    """Implements ``pipeline.ports.Past`` and cuts batches out of the record."""

    def __init__(
        self,
        database: Database,
        segments: Segments,
        blobs: BlobStore,
        assets: Assets,
        decoder: Decoder,
        index: Path | None = None,
    ) -> None:
        self._database = database
        self._segments = segments
        self._blobs = blobs
        self._assets = assets
        self._decoder = decoder
        self._deliveries = Deliveries(database)
        self._fingerprints = FingerprintStore(database, segments, index)
        self._windows: dict[_Window, tuple[tuple[int | None, ...], pl.DataFrame]] = {}

    def close(self) -> None:
        """Bring the index caches on disk up to date."""
        self._fingerprints.close()

    def batch(self, submission_ids: Sequence[str], signals: pl.DataFrame | None = None) -> Batch:
        """Cut the batch of those submissions, in order of submission."""
        mine = self.submissions(submission_ids)
        return Batch(
            submissions=mine,
            contents=self.contents(submission_ids),
            tasks=self.tasks(mine["task_id"].unique().to_list()),
            workers=self.workers(mine["worker_id"].unique().to_list()),
            events=self.events(submission_ids),
            blobs=self._blobs,
            decoder=self._decoder,
            signals=frames.empty(frames.SIGNALS) if signals is None else signals,
        )

    def postings(
        self,
        kind: str,
        keys: pl.Series,
        *,
        df_max: int | None = None,
        earliest: int | None = None,
        limit: int = 100_000,
    ) -> pl.DataFrame:
        """Find who else has these keys."""
        return self._fingerprints.postings(
            kind, keys, df_max=df_max, earliest=earliest, limit=limit
        )

    def votes(
        self, kind: str, asked: pl.DataFrame, *, votes_min: int, rows_max: int, earlier: bool,
        most: int | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """Count the words that a query and known pictures share and that lie alike."""
        return self._fingerprints.votes(
            kind, asked, votes_min=votes_min, rows_max=rows_max, earlier=earlier, most=most
        )

    def carriers(
        self, kind: str, keys: pl.Series, beside: Sequence[str], *, df_max: int | None = None,
        earliest: int,
    ) -> Carriers:  # fmt: skip
        """Find the earliest carriers of keys, by number."""
        return self._fingerprints.carriers(kind, keys, beside, df_max=df_max, earliest=earliest)

    def named(self, documents: npt.NDArray[np.uint32]) -> pl.DataFrame:
        """Return the ids and times of numbers."""
        return self._fingerprints.named(documents)

    def prints(
        self, kind: str, documents: npt.NDArray[np.uint32], contents: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Return the distinct keys of texts."""
        return self._fingerprints.prints(kind, documents, contents)

    def sketches(self, kind: str, documents: npt.NDArray[np.uint32]) -> Sketches:
        """Return the sketches of what was typed in."""
        return self._fingerprints.sketches(kind, documents)

    def frequencies(self, kind: str, keys: pl.Series) -> pl.DataFrame:
        """Count the submissions that carry each key."""
        return self._fingerprints.frequencies(kind, keys)

    def nearest(
        self, kind: str, codes: Sequence[bytes], *, distance_max: int, limit: int = 10_000
    ) -> pl.DataFrame:
        """Find stored 256-bit codes within a Hamming distance."""
        return self._fingerprints.nearest(kind, codes, distance_max=distance_max, limit=limit)

    def fingerprints(self, kind: str, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return the stored rows of that kind for those submissions."""
        return self._fingerprints.rows(kind, submission_ids)

    def submissions(
        self, submission_ids: Sequence[str], *, columns: Sequence[str] = ()
    ) -> pl.DataFrame:
        """Return those submissions, in order of submission."""
        table, schema = record.submissions, _narrowed(columns, ORDER)
        found = self._by_ids(table, table.c.submission_id, submission_ids, schema)
        return found.sort(ORDER).select(columns or found.columns)

    def contents(self, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return the files of those submissions."""
        table = record.contents
        return self._by_ids(table, table.c.submission_id, submission_ids, frames.CONTENTS).sort(
            "submission_id", "content_index"
        )

    def events(self, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return the behaviour log of those submissions, each event once."""
        table = record.submissions
        brief = {k: frames.SUBMISSIONS[k] for k in ("submission_id", "session_id", "submitted_at")}
        mine = self._by_ids(table, table.c.submission_id, submission_ids, brief)
        held = mine["session_id"].drop_nulls().unique().sort().to_list()
        sharing = self._by_ids(table, table.c.session_id, held, brief)
        named = self._event_segments(held, submission_ids)
        if not named:
            return frames.empty(frames.EVENTS)
        with self._database.read() as connection:
            segments = self._segments.named(connection, named)
        wanted = pl.col("session_id").is_in(held) | pl.col("submission_id").is_in(
            list(submission_ids)
        )
        found = self._segments.scan(segments).filter(wanted).collect()
        assigned = sessions.assign(found, pl.concat([mine, sharing]).unique())
        return assigned.join(mine.select("submission_id"), on="submission_id", how="semi").sort(
            "submission_id", "at", "event_id", nulls_last=True
        )

    def _event_segments(self, held: Sequence[str], submission_ids: Sequence[str]) -> list[str]:
        one = {"segment_id": pl.String()}
        in_session = self._by_ids(record.sessions, record.sessions.c.session_id, held, one)
        names = record.named_events
        naming = self._by_ids(names, names.c.submission_id, submission_ids, one)
        return pl.concat([in_session, naming])["segment_id"].unique().sort().to_list()

    def tasks(self, task_ids: Sequence[str]) -> pl.DataFrame:
        """Return those tasks."""
        table = record.tasks
        return self._by_ids(table, table.c.task_id, task_ids, frames.TASKS).sort("task_id")

    def workers(self, worker_ids: Sequence[str]) -> pl.DataFrame:
        """Return those workers."""
        table = record.workers
        return self._by_ids(table, table.c.worker_id, worker_ids, frames.WORKERS).sort("worker_id")

    def of_task(self, task_ids: Sequence[str], *, limit: int = 10_000) -> pl.DataFrame:
        """Return the submissions to those tasks, earliest first."""
        table = record.submissions
        found = self._by_ids(table, table.c.task_id, task_ids, frames.SUBMISSIONS)
        ordered = found.sort("submitted_at", "submission_id")
        return ordered.filter(pl.int_range(pl.len()).over("task_id") < limit)

    def of_worker(
        self,
        worker_ids: Sequence[str],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 10_000,
        columns: Sequence[str] = (),
    ) -> pl.DataFrame:
        """Return the submissions by those workers in [since, until)."""
        table = record.submissions
        query = sa.select(table).where(*_within(since, until))
        with self._database.read() as connection:
            schema = _narrowed(columns, ("worker_id", *ORDER))
            found = fetch_by_ids(connection, query, table.c.worker_id, worker_ids, schema)
        kept = found.sort(ORDER).filter(pl.int_range(pl.len()).over("worker_id") < limit)
        return kept.select(columns or kept.columns)

    def window(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1_000_000,
    ) -> pl.DataFrame:
        """Return what was handed in, with what its tasks and workers add."""
        s, t, w = record.submissions, record.tasks, record.workers
        joined = s.outerjoin(t, s.c.task_id == t.c.task_id).outerjoin(
            w, s.c.worker_id == w.c.worker_id
        )
        own = [s.c[name] for name in WINDOW if name in s.c]
        query = (
            sa.select(
                *own, t.c.publisher_id, t.c.category, t.c.bounty_minor, t.c.currency,
                w.c.payout_account_hash,
            )
            .select_from(joined)
            .where(*_within(since, until))
            .order_by(s.c.submitted_at, s.c.submission_id)
            .limit(limit)
        )  # fmt: skip
        with self._database.read() as connection:
            state = connection.execute(RECORD_STATE).one()
            key = (since, until, limit)
            held = self._windows.get(key)
            if held is None or held[0] != tuple(state):
                held = (tuple(state), fetch(connection, query, WINDOW))
                self._windows[key] = held
                while len(self._windows) > WINDOWS_KEPT:
                    del self._windows[next(iter(self._windows))]
        return held[1]

    def count(self) -> int:
        """Count the submissions."""
        with self._database.read() as connection:
            query = sa.select(sa.func.count()).select_from(record.submissions)
            return int(connection.execute(query).scalar() or 0)

    def latest(self, limit: int) -> pl.DataFrame:
        """Return ``submission_id`` and ``task_id`` of the newest hand-ins, in order of submission."""
        at = record.submissions.c
        query = (
            sa.select(at.submission_id, at.task_id)
            .order_by(at.submitted_at.desc(), at.submission_id.desc())
            .limit(limit)
        )
        schema = {"submission_id": pl.String(), "task_id": pl.String()}
        with self._database.read() as connection:
            return fetch(connection, query, schema).reverse()

    def newest(self) -> datetime | None:
        """Return when the newest submission was handed in; None where there is none."""
        with self._database.read() as connection:
            found: datetime | None = connection.execute(
                sa.select(sa.func.max(record.submissions.c.submitted_at))
            ).scalar()
        return found

    def signals(
        self,
        submission_ids: Sequence[str] | None = None,
        *,
        codes: Sequence[str] = (),
        limit: int = 1_000_000,
    ) -> pl.DataFrame:
        """Return stored signals."""
        table = record.signals
        query = sa.select(table).order_by(table.c.submission_id, table.c.signal_id).limit(limit)
        if codes:
            query = query.where(table.c.reason_code.in_(list(codes)))
        with self._database.read() as connection:
            if submission_ids is None:
                found = fetch(connection, query, frames.SIGNALS)
            else:
                found = fetch_by_ids(
                    connection, query, table.c.submission_id, submission_ids, frames.SIGNALS
                )
        return found.sort(found.columns, nulls_last=True).head(limit)

    def asset(self, name: str) -> bytes | None:
        """Return the newest version of an asset."""
        if name.startswith(DELIVERY):
            key_id, _, serial = name.removeprefix(DELIVERY).rpartition(":")
            return self._deliveries.line(key_id, serial)
        kept = self._assets.get(name)
        if name == DELIVERIES:
            return self._deliveries.newest() + (kept or b"") or None
        return kept

    def blob(self, digest: str) -> bytes:
        """Return the bytes of a file."""
        return self._blobs.get(digest)

    def _by_ids(
        self, table: sa.Table, column: sa.Column[str], ids: Sequence[str], schema: frames.Schema
    ) -> pl.DataFrame:
        with self._database.read() as connection:
            return fetch_by_ids(connection, sa.select(table), column, ids, schema)


def _narrowed(columns: Sequence[str], needed: Sequence[str]) -> frames.Schema:
    """SUBMISSIONS, or where columns are named, these beside the needed ones."""
    if not columns:
        return frames.SUBMISSIONS
    return {n: t for n, t in frames.SUBMISSIONS.items() if n in columns or n in needed}


def _within(since: datetime | None, until: datetime | None) -> list[sa.ColumnElement[bool]]:
    at = record.submissions.c.submitted_at
    where: list[sa.ColumnElement[bool]] = []
    if since is not None:
        where.append(at >= since)
    if until is not None:
        where.append(at < until)
    return where
