"""SQLite and PostgreSQL through one code path: the engine, its transactions, its migrations.

SQLite runs in WAL mode with full synchronisation (an acknowledged commit survives a power loss), and
every writing transaction begins IMMEDIATE, so two writers queue instead of failing half-way.
PostgreSQL is the same code by URL. Nothing may trust ``rowcount`` of ``INSERT … ON CONFLICT DO
NOTHING`` (it is −1 on PostgreSQL): use ``insert_new``, which returns the keys it really inserted.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from pipeline.model.errors import StoreError
from pipeline.stores.tables import metadata

HEAD = "0007"
"""The newest migration. ``tests/contract/test_database.py`` holds it to the migrations folder."""

BUSY_TIMEOUT_MS = 30_000
ROWS_PER_INSERT = 500
CHECKPOINT_PAGES = 16_384
"""Pages of SQLite's log, 64 MB, before they are copied home: one that many commits touch is copied once.
Each commit is on the disk as before: what is not copied yet is read from the log."""


class Database:
    """One SQL database: ``read()`` and ``write()`` give connections inside one transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded default."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One writing transaction: all of it is committed, or none."""
        with _store_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One reading transaction: all queries inside see one snapshot."""
        options = (
            {"sqlite_read": True} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        )
        with _store_errors(), self.engine.connect() as connection:
            yield connection.execution_options(**options)

    def insert_new(
        self,
        connection: Connection,
        table: sa.Table,
        rows: Sequence[Mapping[str, Any]],
        *,
        key: Sequence[str] | None = None,
    ) -> list[tuple[Any, ...]]:
        """Insert the rows whose key is not there yet; return the keys that were inserted.

        ``key`` defaults to the primary key. All rows must have the same columns.
        """
        columns = list(key) if key else [c.name for c in table.primary_key.columns]
        if not rows:
            return []
        dialect = sqlite if self.is_sqlite else postgresql
        statement = (
            dialect.insert(table)
            .on_conflict_do_nothing(index_elements=columns)
            .returning(*(table.c[c] for c in columns))
        )
        return [tuple(row) for row in connection.execute(statement, [dict(r) for r in rows])]

    def version(self) -> str | None:
        """Return the migration that the database stands at; None for an empty one."""
        with self.read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def migrate(self) -> None:
        """Bring the tables to this version. Raises ``StoreError`` for a database that is newer."""
        version = self.version()
        if version == HEAD:
            return
        if version is not None and version > HEAD:
            raise StoreError(
                "store.newer",
                f"the database was made by a newer Bountyguard (revision {version}); upgrade this one",
            )
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with _store_errors(), self.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def insert_rows(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns, as ``connection.execute(table.insert(), rows)`` does.

    On SQLite the driver gets them as they are stored: SQLAlchemy takes as long to pass a row through its
    compiler as SQLite takes to write it.
    """
    if not rows:
        return
    if connection.dialect.name != "sqlite":
        connection.execute(table.insert(), [dict(row) for row in rows])
        return
    names = list(rows[0])
    columns = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" * len(names))
    statement = f"INSERT INTO {table.name} ({columns}) VALUES ({marks})"
    stored = [_stored(table.c[name], [row[name] for row in rows], connection) for name in names]
    connection.exec_driver_sql(statement, list(zip(*stored, strict=True)))


def _stored(column: sa.Column[Any], values: list[Any], connection: Connection) -> list[Any]:
    """Values of a column as the driver wants them."""
    convert = column.type.dialect_impl(connection.dialect).bind_processor(connection.dialect)
    return values if convert is None else [convert(value) for value in values]


def open_database(url: str, *, migrate: bool = True) -> Database:
    """Open ``sqlite:///…`` or ``postgresql://…`` and bring its tables to this version.

    Raises ``StoreError('store.unreachable')`` where nothing answers.
    """
    if url.startswith(("postgres://", "postgresql://")):
        url = "postgresql+psycopg://" + url.split("://", 1)[1]
    engine = sa.create_engine(url, **_engine_options(url))
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    database = Database(engine)
    if migrate:
        try:
            database.migrate()
        except StoreError:
            engine.dispose()
            raise
    return database


def _engine_options(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False}}
    return {"pool_pre_ping": True, "pool_size": 10, "connect_args": {"connect_timeout": 10}}


def _prepare_sqlite(engine: Engine) -> None:
    """Take the transactions into our own hands: the driver would begin them late and deferred."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT_MS}", "temp_store=MEMORY", "cache_size=-65536",
            f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        ):  # fmt: skip
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("sqlite_read", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def _store_errors() -> Iterator[None]:
    """Say in one code that the store is the trouble; integrity errors stay what they are."""
    try:
        yield
    except sa.exc.OperationalError as error:
        raise StoreError(
            "store.unreachable", f"the database does not answer: {error.orig}"
        ) from error


__all__ = ["Database", "metadata", "open_database"]
