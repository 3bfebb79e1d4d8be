"""What the rules may ask beside the findings: credit, lists, snoozes, what was paid, counters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from pipeline.ports import Batch
from pipeline.rulebook import counters as counting
from pipeline.rulebook.names import Counter
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch
from pipeline.stores.ledger import Ledger
from pipeline.stores.listing import Listing
from pipeline.stores.past import RECORD_STATE
from pipeline.stores.tables import ledger, record

_HISTORY: Final = {
    n: t for n, t in counting.HISTORY.items() if n not in ("held_at", "overturned_at")
}


class Circumstances:
    """Reads, for a batch, the facts of ``pipeline.rulebook.facts.ScoreFacts`` that are not findings."""

    def __init__(self, database: Database, held: Ledger, now: Callable[[], datetime]) -> None:
        self._database = database
        self._listing = Listing(database)
        self._ledger = held
        self._now = now
        self._kept: _Kept | None = None

    def of(
        self, batch: Batch, signals: pl.DataFrame, counters: Sequence[Counter] = ()
    ) -> dict[str, Any]:
        """Return the facts for a batch and what was found about it."""
        sources = signals["matched_submission_id"].drop_nulls().unique().to_list()
        return {
            "contents": batch.contents,
            "credit": self._ledger.standings(batch.workers["worker_id"].to_list()),
            "paid": self._ledger.paid(sources),
            "lists": self._listing.lists(),
            "snoozes": self._listing.snoozes(),
            "counters": self._counters(batch.submissions, counters),
            "at": self._now(),
        }

    def _counters(self, submissions: pl.DataFrame, counters: Sequence[Counter]) -> pl.DataFrame:
        ids = submissions["submission_id"].to_list()
        if not counters or not ids:
            return pl.DataFrame(schema={"submission_id": pl.String})
        times = submissions["submitted_at"].to_list()
        since = counting.reach(counters, min(times))
        return counting.count(self._history(since, max(times)), ids, counters)

    def _history(self, since: datetime, until: datetime) -> pl.DataFrame:
        """Return who handed in what in [since, until] at least, what was held and what overturned."""
        with self._database.read() as connection:
            state = tuple(connection.execute(RECORD_STATE).one())
            kept = self._kept if self._kept is not None and self._kept.state == state else None
            self._kept = _widened(connection, kept, state, since, until)
        return self._kept.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The history of [since, until] as it stands while the record's state is this."""

    state: tuple[int | None, ...]
    since: datetime
    until: datetime
    rows: pl.DataFrame


def _widened(
    connection: sa.Connection, kept: _Kept | None, state: tuple[int | None, ...],
    since: datetime, until: datetime,
) -> _Kept:  # fmt: skip
    """Read what is not kept yet, so that each row is read once and not once a part.

    What is kept is let go where it is much wider than what is asked for.
    """
    at = record.submissions.c.submitted_at
    if kept is None or kept.until < since or until < kept.since:
        rows = _read(connection, at.between(since, until))
        return _Kept(state=state, since=since, until=until, rows=rows)
    parts = [kept.rows]
    if since < kept.since:
        parts.append(_read(connection, sa.and_(at >= since, at < kept.since)))
    if until > kept.until:
        parts.append(_read(connection, sa.and_(at > kept.until, at <= until)))
    rows = pl.concat(parts) if len(parts) > 1 else kept.rows
    first, last = min(since, kept.since), max(until, kept.until)
    if last - first > 2 * (until - since):
        first, last = since, until
        rows = rows.filter(pl.col("submitted_at").is_between(since, until))
    return _Kept(state=state, since=first, until=last, rows=rows)


def _read(connection: sa.Connection, within: sa.ColumnElement[bool]) -> pl.DataFrame:
    s, t = record.submissions, record.tasks
    query = (
        sa.select(
            s.c.submission_id, s.c.worker_id, s.c.device_id, s.c.ip, t.c.publisher_id, s.c.task_id,
            s.c.submitted_at, t.c.bounty_minor.label("amount_minor"),
        )
        .select_from(s.outerjoin(t, s.c.task_id == t.c.task_id))
        .where(within)
    )  # fmt: skip
    joined = fetch(connection, query, _HISTORY)
    for name, marks in (("held_at", _held()), ("overturned_at", _overturned())):
        schema = {"submission_id": pl.String(), name: counting.HISTORY[name]}
        part = fetch(connection, marks, schema)
        joined = joined.join(part, on="submission_id", how="left", maintain_order="left")
    return joined.select(list(counting.HISTORY))


def _held() -> sa.Select[tuple[Any, ...]]:
    members = ledger.case_members
    return (
        sa.select(members.c.submission_id, sa.func.min(members.c.joined_at).label("held_at"))
        .join_from(members, ledger.payouts, members.c.payout_key == ledger.payouts.c.payout_key)
        .where(
            members.c.outcome.in_(["block_and_review", "decline"]),
            # what was withdrawn was no hold
            sa.or_(
                ledger.payouts.c.case_id != members.c.case_id,
                ledger.payouts.c.case_state != "withdrawn",
            ),
        )
        .group_by(members.c.submission_id)
    )


def _overturned() -> sa.Select[tuple[Any, ...]]:
    members, decided = ledger.case_members, ledger.case_decisions
    return (
        sa.select(members.c.submission_id, sa.func.min(decided.c.at).label("overturned_at"))
        .join_from(members, decided, members.c.case_id == decided.c.case_id)
        .where(decided.c.verdict == "overturn")
        .group_by(members.c.submission_id)
    )
