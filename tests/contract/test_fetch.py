"""Rows by many ids: one parameter, found by index, on both databases."""

import pytest
import sqlalchemy as sa

from pipeline.stores.database import Database
from pipeline.stores.fetch import among
from pipeline.stores.tables import record

IDS = ["it's", 'a "b"', "中文", "%s", "", "x"]


def fill(database: Database) -> None:
    row = {"reference_digests": "[]", "extra": "{}", "row_digest": ""}
    with database.write() as connection:
        connection.execute(record.tasks.insert(), [row | {"task_id": i} for i in [*IDS, "other"]])


def named(database: Database, where: sa.ColumnElement[bool]) -> list[str]:
    with database.read() as connection:
        query = sa.select(record.tasks.c.task_id).where(where)
        return sorted(connection.execute(query).scalars())


def test_ids_of_whatever_characters_are_found_and_no_others(database: Database) -> None:
    fill(database)
    column = record.tasks.c.task_id
    assert named(database, among(column, [*IDS, "absent", "x"])) == sorted(IDS)
    assert named(database, sa.not_(among(column, IDS))) == ["other"]
    assert named(database, sa.and_(among(column, IDS), column != "x")) == sorted(IDS[:-1])
    assert named(database, among(column, [])) == []
    with database.write() as connection:
        connection.execute(sa.delete(record.tasks).where(among(column, IDS)))
    assert named(database, sa.true()) == ["other"]


def test_sqlite_looks_them_up_in_the_index(database: Database) -> None:
    if not database.is_sqlite:
        pytest.skip("PostgreSQL plans by statistics, and scans a table this small")
    query = sa.select(record.tasks).where(among(record.tasks.c.task_id, ["a", "b"]))
    text = str(query.compile(database.engine))
    with database.read() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", ("[]",)).all()
    told = [str(step[-1]) for step in plan]
    assert any("SEARCH tasks USING" in step for step in told), told
    assert not any("SCAN tasks" in step for step in told), told
