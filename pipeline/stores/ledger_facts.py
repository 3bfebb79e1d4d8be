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

    One reading transaction. Of a task whose work was all acted upon as it was last judged no plan can say
    anything: what is read grows with what is new, and not with what is known.
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
    """Name the tasks of whatever is judged and may call for a step (``pipeline.stages.settle``).

    What was acted upon as it was last judged calls for none where it is paid and no case says that it
    should not be, or where it is held or refused still.
    """
    submissions, paid = record.submissions, tables.payouts.c
    made, members = record.assessments.c, tables.payout_members
    same = sa.and_(paid.submission_id == made.submission_id, paid.revision == made.revision)
    pays = made.outcome.in_(sorted(PAYS))
    looked_at = sa.and_(paid.case_kind == "look", made.outcome == "review")
    disputed = sa.and_(sa.func.coalesce(paid.case_state, "") == "open", pays, sa.not_(looked_at))
    settled = sa.or_(
        sa.and_(paid.state == "posted", same, sa.not_(disputed)),
        sa.and_(paid.state.in_(("held", "voided")), same, sa.not_(pays)),
    )
    judged = (
        record.assessments.join(submissions, submissions.c.submission_id == made.submission_id)
        .outerjoin(members, members.c.submission_id == made.submission_id)
        .outerjoin(tables.payouts, paid.payout_key == members.c.payout_key)
    )
    return (
        sa.select(submissions.c.task_id)
        .distinct()
        .select_from(judged)
        .where(
            made.revision == newest_revision(made.submission_id),
            sa.or_(paid.payout_key.is_(None), sa.not_(settled)),
        )
    )
