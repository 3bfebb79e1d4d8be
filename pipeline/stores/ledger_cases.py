"""Deciding cases on open books: a verdict moves money, credit and standing together, or not at all."""

from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from pipeline.model.errors import LedgerError
from pipeline.model.money import TAKES_A_SLOT
from pipeline.review import cases as policy
from pipeline.stores import ledger_credit as credits
from pipeline.stores import ledger_payouts as payouts
from pipeline.stores.ledger_books import Books
from pipeline.stores.tables import ledger as tables
from pipeline.stores.tables import record

DEADLINE = "system:deadline"


def decide(
    books: Books,
    case_id: str,
    verdict: policy.Verdict,
    *,
    person: str,
    reason: str,
    amount_minor: int | None = None,
) -> None:
    """Decide a case: money, credit and standing of all whom it concerns move together, or not at all.

    ``overturn`` with ``amount_minor`` pays a part (one payout only). Raises ``LedgerError``:
    ``case.unknown``, ``case.decided``, ``case.no_person``, ``case.no_reason``, ``case.same_person``
    (an appeal goes to somebody else than who decided), ``case.verdict``, ``case.amount``.
    """
    case = case_row(books, case_id)
    if case["state"] not in ("open", "appealed"):
        raise LedgerError("case.decided", f"case {case_id} is {case['state']}")
    if verdict not in policy.VERDICTS:
        raise LedgerError("case.verdict", f"a verdict is one of {', '.join(policy.VERDICTS)}")
    if not person.strip():
        raise LedgerError("case.no_person", "a case is decided by a person")
    if not reason.strip():
        raise LedgerError("case.no_reason", "a decision needs a reason")
    before = decisions_of(books, case_id)
    if person in {d["person"] for d in before}:
        raise LedgerError("case.same_person", "an appeal goes to somebody else than who decided")
    members = [
        (member, row)
        for member in members_of(books, case_id)
        if (row := books.payout(member["payout_key"])) and row["case_id"] == case_id
        and row["case_state"] in ("open", "confirmed", "appealed")
    ]  # fmt: skip
    if amount_minor is not None and (
        verdict != "overturn"
        or len(members) != 1
        or not 0 < amount_minor <= members[0][1]["amount_minor"]
    ):
        raise LedgerError("case.amount", "a part is paid of one payout, and at most all of it")
    ordinal = len(before) + 1
    appeal = _waiting_appeal(books, case_id) if case["state"] == "appealed" else None
    for member, row in members:
        _judge(books, member, row, verdict, ordinal, person=person, amount_minor=amount_minor)
    books.add(
        tables.case_decisions,
        {"case_id": case_id, "ordinal": ordinal, "verdict": verdict, "person": person,
         "reason": reason, "appeal_id": appeal, "at": books.now},
    )  # fmt: skip
    set_state(books, case_id, policy.STATE_AFTER[verdict])
    detail = {"verdict": verdict, "reason": reason, "ordinal": ordinal, "appeal": appeal}
    books.log(person, "case.decided", case_id, detail)
    books.send("case.decided", f"{case_id}:{ordinal}", {"case_id": case_id, "verdict": verdict})


def _judge(
    books: Books,
    member: Mapping[str, Any],
    row: Mapping[str, Any],
    verdict: policy.Verdict,
    ordinal: int,
    *,
    person: str,
    amount_minor: int | None,
) -> None:
    """Carry a verdict out on one payout."""
    decision = f"{member['case_id']}:{ordinal}"
    codes = sorted(
        {*payouts.codes_of(row["decided_codes"]), *payouts.codes_of(member["reason_codes"])}
    )
    after = books.put_payout(
        dict(row)
        | {
            "case_state": policy.STATE_AFTER[verdict],
            "decided_codes": orjson.dumps(codes).decode(),
        }
    )
    _undo_credit(books, member, verdict)
    if verdict == "overturn":
        _restore(books, member, after, decision, person=person, amount_minor=amount_minor)
        return
    if after["state"] == "held":
        after = payouts.release(books, after, decision=decision)
    rules = payouts.codes_of(member["rules"])
    books.credit(
        f"{'fraud' if verdict == 'confirm' else 'refuse'}:{member['case_id']}:{member['payout_key']}"
        f":{ordinal}",
        member["worker_id"],
        "confirmed_fraud" if verdict == "confirm" else "rejected",
        decision_id=decision,
        payout=after,
        weight_permille=member["weight_permille"],
        rule=" ".join(rules) or None,
        ruleset_digest=member["ruleset_digest"],
        revision=member["revision"],
    )
    _revoke(books, member, f"case {member['case_id']}: {verdict}")


