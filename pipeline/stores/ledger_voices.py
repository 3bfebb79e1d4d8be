"""Who speaks up: appeals of the accused and reports by anybody, on open books."""

import hashlib
from datetime import timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from pipeline.model.errors import LedgerError
from pipeline.model.money import Action
from pipeline.review import cases as policy
from pipeline.stores import ledger_cases as cases
from pipeline.stores import ledger_opening as opening
from pipeline.stores.ledger_books import Books
from pipeline.stores.tables import ledger as tables


def appeal(books: Books, case_id: str, *, worker_id: str, text: str) -> dict[str, Any]:
    """Take in the answer of the accused; the same worker's second one to a decision is the first.

    Raises ``LedgerError``: ``case.unknown``, ``appeal.not_yours``, ``appeal.too_late``,
    ``appeal.nothing`` (nothing was decided against them), ``appeal.empty``.
    """
    case = cases.case_row(books, case_id)
    members = [m for m in cases.members_of(books, case_id) if m["worker_id"] == worker_id]
    if not members:
        raise LedgerError("appeal.not_yours", f"case {case_id} is not about this worker")
    if not text.strip():
        raise LedgerError("appeal.empty", "an appeal says what speaks against the decision")
    if case["state"] not in ("open", "confirmed", "appealed", "lapsed"):
        raise LedgerError("appeal.nothing", f"case {case_id} is {case['state']}")
    before = cases.decisions_of(books, case_id)
    since = before[-1]["at"] if before else case["opened_at"]
    ordinal = len(before)
    known = books.connection.execute(
        sa.select(tables.appeals).where(
            tables.appeals.c.case_id == case_id,
            tables.appeals.c.worker_id == worker_id,
            tables.appeals.c.ordinal == ordinal,
        )
    ).mappings().one_or_none()  # fmt: skip
    if known is not None:
        return dict(known)
    if books.now > policy.appeal_until(since):
        raise LedgerError(
            "appeal.too_late", f"the time for an appeal ended on {policy.appeal_until(since)}"
        )
    name = "a_" + hashlib.sha256(orjson.dumps([case_id, worker_id, ordinal])).hexdigest()[:24]
    row = {
        "appeal_id": name, "case_id": case_id, "ordinal": ordinal, "worker_id": worker_id,
        "text": text, "filed_at": books.now,
        "due_at": books.now + policy.APPEAL_DECIDED_WITHIN,
    }  # fmt: skip
    books.add(tables.appeals, row)
    if case["state"] in ("confirmed", "lapsed"):
        cases.set_state(books, case_id, "appealed")
        for member in members:
            payout = books.payout(member["payout_key"])
            if (
                payout
                and payout["case_id"] == case_id
                and payout["case_state"] in ("confirmed", "lapsed")
            ):
                books.put_payout(dict(payout) | {"case_state": "appealed"})
    books.log(worker_id, "case.appealed", case_id, {"appeal": name})
    books.send("case.appealed", name, {"case_id": case_id, "appeal_id": name})
    return row


def report(books: Books, *, reporter_id: str, submission_id: str, reason: str) -> dict[str, Any]:
    """Take in that somebody accuses a submission; the same accusation twice is one.

    Its weight falls with earlier accusations of theirs that were overturned. Enough weight on a paid
    submission makes a person look. Raises ``LedgerError``: ``report.empty``, ``report.too_many``.
    """
    if not reason.strip():
        raise LedgerError("report.empty", "a report says what is wrong")
    table = tables.reports.c
    known = books.connection.execute(
        sa.select(tables.reports).where(
            table.reporter_id == reporter_id, table.submission_id == submission_id
        )
    ).mappings().one_or_none()  # fmt: skip
    if known is not None:
        return dict(known)
    today = books.connection.execute(
        sa.select(sa.func.count()).select_from(tables.reports).where(
            table.reporter_id == reporter_id, table.filed_at > books.now - timedelta(days=1)
        )
    ).scalar_one()  # fmt: skip
    if today >= policy.REPORTS_PER_DAY:
        raise LedgerError("report.too_many", f"at most {policy.REPORTS_PER_DAY} reports a day")
    name = "r_" + hashlib.sha256(orjson.dumps([reporter_id, submission_id])).hexdigest()[:24]
    weight = _weight_of(books, reporter_id)
    row = {
        "report_id": name, "reporter_id": reporter_id, "submission_id": submission_id,
        "reason": reason, "weight_permille": weight,
        "filed_at": books.now,
    }  # fmt: skip
    books.add(tables.reports, row)
    books.log(reporter_id, "submission.reported", submission_id, {"report": name})
    _look_at(books, submission_id, weight)
    return row


def _look_at(books: Books, submission_id: str, weight_permille: int) -> None:
    """Open a case on a paid submission that was reported with enough weight."""
    so_far = books.connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(tables.reports.c.weight_permille), 0)).where(
            tables.reports.c.submission_id == submission_id
        )
    ).scalar_one()
    if (
        int(so_far) + weight_permille < policy.REPORT_LOOK_AT
        or int(so_far) >= policy.REPORT_LOOK_AT
    ):
        return
    books.load_members([submission_id])
    key = books.member(submission_id)
    row = books.payout(key) if key else None
    if row is None or row["state"] != "posted" or row["case_state"] in ("open", "appealed"):
        return
    action = Action(
        kind="late", payout_key=row["payout_key"], submission_id=row["submission_id"],
        revision=row["revision"], outcome="review", task_id=row["task_id"],
        worker_id=row["worker_id"], publisher_id=row["publisher_id"],
        amount_minor=row["amount_minor"], currency=row["currency"], slots=None,
        reason_codes=(), ruleset_digest="reports",
    )  # fmt: skip
    opening.open_case(books, "late", action, row)


def _weight_of(books: Books, reporter_id: str) -> int:
    judged = (
        sa.select(tables.payouts.c.case_state, sa.func.count())
        .join(tables.reports, tables.reports.c.submission_id == tables.payouts.c.submission_id)
        .where(tables.reports.c.reporter_id == reporter_id)
        .group_by(tables.payouts.c.case_state)
    )
    counts = {state: count for state, count in books.connection.execute(judged)}
    return policy.report_weight_permille(
        counts.get("confirmed", 0), counts.get("overturned", 0) + counts.get("withdrawn", 0)
    )
