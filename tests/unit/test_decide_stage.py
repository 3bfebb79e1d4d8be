"""Decide: nothing missing is read as clean, and nothing missing is an accusation."""

from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.model import frames
from pipeline.model.decisions import OUTCOMES
from pipeline.rulebook import shipped
from pipeline.rulebook.risk import promise
from pipeline.stages.decide import DECIDED, RAN, decide
from pipeline.stages.score import SCORED


def scored(*rows: dict[str, Any]) -> pl.DataFrame:
    blank: dict[str, Any] = {
        name: [] if isinstance(dtype, pl.List) else None for name, dtype in SCORED.items()
    }
    return pl.DataFrame(
        [
            blank | {"submission_id": f"s{i}", "worker_id": "w", "score": 0, "arithmetic": "{}"} | r
            for i, r in enumerate(rows)
        ],
        schema=dict(SCORED),
    )


def ran(count: int, *, gone: tuple[int, ...] = ()) -> pl.DataFrame:
    rows = [
        (f"s{i}", d, True, not (d == "image" and i in gone))
        for i in range(count)
        for d in ("text", "image")
    ]
    return pl.DataFrame(rows, schema=dict(RAN), orient="row")


def abstained(*ids: str, detector: str = "image") -> pl.DataFrame:
    rows = [(i, detector, "1", "blob.unreadable", "torn") for i in ids]
    return pl.DataFrame(rows, schema=dict(frames.ABSTENTIONS), orient="row")


def outcomes(frame: pl.DataFrame) -> list[str]:
    return frame["outcome"].to_list()


def test_points_against_the_thresholds() -> None:
    book = shipped()
    made = decide(scored(*({"score": s} for s in (0, 19, 20, 59, 60, 100))), ran(6), book)
    assert made.schema == dict(DECIDED)
    assert outcomes(made) == ["approve"] * 2 + ["review"] * 2 + ["block_and_review"] * 2
    assert made["risk_level"].to_list() == ["normal"] * 2 + ["elevated"] * 2 + ["highest"] * 2


def test_a_detector_that_did_not_run_holds_and_accuses_nobody() -> None:
    made = decide(scored({}, {}), ran(2, gone=(1,)), shipped())
    assert outcomes(made) == ["approve", "block_and_review"]
    assert made["reason_codes"].to_list() == [[], ["degraded.image"]]
    assert made["risk_level"].to_list() == ["normal", "normal"]


def test_no_analysis_at_all_is_pending() -> None:
    made = decide(scored({"score": 0}), ran(0), shipped())
    assert (outcomes(made), made["reason_codes"][0].to_list()) == (
        ["block_and_review"],
        ["pending.analysis"],
    )


def test_a_detector_that_does_not_apply_is_not_missed() -> None:
    frame = pl.DataFrame([("s0", "image", False, False)], schema=dict(RAN), orient="row")
    assert outcomes(decide(scored({}), frame, shipped())) == ["approve"]


def test_an_abstention_is_looked_at_and_not_held_against_anybody() -> None:
    made = decide(scored({}, {"score": 80}), ran(2), shipped(), abstentions=abstained("s0", "s1"))
    assert outcomes(made) == ["review", "block_and_review"]
    assert made["risk_level"].to_list() == ["normal", "highest"]
    assert made["reason_codes"].to_list() == [["abstained.image"]] * 2


def test_what_an_abstention_gives_is_the_rulebooks_word() -> None:
    from dataclasses import replace

    for word in OUTCOMES[:3]:
        book = replace(shipped(), abstentions={"image": word})
        assert outcomes(decide(scored({}), ran(1), book, abstentions=abstained("s0"))) == [word]


def test_hard_conditions_in_their_order() -> None:
    rows = [
        {"overridable_block": ["a.b"]},
        {"score": 90, "override": ["c.d"], "lets": "review"},
        {"overridable_block": ["a.b"], "override": ["c.d"], "lets": "approve"},
        {"block": ["e.f"], "override": ["c.d"], "lets": "approve"},
        {"score": 0, "override": ["c.d"], "lets": "review"},
    ]
    made = decide(scored(*rows), ran(5), shipped())
    assert outcomes(made) == ["block_and_review", "review", "approve", "decline", "approve"]


def test_an_override_lifts_no_missing_detector() -> None:
    rows = {"score": 90, "override": ["c.d"], "lets": "approve"}
    assert outcomes(decide(scored(rows), ran(1, gone=(0,)), shipped())) == ["block_and_review"]


def test_never_a_silent_yes_or_a_decline_for_want_of_something() -> None:
    for score, missing, abstains in product((0, 25, 70), (True, False), (True, False)):
        made = decide(
            scored({"score": score}),
            ran(1, gone=(0,) if missing else ()),
            shipped(),
            abstentions=abstained("s0") if abstains else None,
        )
        outcome, codes = outcomes(made)[0], made["reason_codes"][0].to_list()
        assert outcome != "decline"
        assert not missing or (outcome == "block_and_review" and "degraded.image" in codes)
        assert not abstains or (outcome != "approve" and "abstained.image" in codes)


def test_a_promise_raises_the_threshold_and_small_slices_are_only_looked_at() -> None:
    honest = np.array([75] * 4 + [0] * 996, np.int64)
    made_promise = promise(np.concatenate([honest, honest[:50]]), ["C"] * 1000 + ["A"] * 50, 0.004)
    rows = scored(
        {"score": 70}, {"score": 76}, {"score": 100}, {"score": 70, "overridable_block": ["a.b"]}
    )
    made = decide(
        rows, ran(4), shipped(), promise=made_promise, slices=pl.Series(["C", "C", "A", "A"])
    )
    assert outcomes(made) == ["review", "block_and_review", "review", "block_and_review"]


def test_the_outcome_does_not_depend_on_the_batch() -> None:
    rows = scored({"score": 70}, {}, {"score": 30})
    whole = decide(rows, ran(3, gone=(1,)), shipped(), abstentions=abstained("s2"))
    for i in range(3):
        alone = decide(rows[i], ran(3, gone=(1,)), shipped(), abstentions=abstained("s2"))
        assert alone.equals(whole[i])


def test_a_wrong_frame_is_a_bug_and_says_so() -> None:
    with pytest.raises(TypeError, match="decide: ran"):
        decide(scored({}), pl.DataFrame({"x": [1]}), shipped())
