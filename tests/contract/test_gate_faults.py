"""What breaks under the gate: database gone, disk full, an answer lost after commit, a clock that steps.

No payout without a decision, no silent refusal, and all goes on by itself once the fault is gone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ledger_worlds import World
from pipeline.model.errors import StoreError
from pipeline.stores.audit import AuditLog
from pipeline.stores.database import Database
from tests.contract.test_api_gate import Gate, refused


@pytest.fixture
def gate(database: Database, tmp_path: Path) -> Iterator[Gate]:
    world = World(database)
    world.task("t")
    for n in range(4):
        world.submit(f"s{n}", worker=f"w{n}")
        world.judge(f"s{n}", "approve")
    made = Gate(world, tmp_path)
    yield made
    made.close()


def permit(gate: Gate, name: str) -> str:
    return str(gate.check(submission_id=name).json()["permit"])


def paid(gate: Gate) -> list[str]:
    return [p["submission_id"] for p in gate.world.frame("payouts") if p["state"] == "posted"]


def whole(gate: Gate) -> None:
    gate.world.whole()
    assert AuditLog(gate.world.database).verify() == []


@contextmanager
def gone(gate: Gate, postgres_server: str | None) -> Iterator[None]:
    """The database does not answer: PostgreSQL lets nobody in, the file of SQLite is somebody else's."""
    database = gate.world.database
    if database.is_sqlite:
        path = Path(str(database.engine.url.database))
        gate.services.reader.close()
        database.engine.dispose()
        aside = [(p, p.with_name("aside-" + p.name)) for p in path.parent.glob(path.name + "*")]
        for here, there in aside:
            here.rename(there)
        path.mkdir()
        try:
            yield
        finally:
            database.engine.dispose()
            path.rmdir()
            for here, there in aside:
                there.rename(here)
        return
    assert postgres_server is not None
    name = database.engine.url.database
    admin = sa.create_engine(
        "postgresql+psycopg://" + postgres_server.split("://", 1)[1], isolation_level="AUTOCOMMIT"
    )

    def tell(statement: str) -> None:
        with admin.connect() as connection:
            connection.execute(sa.text(statement))

    tell(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    tell(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    try:
        yield
    finally:
        tell(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        admin.dispose()


def test_no_payout_and_no_silent_refusal_while_the_database_is_gone(
    gate: Gate, request: pytest.FixtureRequest
) -> None:
    held = permit(gate, "s0")
    sqlite = gate.world.database.is_sqlite
    server = None if sqlite else str(request.getfixturevalue("postgres_server"))
    with gone(gate, server):
        for answer in (gate.check(submission_id="s1"), gate.settle(held, "k", submission_id="s0")):
            refused(answer, 503, "store.unreachable")
            assert answer.headers["retry-after"] == "5"
        refused(gate.client.get("/readyz"), 503, "not_ready")
        with pytest.raises(StoreError):
            gate.world.settle()
    assert paid(gate) == []
    assert gate.settle(held, "k", submission_id="s0").status_code == 201
    assert gate.check(submission_id="s1").json()["permit"]
    assert gate.client.get("/readyz").status_code == 200
    whole(gate)


@contextmanager
def full_disk(database: Database) -> Iterator[None]:
    """Nothing more can be written: SQLite may not grow, PostgreSQL says that its disk is full."""
    if database.is_sqlite:

        def narrow(connection: Any, *_: Any) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")

        def widen(connection: Any, *_: Any) -> None:
            connection.execute("PRAGMA max_page_count = 1000000")

        sa.event.listen(database.engine, "checkout", narrow)
        try:
            yield
        finally:
            sa.event.remove(database.engine, "checkout", narrow)
            sa.event.listen(database.engine, "checkout", widen)
        return
    with database.write() as connection:
        connection.execute(sa.text(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$"
        ))  # fmt: skip
        connection.execute(sa.text(
            "CREATE TRIGGER full_disk BEFORE INSERT ON audit EXECUTE FUNCTION full_disk()"
        ))  # fmt: skip
    try:
        yield
    finally:
        with database.write() as connection:
            connection.execute(sa.text("DROP FUNCTION full_disk CASCADE"))


def fill_up(gate: Gate, size: int) -> None:
    """Write until it is refused: what is left of the last pages takes a few rows."""
    for _ in range(500):
        gate.world.ledger.note("filler", "fills", "the disk", {"with": "x" * size})


def test_a_full_disk_pays_nobody_and_is_told(gate: Gate) -> None:
    permits = {name: permit(gate, name) for name in ("s0", "s1")}
    with full_disk(gate.world.database):
        for size in (2000, 1):
            with pytest.raises(StoreError):
                fill_up(gate, size)
        for name, held in permits.items():
            answer = gate.settle(held, f"k-{name}", submission_id=name)
            refused(answer, 503, answer.json()["code"])
            assert answer.json()["code"].startswith("store.")
        assert gate.check(submission_id="s2").status_code == 200  # reading goes on
    assert paid(gate) == []
    for name in permits:
        assert gate.settle(permits[name], f"k-{name}", submission_id=name).status_code == 201
    assert sorted(paid(gate)) == ["s0", "s1"]
    whole(gate)


def test_an_answer_lost_after_the_commit_is_given_again(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = permit(gate, "s0")
    gate.services.writer.submit(lambda books: None).result()  # nothing else is under way
    honest: Callable[..., Any] = Database.write
    lost: list[int] = []

    @contextmanager
    def losing(self: Database) -> Iterator[Any]:
        with honest(self) as connection:
            yield connection
        if not lost:
            lost.append(1)
            raise StoreError("store.unreachable", "the connection broke after the commit")

    monkeypatch.setattr(Database, "write", losing)
    refused(gate.settle(held, "k", submission_id="s0"), 503, "store.unreachable")
    assert lost
    assert paid(gate) == ["s0"]  # it was done; only nobody was told
    again = gate.settle(held, "k", submission_id="s0")
    assert again.status_code == 201
    assert gate.settle(held, "k", submission_id="s0").json() == again.json()
    assert paid(gate) == ["s0"]
    whole(gate)


@pytest.mark.parametrize("step", [timedelta(hours=-2), timedelta(hours=2)])
def test_a_clock_that_steps_makes_permits_expire_and_never_pay_twice(
    gate: Gate, step: timedelta
) -> None:
    held = permit(gate, "s0")
    gate.world.clock.now += step
    answer = gate.settle(held, "k", submission_id="s0")
    assert answer.status_code in (403, 409, 422)
    assert answer.json()["code"].startswith("permit.")
    assert paid(gate) == []
    gate.world.clock.now -= step
    assert gate.settle(held, "again", submission_id="s0").status_code == 201
    gate.world.clock.now += step
    assert gate.world.settle() == {"post": 3}
    assert sorted(paid(gate)) == ["s0", "s1", "s2", "s3"]
    whole(gate)
