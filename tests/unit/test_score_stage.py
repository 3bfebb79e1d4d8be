"""Score: points under ceilings, shadow and rollout, snoozes and lists, whatever else is in the batch."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import polars as pl
import pytest

from pipeline.model import frames
from pipeline.rulebook import Rulebook, load, shipped
from pipeline.rulebook.engine import in_share
from pipeline.rulebook.explain import explain
from pipeline.rulebook.facts import LISTS, SNOOZES, slices
from pipeline.stages.score import SCORED, ScoreFacts, score

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def signal(sid: str, code: str, strength: float, **more: Any) -> dict[str, Any]:
    return {
        "submission_id": sid,
        "detector": code.partition(".")[0],
        "detector_version": "1",
        "reason_code": code,
        "strength": strength,
        "p_value": None,
        "matched_submission_id": "earlier",
        "matched_worker_id": "other",
        "evidence": "{}",
    } | more


def facts(ids: list[str], signals: list[dict[str, Any]], **more: Any) -> ScoreFacts:
    submissions = frames.conform(
        pl.DataFrame(
            {
                "submission_id": ids,
                "worker_id": [f"w-{i}" for i in ids],
                "task_id": ["t"] * len(ids),
                "text": ["some words"] * len(ids),
                "device_id": ["d"] * len(ids),
                "submitted_at": [NOW] * len(ids),
            },
            schema_overrides={"submission_id": pl.String, "submitted_at": frames.UTC},
        ),
        frames.SUBMISSIONS,
    )
    tasks = frames.conform(
        pl.DataFrame(
            {"task_id": ["t"], "bounty_minor": [500], "currency": ["CNY"], "grade": ["B"]}
        ),
        frames.TASKS,
    )
    return ScoreFacts(
        submissions=submissions,
        tasks=tasks,
        workers=frames.empty(frames.WORKERS),
        signals=pl.DataFrame(signals, schema=dict(frames.SIGNALS)),
        abstentions=frames.empty(frames.ABSTENTIONS),
        **more,
    )


def row(scored: pl.DataFrame, sid: str) -> dict[str, Any]:
    return scored.filter(pl.col("submission_id") == sid).row(0, named=True)


def test_nothing_found_scores_nothing_and_order_is_kept() -> None:
    scored = score(facts(["b", "a"], []), shipped())
    assert scored.schema == dict(SCORED)
    assert scored["submission_id"].to_list() == ["b", "a"]
    assert scored["score"].to_list() == [0, 0]
    assert scored["reason_codes"].to_list() == [[], []]
    assert orjson.loads(scored["arithmetic"][0])["score"] == 0


def test_an_empty_batch_gives_an_empty_frame() -> None:
    assert score(facts([], []), shipped()).equals(frames.empty(SCORED))


def test_ten_weak_hints_of_one_family_are_no_proof() -> None:
    codes = ["text.near_duplicate", "text.contained", "text.template_only", "text.canary"]
    codes += ["image.near_duplicate", "image.region_reused", "file.identical", "image.same_scene"]
    scored = score(facts(["a"], [signal("a", c, 0.49) for c in codes]), shipped())
    assert shipped().review_at <= scored["score"][0] <= 40 < shipped().hold_at


def test_the_score_does_not_depend_on_the_batch() -> None:
    signals = [signal("a", "text.contained", 0.8), signal("b", "trajectory.pasted", 0.9)]
    signals += [signal("c", "identity.shared_device", 0.3), signal("c", "trajectory.too_fast", 0.7)]
    together = score(facts(["a", "b", "c", "d"], signals), shipped())
    for sid in "abcd":
        alone = score(facts([sid], [s for s in signals if s["submission_id"] == sid]), shipped())
        assert alone.equals(together.filter(pl.col("submission_id") == sid))
    shuffled = facts(["d", "c", "a", "b"], signals[::-1])
    assert score(shuffled, shipped()).sort("submission_id").equals(together)


def test_reason_codes_are_those_found_and_counted() -> None:
    scored = score(facts(["a"], [signal("a", "text.contained", 0.3)]), shipped())
    assert row(scored, "a")["reason_codes"] == ["text.contained"]
    assert row(scored, "a")["rules"] == ["copies.worth_a_look"]


def test_facts_that_are_not_given_leave_a_rule_unknown_not_clean() -> None:
    credit = pl.DataFrame({"worker_id": ["w-b"], "confirmed": [3]})
    signals = [signal("a", "text.contained", 0.3), signal("b", "text.contained", 0.3)]
    scored = score(facts(["a", "b"], signals, credit=credit), shipped())
    assert "context.repeated" in row(scored, "a")["unknown"]
    assert "context.repeated" in row(scored, "b")["rules"]
    assert row(scored, "b")["score"] == row(scored, "a")["score"] + 10


def test_shadow_rules_are_told_and_change_nothing() -> None:
    signals = [signal("a", "text.contained", 0.9)]
    book = shipped()
    shadow = book.with_status({"copies.text_contained": ("shadow", 100.0)})
    scored = score(facts(["a"], signals), shadow)
    assert row(scored, "a")["shadow"] == ["copies.text_contained"]
    assert row(scored, "a")["score"] == 0
    assert row(scored, "a")["reason_codes"] == []
    without = score(
        facts(["a"], signals), book.with_status({"copies.text_contained": ("paused", 100.0)})
    )
    assert without["score"].equals(scored["score"])


def test_a_rollout_counts_for_its_share_of_workers_only() -> None:
    ids = [f"s{i}" for i in range(200)]
    book = shipped().with_status({"copies.text_contained": ("rollout", 30.0)})
    scored = score(facts(ids, [signal(i, "text.contained", 0.9) for i in ids]), book)
    for entry in scored.iter_rows(named=True):
        inside = in_share("copies.text_contained", entry["worker_id"], 30.0)
        assert (entry["score"] > 0) == inside
        assert (entry["shadow"] == ["copies.text_contained"]) == (not inside)


def entries(schema: frames.Schema, **row: Any) -> pl.DataFrame:
    blank = dict.fromkeys(schema) | {"added_at": NOW - timedelta(days=1)}
    return pl.DataFrame([blank | row], schema=dict(schema))


def test_a_snooze_silences_one_rule_for_one_subject_until_it_expires() -> None:
    signals = [signal(i, "text.contained", 0.9) for i in "ab"]
    snoozes = entries(
        SNOOZES, rule="copies.text_contained", subject="worker", value="w-a", expires_at=NOW
    )
    before = facts(["a", "b"], signals, snoozes=snoozes, at=NOW - timedelta(seconds=1))
    scored = score(before, shipped())
    assert scored["score"].to_list()[0] == 0 < scored["score"].to_list()[1]
    told = orjson.loads(row(scored, "a")["arithmetic"])["rules"]
    assert [(r["rule"], r["state"]) for r in told] == [("copies.text_contained", "snoozed")]
    assert score(replace(before, at=NOW), shipped())["score"].n_unique() == 1


@pytest.mark.parametrize(
    ("subject", "value", "rule"),
    [
        ("worker", "w-a", "lists.blocked_account"),
        ("device", "d", "lists.blocked_material"),
        ("phrase", "me wor", "lists.blocked_material"),
        ("digest", "f" * 64, "lists.blocked_material"),
        ("task", "t", "lists.blocked_material"),
    ],
)
def test_a_block_list_is_asked_for_every_kind_of_subject(
    subject: str, value: str, rule: str
) -> None:
    contents = frames.conform(
        pl.DataFrame({"submission_id": ["a"], "digest": ["f" * 64]}), frames.CONTENTS
    )
    lists = entries(LISTS, list="block", subject=subject, value=value)
    scored = score(facts(["a"], [], lists=lists, contents=contents, at=NOW), shipped())
    assert row(scored, "a")["rules"] == [rule]
    later = entries(LISTS, list="block", subject=subject, value=value, expires_at=NOW)
    gone = score(facts(["a"], [], lists=later, contents=contents, at=NOW), shipped())
    assert row(gone, "a")["rules"] == []


def test_a_paid_match_is_another_workers_paid_delivery() -> None:
    mine = signal("a", "file.identical", 1.0, matched_worker_id="w-a")
    other = signal("b", "file.identical", 1.0)
    second = [signal(i, "trajectory.replayed", 0.9) for i in "ab"]
    paid = pl.DataFrame({"submission_id": ["earlier"]})
    credit = pl.DataFrame({"worker_id": ["w-a", "w-b"], "confirmed": [1, 1]})
    scored = score(facts(["a", "b"], [mine, other, *second], paid=paid, credit=credit), shipped())
    assert row(scored, "a")["block"] == []
    assert row(scored, "b")["block"] == ["copies.resold_and_repeated"]


def test_explain_prints_arithmetic_that_adds_up() -> None:
    signals = [signal("a", "text.contained", 0.3), signal("a", "trajectory.pasted", 0.9)]
    scored = score(facts(["a"], signals), shipped())
    lines = explain(scored["arithmetic"][0], shipped())
    assert lines[-1] == "score 63 = 38 + 25, within 0 and 100 (review from 20, hold from 60)"
    assert any("copies.worth_a_look [hint]  text.contained" in line for line in lines)
    assert any("款项照常支付" in line for line in explain(scored["arithmetic"][0], shipped(), "zh"))


def test_what_is_no_batch_is_a_bug_and_says_so() -> None:
    good = facts(["a"], [])
    with pytest.raises(TypeError, match="score: signals"):
        score(replace(good, signals=good.signals.drop("p_value")), shipped())
    with pytest.raises(ValueError, match="twice"):
        score(facts(["a", "a"], []), shipped())


def tiny(rules: str) -> Rulebook:
    head = '[ruleset]\nname = "t"\nreview_at = 20\nhold_at = 60\n'
    head += "[ruleset.ceilings]\ncopies = { hints = 40, all = 90 }\n"
    return load({"t.toml": head + rules})


def test_points_add_up_under_both_ceilings() -> None:
    rules = "".join(
        f"""
