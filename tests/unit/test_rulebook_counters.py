"""Velocity counters: exact over windows, the same in a batch as one by one."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipeline.model import frames
from pipeline.rulebook.counters import HISTORY, Online, count, reach
from pipeline.rulebook.names import COUNTER_BY, COUNTER_OF, Counter

START = datetime(2026, 3, 1, tzinfo=UTC)
COUNTERS = [
    Counter(name=f"{of}_{by}_{window}", of=of, by=by, window_s=window)
    for of in COUNTER_OF
    for by in COUNTER_BY
    for window in (60, 600)
]


def history(seed: int, size: int = 150) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    rows = []
    for index in range(size):
        at = START + timedelta(seconds=rng.choice([30, 60, 61, 90]) * rng.randrange(40))
        held = at + timedelta(seconds=rng.randrange(300)) if rng.random() < 0.3 else None
        rows.append(
            {
                "submission_id": f"s{index:03d}",
                "worker_id": f"w{rng.randrange(4)}",
                "device_id": rng.choice([None, "d1", "d2"]),
                "ip": rng.choice([None, "i1"]),
                "publisher_id": f"p{rng.randrange(2)}",
                "task_id": f"t{rng.randrange(5)}",
                "submitted_at": at,
                "amount_minor": rng.choice([None, 100, 250]),
                "held_at": held,
                "overturned_at": held + timedelta(seconds=50)
                if held and rng.random() < 0.5
                else None,
            }
        )
    return rows


def brute(rows: list[dict[str, Any]], me: dict[str, Any], counter: Counter) -> int | None:
    key = {
        "worker": "worker_id",
        "device": "device_id",
        "ip": "ip",
        "publisher": "publisher_id",
        "task": "task_id",
    }[counter.by]
    if me[key] is None:
        return None
    since = me["submitted_at"] - timedelta(seconds=counter.window_s)
    same = [r for r in rows if r[key] == me[key]]
    if counter.of in ("holds", "overturns"):
        name = {"holds": "held_at", "overturns": "overturned_at"}[counter.of]
        return sum(r[name] is not None and since < r[name] <= me["submitted_at"] for r in same)
    order = (me["submitted_at"], me["submission_id"])
    window = [
        r
        for r in same
        if since < r["submitted_at"] and (r["submitted_at"], r["submission_id"]) <= order
    ]
    if counter.of == "submissions":
        return len(window)
    if counter.of == "workers":
        return len({r["worker_id"] for r in window})
    return sum(r["amount_minor"] or 0 for r in window)


@pytest.mark.parametrize("seed", range(3))
def test_batch_is_exact_and_equals_online(seed: int) -> None:
    rows = history(seed)
    frame = pl.DataFrame(rows, schema=dict(HISTORY))
    ids = [r["submission_id"] for r in rows]
    batch = count(frame, ids, COUNTERS)
    assert batch["submission_id"].to_list() == ids
    by_id = {r["submission_id"]: r for r in batch.iter_rows(named=True)}
    online = Online(COUNTERS)
    marks = [
        (r[n], of, r)
        for r in rows
        for of, n in (("holds", "held_at"), ("overturns", "overturned_at"))
        if r[n]
    ]
    marks.sort(key=lambda m: m[0])
    for row in sorted(rows, key=lambda r: (r["submitted_at"], r["submission_id"])):
        while marks and marks[0][0] <= row["submitted_at"]:
            at, of, marked = marks.pop(0)
            online.mark(of, marked, at)
        asked = online.add(row)
        for counter in COUNTERS:
            exact = brute(rows, row, counter)
            assert by_id[row["submission_id"]][counter.name] == exact, counter
            assert asked[counter.name] == exact, counter


def test_splitting_a_batch_or_shuffling_history_changes_nothing() -> None:
    rows = history(9)
    frame = pl.DataFrame(rows, schema=dict(HISTORY))
    ids = [r["submission_id"] for r in rows]
    whole = count(frame, ids, COUNTERS)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=4)
    parts = pl.concat([count(shuffled, ids[:70], COUNTERS), count(shuffled, ids[70:], COUNTERS)])
    assert parts.equals(whole)


def test_later_history_is_never_seen() -> None:
    rows = history(5)
    frame = pl.DataFrame(rows, schema=dict(HISTORY))
    cut = START + timedelta(seconds=1000)
    early = frame.filter(pl.col("submitted_at") <= cut)
    ids = early["submission_id"].to_list()
    known_then = early.with_columns(
        pl.when(pl.col(c) <= cut).then(pl.col(c)).alias(c) for c in ("held_at", "overturned_at")
    )
    assert count(known_then, ids, COUNTERS).equals(count(frame, ids, COUNTERS))


def test_reach_names_the_history_that_exact_counts_need() -> None:
    assert reach(COUNTERS, START) == START - timedelta(seconds=600)
    rows = history(6)
    frame = pl.DataFrame(rows, schema=dict(HISTORY))
    late = frame.filter(pl.col("submitted_at") >= START + timedelta(seconds=1500))
    since = reach(COUNTERS, late["submitted_at"].min())  # type: ignore[arg-type]
    enough = frame.filter(
        (pl.col("submitted_at") > since)
        | (pl.col("held_at") > since).fill_null(False)
        | (pl.col("overturned_at") > since).fill_null(False)
    )
    ids = late["submission_id"].to_list()
    assert count(enough, ids, COUNTERS).equals(count(frame, ids, COUNTERS))


def test_nothing_to_count_gives_the_columns_all_the_same() -> None:
    made = count(frames.empty(HISTORY), ["a"], COUNTERS[:1])
    assert made.columns == ["submission_id", COUNTERS[0].name]
    assert made[COUNTERS[0].name].to_list() == [None]
