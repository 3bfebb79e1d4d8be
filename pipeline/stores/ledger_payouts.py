"""Payouts on open books: fund, reserve, post, void; what the settle stage asked for.

Every function looks at the payout's state under the books' lock before it acts, so an action that was
planned on older facts, or is carried out twice, does nothing.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from pipeline.model.errors import LedgerError
from pipeline.model.money import TAKES_A_SLOT, Action, decision_id
from pipeline.stores import ledger_opening as opening
from pipeline.stores.ledger_books import SYSTEM, Books
from pipeline.stores.ledger_credit import standing_credit
from pipeline.stores.ledger_holdback import keep_back
from pipeline.stores.ledger_instructions import disburse

NO_CURRENCY: Final = "XXX"

Step = Callable[[Books, Action, Mapping[str, Any] | None], bool]
"""Takes one step for a payout as it stands (None: not known yet); False where it does not fit."""


def carry_out(
    books: Books, action: Action, more: Mapping[str, Step] = MappingProxyType({})
) -> bool:
    """Take one step of a plan; False where the books have moved on and it no longer fits.

    ``more`` are the steps of ``ledger_recall``, by which undecided cases end or become another kind.
    """
    if not books.enrol(action.submission_id, action.payout_key):
        return False
    payout = books.payout(action.payout_key)
    if payout is None or payout["state"] not in TAKES_A_SLOT:
        takes = action.kind in ("post", "hold", "wait", "withdraw", "rehold")
        full = action.slots is not None and takes and (
            books.slots_taken(action.task_id, TAKES_A_SLOT) >= action.slots
        )  # fmt: skip
        if full:
            return False
    done = (more.get(action.kind) or _STEPS[action.kind])(books, action, payout)
    if done:
        detail = {
            "payout": action.payout_key, "revision": action.revision, "outcome": action.outcome,
            "amount_minor": action.amount_minor, "currency": action.currency,
            "reason_codes": list(action.reason_codes), "ruleset": action.ruleset_digest,
        }  # fmt: skip
        books.log(SYSTEM, f"payout.{action.kind}", action.submission_id, detail)
    return done


def fresh(books: Books, action: Action, payout: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the payout's row, made or brought to what the action speaks of."""
    base: dict[str, Any] = dict(payout) if payout else {
        "payout_key": action.payout_key, "task_id": action.task_id, "worker_id": action.worker_id,
        "publisher_id": action.publisher_id, "attempt": 0, "funded_minor": 0, "state": "new",
        "amount_minor": action.amount_minor, "currency": action.currency, "disbursement": None,
        "disbursements": 0, "kept_minor": 0, "kept_until": None, "case_id": None,
        "case_kind": None, "case_state": None, "decided_codes": "[]",
    }  # fmt: skip
    if base["currency"] == NO_CURRENCY:
        base |= {
            "amount_minor": action.amount_minor, "currency": action.currency,
            "publisher_id": action.publisher_id,
        }  # fmt: skip
        if payout is not None and action.currency != NO_CURRENCY:
            base["state"] = "new"  # nothing is reserved yet: the price was not known
    base |= {"submission_id": action.submission_id, "revision": action.revision}
    return books.put_payout(base)


def decision_of(action: Action) -> str:
    """Name the decision that an action carries out."""
    return decision_id(action.submission_id, action.revision, action.ruleset_digest)


def _post(books: Books, action: Action, payout: Mapping[str, Any] | None) -> bool:
    fits = payout is None or (
        payout["state"] == "waiting" and payout["case_state"] in (None, "overturned")
    )
    if fits:
        settle_one(books, action, payout)
    return fits


def settle_one(
    books: Books,
    action: Action,
    payout: Mapping[str, Any] | None,
    *,
    amount_minor: int | None = None,
    bonus_minor: int = 0,
) -> None:
    """Pay one payout that may be paid, all of it or a part, and move the credit that goes with it."""
    row = pay(
        books, fresh(books, action, payout), decision=decision_of(action), amount_minor=amount_minor,
        bonus_minor=bonus_minor,
    )  # fmt: skip
    if row["case_state"] == "overturned":
        return  # a person decided; credit moved then
    if action.outcome == "review":
        opening.open_case(books, "look", action, row)
    else:
        accept(
            books, row, decision_of(action), on_time=action.on_time, weight=action.weight_permille
        )


