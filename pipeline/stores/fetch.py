"""SQL rows as polars frames of a declared shape, without a Python object for every time and list."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

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
    rows = drawn(connection.execute(narrowed))
    flat = {name: _storage(dtype) for name, dtype in schema.items()}
    if connection.dialect.name == "sqlite":
        flat |= {name: pl.Int64() for name, dtype in flat.items() if dtype == pl.Boolean()}
    columns = zip(*rows, strict=True) if rows else ((),) * len(flat)
    frame = pl.DataFrame(
        [pl.Series(n, c, dtype=t) for (n, t), c in zip(flat.items(), columns, strict=True)]
    )
    return frame.with_columns(
        (pl.col(n).str.json_decode(dtype) if isinstance(dtype, pl.List) else pl.col(n).cast(dtype))
        for n, dtype in schema.items()
        if dtype != flat[n]
    )


def drawn(result: sa.CursorResult[Any]) -> list[tuple[Any, ...]]:
    """Return all rows as the driver gives them: no column that is fetched here needs to be converted."""
    if result.cursor is None:
        raise TypeError("the statement gives no rows")
    rows = list(result.cursor.fetchall())
    result.close()
    return rows


class _Strings(sa.TypeDecorator[list[str]]):
    """A list of strings as one parameter: JSON for SQLite, an array for PostgreSQL."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Say as what the list travels."""
        kind = postgresql.ARRAY(sa.Text) if dialect.name == "postgresql" else sa.Text()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: list[str] | None, dialect: sa.Dialect) -> Any:
        """Write the list down for SQLite; PostgreSQL's driver takes it as it is."""
        return value if dialect.name == "postgresql" else orjson.dumps(value).decode()


class _Among(FunctionElement[bool]):
    name = "among"
    type = sa.Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """Stand as it is: as ``… = 1``, which SQLite would be asked otherwise, it finds no index."""
        return self


@compiles(_Among, "sqlite")
def _in_json(element: _Among, compiler: Any, **more: Any) -> str:
    column, ids = (compiler.process(clause, **more) for clause in element.clauses)
    return f"({column} IN (SELECT value FROM json_each({ids})))"


@compiles(_Among, "postgresql")
def _in_array(element: _Among, compiler: Any, **more: Any) -> str:
    column, ids = (compiler.process(clause, **more) for clause in element.clauses)
    return f"({column} = ANY ({ids}))"


def among(column: sa.ColumnElement[Any], ids: Iterable[str]) -> sa.ColumnElement[bool]:
    """``column IN (ids)`` with one parameter, so that a statement of thousands compiles once."""
    return _Among(column, sa.bindparam(None, list(ids), type_=_Strings(), unique=True))


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
        parts.append(fetch(connection, query.where(among(column, some)), schema))
    return pl.concat(parts)


def in_chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut a sequence into pieces of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
