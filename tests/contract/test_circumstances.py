"""What rules count of the past is read by key, and is what a count over the whole record says."""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from ledger_worlds import START, World
from pipeline.rulebook.counters import HISTORY, count
from pipeline.rulebook.names import Counter
from pipeline.stores.circumstances import Circumstances
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch
from pipeline.stores.tables import ledger, record

HOUR = 3_600
COUNTERS = tuple(
    Counter(name=f"{by}_{of}_{window_s}", of=of, by=by, window_s=window_s)
    for by in ("worker", "device", "ip", "publisher", "task")
    for of in ("submissions", "workers", "amount_minor", "holds", "overturns")
    for window_s in (HOUR, 20 * HOUR)
)


@pytest.fixture
def world(database: Database) -> World:
    """A hundred hand-ins of few people on few devices; some are held, of which some are overturned."""
    made, draw = World(database), random.Random(5)
    with made.together():
        for n in range(6):
            made.task(f"t{n}", 100 * (n + 1), publisher_id=f"p{n % 3}")
        for n in range(100):
            some: dict[str, Any] = {
                "device_id": draw.choice([None, "d1", "d2", "d3"]),
                "ip": draw.choice([None, "10.0.0.1", "10.0.0.2"]),
            }
            task, worker = f"t{draw.randrange(7)}", f"w{draw.randrange(8)}"
            minute = draw.randrange(290) if n < 60 else draw.randrange(300, 1_300)
            made.submit(f"s{n:03}", task, worker, minute=minute, **some)
            if n < 60:
                made.judge(f"s{n:03}", draw.choice(["approve", "block_and_review"]))
    made.clock.now = START + timedelta(hours=5)  # what is handed in later sees what became of these
    made.settle()
    made.clock.step(hours=2)
    for row in made.frame("cases")[::3]:
        made.ledger.decide(row["case_id"], "overturn", person="ann", reason="their own work")
    return made


def whole(world: World) -> pl.DataFrame:
    """The history of the whole record, put together without the code that is tested."""
    s, t, members = record.submissions.c, record.tasks.c, ledger.case_members.c
    handed = sa.select(
        s.submission_id, s.worker_id, s.device_id, s.ip, t.publisher_id, s.task_id, s.submitted_at,
        t.bounty_minor.label("amount_minor"),
    ).select_from(record.submissions.outerjoin(record.tasks, s.task_id == t.task_id))  # fmt: skip
    held = sa.select(members.submission_id, sa.func.min(members.joined_at).label("held_at")).where(
        members.outcome == "block_and_review"
    )
    decided = ledger.case_decisions.c
    undone = sa.select(
        members.submission_id, sa.func.min(decided.at).label("overturned_at")
    ).join_from(ledger.case_members, ledger.case_decisions, members.case_id == decided.case_id)
    with world.database.read() as connection:
        frames = [
            fetch(connection, query, {n: HISTORY[n] for n in names})
            for query, names in (
                (handed, list(HISTORY)[:8]),
                (held.group_by(members.submission_id), ("submission_id", "held_at")),
                (undone.group_by(members.submission_id), ("submission_id", "overturned_at")),
            )
        ]
    joined = frames[0]
    for part in frames[1:]:
        joined = joined.join(part, on="submission_id", how="left")
    return joined.select(list(HISTORY))


def asked(world: World, ids: Sequence[str]) -> pl.DataFrame:
    facts = Circumstances(world.database, world.ledger, world.clock)
    submissions = whole(world).filter(pl.col("submission_id").is_in(list(ids)))
    counters: Callable[..., pl.DataFrame] = facts._counters
    return counters(submissions, COUNTERS).sort("submission_id")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_counts_read_by_key_are_those_of_the_whole_record(world: World, size: int) -> None:
    history = whole(world)
    assert history["held_at"].count() > history["overturned_at"].count() > 5
    ids = random.Random(size).sample(history["submission_id"].to_list(), size)
    wanted = count(history, ids, COUNTERS).sort("submission_id")
    told = asked(world, ids)
    assert told.columns == wanted.columns
    different = [c for c in wanted.columns if not told[c].equals(wanted[c])]
    assert not different
    if size == 100:
        assert all((wanted[c.name].fill_null(0) > 0).any() for c in COUNTERS)
