"""SQL rows as polars frames of a declared shape, without a Python object for every time and list."""

from collections.abc import Iterable, Iterator, Sequence

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.model.frames import UTC, Schema
from pipeline.stores.tables import Instant

IDS_PER_QUERY = 5_000


def fetch(
    connection: Connection, query: sa.Select[tuple[object, ...]], schema: Schema
) -> pl.DataFrame:
    """Run a query and return a frame of ``schema``; its columns are found by name.

    Columns of type list are kept as JSON text in SQL and are decoded here.
    """
    by_name = {c.name: c for c in query.selected_columns}
    narrowed = query.with_only_columns(
        *(_raw(by_name[name]).label(name) for name in schema), maintain_column_froms=True
    )
    rows = connection.execute(narrowed).all()
    flat = {name: _storage(dtype) for name, dtype in schema.items()}
    columns = zip(*rows, strict=True) if rows else ((),) * len(flat)
    frame = pl.DataFrame(
        [pl.Series(n, c, dtype=t) for (n, t), c in zip(flat.items(), columns, strict=True)]
    )
    return frame.with_columns(
        (pl.col(n).str.json_decode(dtype) if isinstance(dtype, pl.List) else pl.col(n).cast(dtype))
        for n, dtype in schema.items()
        if dtype != flat[n]
    )


def _raw(column: sa.ColumnElement[object]) -> sa.ColumnElement[object]:
    return sa.type_coerce(column, sa.BigInteger()) if isinstance(column.type, Instant) else column


def _storage(dtype: pl.DataType) -> pl.DataType:
    if dtype == UTC:
        return pl.Int64()
    return pl.String() if isinstance(dtype, pl.List) else dtype


def fetch_by_ids(
    connection: Connection,
    query: sa.Select[tuple[object, ...]],
    column: sa.ColumnElement[str],
    ids: Iterable[str],
    schema: Schema,
) -> pl.DataFrame:
    """Run a query for those ids, a few thousand at a time."""
    parts = [pl.DataFrame(schema=dict(schema))]
    for some in in_chunks(sorted(set(ids)), IDS_PER_QUERY):
        parts.append(fetch(connection, query.where(column.in_(some)), schema))
    return pl.concat(parts)


def in_chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut a sequence into pieces of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
