"""Groups of accounts on open books: all their cases, and one verdict that reaches every member."""

from typing import Any, Final

import sqlalchemy as sa

from pipeline.model.errors import LedgerError
from pipeline.review.cases import Verdict
from pipeline.stores import ledger_cases as cases
from pipeline.stores.ledger_books import Books
from pipeline.stores.tables import ledger as tables

UNDECIDED: Final = ("open", "appealed")


def decide_cluster(
    books: Books, cluster_id: str, verdict: Verdict, *, person: str, reason: str
) -> list[str]:
    """Decide every case of a group that waits, in one transaction; return the cases.

    A group has a case for each kind (held, paid and looked at, found late), so that its members'
    payouts are reached wherever they stand. After an appeal the same call takes the verdict back for
    all whom the appealed case concerns. Raises ``LedgerError`` as ``ledger_cases.decide`` does, and
    ``cluster.nothing_waits``; then nothing has moved.
    """
    query = (
        sa.select(tables.cases.c.case_id)
        .where(tables.cases.c.cluster_id == cluster_id, tables.cases.c.state.in_(UNDECIDED))
        .order_by(tables.cases.c.opened_at, tables.cases.c.case_id)
    )
    waiting = [str(name) for name in books.connection.execute(query).scalars()]
    if not waiting:
        raise LedgerError("cluster.nothing_waits", f"no case of group {cluster_id!r} waits")
    for case_id in waiting:
        cases.decide(books, case_id, verdict, person=person, reason=reason)
    return waiting


def members_of_cluster(books: Books, cluster_id: str) -> list[dict[str, Any]]:
    """Return every payout of a group's cases: case, kind, state, worker, submission, money, joined."""
    member, case = tables.case_members, tables.cases
    query = (
        sa.select(
            case.c.case_id, case.c.kind, case.c.state, member.c.worker_id, member.c.submission_id,
            member.c.payout_key, member.c.amount_minor, member.c.currency, member.c.joined_at,
        )
        .join(case, case.c.case_id == member.c.case_id)
        .where(case.c.cluster_id == cluster_id)
        .order_by(member.c.joined_at, case.c.case_id, member.c.payout_key)
    )  # fmt: skip
    return [dict(row) for row in books.connection.execute(query).mappings()]
