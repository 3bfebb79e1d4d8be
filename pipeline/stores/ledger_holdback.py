"""Holdback on open books: keep a share of a payout, and let it go in time, to whom it belongs."""

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from pipeline.review import cases as policy
from pipeline.stores.ledger_books import SYSTEM, Books
from pipeline.stores.ledger_instructions import disburse
from pipeline.stores.tables import ledger as tables

UNDER_SUSPICION: Final = ("open", "appealed", "confirmed")
"""While a case on the payout stands so, what was kept stays where it is."""


def keep_back(books: Books, payout: Mapping[str, Any], *, decision: str) -> dict[str, Any]:
    """Keep back what the operator's terms keep of this worker's payouts: see ``review.holdback``."""
    row = dict(payout)
    if not books.holdback.percent:
        return row
    before = books.paid_count(row["worker_id"], other_than=row["payout_key"])
    kept = books.holdback.kept(row["amount_minor"], before)
    if not kept:
        return row
    payable, held = (
        books.account(kind, row["worker_id"], row["currency"]) for kind in ("payable", "holdback")
    )
    books.transfer(
        f"keep:{row['payout_key']}", "keep", payable, held, kept, payout=row, decision_id=decision
    )
    return books.put_payout(
        row | {"kept_minor": kept, "kept_until": books.now + books.holdback.span}
    )


def let_go(books: Books, limit: int) -> dict[str, int]:
    """End what has been kept long enough.

    Where nothing stands against the work it is paid; where fraud or bad work was confirmed and the
    time to appeal is over, it goes back to the publisher.
    """
    table = tables.payouts.c
    free = sa.and_(
        table.kept_until <= books.now,
        sa.or_(table.case_state.is_(None), table.case_state.not_in(UNDER_SUSPICION)),
    )
    told = tables.case_decisions.c
    decided_at = sa.select(sa.func.max(told.at)).where(told.case_id == table.case_id)
    lost = sa.and_(
        table.case_state == "confirmed",
        decided_at.scalar_subquery() <= books.now - policy.APPEAL_WITHIN,
    )
    query = sa.select(table.payout_key).where(table.kept_until.is_not(None), sa.or_(free, lost))
    done = {"freed": 0, "forfeited": 0}
    for key in books.connection.execute(query.order_by(table.payout_key).limit(limit)).scalars():
        row = books.payout(key)
        if row is not None and row["kept_until"] is not None:
            done["forfeited" if row["case_state"] == "confirmed" else "freed"] += 1
            _end(books, row)
    return done


def _end(books: Books, payout: Mapping[str, Any]) -> None:
    """Move what was kept of one payout to whom it belongs now."""
    key, kept, currency = payout["payout_key"], payout["kept_minor"], payout["currency"]
    held = books.account("holdback", payout["worker_id"], currency)
    row = books.put_payout(dict(payout) | {"kept_minor": 0, "kept_until": None})
    if row["case_state"] == "confirmed":
        publisher = books.account("publisher", row["publisher_id"] or "-", currency)
        books.transfer(f"forfeit:{key}", "forfeit", held, publisher, kept, payout=row)
        books.log(SYSTEM, "holdback.forfeited", row["submission_id"], {"amount_minor": kept})
        return
    payable = books.account("payable", row["worker_id"], currency)
    books.transfer(f"free:{key}", "free", held, payable, kept, payout=row)
    books.log(SYSTEM, "holdback.freed", row["submission_id"], {"amount_minor": kept})
    disburse(books, row, kept, decision=None)