def _wait(books: Books, action: Action, payout: Mapping[str, Any] | None) -> bool:
    if payout is not None:
        return False
    reserve(books, fresh(books, action, payout), "waiting", decision=decision_of(action))
    return True


def _hold(books: Books, action: Action, payout: Mapping[str, Any] | None) -> bool:
    if payout is not None and (payout["state"] != "waiting" or payout["case_state"]):
        return False
    row = reserve(books, fresh(books, action, payout), "held", decision=decision_of(action))
    opening.open_case(books, "hold", action, row)
    return True


def _void(books: Books, action: Action, payout: Mapping[str, Any] | None) -> bool:
    if payout is not None and (payout["state"] != "waiting" or payout["case_state"]):
        return False
    row = reserve(books, fresh(books, action, payout), "held", decision=decision_of(action))
    row = release(books, row, decision=decision_of(action))
    opening.open_case(books, "decline", action, row)
    return True


def _late(books: Books, action: Action, payout: Mapping[str, Any] | None) -> bool:
    if (
        payout is None
        or payout["state"] != "posted"
        or payout["case_state"] in ("open", "appealed")
    ):
        return False
    if (payout["submission_id"], payout["revision"]) == (action.submission_id, action.revision):
        return False
    opening.open_case(books, "late", action, fresh(books, action, payout))
    return True


def _withdraw(books: Books, action: Action, payout: Mapping[str, Any] | None) -> bool:
    if payout is None or payout["case_state"] != "open" or payout["case_kind"] == "look":
        return False
    row = fresh(books, action, payout)
    since = opening.joined_at(books, row["case_id"], row["payout_key"])
    opening.leave_case(books, row, "withdrawn")
    row = books.put_payout(row | {"case_state": "withdrawn"})
    if row["state"] != "posted":
        row = pay(books, row, decision=decision_of(action))
    elif standing_credit(books, row["worker_id"], (f"accept:{row['payout_key']}:",)):
        return True
    if action.outcome == "review":
        opening.open_case(books, "look", action, row)
    else:
        accept(
            books, row, decision_of(action), on_time=action.on_time, weight=action.weight_permille,
            at=since,
        )  # fmt: skip
    return True


_STEPS: Final[Mapping[str, Step]] = {
    "post": _post, "wait": _wait, "hold": _hold, "void": _void, "late": _late,
    "withdraw": _withdraw,
}  # fmt: skip


def reserve(
    books: Books, payout: Mapping[str, Any], state: str, *, decision: str, funder: str | None = None
) -> dict[str, Any]:
    """Bring the money into escrow and reserve it for the worker."""
    row = dict(payout)
    if row["state"] in ("waiting", "held") and row["attempt"]:
        return books.put_payout(row | {"state": state})
    attempt = row["attempt"] + 1
    row |= {"attempt": attempt, "state": state}
    if not row["amount_minor"]:
        return books.put_payout(row)
    key, currency = row["payout_key"], row["currency"]
    escrow = books.account("escrow", row["task_id"], currency)
    wanting = row["amount_minor"] - row["funded_minor"]
    if wanting > 0:
        if funder is None:
            source = books.account("publisher", row["publisher_id"] or "-", currency)
        else:
            source = books.account("platform", funder, currency)
        books.transfer(f"fund:{key}:{attempt}", "fund", source, escrow, wanting, payout=row)
        row["funded_minor"] += wanting
    books.transfer(
        f"payout:{key}:{attempt}", "payout", escrow,
        books.account("payable", row["worker_id"], currency), row["amount_minor"], pending=True,
        payout=row, decision_id=decision,
    )  # fmt: skip
    return books.put_payout(row)


