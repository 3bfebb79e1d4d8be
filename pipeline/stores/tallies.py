"""How many hand-ins a day has by outcome and currency, kept as they come and are judged.

Each function is one statement, the last of its transaction, in the order of the key: two writers queue.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from pipeline.stores.fetch import IDS_PER_QUERY, among, in_chunks
from pipeline.stores.tables import record

DAY_US: Final = 86_400_000_000
TALLIES: Final = record.tallies
_s, _t = record.submissions, record.tasks
_KEY: Final = ("day", "outcome", "currency")


def day_of(at: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """The day of an instant, since the epoch, in UTC."""
    whole = sa.type_coerce(at, sa.BigInteger())
    return sa.cast((whole - whole % DAY_US) / DAY_US, sa.BigInteger)


def arrived(connection: Connection, submission_ids: Iterable[str]) -> None:
    """Count submissions that were just taken in: they wait to be judged."""
    for some in in_chunks(sorted(set(submission_ids)), IDS_PER_QUERY):
        _add(connection, [_rows(some, sa.literal(""), 1, _s)])


def judged(connection: Connection, submission_ids: Iterable[str]) -> None:
    """Count anew submissions whose newest assessment was just written: from its forerunner's outcome."""
    made, before = record.assessments.alias("made"), record.assessments.alias("before")
    stands = _s.join(made, _standing(made, _newest()))
    stood = stands.outerjoin(before, _standing(before, _newest(made.c.revision)))
    for some in in_chunks(sorted(set(submission_ids)), IDS_PER_QUERY):
        after = _rows(some, made.c.outcome, 1, stands)
        _add(connection, [after, _rows(some, sa.func.coalesce(before.c.outcome, ""), -1, stood)])


def priced(connection: Connection, task_ids: Iterable[str]) -> None:
    """Count anew the submissions whose task was not known and was just taken in."""
    made = record.assessments.alias("made")
    stands = _s.outerjoin(made, _standing(made, _newest()))
    outcome = sa.func.coalesce(made.c.outcome, "")
    for some in in_chunks(sorted(set(task_ids)), IDS_PER_QUERY):
        after = _rows(some, outcome, 1, stands, of=_s.c.task_id)
        _add(connection, [after, _rows(some, outcome, -1, stands, of=_s.c.task_id, priced=False)])


def _standing(made: sa.FromClause, revision: sa.ScalarSelect[int]) -> sa.ColumnElement[bool]:
    return sa.and_(made.c.submission_id == _s.c.submission_id, made.c.revision == revision)


def _newest(before: sa.ColumnElement[int] | None = None) -> sa.ScalarSelect[int]:
    """The newest revision of a submission, or the newest before that one."""
    other = record.assessments.alias("other")
    query = sa.select(sa.func.max(other.c.revision)).where(
        other.c.submission_id == _s.c.submission_id
    )
    return (query if before is None else query.where(other.c.revision < before)).scalar_subquery()


def _rows(
    ids: Iterable[str],
    outcome: sa.ColumnElement[str],
    sign: int,
    source: sa.FromClause,
    *,
    of: sa.ColumnElement[str] = _s.c.submission_id,
    priced: bool = True,
) -> sa.Select[int, str, str, int, int]:
    """One row a submission: what it adds to which tally."""
    currency: sa.ColumnElement[str] = sa.literal("")
    bounty: sa.ColumnElement[int] = sa.literal(0)
    if priced:
        source = source.outerjoin(_t, _t.c.task_id == _s.c.task_id)
        currency = sa.func.coalesce(_t.c.currency, "")
        bounty = sa.func.coalesce(_t.c.bounty_minor, 0)
    rows: sa.Select[int, str, str, int, int] = (
        sa.select(
            day_of(_s.c.submitted_at).label("day"), outcome.label("outcome"),
            currency.label("currency"), sa.literal(sign).label("submissions"),
            (bounty * sign).label("bounty_minor"),
        )
        .select_from(source)
        .where(among(of, ids))
    )  # fmt: skip
    return rows


def _add(connection: Connection, rows: Sequence[sa.Select[int, str, str, int, int]]) -> None:
    every = sa.union_all(*rows).subquery()
    key = [every.c[name] for name in _KEY]
    sums = [
        sa.cast(sa.func.sum(every.c[name]), sa.BigInteger)
        for name in ("submissions", "bounty_minor")
    ]
    source = sa.select(*key, *sums).where(sa.true()).group_by(*key).order_by(*key)
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(TALLIES).from_select([c.name for c in TALLIES.c], source)
    more = {
        name: TALLIES.c[name] + insert.excluded[name] for name in ("submissions", "bounty_minor")
    }
    connection.execute(insert.on_conflict_do_update(index_elements=list(_KEY), set_=more))
