"""Instructions to the payment provider on open books: sent, ended once, sent again."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from pipeline.model.errors import LedgerError
from pipeline.stores.ledger_books import Books

DISBURSE_WITHIN: Final = timedelta(days=7)
PHASE_OF: Final = {"posted": "post", "voided": "void", "expired": "expire"}
"""How a settlement's end is written in the ledger."""
FAILED: Final = ("voided", "expired")


def disburse(
    books: Books, payout: Mapping[str, Any], amount_minor: int, *, decision: str | None
) -> dict[str, Any]:
    """Reserve payable money for the payment provider and send the instruction.

    A payout leaves in one instruction, and in further ones for a later bonus, what was kept back, or
    what a provider could not deliver. Raises ``LedgerError('transfer.resolved')`` where more would be
    instructed than is owed.
    """
    row = dict(payout)
    if row["disbursements"] and owed(books, row["payout_key"]) < amount_minor:
        raise LedgerError("transfer.resolved", "the payment is under way or done already")
    number = row["disbursements"] + 1
    name = f"disburse:{row['payout_key']}:{number}"
    expires_at = books.now + DISBURSE_WITHIN
    books.transfer(
        name, "disburse", books.account("payable", row["worker_id"], row["currency"]),
        books.account("paid", row["worker_id"], row["currency"]), amount_minor, pending=True,
        payout=row, decision_id=decision, expires_at=expires_at,
    )  # fmt: skip
    row |= {"disbursement": "pending", "disbursements": number}
    kept_until = row["kept_until"]
    books.send(
        "payout.instructed", name,
        {
            "settlement_id": name, "submission_id": row["submission_id"],
            "task_id": row["task_id"], "worker_id": row["worker_id"],
            "amount_minor": amount_minor, "currency": row["currency"],
            "held_back_minor": row["kept_minor"],
            "held_back_until": kept_until.isoformat() if kept_until else None,
            "decision_id": decision, "expires_at": expires_at.isoformat(),
        },
    )  # fmt: skip
    return books.put_payout(row)


def owed(books: Books, payout_key: str) -> int:
    """Return what is payable of a payout and neither paid nor under way, in minor units."""
    left = 0
    for moved in books.transfers_of(payout_key):
        amount, phase = moved["amount_minor"], moved["phase"]
        if moved["credit_account"].startswith("payable:") and phase in ("single", "post"):
            left += amount
        elif moved["debit_account"].startswith("payable:") and phase in ("single", "pending"):
            undone = phase == "pending" and status_of(books, moved["transfer_id"]) in FAILED
            left -= 0 if undone else amount
    return left


def status_of(books: Books, settlement_id: str) -> str:
    """Tell what became of an instruction: ``pending``, ``posted``, ``voided`` or ``expired``."""
    for result, phase in PHASE_OF.items():
        if books.transfer_row(f"{settlement_id}:{phase}") is not None:
            return result
    return "pending"


def instructed(books: Books, settlement_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the payout and the pending transfer of an instruction.

    Raises ``LedgerError('settlement.unknown')``.
    """
    kind, _, rest = settlement_id.partition(":")
    known = kind == "disburse" and "\x00" not in settlement_id
    made = books.transfer_row(settlement_id) if known else None
    row = books.payout(rest.rpartition(":")[0]) if made and made["phase"] == "pending" else None
    if made is None or row is None:
        raise LedgerError("settlement.unknown", "there is no such settlement")
    return row, made


def finish(books: Books, settlement_id: str, result: str, *, actor: str) -> dict[str, Any]:
    """Take in what became of a payment: ``posted`` (it arrived), ``voided`` or ``expired``.

    Told twice, the second changes nothing. Raises ``LedgerError``: ``settlement.unknown``,
    ``settlement.finished`` where it ended otherwise.
    """
    row, _ = instructed(books, settlement_id)
    before = status_of(books, settlement_id)
    if before == result:
        return row
    if before != "pending":
        raise LedgerError("settlement.finished", f"the settlement is {before} already")
    books.resolve(settlement_id, PHASE_OF[result], payout=row)
    told = {"settlement_id": settlement_id, "submission_id": row["submission_id"]}
    books.log(actor, f"settlement.{result}", row["submission_id"], {"settlement": settlement_id})
    books.send(f"payout.{result}", settlement_id, told)
    newest = settlement_id.rpartition(":")[2] == str(row["disbursements"])
    return books.put_payout(dict(row) | {"disbursement": result}) if newest else row


def again(books: Books, payout_key: str, *, actor: str) -> dict[str, Any]:
    """Instruct once more what came back or was never confirmed.

    Raises ``LedgerError``: ``settlement.unknown``, ``settlement.nothing_owed``.
    """
    row = books.payout(payout_key)
    if row is None or row["state"] != "posted":
        raise LedgerError("settlement.unknown", "there is no such settlement")
    left = owed(books, payout_key)
    if left <= 0:
        raise LedgerError("settlement.nothing_owed", "all of it is paid or under way")
    books.log(actor, "settlement.again", row["submission_id"], {"amount_minor": left})
    return disburse(books, row, left, decision=None)
