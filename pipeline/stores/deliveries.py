"""Deliveries: marked copies that were handed over, by key and serial; added once, never changed."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from pipeline.stores.database import Database
from pipeline.stores.tables import record

NEWEST_MAX: Final = 2_000
"""Deliveries that a detector is shown at once; any other it asks for by key and serial."""


class Deliveries:
    """What was handed over to whom, under which serial."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Record deliveries (columns of ``record.deliveries``); those known already stay as they are.

        Returns how many were new.
        """
        with self._database.write() as connection:
            return len(self._database.insert_new(connection, record.deliveries, rows))

    def line(self, key_id: str, serial: str) -> bytes | None:
        """Return the line of one delivery, ``serial`` in 16 hex digits; None where there is none."""
        table = record.deliveries.c
        query = sa.select(table.line).where(table.key_id == key_id, table.serial == serial)
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else str(found).encode()

    def newest(self, limit: int = NEWEST_MAX) -> bytes:
        """Return the lines of the newest deliveries, newest first; empty where there is none."""
        table = record.deliveries.c
        order = (table.delivered_at.desc(), table.key_id, table.serial)
        query = sa.select(table.line).order_by(*order).limit(limit)
        with self._database.read() as connection:
            return "".join(connection.execute(query).scalars()).encode()
