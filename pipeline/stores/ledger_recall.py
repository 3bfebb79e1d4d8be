"""Cases that nobody decided, ended, begun or made another kind by a newer evaluation, on open books.

``clear`` and ``look`` are steps of every day, the others are a recall's. Each looks at the payout first
and does nothing where it does not fit, so what was cut short or is told twice ends in the same state.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pipeline.model.money import Action
from pipeline.stores import ledger_credit as credits
from pipeline.stores import ledger_opening as opening
from pipeline.stores import ledger_payouts as payouts
from pipeline.stores.ledger_books import Books


def _clear(books: Books, action: Action, payout: Mapping[str, Any] | None) -> bool:
    if not _stands(payout, "posted", "look", "open"):
        return False
    row = _left(books, action, payout)
    payouts.accept(
        books, row, payouts.decision_of(action), on_time=action.on_time,
        weight=action.weight_permille,
        at=opening.joined_at(books, row["case_id"], row["payout_key"]),
    )  # fmt: skip
    return True


def _look(books: Books, action: Action, payout: Mapping[str, Any] | None) -> bool:
    if payout is None or (payout["state"], payout["case_state"] or "withdrawn") != (
        "posted",
        "withdrawn",
    ):
        return False
    row = payouts.fresh(books, action, payout)
    beginning = (f"accept:{row['payout_key']}:",)
    for entry in credits.standing_credit(books, row["worker_id"], beginning):
        credits.take_back(books, entry, payouts.decision_of(action))
    opening.open_case(books, "look", action, row)
    return True


def _escalate(books: Books, action: Action, payout: Mapping[str, Any] | None) -> bool:
    if not _stands(payout, "posted", "look", "open"):
        return False
    opening.open_case(books, "late", action, _left(books, action, payout))
    return True


def _refuse(books: Books, action: Action, payout: Mapping[str, Any] | None) -> bool:
    if not _stands(payout, "held", "hold", "open"):
        return False
    row = _left(books, action, payout)
    row = payouts.release(books, row, decision=payouts.decision_of(action))
    opening.open_case(books, "decline", action, row)
    return True


def _rehold(books: Books, action: Action, payout: Mapping[str, Any] | None) -> bool:
    if not _stands(payout, "voided", "decline", "open"):
        return False
    row = _left(books, action, payout)
    row = payouts.reserve(books, row, "held", decision=payouts.decision_of(action))
    opening.open_case(books, "hold", action, row)
    return True


def _stands(payout: Mapping[str, Any] | None, state: str, kind: str, case: str) -> bool:
    return payout is not None and (payout["state"], payout["case_kind"], payout["case_state"]) == (
        state,
        kind,
        case,
    )


def _left(books: Books, action: Action, payout: Mapping[str, Any] | None) -> dict[str, Any]:
    """Bring the payout to the newest evaluation and end its part in the case."""
    row = payouts.fresh(books, action, payout)
    opening.leave_case(books, row, "withdrawn")
    return books.put_payout(row | {"case_state": "withdrawn"})


STEPS: Final[Mapping[str, payouts.Step]] = MappingProxyType(
    {"clear": _clear, "look": _look, "escalate": _escalate, "refuse": _refuse, "rehold": _rehold}
)
