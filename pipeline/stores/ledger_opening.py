"""Opening cases on open books: who is concerned, until when, and the statement that each of them gets."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa

from pipeline.model.money import Action, decision_id
from pipeline.review.cases import DECIDE_WITHIN, appeal_until
from pipeline.review.statements import LANGUAGES, Grounds, lint, statement
from pipeline.stores.ledger_books import Books
from pipeline.stores.tables import ledger as tables
from pipeline.stores.tables import record

STATED = frozenset({"hold", "decline", "late"})


def open_case(books: Books, kind: str, action: Action, payout: Mapping[str, Any]) -> str:
    """Open a case for a payout, or join it to the open case of its group of accounts."""
    case_id = _open_case_of(books, kind, action.cluster_id)
    if case_id is None or joined_at(books, case_id, action.payout_key) is not None:
        parts = [kind, action.cluster_id, action.payout_key, action.submission_id, action.revision]
        case_id = "c_" + hashlib.sha256(orjson.dumps(parts)).hexdigest()[:24]
        due_at = books.now + DECIDE_WITHIN[kind]
        books.add(
            tables.cases,
            {"case_id": case_id, "kind": kind, "cluster_id": action.cluster_id,
             "opened_at": books.now, "due_at": due_at, "state": "open"},
        )  # fmt: skip
        books.send(
            "case.opened", case_id, {"case_id": case_id, "kind": kind, "due_at": due_at.isoformat()}
        )
    decision = decision_id(action.submission_id, action.revision, action.ruleset_digest)
    books.add(
        tables.case_members,
        {
            "case_id": case_id, "payout_key": action.payout_key,
            "submission_id": action.submission_id, "worker_id": action.worker_id,
            "revision": action.revision, "outcome": action.outcome, "score": action.score,
            "reason_codes": _text(list(action.reason_codes)), "rules": _text(list(action.rules)),
            "ruleset_digest": action.ruleset_digest, "decision_id": decision,
            "amount_minor": payout["amount_minor"], "currency": payout["currency"],
            "on_time": action.on_time, "weight_permille": action.weight_permille,
            "joined_at": books.now,
        },
    )  # fmt: skip
    books.put_payout(dict(payout) | {"case_id": case_id, "case_kind": kind, "case_state": "open"})
    if kind in STATED:
        _state(books, kind, case_id, action, payout, decision)
    return case_id


def _open_case_of(books: Books, kind: str, cluster_id: str | None) -> str | None:
    if cluster_id is None:
        return None
    for row in books.added(tables.cases):
        if (row["cluster_id"], row["kind"]) == (cluster_id, kind):
            return str(row["case_id"])
    query = sa.select(tables.cases.c.case_id).where(
        tables.cases.c.cluster_id == cluster_id,
        tables.cases.c.kind == kind,
        tables.cases.c.state == "open",
    )
    return books.connection.execute(query).scalar()


def joined_at(books: Books, case_id: str, payout_key: str) -> datetime | None:
    """Return when a payout became part of a case; None where it never did."""
    table = tables.case_members.c
    found = books.connection.execute(
        sa.select(table.joined_at).where(table.case_id == case_id, table.payout_key == payout_key)
    ).scalar()
    return found


def leave_case(books: Books, payout: Mapping[str, Any], state: str) -> None:
    """End a payout's part in its case; the case ends with the last one that leaves."""
    case_id = payout["case_id"]
    inside = sa.select(tables.case_members.c.payout_key).where(
        tables.case_members.c.case_id == case_id
    )
    keys = set(books.connection.execute(inside).scalars())
    keys |= {r["payout_key"] for r in books.added(tables.case_members) if r["case_id"] == case_id}
    books.load(keys)
    others = [
        row
        for key in keys - {payout["payout_key"]}
        if (row := books.payout(key)) and row["case_id"] == case_id and row["case_state"] == "open"
    ]
    if not others:
        books.amend(tables.cases, "case_id", case_id, {"state": state})


def _state(
    books: Books, kind: str, case_id: str, action: Action, payout: Mapping[str, Any], decision: str
) -> None:
    """Write the statement of reasons in each language, once for each decision."""
    found = books.connection.execute(
        sa.select(record.assessments.c.signals).where(
            record.assessments.c.submission_id == action.submission_id,
            record.assessments.c.revision == action.revision,
        )
    ).scalar()
    grounds = Grounds(
        decision_id=decision,
        case_id=case_id,
        kind=kind,
        submission_id=action.submission_id,
        worker_id=action.worker_id,
        revision=action.revision,
        amount_minor=payout["amount_minor"],
        currency=payout["currency"],
        reason_codes=action.reason_codes,
        signals=orjson.loads(found) if found else [],
        rules={rule: books.clause(rule) for rule in action.rules},
        ruleset_digest=action.ruleset_digest,
        decided_by=None,
        at=books.now,
        due_at=books.now + DECIDE_WITHIN[kind],
        appeal_until=appeal_until(books.now),
    )
    known = books.connection.execute(
        sa.select(tables.statements.c.decision_id).where(
            tables.statements.c.decision_id == decision
        )
    ).first()
    if known is not None:
        return
    for language in LANGUAGES:
        made = statement(grounds, language)
        faults = lint(made)
        if faults:
            raise AssertionError(f"the statement of {decision} is generic: {'; '.join(faults)}")
        books.add(
            tables.statements,
            {
                "decision_id": decision, "language": language, "case_id": case_id,
                "submission_id": action.submission_id, "worker_id": action.worker_id,
                "body": _text(made), "made_at": books.now,
            },
        )  # fmt: skip


def _text(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
