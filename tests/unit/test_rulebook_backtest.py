"""Before and after: what a change would do to money and people, and how a revision is undone."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.model import frames
from pipeline.rulebook import Rulebook, shipped
from pipeline.rulebook.backtest import JUDGED, LABELS, RECORD, Backtest, Share, backtest, diff
from pipeline.rulebook.facts import ScoreFacts
from pipeline.rulebook.recall import DECISIONS, recall
from pipeline.rulebook.telling import tell_backtest, tell_diff, tell_recall
from pipeline.stages.decide import RAN, decide
from pipeline.stages.score import score

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[3] / "shared"))
FULL = SHARED / "market" / "full"
market = pytest.mark.skipif(
    not FULL.exists(), reason="the development drops are not beside the project"
)


def judge(facts: ScoreFacts, rulebook: Rulebook) -> pl.DataFrame:
    """What a caller composes of the two stages."""
    scored = score(facts, rulebook)
    ran = facts.submissions.select(
        "submission_id",
        pl.lit("all").alias("detector"),
        pl.lit(True).alias("applied"),
        pl.lit(True).alias("ran"),
    )
    decided = decide(scored, frames.conform(ran, RAN), rulebook, abstentions=facts.abstentions)
    return decided.join(
        scored.select("submission_id", "rules", "shadow"), on="submission_id"
    ).select(list(JUDGED))


def read(name: str, schema: frames.Schema) -> pl.DataFrame:
    rows: dict[str, dict[str, Any]] = {}
    key = next(iter(schema))
    for line in (FULL / "drop" / name).read_text("utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get(key), str) and len(row[key]) <= 128:
            rows.setdefault(row[key], row)
    kept = [
        {k: v for k, v in r.items() if k in schema and isinstance(v, str | int | float | bool)}
        for r in rows.values()
    ]
    times = [n for n, t in schema.items() if t == frames.UTC]
    plain = {n: pl.String() if n in times else t for n, t in schema.items()}
    frame = pl.DataFrame(
        [pl.Series(n, [r.get(n) for r in kept], dtype=t, strict=False) for n, t in plain.items()]
    )
    return frame.with_columns(
        pl.col(t).str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        for t in times
    )


@pytest.fixture(scope="module")
def world() -> tuple[ScoreFacts, pl.DataFrame]:
    """The full market with signals as a decent set of detectors might give them (seeded)."""
    rng = np.random.default_rng(11)
    truth = [json.loads(line) for line in (FULL / "truth.jsonl").read_text("utf-8").splitlines()]
    submissions = read("submissions.jsonl", frames.SUBMISSIONS).drop_nulls("submitted_at")
    known = set(submissions["submission_id"].to_list())
    rows = []
    for line in truth:
        codes = (
            line["kinds"]
            if line["label"] == "fraud"
            else ["image.same_scene"] * (rng.random() < 0.03)
        )
        for code in codes:
            rows.append(
                {
                    "submission_id": line["submission_id"],
                    "detector": code.partition(".")[0],
                    "detector_version": "1",
                    "reason_code": code,
                    "strength": float(rng.uniform(0.3, 1.0)),
                    "evidence": "{}",
                }
            )
    labels = [(t["submission_id"], t["label"]) for t in truth if not t.get("ambiguous")]
    facts = ScoreFacts(
        submissions=submissions.with_columns(pl.col("text").fill_null("")),
        tasks=read("tasks.jsonl", frames.TASKS),
        workers=read("workers.jsonl", frames.WORKERS),
        signals=frames.conform(
            pl.DataFrame([r for r in rows if r["submission_id"] in known]), frames.SIGNALS
        ),
        abstentions=frames.empty(frames.ABSTENTIONS),
    )
    return facts, pl.DataFrame(labels, schema=dict(LABELS), orient="row")


def same(one: Backtest, two: Backtest) -> bool:
    return (
        one.cases.equals(two.cases)
        and one.money.equals(two.money)
        and one.rules.equals(two.rules)
        and (one.precision, one.recall, one.overturns_predicted)
        == (two.precision, two.recall, two.overturns_predicted)
    )


@market
@pytest.mark.market
def test_the_money_and_people_table_of_the_full_market(world: Any) -> None:
    facts, labels = world
    found = backtest(facts, shipped(), judge, labels=labels)
    told = "\n".join(tell_backtest(found))
    assert "block_and_review" in told
    assert "honest workers held" in told
    assert same(found, backtest(facts, shipped(), judge, labels=labels))
    money = found.money
    bounties = facts.submissions.join(facts.tasks, on="task_id", how="left")["bounty_minor"].sum()
    assert money["submissions"].sum() == facts.submissions.height == found.submissions
    assert money["amount_minor"].sum() == bounties
    assert found.false_holds.hits == 0
    assert found.recall.share is not None
    assert found.recall.share > 0.5
    assert found.overturns_predicted == 0.0
    assert 0 < found.workers_held < found.workers
    # the worker's hands: the window alone is judged
    middle = facts.submissions["submitted_at"].sort()[facts.submissions.height // 2]
    late = backtest(facts, shipped(), judge, labels=labels, since=middle)
    assert late.cases.equals(found.cases.filter(pl.col("submitted_at") >= middle))


@market
@pytest.mark.market
def test_a_shadow_rule_changes_no_outcome_and_is_counted(world: Any) -> None:
    facts, labels = world
    book = shipped()
    rule = "copies.text_contained"
    shadow = backtest(facts, book.with_status({rule: ("shadow", 100.0)}), judge, labels=labels)
    absent = backtest(facts, book.with_status({rule: ("draft", 100.0)}), judge, labels=labels)
    assert shadow.money.equals(absent.money)
    assert diff(absent, shadow).changed.is_empty()
    line = shadow.rules.filter(pl.col("rule") == rule).row(0, named=True)
    assert line["hits"] > 0
    assert not line["counts"]
    assert rule not in absent.rules["rule"].to_list()


@market
@pytest.mark.market
def test_a_diff_tells_money_people_and_hits(world: Any) -> None:
    facts, labels = world
    before = backtest(facts, shipped(), judge, labels=labels)
    weaker = shipped().with_status({"copies.image_region_reused": ("paused", 100.0)})
    after = backtest(facts, weaker, judge, labels=labels)
    change = diff(before, after)
    assert change.changed.height > 0
    assert set(change.moves["was"]) == {"block_and_review"}
    assert sum(change.released_minor.values()) == change.moves["amount_minor"].sum()
    assert change.newly_held_minor == {}
    assert change.workers_released > 0 == change.workers_newly_held
    line = change.hits.row(0, named=True)
    assert (line["rule"], line["new"]) == ("copies.image_region_reused", 0)
    assert len(line["lost_examples"]) == min(5, line["lost"])
    assert any(line["lost_examples"][0] in told for told in tell_diff(change))
    assert diff(before, before).changed.is_empty()
    with pytest.raises(ValueError, match="different submissions"):
        diff(before, backtest(facts, shipped(), judge, until=before.cases["submitted_at"].max()))


@market
@pytest.mark.market
def test_no_leakage_what_comes_later_changes_nothing_before(world: Any) -> None:
    facts, labels = world
    cut = facts.submissions["submitted_at"].sort()[1000]
    until = backtest(facts, shipped(), judge, labels=labels, until=cut)
    early = facts.submissions.filter(pl.col("submitted_at") < cut)
    then = ScoreFacts(
        submissions=early,
        tasks=facts.tasks,
        workers=facts.workers,
        signals=facts.signals.join(early, on="submission_id", how="semi"),
        abstentions=facts.abstentions,
    )
    assert same(until, backtest(then, shipped(), judge, labels=labels))
    assert until.cases["submitted_at"].max() < cut
    assert backtest(facts, shipped(), judge, since=cut, until=cut + timedelta(0)).submissions == 0


@market
@pytest.mark.market
def test_overturns_are_predicted_from_each_rules_record(world: Any) -> None:
    facts, _ = world
    rules = [r.id for r in shipped().rules]
    bad = pl.DataFrame({"rule": rules, "decided": 99, "overturned": 49}, schema=dict(RECORD))
    good = pl.DataFrame({"rule": rules, "decided": 99, "overturned": 0}, schema=dict(RECORD))
    held = backtest(facts, shipped(), judge, record=bad)
    count = held.money.filter(pl.col("outcome") == "block_and_review")["submissions"].sum()
    assert held.overturns_predicted == pytest.approx(count * 0.495)
    assert backtest(facts, shipped(), judge, record=good).overturns_predicted == pytest.approx(
        count * 0.005
    )


def test_a_share_has_wilsons_interval() -> None:
    assert Share(hits=0, of=0).share is None
    low, high = Share(hits=10, of=100).interval
    assert (round(low, 4), round(high, 4)) == (0.0552, 0.1744)


def decisions_of(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(DECISIONS), orient="row")


@pytest.mark.parametrize("seed", range(5))
def test_a_recall_names_what_its_revision_decided_otherwise_and_nobody_judged_since(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    words = ["approve", "review", "block_and_review", "decline"]
    decisions = decisions_of(
        [
            (f"d{i}", f"s{i}", f"w{rng.integers(9)}", "bad" if rng.random() < 0.6 else "other",
             str(rng.choice(words)), int(rng.integers(100, 999)), "CNY", bool(rng.random() < 0.1))
            for i in range(200)
        ]
    )  # fmt: skip
    corrected = decisions.select("submission_id", pl.Series("outcome", rng.choice(words, 200)))
    undo = recall("bad", decisions, corrected)
    held = {"block_and_review", "decline"}
    now = dict(corrected.iter_rows())
    expected = {
        d["submission_id"]: "release" if d["outcome"] in held and now[d["submission_id"]] not in held
        else "hold" if d["outcome"] not in held and now[d["submission_id"]] in held else "restate"
        for d in decisions.iter_rows(named=True)
        if d["ruleset_digest"] == "bad" and not d["by_person"]
        and d["outcome"] != now[d["submission_id"]]
    }  # fmt: skip
    assert dict(undo.actions.select("submission_id", "action").iter_rows()) == expected
    assert undo.workers == undo.actions["worker_id"].n_unique()
    released = undo.actions.filter(pl.col("action") == "release")["amount_minor"].sum()
    assert undo.released_minor == {"CNY": released}
    assert undo.kept["by_person"].all()
    assert any(told.startswith("release") for told in tell_recall(undo))


def test_recalling_a_revision_that_changed_nothing_does_nothing() -> None:
    decisions = decisions_of([("d", "s", "w", "bad", "review", 5, "CNY", False)])
    undo = recall("bad", decisions, decisions.select("submission_id", "outcome"))
    assert undo.actions.is_empty()
