"""The rulebook that ships: its own cases, its words, and what it may never do."""

import re
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import polars as pl
import pytest

from pipeline.model import frames
from pipeline.model.reasons import REASONS
from pipeline.rulebook import shipped
from pipeline.rulebook.facts import ScoreFacts
from pipeline.rulebook.names import GROUPS, SOFT
from pipeline.stages.decide import RAN, decide
from pipeline.stages.score import score

NOW = datetime(2026, 3, 1, tzinfo=UTC)
GROUP = {family: group for group, families in GROUPS.items() for family in families}


def judged(cases: list[dict[str, float]], **more: Any) -> pl.DataFrame:
    """One submission a case, each a mapping of reason codes to strengths."""
    ids = [f"s{i}" for i in range(len(cases))]
    rows = [
        {
            "submission_id": sid,
            "detector": code.partition(".")[0],
            "detector_version": "1",
            "reason_code": code,
            "strength": strength,
            "matched_submission_id": "earlier",
            "matched_worker_id": "other",
            "evidence": "{}",
        }
        for sid, case in zip(ids, cases, strict=True)
        for code, strength in case.items()
    ]
    submissions = frames.conform(
        pl.DataFrame(
            {"submission_id": ids, "worker_id": ids, "task_id": ["t"] * len(ids)}
        ).with_columns(pl.lit(NOW).alias("submitted_at"), pl.lit("").alias("text")),
        frames.SUBMISSIONS,
    )
    facts = ScoreFacts(
        submissions=submissions,
        tasks=more.get("tasks", frames.empty(frames.TASKS)),
        workers=frames.empty(frames.WORKERS),
        signals=frames.conform(pl.DataFrame(rows, schema={**frames.SIGNALS}), frames.SIGNALS)
        if rows
        else frames.empty(frames.SIGNALS),
        abstentions=frames.empty(frames.ABSTENTIONS),
        **{k: v for k, v in more.items() if k != "tasks"},
    )
    scored = score(facts, shipped())
    ran = pl.DataFrame([(i, "text", True, True) for i in ids], schema=dict(RAN), orient="row")
    return scored.join(
        decide(scored, ran, shipped()).drop("score", "reason_codes"), on="submission_id"
    )


def outcome(case: dict[str, float], **more: Any) -> str:
    return str(judged([case], **more)["outcome"][0])


def test_every_rule_passes_its_own_cases() -> None:
    results = shipped().test()
    assert len(results) >= 3 * 40
    assert not [r for r in results if not r.passed]


def test_every_reason_code_is_answered_by_a_counting_rule() -> None:
    answered = {c for r in shipped().rules if r.status == "live" for c in r.reasons}
    assert set(REASONS) <= answered


def test_words_for_people_are_whole_and_in_both_languages() -> None:
    for rule in shipped().rules:
        assert len(rule.why) > 30, rule.id
        assert len(rule.effect) > 15, rule.id
        if rule.points > 0 or rule.hard in ("block", "overridable_block"):
            assert len(rule.notice_en) > 30, rule.id
            assert len(re.findall(r"[\u4e00-\u9fff]", rule.notice_zh)) >= 10, rule.id
            assert not re.search(r"fraud|cheat|欺诈|作弊", rule.notice_en + rule.notice_zh), rule.id


@pytest.mark.parametrize("code", sorted(set(REASONS) - SOFT))
def test_a_sure_finding_holds_and_one_worth_a_look_is_paid(code: str) -> None:
    assert outcome({code: 0.5}) == "block_and_review"
    assert outcome({code: 1.0}) == "block_and_review"
    assert outcome({code: 0.49}) == "review"
    assert outcome({code: 0.2}) == "review"
    assert outcome({code: 0.1}) == "approve"


@pytest.mark.parametrize("code", sorted(SOFT))
def test_a_soft_finding_alone_is_only_looked_at(code: str) -> None:
    assert outcome({code: 1.0}) == "review"
    assert outcome({code: 0.2}) == "review"


def test_soft_findings_together_are_only_looked_at() -> None:
    for size in (2, 3, 4):
        for codes in combinations(sorted(SOFT), size):
            if {GROUP[c.partition(".")[0]] for c in codes} == {"behaviour", "copies", "provenance"}:
                continue  # three independent things at once are no accident any more
            assert outcome(dict.fromkeys(codes, 1.0)) == "review", codes


def test_haste_or_paste_is_held_with_a_second_independent_finding() -> None:
    for soft in ("trajectory.pasted", "trajectory.too_fast"):
        assert outcome({soft: 0.9, "text.contained": 0.25}) == "block_and_review"
        assert outcome({soft: 0.9, "identity.shared_device": 0.25}) == "block_and_review"
        assert outcome({soft: 0.9, "trajectory.automated": 0.25}) == "review"  # the same family


def test_many_hints_of_one_kind_are_never_held() -> None:
    for group, families in GROUPS.items():
        codes = [c for c in REASONS if c.partition(".")[0] in families]
        assert outcome(dict.fromkeys(codes, 0.49)) == "review", group


def test_a_first_offence_is_judged_more_gently_unless_it_is_sure() -> None:
    two = {"trajectory.pasted": 0.9, "text.contained": 0.3}
    new = pl.DataFrame({"worker_id": ["s0"], "confirmed": [0]})
    old = pl.DataFrame({"worker_id": ["s0"], "confirmed": [2]})
    assert outcome(two, credit=new) == "review"
    assert outcome(two, credit=old) == "block_and_review"
    assert outcome({"text.contained": 0.5}, credit=new) == "block_and_review"


def test_a_large_bounty_or_hard_task_is_judged_more_strictly_but_never_alone() -> None:
    tasks = frames.conform(
        pl.DataFrame(
            {"task_id": ["t"], "bounty_minor": [90_000], "currency": ["CNY"], "grade": ["A"]}
        ),
        frames.TASKS,
    )
    two = {"text.contained": 0.4, "provenance.inconsistent": 0.4}
    assert outcome(two) == "review"
    assert outcome(two, tasks=tasks) == "block_and_review"
    assert outcome({}, tasks=tasks) == "approve"
    for code in sorted(REASONS):
        assert outcome({code: 0.49}, tasks=tasks) == "review", code
    for code in sorted(SOFT):
        assert outcome({code: 1.0}, tasks=tasks) == "review", code


def test_nothing_that_detectors_say_is_declined_by_itself() -> None:
    cases = [dict.fromkeys(pair, 1.0) for pair in combinations(sorted(REASONS), 2)]
    cases.append(dict.fromkeys(REASONS, 1.0))
    paid = pl.DataFrame({"submission_id": ["earlier"]})
    first = pl.DataFrame({"worker_id": [f"s{i}" for i in range(len(cases))], "confirmed": 0})
    assert "decline" not in judged(cases, paid=paid, credit=first)["outcome"].to_list()
    assert "decline" not in judged(cases, paid=paid)["outcome"].to_list()


def test_more_strength_never_gives_a_milder_outcome() -> None:
    order = {"approve": 0, "review": 1, "block_and_review": 2, "decline": 3}
    steps = [0.0, 0.19, 0.2, 0.35, 0.49, 0.5, 0.75, 1.0]
    for code in sorted(REASONS):
        ranks = [order[o] for o in judged([{code: s} for s in steps])["outcome"].to_list()]
        assert ranks == sorted(ranks), code
