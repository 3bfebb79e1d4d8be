"""What a settlement plan rests on: a piece of the queue, and what belongs to it, as one snapshot."""

from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.model import frames, money
from pipeline.model.decisions import PAYS
from pipeline.model.money import CHAIN_MAX, MEDIANS, TAKEN, TAKES_A_SLOT, SettleFacts
from pipeline.stores import unsettled
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch, fetch_by_ids, in_chunks
from pipeline.stores.standing import newest_revision
from pipeline.stores.tables import ledger as tables
from pipeline.stores.tables import record
from pipeline.stores.unsettled import Drawn, Place

MEMBERS: Final = {"submission_id": pl.String(), "payout_key": pl.String()}
_handed, _task = record.submissions, record.tasks


def medians(database: Database) -> pl.DataFrame:
    """Return the median of the known prices of all tasks, by currency: a MEDIANS frame."""
    price, currency = _task.c.bounty_minor, _task.c.currency
    query = (
        sa.select(currency, price, sa.func.count().label("tasks"))
        .where(price.is_not(None), currency.is_not(None), price <= money.AMOUNT_MAX)
        .group_by(currency, price)
    )
    schema = {"currency": pl.String(), "bounty_minor": pl.Int64(), "tasks": pl.Int64()}
    with database.read() as connection:
        prices = fetch(connection, query, schema).sort("currency", "bounty_minor")
    held = prices.with_columns(
        up_to=pl.col("tasks").cum_sum().over("currency"),
        whole=pl.col("tasks").sum().over("currency"),
    )
    # of an even number, the mean of the two in the middle
    low = pl.col("bounty_minor").filter(pl.col("up_to") * 2 >= pl.col("whole")).first()
    high = pl.col("bounty_minor").filter(pl.col("up_to") * 2 > pl.col("whole")).first()
    grouped = held.group_by("currency", maintain_order=True).agg(median_minor=(low + high) / 2)
    return frames.check(grouped, MEDIANS, "settle: medians")


def pieces(
    database: Database, *, limit: int, only: Sequence[str] | None = None
) -> Iterator[tuple[Drawn, SettleFacts]]:
    """Read the queue piece by piece, in order of submission: what was drawn, and the facts of it.

    Each piece is one reading transaction, as large as ``limit`` submissions and their chains, whatever
    is known. ``only`` reads these submissions instead, and draws nothing from the queue.
    """
    prices = medians(database)
    if only is not None:
        for some in in_chunks(_in_order(database, only), limit):
            with database.read() as connection:
                yield Drawn(generations={}, places={}), _facts(connection, some, prices)
        return
    after: Place | None = None
    while True:
        with database.read() as connection:
            drawn = unsettled.draw(connection, after, limit)
            facts = _facts(connection, drawn.ids, prices) if drawn.ids else None
        if facts is None:
            return
        yield drawn, facts
        after = drawn.last


def read_facts(database: Database) -> SettleFacts:
    """Return the facts of everything that is queued, in one piece."""
    with database.read() as connection:
        ids = unsettled.draw(connection, None, -1 if database.is_sqlite else 2**31).ids
    prices = medians(database)
    with database.read() as connection:
        return _facts(connection, ids, prices)


def _in_order(database: Database, submission_ids: Sequence[str]) -> list[str]:
    with database.read() as connection:
        found = fetch_by_ids(
            connection, sa.select(_handed), _handed.c.submission_id, submission_ids, money.CHAIN
        )
    return found.sort("submitted_at", "submission_id")["submission_id"].to_list()


def _facts(connection: Connection, asked: Sequence[str], prices: pl.DataFrame) -> SettleFacts:
    """Read what belongs to these submissions: their chains, evaluations, tasks and payouts."""
    made = record.assessments
    pays = made.c.outcome.in_(sorted(PAYS))
    standing = sa.select(
        made.c.submission_id, made.c.revision, made.c.score, made.c.risk_level, made.c.outcome,
        made.c.reason_codes, made.c.ruleset_digest,
        sa.case((pays, sa.null()), else_=made.c.arithmetic).label("arithmetic"),
        sa.case((pays, sa.null()), else_=made.c.signals).label("signals"),
    ).where(made.c.revision == newest_revision(made.c.submission_id))  # fmt: skip
    chains = _chains(connection, asked)
    ids = chains["submission_id"].to_list()
    beside = sorted(set(ids) - set(asked))
    tasks = chains["task_id"].unique().sort().to_list()
    members, paid = tables.payout_members, tables.payouts
    belong = fetch_by_ids(connection, sa.select(members), members.c.submission_id, ids, MEMBERS)
    keys = belong["payout_key"].unique().to_list()
    taken = (
        sa.select(paid.c.task_id, sa.func.count().label("taken"))
        .where(paid.c.state.in_(TAKES_A_SLOT))
        .group_by(paid.c.task_id)
    )
    return SettleFacts(
        asked=frozenset({*asked, *beside} - unsettled.queued(connection, beside)),
        submissions=chains,
        tasks=fetch_by_ids(connection, sa.select(_task), _task.c.task_id, tasks, money.PRICES),
        medians=prices,
        standing=fetch_by_ids(connection, standing, made.c.submission_id, ids, money.STANDING),
        payouts=fetch_by_ids(connection, sa.select(paid), paid.c.payout_key, keys, money.PAYOUTS),
        taken=fetch_by_ids(connection, taken, paid.c.task_id, tasks, TAKEN),
        members=belong,
    )


def _chains(connection: Connection, ids: Sequence[str]) -> pl.DataFrame:
    """Return these submissions and all that a chain of revisions joins to them: a CHAIN frame.

    A chain lies within one worker's work for one task; those that name the same unknown work are one.
    """
    every = sa.select(_handed)
    found = fetch_by_ids(connection, every, _handed.c.submission_id, ids, money.CHAIN)
    theirs = found.select("task_id", "worker_id").unique()
    new, asked = found, set[str]()
    for _ in range(CHAIN_MAX):
        parents = set(new["supersedes"].drop_nulls())
        names = ({*new["submission_id"], *parents}) - asked
        if not names:
            break
        asked |= names
        up = fetch_by_ids(connection, every, _handed.c.submission_id, parents, money.CHAIN)
        down = fetch_by_ids(connection, every, _handed.c.supersedes, names, money.CHAIN)
        new = (
            pl.concat([up, down])
            .unique("submission_id")
            .join(theirs, on=["task_id", "worker_id"], how="semi")
            .join(found, on="submission_id", how="anti")
        )
        if new.is_empty():
            break
        found = pl.concat([found, new])
    return found
