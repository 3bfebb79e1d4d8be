"""What a settlement plan rests on, read as one snapshot of the database."""

from typing import Final

import polars as pl
import sqlalchemy as sa

from pipeline.model import money
from pipeline.model.decisions import PAYS
from pipeline.model.money import SettleFacts
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch
from pipeline.stores.tables import ledger as tables
from pipeline.stores.tables import record

MEMBERS: Final = {"submission_id": pl.String(), "payout_key": pl.String()}


def read_facts(database: Database) -> SettleFacts:
    """Read submissions, prices, standing evaluations and payouts in one reading transaction."""
    made = record.assessments
    newest = (
        sa.select(made.c.submission_id, sa.func.max(made.c.revision).label("revision"))
        .group_by(made.c.submission_id)
        .subquery()
    )
    pays = made.c.outcome.in_(sorted(PAYS))
    standing = sa.select(
        made.c.submission_id, made.c.revision, made.c.score, made.c.risk_level, made.c.outcome,
        made.c.reason_codes, made.c.ruleset_digest,
        sa.case((pays, sa.null()), else_=made.c.arithmetic).label("arithmetic"),
        sa.case((pays, sa.null()), else_=made.c.signals).label("signals"),
    ).join(
        newest,
        sa.and_(
            made.c.submission_id == newest.c.submission_id, made.c.revision == newest.c.revision
        ),
    )  # fmt: skip
    with database.read() as connection:
        return SettleFacts(
            submissions=fetch(connection, sa.select(record.submissions), money.CHAIN),
            tasks=fetch(connection, sa.select(record.tasks), money.PRICES),
            standing=fetch(connection, standing, money.STANDING),
            payouts=fetch(connection, sa.select(tables.payouts), money.PAYOUTS),
            members=fetch(connection, sa.select(tables.payout_members), MEMBERS),
        )