def _restore(
    books: Books,
    member: Mapping[str, Any],
    row: dict[str, Any],
    decision: str,
    *,
    person: str,
    amount_minor: int | None,
) -> None:
    """Give back what a hold or refusal took: the money, and the credit as of when it was due."""
    if row["state"] == "posted":
        if row["case_kind"] == "look":
            _credit_clean(books, member, row, decision, person)
        elif not _has_credit(books, row):
            _accept(books, member, row, decision)
        return
    if row["currency"] == payouts.NO_CURRENCY:
        books.put_payout(row | {"state": "waiting"})
        _accept(books, member, row, decision)
        return
    funder = None
    if row["state"] == "voided" and _slots_full(books, row):
        funder = "overturned"  # the place was given to somebody else meanwhile: the platform pays
    paid = payouts.pay(books, row, decision=decision, amount_minor=amount_minor, funder=funder)
    _accept(books, member, paid, decision)


def _accept(books: Books, member: Mapping[str, Any], row: Mapping[str, Any], decision: str) -> None:
    payouts.accept(
        books, row, decision, on_time=member["on_time"], weight=member["weight_permille"],
        at=member["joined_at"],
    )  # fmt: skip


def _credit_clean(
    books: Books, member: Mapping[str, Any], row: Mapping[str, Any], decision: str, person: str
) -> None:
    """A look afterwards found nothing: the credit of accepted work, a bonus where a person looked."""
    if not _has_credit(books, row):
        _accept(books, member, row, decision)
    if member["on_time"] and person != DEADLINE:
        books.credit(
            f"bonus:{row['payout_key']}:{decision}", row["worker_id"],
            "quality_bonus", decision_id=decision, payout=row,
            weight_permille=member["weight_permille"], revision=member["revision"],
            at=member["joined_at"],
        )  # fmt: skip


def _slots_full(books: Books, row: Mapping[str, Any]) -> bool:
    slots = books.connection.execute(
        sa.select(record.tasks.c.slots).where(record.tasks.c.task_id == row["task_id"])
    ).scalar()
    return slots is not None and books.slots_taken(row["task_id"], TAKES_A_SLOT) >= slots


def _has_credit(books: Books, row: Mapping[str, Any]) -> bool:
    """Tell whether accepted work of this payout stands to the worker's credit."""
    return bool(credits.standing_credit(books, row["worker_id"], (f"accept:{row['payout_key']}:",)))


def _undo_credit(books: Books, member: Mapping[str, Any], verdict: policy.Verdict) -> None:
    """Reverse what an earlier verdict, or acceptance that turns out to be fraud, posted for this work.

    Of one payout the newest verdict stands alone, whatever number of cases it came to: nobody is punished
    twice for one piece of work.
    """
    key = member["payout_key"]
    before = credits.standing_credit(books, member["worker_id"], ("fraud:", "refuse:"))
    entries = [e for e in before if e["entry_id"].split(":")[2] == key]
    if verdict != "overturn":
        good = (f"accept:{key}:", f"bonus:{key}:")
        entries += credits.standing_credit(books, member["worker_id"], good)
    for entry in entries:
        credits.take_back(books, entry, str(member["case_id"]))


def _revoke(books: Books, member: Mapping[str, Any], why: str) -> None:
    books.database.insert_new(
        books.connection,
        tables.permit_revocations,
        [{"submission_id": member["submission_id"], "revision": member["revision"], "why": why,
          "at": books.now}],
    )  # fmt: skip


def case_row(books: Books, case_id: str) -> Mapping[str, Any]:
    """Return a case. Raises ``LedgerError('case.unknown')``."""
    row = books.connection.execute(
        sa.select(tables.cases).where(tables.cases.c.case_id == case_id)
    ).mappings().one_or_none()  # fmt: skip
    if row is None:
        raise LedgerError("case.unknown", f"there is no case {case_id!r}")
    return dict(row)


def members_of(books: Books, case_id: str) -> list[Mapping[str, Any]]:
    """Return the payouts that a case is about."""
    query = sa.select(tables.case_members).where(tables.case_members.c.case_id == case_id)
    rows = (
        books.connection.execute(query.order_by(tables.case_members.c.payout_key)).mappings().all()
    )
    books.load([r["payout_key"] for r in rows])
    return [dict(row) for row in rows]


def decisions_of(books: Books, case_id: str) -> list[Mapping[str, Any]]:
    """Return what was decided of a case, first to last."""
    table = tables.case_decisions
    query = sa.select(table).where(table.c.case_id == case_id).order_by(table.c.ordinal)
    return [dict(row) for row in books.connection.execute(query).mappings()]


def _waiting_appeal(books: Books, case_id: str) -> str | None:
    query = (
        sa.select(tables.appeals.c.appeal_id)
        .where(tables.appeals.c.case_id == case_id)
        .order_by(tables.appeals.c.ordinal.desc(), tables.appeals.c.appeal_id)
        .limit(1)
    )
    return books.connection.execute(query).scalar()


def set_state(books: Books, case_id: str, state: str) -> None:
    """Bring a case to a state."""
    books.connection.execute(
        sa.update(tables.cases).where(tables.cases.c.case_id == case_id).values(state=state)
    )
