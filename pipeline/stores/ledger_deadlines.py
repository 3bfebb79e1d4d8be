"""What is due, on open books: undecided cases, unconfirmed payments, refunds, answers kept long."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from pipeline.review import cases as policy
from pipeline.stores import ledger_cases as cases
from pipeline.stores import ledger_holdback as holdback
from pipeline.stores import ledger_instructions as instructions
from pipeline.stores import ledger_payouts as payouts
from pipeline.stores.ledger_books import SYSTEM, Books
from pipeline.stores.ledger_cases import DEADLINE
from pipeline.stores.tables import ledger as tables

ANSWERS_KEPT: Final = timedelta(days=90)
"""How long an ``Idempotency-Key`` gets its first answer again. A permit lives for minutes: what a
forgotten key paid cannot be paid again by it."""


def keep_deadlines(books: Books, limit: int = 200) -> dict[str, int]:
    """Do what is due: cases, unconfirmed payments, refunds, what was kept back, old answers."""
    done = {"released": 0, "lapsed": 0, "escalated": 0, "expired": 0, "refunded": 0}
    done |= holdback.let_go(books, limit)
    waiting = sa.select(tables.cases).where(
        tables.cases.c.state.in_(("open", "appealed")), tables.cases.c.due_at <= books.now
    )
    for case in books.connection.execute(
        waiting.order_by(tables.cases.c.case_id).limit(limit)
    ).mappings().all():  # fmt: skip
        if case["state"] == "appealed" and _appeal_due(books, case["case_id"]) > books.now:
            continue
        done[_at_deadline(books, dict(case))] += 1
    table = tables.transfers.c
    resolved = tables.transfers.alias("resolved")
    stale = (
        sa.select(table.transfer_id)
        .join_from(
            tables.transfers, resolved, resolved.c.pending_id == table.transfer_id, isouter=True
        )
        .where(table.phase == "pending", table.kind == "disburse", table.expires_at <= books.now)
        .where(resolved.c.transfer_id.is_(None))
        .limit(limit)
    )
    for name in books.connection.execute(stale).scalars().all():
        instructions.finish(books, name, "expired", actor=DEADLINE)
        done["expired"] += 1
    done["refunded"] = _refund_final(books, limit)
    _forget_answers(books)
    return {name: count for name, count in done.items() if count}


def _forget_answers(books: Books) -> None:
    table = tables.idempotency
    books.connection.execute(sa.delete(table).where(table.c.made_at < books.now - ANSWERS_KEPT))


def _appeal_due(books: Books, case_id: str) -> datetime:
    query = sa.select(sa.func.max(tables.appeals.c.due_at)).where(
        tables.appeals.c.case_id == case_id
    )
    return books.connection.execute(query).scalar() or books.now


def _at_deadline(books: Books, case: Mapping[str, Any]) -> str:
    members = cases.members_of(books, case["case_id"])
    amount = sum(m["amount_minor"] for m in members)
    what = policy.at_deadline(
        case["kind"], case["state"], amount, cluster=case["cluster_id"] is not None
    )
    if what == "release":
        cases.decide(
            books, case["case_id"], "overturn", person=DEADLINE, reason="nobody decided in time"
        )
        return "released"
    if what == "lapse":
        for member in members:
            row = books.payout(member["payout_key"])
            if row and row["case_id"] == case["case_id"] and row["case_state"] == "open":
                books.put_payout(dict(row) | {"case_state": "lapsed"})
        cases.set_state(books, case["case_id"], "lapsed")
        books.log(SYSTEM, "case.lapsed", case["case_id"], {})
        return "lapsed"
    later = books.now + timedelta(days=1)
    books.connection.execute(
        sa.update(tables.cases)
        .where(tables.cases.c.case_id == case["case_id"])
        .values(due_at=later)
    )
    books.log(SYSTEM, "case.escalated", case["case_id"], {"amount_minor": amount})
    books.send(
        "case.escalated", f"{case['case_id']}:{later.isoformat()}", {"case_id": case["case_id"]}
    )
    return "escalated"


def _refund_final(books: Books, limit: int) -> int:
    """Give publishers back what lies in escrow for work that is finally not paid."""
    table = tables.payouts.c
    query = (
        sa.select(table.payout_key)
        .join_from(tables.payouts, tables.cases, tables.cases.c.case_id == table.case_id)
        .where(
            table.state == "voided", table.funded_minor > 0,
            table.case_state.in_(("confirmed", "lapsed")),
            table.changed_at <= books.now - policy.APPEAL_WITHIN,
        )
        .order_by(table.payout_key)
        .limit(limit)
    )  # fmt: skip
    keys = books.connection.execute(query).scalars().all()
    for key in keys:
        row = books.payout(key)
        if row is not None and row["funded_minor"] > 0:
            payouts.refund(books, dict(row))
    return len(keys)
