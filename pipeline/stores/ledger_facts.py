"""What a settlement plan rests on, read as one snapshot of the database."""

from typing import Final

import polars as pl
import sqlalchemy as sa

from pipeline.model import money
from pipeline.model.decisions import PAYS
from pipeline.model.money import SettleFacts
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch, fetch_by_ids
from pipeline.stores.standing import newest_revision
from pipeline.stores.tables import ledger as tables
from pipeline.stores.tables import record

MEMBERS: Final = {"submission_id": pl.String(), "payout_key": pl.String()}


def read_facts(database: Database) -> SettleFacts:
    """Read prices, and of every task with something to settle its submissions, evaluations and payouts.

    One reading transaction. Of a task whose work is all paid as it was last judged, and never was a
    case, no plan can say anything: what is read grows with what is new, and not with what is known.
    """
    made = record.assessments
    pays = made.c.outcome.in_(sorted(PAYS))
    standing = sa.select(
        made.c.submission_id, made.c.revision, made.c.score, made.c.risk_level, made.c.outcome,
        made.c.reason_codes, made.c.ruleset_digest,
        sa.case((pays, sa.null()), else_=made.c.arithmetic).label("arithmetic"),
        sa.case((pays, sa.null()), else_=made.c.signals).label("signals"),
    ).where(made.c.revision == newest_revision(made.c.submission_id))  # fmt: skip
    with database.read() as connection:
        tasks = list(connection.execute(_unsettled()).scalars())
        submissions = fetch_by_ids(
            connection, sa.select(record.submissions), record.submissions.c.task_id, tasks,
            money.CHAIN,
        )  # fmt: skip
        ids = submissions["submission_id"].to_list()
        members, paid = tables.payout_members, tables.payouts
        return SettleFacts(
            submissions=submissions,
            tasks=fetch(connection, sa.select(record.tasks), money.PRICES),
            standing=fetch_by_ids(
                connection, standing, made.c.submission_id, ids, money.STANDING
            ),
            payouts=fetch_by_ids(connection, sa.select(paid), paid.c.task_id, tasks, money.PAYOUTS),
            members=fetch_by_ids(
                connection, sa.select(members), members.c.submission_id, ids, MEMBERS
            ),
        )  # fmt: skip


def _unsettled() -> sa.Select[str]:
    """Name the tasks of whatever is judged and is not simply paid as it was last judged."""
    submissions, paid = record.submissions.c, tables.payouts.c
    made, members = record.assessments.c, tables.payout_members.c
    same = submissions.submission_id
    settled = sa.and_(
        paid.state == "posted", paid.case_id.is_(None), paid.submission_id == same,
        paid.revision == newest_revision(same),
    )  # fmt: skip
    return (
        sa.select(submissions.task_id)
        .distinct()
        .outerjoin(tables.payout_members, members.submission_id == same)
        .outerjoin(tables.payouts, paid.payout_key == members.payout_key)
        .where(
            sa.exists().where(made.submission_id == same),
            sa.or_(paid.payout_key.is_(None), sa.not_(settled)),
        )
    )