[[rules]]
id = "copies.r{index}"
status = "live"
owner = "o"
family = "copies"
kind = "{kind}"
points = {points}
why = "w"
effect = "e"
notice = {{ en = "n", zh = "n" }}
when = 'text.contained.strength >= {low}'
tests = [
  {{ name = "a", expect = "hit", signals = {{ "text.contained" = 1.0 }} }},
  {{ name = "b", expect = "miss" }},
]
"""
        for index, (kind, points, low) in enumerate(
            [
                ("hint", 30, 0.1),
                ("hint", 30, 0.2),
                ("proof", 45, 0.5),
                ("proof", 45, 0.9),
                ("hint", -25, 0.95),
            ]
        )
    )
    book = tiny(rules)
    strengths = [0.1, 0.2, 0.5, 0.9, 0.95]
    ids = [f"s{i}" for i in range(5)]
    scored = score(
        facts(ids, [signal(i, "text.contained", s) for i, s in zip(ids, strengths, strict=True)]),
        book,
    )
    assert scored["score"].to_list() == [30, 40, 85, 90, 65]


def test_slices_are_named_by_the_facts_that_the_rulebook_names() -> None:
    credit = pl.DataFrame({"worker_id": ["w-a"], "level": ["open"]})
    known = facts(["a", "b"], [], credit=credit)
    names = shipped().names
    assert slices(known, names, ["task.grade", "credit.level"]).to_list() == ["open/B", "?/B"]
    assert slices(known, names, []).to_list() == ["", ""]
