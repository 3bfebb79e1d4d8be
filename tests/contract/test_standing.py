"""Where everything stands, summed in SQL, is what the exported tables say, on both databases."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ledger_worlds import START, World
from pipeline.model.decisions import HOLDS
from pipeline.stores import standing
from pipeline.stores.database import Database
from pipeline.stores.exports import export
from pipeline.stores.tables import record

OUTCOMES = ("approve", "review", "block_and_review", "decline")


@pytest.fixture
def world(database: Database) -> World:
    made = World(database)
    for name, more in (("t", {}), ("dear", {"bounty": 9_900}), ("free", {"bounty": None})):
        made.task(name, **more)
    for i in range(24):
        task = ("t", "dear", "free", "unknown")[i % 4]
        made.submit(f"s{i:02}", task, worker=f"w{i % 5}", minute=i * 300)
        if i % 6 < 5:
            made.judge(f"s{i:02}", OUTCOMES[(i // 2) % 4])
        if i % 6 == 1:
            made.judge(f"s{i:02}", "block_and_review", revision=2)
    for i, strength in enumerate((0.4, 0.9, 0.7)):
        row = {
            "signal_id": f"x{i}", "submission_id": "s01", "detector": "text", "detector_version": "1",
            "reason_code": "text.contained", "strength": strength, "p_value": None, "evidence": "{}",
            "matched_submission_id": None if i == 1 else f"s0{i + 3}", "matched_worker_id": "w",
        }  # fmt: skip
        with database.write() as connection:
            connection.execute(record.signals.insert(), [row])
    made.settle()
    return made


def test_counts_are_those_of_the_standing_assessments(world: World) -> None:
    told = standing.counts(world.database)
    every = export(world.database, "assessments").join(
        export(world.database, "submissions").select("submission_id", "task_id"), on="submission_id"
    )
    priced = every.join(export(world.database, "tasks"), on="task_id", how="left")
    wanted = priced.group_by("outcome", "currency").agg(
        pl.len().cast(pl.Int64).alias("submissions"), pl.col("bounty_minor").sum()
    )
    order = ["outcome", "currency"]
    assert told.sort(order).equals(wanted.select(told.columns).sort(order))
    assert told["submissions"].sum() == 20


def test_what_is_held_is_told_with_whom_it_is_like_and_its_case(world: World) -> None:
    held = standing.held(world.database)
    every = export(world.database, "assessments")
    wanted = every.filter(pl.col("outcome").is_in(sorted(HOLDS)))
    assert held.select(every.columns).equals(wanted)
    row = held.filter(pl.col("submission_id") == "s01").to_dicts()[0]
    assert row["matched"] == "s05"  # the strongest that names somebody
    for submission_id, case_id in held.select("submission_id", "case_id").iter_rows():
        assert case_id == world.case(submission_id)


def test_days_are_counted_by_outcome_and_what_waits_is_told(world: World) -> None:
    since, until = START + timedelta(minutes=300), START + timedelta(minutes=23 * 300)
    told = standing.days(world.database, since=since, until=until)
    handed = export(world.database, "submissions").filter(
        pl.col("submitted_at") >= since, pl.col("submitted_at") < until
    )
    outcomes = export(world.database, "assessments").select("submission_id", "outcome")
    days = (pl.col("submitted_at") - datetime(1970, 1, 1, tzinfo=UTC)).dt.total_days().alias("day")
    wanted = (
        handed.join(outcomes, on="submission_id", how="left")
        .group_by(days, "outcome")
        .agg(pl.len().cast(pl.Int64).alias("submissions"))
    )
    order = ["day", "outcome"]
    assert told.sort(order).equals(wanted.sort(order))
    assert told.filter(pl.col("outcome").is_null())["submissions"].sum() > 0
