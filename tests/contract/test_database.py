"""The database's contract: migrations make what the tables say, and refuse what they cannot serve."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from pipeline.model.errors import StoreError
from pipeline.stores import database as module
from pipeline.stores.database import HEAD, Database, open_database
from pipeline.stores.tables import metadata

VERSIONS = Path(module.__file__).parent / "migrations" / "versions"


def test_migrations_make_what_the_tables_say(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, metadata) == []


def test_the_newest_migration_is_named() -> None:
    numbers = [re.match(r"\d{4}", p.name) for p in sorted(VERSIONS.glob("*.py"))]
    assert [n.group() for n in numbers if n][-1] == HEAD


def test_migrating_twice_changes_nothing(database: Database, database_url: str) -> None:
    database.migrate()
    assert database.version() == HEAD
    again = open_database(database_url)
    assert again.version() == HEAD
    again.close()


def test_a_database_of_a_newer_program_is_refused(database: Database, database_url: str) -> None:
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="upgrade this one"):
        open_database(database_url)


def test_a_database_that_does_not_answer_is_a_store_error() -> None:
    with pytest.raises(StoreError) as caught:
        open_database("postgresql://nobody@127.0.0.1:9/nothing")
    assert caught.value.exit_status == 3


def test_only_what_was_really_inserted_is_told(database: Database) -> None:
    from pipeline.stores.tables.record import sessions

    rows = [{"session_id": f"x{i}", "segment_id": "s"} for i in range(1200)]
    with database.write() as connection:
        assert len(database.insert_new(connection, sessions, rows[:700])) == 700
        assert len(database.insert_new(connection, sessions, rows)) == 500
        assert database.insert_new(connection, sessions, rows) == []