def pay(
    books: Books,
    payout: Mapping[str, Any],
    *,
    decision: str,
    amount_minor: int | None = None,
    bonus_minor: int = 0,
    funder: str | None = None,
) -> dict[str, Any]:
    """Post a payout, reserving first where nothing is reserved, and send the instruction to pay out.

    ``amount_minor`` pays a part; what is left goes back to the publisher. ``bonus_minor`` is paid on top.
    A newcomer's share may be kept back of the amount, never of the bonus.
    """
    if payout["state"] == "posted":
        raise LedgerError("transfer.resolved", f"payout {payout['payout_key']} is posted already")
    row = reserve(books, payout, "held", decision=decision, funder=funder)
    row["state"] = "posted"
    if not row["amount_minor"]:
        return books.put_payout(row)
    moved = row["amount_minor"] if amount_minor is None else amount_minor
    books.resolve(
        f"payout:{row['payout_key']}:{row['attempt']}", "post", amount_minor=moved, payout=row,
        decision_id=decision,
    )  # fmt: skip
    row["funded_minor"] -= moved
    row["amount_minor"] = moved
    refund(books, row)
    if bonus_minor:
        add_bonus(books, row, bonus_minor, why="permit", actor=SYSTEM)
    row = keep_back(books, row, decision=decision)
    return disburse(books, row, moved + bonus_minor - row["kept_minor"], decision=decision)


def release(books: Books, payout: Mapping[str, Any], *, decision: str) -> dict[str, Any]:
    """Void what is reserved: the money stays in escrow until an appeal is out of the question."""
    row = dict(payout)
    if row["amount_minor"]:
        books.resolve(
            f"payout:{row['payout_key']}:{row['attempt']}", "void", payout=row, decision_id=decision
        )
    return books.put_payout(row | {"state": "voided"})


def refund(books: Books, payout: dict[str, Any]) -> None:
    """Give back to the publisher what lies in escrow for a payout and is not needed."""
    if payout["funded_minor"] <= 0:
        return
    currency = payout["currency"]
    books.transfer(
        f"refund:{payout['payout_key']}:{payout['attempt']}", "refund",
        books.account("escrow", payout["task_id"], currency),
        books.account("publisher", payout["publisher_id"] or "-", currency),
        payout["funded_minor"], payout=payout,
    )  # fmt: skip
    payout["funded_minor"] = 0
    books.put_payout(payout)


def accept(
    books: Books,
    payout: Mapping[str, Any],
    decision: str,
    *,
    on_time: bool,
    weight: int,
    at: Any = None,
) -> None:
    """Post the credit of accepted work."""
    kind = "accepted" if on_time else "accepted_late"
    books.credit(
        f"accept:{payout['payout_key']}:{decision}", payout["worker_id"], kind,
        decision_id=decision, payout=payout, weight_permille=weight, revision=payout["revision"],
        at=at,
    )  # fmt: skip


def bonus(books: Books, payout_key: str, amount_minor: int, *, why: str, actor: str) -> str:
    """Pay a bonus beside a paid payout; a further bonus is another transfer and another instruction.

    Raises ``LedgerError('bonus.unpaid')`` where the payout itself was not paid.
    """
    row = books.payout(payout_key)
    if row is None or row["state"] != "posted" or row["currency"] == NO_CURRENCY:
        raise LedgerError("bonus.unpaid", "a bonus goes to work that was paid")
    name = add_bonus(books, row, amount_minor, why=why, actor=actor)
    disburse(books, row, amount_minor, decision=None)
    return name


def add_bonus(
    books: Books, payout: Mapping[str, Any], amount_minor: int, *, why: str, actor: str
) -> str:
    """Move a bonus from the publisher to what is payable; the caller instructs it."""
    name = f"bonus:{payout['payout_key']}:{books.next_sequence()}"
    books.transfer(
        name, "bonus", books.account("publisher", payout["publisher_id"] or "-", payout["currency"]),
        books.account("payable", payout["worker_id"], payout["currency"]), amount_minor,
        payout=payout,
    )  # fmt: skip
    books.log(
        actor, "payout.bonus", payout["submission_id"], {"amount_minor": amount_minor, "why": why}
    )
    return name


def codes_of(text: str) -> list[str]:
    """Decode a list of reason codes kept as JSON text."""
    found: list[str] = orjson.loads(text)
    return found
