"""Drift is seen where it is, not where a sample is small, and silence is an incident."""

import numpy as np
import polars as pl
import pytest

from pipeline.model import frames
from pipeline.review.drift import SCORE_BINS, Drift, drift, psi


def window(
    n: int, strengths: list[float], scores: list[int] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    signals = frames.conform(
        pl.DataFrame(
            {
                "submission_id": [f"s{i}" for i in range(len(strengths))],
                "reason_code": ["text.contained"] * len(strengths),
                "strength": strengths,
            },
            schema_overrides={
                "strength": pl.Float64,
                "submission_id": pl.String,
                "reason_code": pl.String,
            },
        ),
        frames.SIGNALS,
    )
    made = pl.DataFrame({"submission_id": [f"s{i}" for i in range(n)], "score": scores or [0] * n})
    return signals, frames.conform(made, frames.ASSESSMENTS)


def of(rows: list[Drift], name: str) -> Drift:
    return next(r for r in rows if r.name == name)


def test_the_same_window_twice_is_stable() -> None:
    same = window(200, [0.1 * (i % 10) for i in range(50)], [i % 100 for i in range(200)])
    assert {r.state for r in drift(same, same)} == {"stable"}


def test_a_detector_that_falls_silent_is_an_incident() -> None:
    assert of(drift(window(500, [0.9] * 60), window(500, [])), "text.contained").state == "silent"


def test_silence_of_a_small_day_is_no_incident() -> None:
    assert of(drift(window(500, [0.9] * 60), window(5, [])), "text.contained").state == "stable"


def test_other_strengths_are_a_shift() -> None:
    before, now = window(500, [0.9] * 100), window(500, [0.3] * 100)
    assert of(drift(before, now), "text.contained").state == "shifted"


def test_ten_times_as_many_findings_are_a_shift_or_to_be_watched() -> None:
    before, now = window(1000, [0.9] * 10), window(1000, [0.9] * 100)
    assert of(drift(before, now), "text.contained").state in ("shifted", "watch")


def test_samples_of_one_distribution_are_called_stable() -> None:
    draw = np.random.default_rng(1)
    false = 0
    for _ in range(200):
        a, b = (window(300, [], draw.integers(0, 100, 300).tolist()) for _ in range(2))
        false += of(drift(a, b), "score").state != "stable"
    assert false <= 2


def test_the_index_is_zero_for_itself_and_grows_with_distance() -> None:
    base = np.arange(100.0)
    near, far = psi(base, base + 5, SCORE_BINS), psi(base, base + 60, SCORE_BINS)
    assert psi(base, base, SCORE_BINS) == pytest.approx(0.0)
    assert 0 < near < far
