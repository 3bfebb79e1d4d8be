"""A newcomer's payouts with a holdback, on both databases: kept, let go, or given back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from ledger_worlds import World
from pipeline.entry.cli import app
from pipeline.model.errors import LedgerError
from pipeline.review.holdback import Holdback
from pipeline.stores.database import Database, open_database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    made = World(database, holdback=Holdback(10, 14, 2))
    made.task("t", 105)
    yield made
    made.whole()


def paid(world: World, *names: str) -> None:
    for i, name in enumerate(names):
        world.submit(name, minute=i)
        world.judge(name, "approve")
    world.settle()


def balances(world: World) -> tuple[int, int, int]:
    """Held back, payable and on its way, come back to the publisher."""
    ledger = world.ledger
    kept = ledger.balance("holdback", "w", "CNY")[0]
    payable = ledger.balance("payable", "w", "CNY")
    return kept, payable[0], -payable[1]


def instructions(world: World) -> list[int]:
    return [row["amount_minor"] for row in world.frame("instructions")]


def test_a_share_of_the_first_is_kept_and_paid_in_time(world: World) -> None:
    paid(world, "s1", "s2", "s3")
    assert instructions(world) == [95, 95, 105]
    assert balances(world) == (20, 295, 295)
    told = [orjson.loads(r["payload"])["data"] for r in outbox(world)]
    assert [t["held_back_minor"] for t in told] == [10, 10, 0]
    assert [bool(t["held_back_until"]) for t in told] == [True, True, False]
    world.clock.step(days=13)
    assert "freed" not in world.ledger.keep_deadlines()
    world.clock.step(days=2)
    assert world.ledger.keep_deadlines()["freed"] == 2
    assert balances(world) == (0, 315, 20)  # the first instructions have expired meanwhile
    assert world.ledger.keep_deadlines() == {}


def outbox(world: World) -> list[Any]:
    import sqlalchemy as sa

    from pipeline.stores.tables import ledger as tables

    query = sa.select(tables.outbox).where(tables.outbox.c.kind == "payout.instructed")
    with world.database.read() as connection:
        return list(connection.execute(query.order_by(tables.outbox.c.sequence)).mappings().all())


def test_what_was_kept_waits_for_a_late_finding_and_goes_back(world: World) -> None:
    paid(world, "s1")
    world.judge("s1", "decline", 2)
    assert world.settle() == {"late": 1}
    world.clock.step(days=14)
    assert "freed" not in world.ledger.keep_deadlines()
    world.ledger.decide(world.case("s1"), "confirm", person="ann", reason="a copy")
    world.clock.step(days=14)
    assert "forfeited" not in world.ledger.keep_deadlines()
    world.clock.step(days=1)
    assert world.ledger.keep_deadlines()["forfeited"] == 1
    assert balances(world)[0] == 0
    assert world.ledger.balance("publisher", "publisher of t", "CNY")[0] == -95


def test_an_overturn_lets_it_go(world: World) -> None:
    paid(world, "s1")
    world.judge("s1", "decline", 2)
    world.settle()
    world.ledger.decide(world.case("s1"), "confirm", person="ann", reason="a copy")
    world.ledger.appeal(world.case("s1"), worker_id="w", text="it is mine")
    world.clock.step(days=14)
    assert "freed" not in world.ledger.keep_deadlines()
    world.ledger.decide(world.case("s1"), "overturn", person="bob", reason="it is")
    assert world.ledger.keep_deadlines()["freed"] == 1
    assert balances(world)[:2] == (0, 105)


def test_a_bonus_is_paid_out_and_nothing_of_it_is_kept(world: World) -> None:
    paid(world, "s1")
    key = world.payout("s1")["payout_key"]
    world.ledger.bonus(key, 50, why="good work", actor="ann")
    assert instructions(world) == [95, 50]
    assert balances(world) == (10, 145, 145)


def test_what_came_back_is_instructed_again(world: World) -> None:
    paid(world, "s1")
    key = world.payout("s1")["payout_key"]
    world.ledger.finish(f"disburse:{key}:1", "voided", actor="bank")
    assert instructions(world) == []
    world.ledger.again(key, actor="ann")
    assert instructions(world) == [95]
    world.ledger.finish(f"disburse:{key}:2", "posted", actor="bank")
    world.clock.step(days=14)
    world.ledger.keep_deadlines()
    assert instructions(world) == [10]


def test_the_command_instructs_again_and_says_it_to_programs(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'bountyguard.db'}")
    world = World(database)
    world.task("t", 100)
    paid(world, "s1")
    key = world.payout("s1")["payout_key"]
    ask = ["--home", str(tmp_path), "settle", "--again", key, "--format", "json"]
    refused = CliRunner().invoke(app, ask)
    assert isinstance(refused.exception, LedgerError), "all of it is under way"
    world.ledger.finish(f"disburse:{key}:1", "voided", actor="bank")
    done = CliRunner().invoke(app, ask)
    assert orjson.loads(done.stdout) == {"settlement_id": f"disburse:{key}:2"}
    world.whole()
    database.close()
