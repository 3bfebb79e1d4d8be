"""Allow, block and watch lists, and snoozes: added with a reason, an owner and an end; never deleted."""

import hashlib
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from pipeline.model.errors import UsageError
from pipeline.model.frames import Schema
from pipeline.rulebook.facts import LISTS, SNOOZES
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch
from pipeline.stores.tables import record

NAMES = ("allow", "block", "watch")


class Listing:
    """Reads and grows the lists that rules may ask."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lists(self) -> pl.DataFrame:
        """Return every entry, ended ones too: a LISTS frame."""
        return self._read(record.lists, LISTS)

    def snoozes(self) -> pl.DataFrame:
        """Return every snooze, ended ones too: a SNOOZES frame."""
        return self._read(record.snoozes, SNOOZES)

    def entries(self, *, standing_at: datetime | None = None) -> list[dict[str, Any]]:
        """Return entries and snoozes for people: id, what (list or rule), subject, value, why, owner.

        With a time only those that stand then; oldest first.
        """
        lists, snoozes = record.lists.c, record.snoozes.c
        queries = (
            sa.select(
                lists.entry_id.label("id"), lists.list.label("what"), lists.subject, lists.value,
                lists.reason.label("why"), lists.owner, lists.added_at, lists.expires_at,
            ),
            sa.select(
                snoozes.snooze_id.label("id"), snoozes.rule.label("what"), snoozes.subject,
                snoozes.value, snoozes.case_id.label("why"), snoozes.owner, snoozes.added_at,
                snoozes.expires_at,
            ),
        )  # fmt: skip
        with self._database.read() as connection:
            rows = [
                {str(name): value for name, value in r.items()}
                for q in queries
                for r in connection.execute(q).mappings()
            ]
        standing = [
            r
            for r in rows
            if standing_at is None or r["expires_at"] is None or r["expires_at"] > standing_at
        ]
        return sorted(standing, key=lambda r: (r["added_at"], r["id"]))

    def _read(self, table: sa.Table, schema: Schema) -> pl.DataFrame:
        with self._database.read() as connection:
            found = fetch(connection, sa.select(table), schema)
        return found.sort(found.columns, nulls_last=True)

    def add(
        self,
        name: str,
        subject: str,
        value: str,
        *,
        reason: str,
        owner: str,
        now: datetime,
        expires_at: datetime | None = None,
    ) -> str:
        """Put a subject on a list. Raises ``UsageError`` without a reason, an owner or a known list."""
        if name not in NAMES:
            raise UsageError("list.unknown", f"there is no list {name!r}: {', '.join(NAMES)}")
        if not reason.strip() or not owner.strip():
            raise UsageError("list.unowned", "an entry needs a reason and an owner")
        row = {
            "list": name, "subject": subject, "value": value, "reason": reason, "owner": owner,
            "added_at": now, "expires_at": expires_at,
        }  # fmt: skip
        return self._insert(record.lists, "entry_id", row)

    def snooze(
        self,
        rule: str,
        subject: str,
        value: str,
        *,
        case_id: str,
        owner: str,
        now: datetime,
        expires_at: datetime,
    ) -> str:
        """Silence one rule for one subject until then."""
        row = {
            "rule": rule, "subject": subject, "value": value, "case_id": case_id, "owner": owner,
            "added_at": now, "expires_at": expires_at,
        }  # fmt: skip
        return self._insert(record.snoozes, "snooze_id", row)

    def end(self, entry_id: str, *, now: datetime) -> None:
        """End an entry or a snooze now. Raises ``UsageError`` for one that there is not."""
        with self._database.write() as connection:
            for table, key in ((record.lists, "entry_id"), (record.snoozes, "snooze_id")):
                ended = connection.execute(
                    sa.update(table)
                    .where(table.c[key] == entry_id)
                    .values(expires_at=now)
                    .returning(table.c[key])
                ).all()
                if ended:
                    return
        raise UsageError("list.unknown_entry", f"there is no entry {entry_id!r}")

    def _insert(self, table: sa.Table, key: str, row: dict[str, Any]) -> str:
        parts = "\x1f".join(str(v) for v in row.values())
        name = hashlib.sha256(parts.encode()).hexdigest()[:32]
        with self._database.write() as connection:
            self._database.insert_new(connection, table, [{key: name} | row])
        return name
