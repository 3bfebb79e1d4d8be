"""What stands to a worker's credit on open books, and taking an entry back."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from pipeline.stores.ledger_books import Books
from pipeline.stores.tables import ledger as tables


def standing_credit(
    books: Books, worker_id: str, beginnings: tuple[str, ...]
) -> list[Mapping[str, Any]]:
    """Return the worker's credit entries whose ids begin so and that nothing has reversed."""
    table = tables.credit_entries
    found = books.connection.execute(sa.select(table).where(table.c.worker_id == worker_id))
    of_worker = [dict(row) for row in found.mappings()]
    undone = {e["reverses"] for e in of_worker}
    return [
        e for e in of_worker if e["entry_id"].startswith(beginnings) and e["entry_id"] not in undone
    ]


def take_back(books: Books, entry: Mapping[str, Any], decision: str) -> None:
    """Reverse an entry of credit."""
    books.credit(
        f"reverse:{entry['entry_id']}"[:200], entry["worker_id"], "reversal",
        decision_id=decision, reverses=entry["entry_id"],
    )  # fmt: skip
