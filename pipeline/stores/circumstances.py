"""What the rules may ask beside the findings: credit, lists, snoozes, what was paid, counters."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from pipeline.ports import Batch
from pipeline.rulebook import counters as counting
from pipeline.rulebook.names import Counter
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch_by_ids
from pipeline.stores.ledger import Ledger
from pipeline.stores.listing import Listing
from pipeline.stores.tables import ledger, record


class Circumstances:
    """Reads, for a batch, the facts of ``pipeline.rulebook.facts.ScoreFacts`` that are not findings."""

    def __init__(self, database: Database, held: Ledger, now: Callable[[], datetime]) -> None:
        self._database = database
        self._listing = Listing(database)
        self._ledger = held
        self._now = now

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
        told = pl.DataFrame({"submission_id": ids}, schema={"submission_id": pl.String})
        with self._database.read() as connection:
            for by in sorted({c.by for c in counters}):
                mine = [c for c in counters if c.by == by]
                made = counting.count(_history(connection, submissions, by, mine), ids, mine)
                told = told.join(made, on="submission_id", how="left", maintain_order="left")
        return told.select("submission_id", *(c.name for c in counters))


def _history(
    connection: sa.Connection, submissions: pl.DataFrame, by: str, counters: Sequence[Counter]
) -> pl.DataFrame:
    """Return what these counters, all by one key, must see of these submissions' keys: a HISTORY frame.

    No more is read than the windows reach, and it is found by the key: that grows with what an account, a
    device or a publisher did lately, and not with what is known. Columns that nobody asks for are null.
    """
    times = submissions["submitted_at"].to_list()
    first, last = min(times), max(times)
    marks = [c for c in counters if c.of in counting.INSTANT]
    handed_in = [c for c in counters if c.of not in counting.INSTANT]
    query = _rows(by, amounts=any(c.of == "amount_minor" for c in handed_in))
    at, name = record.submissions.c.submitted_at, record.submissions.c.submission_id
    ids = submissions["submission_id"].to_list()
    schema = {n: t for n, t in counting.HISTORY.items() if n in query.selected_columns}
    rows = fetch_by_ids(connection, query, name, ids, schema)
    values = rows[counting.KEY[by]].drop_nulls().unique().to_list()
    if handed_in:
        within = query.where(at.between(counting.reach(handed_in, first), last))
        found = fetch_by_ids(connection, within, _COLUMN[by], values, schema)
        rows = pl.concat([rows, found]).unique("submission_id")
    if marks:
        members = ledger.case_members.c
        within = _rows(by, amounts=False, marked=True).where(
            at <= last, _decided_since(counting.reach(marks, first))
        )
        column = members.worker_id if by == "worker" else _COLUMN[by]
        brief = {n: t for n, t in schema.items() if n != "amount_minor"}
        found = fetch_by_ids(connection, within, column, values, brief).unique("submission_id")
        older = found.join(rows, on="submission_id", how="anti")
        rows = pl.concat([rows, older], how="diagonal")
        rows = rows.join(_marks(connection, found["submission_id"]), on="submission_id", how="left")
    unasked = [n for n in counting.HISTORY if n not in rows.columns]
    return rows.with_columns(pl.lit(None, counting.HISTORY[n]).alias(n) for n in unasked).select(
        list(counting.HISTORY)
    )


def _rows(by: str, *, amounts: bool, marked: bool = False) -> sa.Select[Any]:
    """Read hand-ins with the key of a counter, with amounts where added up; ``marked``: with a case."""
    s, t, members = record.submissions, record.tasks, ledger.case_members
    columns: list[sa.ColumnElement[Any]] = [
        s.c.submission_id, s.c.worker_id, s.c.submitted_at,
    ]  # fmt: skip
    if by != "worker":
        columns.append(_COLUMN[by])
    if amounts:
        columns.append(t.c.bounty_minor.label("amount_minor"))
    source: sa.FromClause = s
    if by == "publisher":  # from its tasks: an outer join would walk through all that was handed in
        source = source.join(t, s.c.task_id == t.c.task_id)
    elif amounts:
        source = source.outerjoin(t, s.c.task_id == t.c.task_id)
    if marked:
        source = source.join(members, members.c.submission_id == s.c.submission_id)
    return sa.select(*columns).select_from(source)


def _decided_since(since: datetime) -> sa.ColumnElement[bool]:
    """Whose case was opened or decided since, however long ago the work was handed in."""
    members, decided = ledger.case_members.c, ledger.case_decisions.c
    lately = sa.select(decided.case_id).where(decided.at >= since)
    return sa.or_(members.joined_at >= since, members.case_id.in_(lately))


def _marks(connection: sa.Connection, submission_ids: pl.Series) -> pl.DataFrame:
    """Say when each of these was held and when that was overturned."""
    rows, ids = submission_ids.to_frame(), submission_ids.to_list()
    column = ledger.case_members.c.submission_id
    for name, query in (("held_at", _held()), ("overturned_at", _overturned())):
        schema = {"submission_id": pl.String(), name: counting.HISTORY[name]}
        part = fetch_by_ids(connection, query, column, ids, schema)
        rows = rows.join(part, on="submission_id", how="left", maintain_order="left")
    return rows


_COLUMN: Final = {
    "worker": record.submissions.c.worker_id, "device": record.submissions.c.device_id,
    "ip": record.submissions.c.ip, "publisher": record.tasks.c.publisher_id,
    "task": record.submissions.c.task_id,
}  # fmt: skip


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
