"""Settlement piece by piece of a queue: the end of one piece, killed or not, nothing forgotten."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from ledger_worlds import World
from pipeline.review.holdback import Holdback
from pipeline.stages import settle
from pipeline.stores import database as module
from pipeline.stores import standing, unsettled
from pipeline.stores.database import Database, open_database
from pipeline.stores.ledger_facts import medians
from pipeline.stores.tables import record

OUTCOMES = ("approve", "approve", "approve", "review", "block_and_review", "decline")


class Killed(RuntimeError):
    """Stands for a kill between two commits."""


@contextmanager
def beside(folder: Path, name: str, **more: Any) -> Iterator[World]:
    made = open_database(f"sqlite:///{folder / name}.db")
    yield World(made, **more)
    made.close()


def fill(world: World, seed: int, count: int = 60) -> None:
    """Tasks with few places, revisions, work of unknown price, evaluations of every kind."""
    draw = random.Random(seed)
    with world.together():
        for n in range(6):
            world.task(f"t{n}", 100 + n, slots=draw.choice([None, 2, 3]))
        for n in range(count):
            task, worker = f"t{draw.randrange(8)}", f"w{draw.randrange(9)}"
            earlier = [m for m in range(n) if chains.get(m) == (task, worker)] if n else []
            chains[n] = (task, worker)
            parent = f"s{draw.choice(earlier):03}" if earlier and draw.random() < 0.7 else None
            world.submit(f"s{n:03}", task, worker, minute=draw.randrange(count), supersedes=parent)
            if draw.random() < 0.9:
                cluster = f"c{draw.randrange(3)}" if draw.random() < 0.3 else None
                world.judge(f"s{n:03}", draw.choice(OUTCOMES), cluster=cluster)


chains: dict[int, tuple[str, str]] = {}


def told(world: World) -> dict[str, list[dict[str, Any]]]:
    return {name: frame.to_dicts() for name, frame in world.ledger.export_frames().items()}


@pytest.mark.parametrize("seed", range(4))
def test_pieces_of_any_size_end_where_one_piece_ends(
    database: Database, tmp_path: Path, seed: int
) -> None:
    holdback = Holdback(percent=20, days=14, first=3)
    in_pieces = World(database, holdback=holdback)
    with beside(tmp_path, "whole", holdback=holdback) as whole:
        for world in (whole, in_pieces):
            chains.clear()
            fill(world, seed)
        wanted = whole.ledger.settle(settle.plan, piece=10_000)
        stopped = kill_after(in_pieces, 2 + seed, piece=7)
        left = in_pieces.ledger.settle(settle.plan, piece=7)
        assert stopped
        assert sum(wanted.done.values()) > sum(left.done.values()) > 0
        assert (left.unpriced, left.unslotted) == (wanted.unpriced, wanted.unslotted)
        assert wanted.unpriced > 0
        assert wanted.unslotted > 0
        assert told(in_pieces) == told(whole)
        in_pieces.whole()
        assert in_pieces.settle() == {}


def kill_after(world: World, commits: int, *, piece: int) -> bool:
    made = 0

    def progress(step: str, count: int) -> None:
        nonlocal made
        made += 1
        if made == commits:
            raise Killed

    try:
        world.ledger.settle(settle.plan, piece=piece, progress=progress)
    except Killed:
        return True
    return False


def test_a_piece_is_as_large_as_it_was_asked_to_be(database: Database) -> None:
    world, sizes = World(database), list[int]()
    world.task("t")
    for n in range(10):
        world.submit(f"s{n}", worker=f"w{n}", minute=n)
        world.judge(f"s{n}", "approve")
    world.ledger.settle(settle.plan, piece=4, progress=lambda step, count: sizes.append(count))
    assert sizes == [4, 4, 2]
    world.settle()
    assert queue(world) == []


def queue(world: World) -> list[tuple[str, str | None]]:
    table = record.unsettled.c
    with world.database.read() as connection:
        rows = connection.execute(sa.select(table.submission_id, table.parked))
        return sorted((s, p) for s, p in rows)


def test_what_waits_for_a_price_or_a_place_is_parked_and_comes_back(database: Database) -> None:
    world = World(database)
    world.task("one", slots=1)
    for name, task, minute in (("a", "one", 1), ("b", "one", 2), ("c", "later", 3)):
        world.submit(name, task, worker=name, minute=minute)
        world.judge(name, "block_and_review" if name == "a" else "approve")
    report = world.ledger.settle(settle.plan)
    assert (dict(report.done), report.unpriced, report.unslotted) == ({"hold": 1}, 1, 1)
    assert queue(world) == [("b", "unslotted"), ("c", "unpriced")]
    assert world.settle() == {}
    world.task("later", 300)
    assert world.settle() == {"post": 1}
    world.ledger.decide(world.case("a"), "confirm", person="ann", reason="a copy")
    assert world.payout("a")["state"] == "voided"
    assert world.settle() == {"post": 1}
    assert queue(world) == []
    assert [world.paid(w) for w in "abc"] == [0, 100, 300]
    world.whole()


def test_a_case_that_ends_has_the_newest_revision_looked_at_again(database: Database) -> None:
    world = World(database)
    world.task("t")
    world.submit("first", minute=1)
    world.judge("first", "block_and_review")
    world.settle()
    world.submit("second", minute=2, supersedes="first")
    world.judge("second", "decline", codes=["text.contained"])
    assert world.settle() == {}  # the case is open: nothing to do until a person has decided
    assert queue(world) == []
    world.ledger.decide(world.case("first"), "overturn", person="ann", reason="their own")
    assert world.settle() == {"late": 1}
    world.whole()


def test_what_is_judged_again_while_it_is_settled_stays_queued(database: Database) -> None:
    world = World(database)
    world.task("t")
    for n in range(3):
        world.submit(f"s{n}", worker=f"w{n}", minute=n)
        world.judge(f"s{n}", "approve")

    def plan(facts: Any) -> Any:
        made = settle.plan(facts)
        if not any(name == "s1" and parked for name, parked in queue(world)) and not again:
            again.append(1)
            world.judge("s1", "block_and_review", revision=2)
        return made

    again: list[int] = []
    assert dict(world.ledger.settle(plan).done) == {"post": 3}
    assert queue(world) == [("s1", None)]
    assert world.settle() == {"late": 1}


def test_the_median_price_is_that_of_all_tasks(database: Database) -> None:
    world = World(database)
    for n, bounty in enumerate((100, 100, 300, 900, None)):
        world.task(f"t{n}", bounty)
    assert medians(database).rows() == [("CNY", 200.0)]
    world.task("more", 300)
    assert medians(database).rows() == [("CNY", 300.0)]


def test_the_migration_queues_what_is_unsettled_and_counts_what_is_known(
    database: Database,
) -> None:
    world = World(database)
    chains.clear()
    fill(world, 1)
    world.settle()
    for n in (3, 8, 21):
        world.judge(f"s{n:03}", "block_and_review", revision=5)
    counts = standing.counts(database).sort("outcome", "currency")
    wanted = {name for name, _ in queue(world)}
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0006")
        command.upgrade(config, "head")
    assert wanted <= {name for name, _ in queue(world)}
    assert standing.counts(database).sort("outcome", "currency").equals(counts)
    before = dict(world.ledger.settle(settle.plan).done)
    assert before.keys() <= {"late", "hold"}
    assert world.settle() == {}


def test_a_mark_is_only_for_what_is_known(database: Database) -> None:
    with database.write() as connection:
        unsettled.mark(connection, ["nobody"])
        assert unsettled.queued(connection, ["nobody"]) == set()
