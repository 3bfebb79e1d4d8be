"""Once for each key: answers kept in the transaction of what they answer for; statements as read."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from pipeline.model.errors import LedgerError
from pipeline.stores.access import Caller
from pipeline.stores.ledger_books import Books
from pipeline.stores.tables import ledger as tables

Change = Callable[[Books], tuple[int, Mapping[str, Any]]]
"""A change to the books that gives the status and body of the answer."""


def answered(books: Books, mark: tuple[str, str], digest: str) -> tuple[int, str] | None:
    """Return the status and body that a caller's key got before. Raises ``idempotency.reused``."""
    table = tables.idempotency
    row = books.connection.execute(
        sa.select(table).where(table.c.caller == mark[0], table.c.key == mark[1])
    ).one_or_none()
    if row is None:
        return None
    if row.request_digest != digest:
        raise LedgerError("idempotency.reused", "the key was used with another request")
    return int(row.status), str(row.body)


def once(books: Books, mark: tuple[str, str], digest: str, change: Change) -> tuple[int, str]:
    """Make a change once for a caller's key; a repetition gets the first answer."""
    known = answered(books, mark, digest)
    if known is not None:
        return known
    status, body = change(books)
    text = orjson.dumps(body, option=orjson.OPT_UTC_Z).decode()
    books.add(
        tables.idempotency,
        {"caller": mark[0], "key": mark[1], "request_digest": digest, "status": status,
         "body": text, "made_at": books.now},
    )  # fmt: skip
    return status, text


def read_statement(books: Books, decision_id: str, language: str, caller: Caller) -> dict[str, Any]:
    """Return a statement of reasons to whom it concerns, and log that it was read.

    Raises ``LedgerError('case.unknown')``, for other people's statements too.
    """
    table, members = tables.statements, tables.payout_members
    row = books.connection.execute(
        sa.select(table.c.body, table.c.worker_id, tables.payouts.c.publisher_id)
        .join_from(table, members, members.c.submission_id == table.c.submission_id)
        .join(tables.payouts, tables.payouts.c.payout_key == members.c.payout_key)
        .where(table.c.decision_id == decision_id, table.c.language == language)
    ).one_or_none()
    if row is None or not caller.may_see(worker_id=row.worker_id, publisher_id=row.publisher_id):
        raise LedgerError("case.unknown", "there is no such statement")
    books.log(caller.key_id, "statement.read", decision_id, {"language": language})
    found: dict[str, Any] = orjson.loads(row.body)
    return found
