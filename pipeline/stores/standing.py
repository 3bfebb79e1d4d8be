"""Where everything stands, summed up in the database: for pages that are made after every run.

What these return is as large as what is held and as the days asked for, not as what is known.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from pipeline.model import frames
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch, fetch_by_ids
from pipeline.stores.tables import ledger, record
from pipeline.stores.tables.record import HELD
from pipeline.stores.tallies import day_of

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
COUNTS: Final[frames.Schema] = {
    "outcome": pl.String(), "currency": pl.String(), "submissions": pl.Int64(),
    "bounty_minor": pl.Int64(),
}  # fmt: skip
"""``bounty_minor`` is the sum over submissions whose price is known."""
DAYS: Final[frames.Schema] = {"day": pl.Int64(), "outcome": pl.String(), "submissions": pl.Int64()}
CASES: Final[frames.Schema] = {"submission_id": pl.String(), "case_id": pl.String()}

_made, _handed, _told = record.assessments.c, record.submissions.c, record.tallies.c


def newest_revision(submission_id: sa.ColumnElement[str]) -> sa.ScalarSelect[int]:
    """The revision of the assessment of a submission that stands."""
    other = record.assessments.alias()
    return (
        sa.select(sa.func.max(other.c.revision))
        .where(other.c.submission_id == submission_id)
        .scalar_subquery()
    )


_STANDS: Final = _made.revision == newest_revision(_made.submission_id)


def counts(database: Database) -> pl.DataFrame:
    """Count and sum what is judged by outcome and currency: a COUNTS frame."""
    currency = sa.func.nullif(_told.currency, "").label("currency")
    query = (
        sa.select(_told.outcome, currency, *_sums("submissions", "bounty_minor"))
        .where(_told.outcome != "")
        .group_by(_told.outcome, currency)
        .having(sa.func.sum(_told.submissions) > 0)
    )
    with database.read() as connection:
        return fetch(connection, query, COUNTS)


def _sums(*names: str) -> list[sa.ColumnElement[int]]:
    return [sa.cast(sa.func.sum(_told[n]), sa.BigInteger).label(n) for n in names]


def held(database: Database) -> pl.DataFrame:
    """Return the standing assessments that hold or refuse a payout, by submission.

    ASSESSMENTS beside ``matched``, whom the strongest finding names, and ``case_id``.
    """
    query = sa.select(record.assessments).where(_STANDS, sa.text(f"assessments.{HELD}"))
    signals, members = record.signals, ledger.case_members
    with database.read() as connection:
        found = fetch(connection, query, frames.ASSESSMENTS).sort("submission_id")
        ids = found["submission_id"].to_list()
        said = fetch_by_ids(
            connection, sa.select(signals), signals.c.submission_id, ids, frames.SIGNALS
        )
        opened = sa.select(
            members.c.submission_id, members.c.case_id, ledger.cases.c.opened_at
        ).select_from(members.join(ledger.cases, ledger.cases.c.case_id == members.c.case_id))
        cases = fetch_by_ids(
            connection, opened, members.c.submission_id, ids, {**CASES, "opened_at": frames.UTC}
        )
    best = (
        said.sort(said.columns, nulls_last=True)
        .sort("strength", descending=True, maintain_order=True)
        .group_by("submission_id", maintain_order=True)
        .agg(pl.col("matched_submission_id").drop_nulls().first().alias("matched"))
    )
    newest = cases.sort("opened_at", "case_id").unique(
        "submission_id", keep="last", maintain_order=True
    )
    return found.join(best, on="submission_id", how="left", maintain_order="left").join(
        newest.select(list(CASES)), on="submission_id", how="left", maintain_order="left"
    )


def days(database: Database, *, since: datetime, until: datetime) -> pl.DataFrame:
    """Count the hand-ins of [since, until) by day (since the epoch, UTC) and outcome: a DAYS frame.

    A null outcome waits to be judged. Whole days are read off the tallies, parts of a day are counted.
    """
    at, begin, end = _handed.submitted_at, since, until
    first = -((EPOCH - begin) // DAY)
    with database.read() as connection:
        newest = connection.execute(sa.select(sa.func.max(at))).scalar()
        beyond = newest is None or newest < end
        last = max(first, (end - EPOCH) // DAY + (1 if beyond else 0))
        whole = (
            sa.select(
                _told.day, sa.func.nullif(_told.outcome, "").label("outcome"),
                *_sums("submissions"),
            )
            .where(_told.day >= first, _told.day < last)
            .group_by(_told.day, _told.outcome)
            .having(sa.func.sum(_told.submissions) > 0)
        )  # fmt: skip
        parts = [fetch(connection, whole, DAYS)]
        edges = [(begin, min(end, EPOCH + first * DAY)), (max(begin, EPOCH + last * DAY), end)]
        for start, stop in edges:
            if start < stop:
                parts.append(fetch(connection, _counted(start, stop), DAYS))
    return pl.concat(parts).group_by("day", "outcome").agg(pl.col("submissions").sum())


def _counted(since: datetime, until: datetime) -> sa.Select[Any]:
    """Count hand-ins one by one: for a part of a day."""
    newest = sa.and_(
        _made.submission_id == _handed.submission_id,
        _made.revision == newest_revision(_handed.submission_id),
    )
    return (
        sa.select(
            day_of(_handed.submitted_at).label("day"), _made.outcome,
            sa.func.count().label("submissions"),
        )
        .select_from(record.submissions.outerjoin(record.assessments, newest))
        .where(_handed.submitted_at >= since, _handed.submitted_at < until)
        .group_by(sa.text("1"), _made.outcome)
    )  # fmt: skip
