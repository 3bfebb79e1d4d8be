"""The SQL tables, one module a concern, all on one ``metadata``.

Times are ``Instant``: whole microseconds since the epoch, the same integer on both databases. Money
is an integer in minor units. Ids are the platform's own strings. JSON is canonical text.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Instant(sa.types.TypeDecorator[datetime]):
    """A UTC datetime kept as whole microseconds since the epoch."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        """Turn an aware datetime into microseconds; a naive one is a bug."""
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        """Turn microseconds into an aware UTC datetime."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


from pipeline.stores.tables import ledger, record  # noqa: E402 - they hang onto metadata

__all__ = ["Instant", "ledger", "metadata", "record"]
