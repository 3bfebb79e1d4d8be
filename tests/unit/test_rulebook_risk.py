"""The promise of few false holds: kept on average over 500 splits, never given on too little."""

import numpy as np
import pytest

from pipeline.rulebook.risk import NEVER, hold_threshold, promise, sample_min


def population(seed: int, size: int = 6000) -> np.ndarray:
    """Honest scores as they come: mostly nothing, some hints, a thin tail of bad luck."""
    rng = np.random.default_rng(seed)
    kind = rng.random(size)
    scores = np.where(kind < 0.85, 0, np.where(kind < 0.97, rng.integers(20, 45, size), 0))
    tail = kind >= 0.97
    scores[tail] = rng.integers(45, 100, tail.sum())
    return scores.astype(np.int64)


@pytest.mark.parametrize("alpha", [0.005, 0.01, 0.05])
@pytest.mark.parametrize("size", [400, 2000])
def test_the_realised_hold_rate_keeps_the_promise_over_500_splits(alpha: float, size: int) -> None:
    scores = population(1)
    rng = np.random.default_rng(2026)
    rates = []
    for _ in range(500):
        order = rng.permutation(scores.size)
        threshold = hold_threshold(scores[order[:size]], alpha)
        rates.append(float((scores[order[size:]] >= threshold.hold_at).mean()))
    rates_array = np.array(rates)
    error = rates_array.std(ddof=1) / np.sqrt(500)
    assert rates_array.mean() <= alpha + 2 * error  # the mean of 500 draws of an expectation ≤ α
    assert rates_array.mean() <= alpha * 1.02
    above = (rates_array > alpha).mean()
    assert 0.0 < above < 0.6  # single splits do exceed it; docs/rulebook.md says how often


def test_too_small_a_sample_promises_nothing() -> None:
    assert sample_min(0.005) == 199
    assert sample_min(0.001) == 999
    few = hold_threshold(np.zeros(198, np.int64), 0.005)
    assert (few.hold_at, few.enough) == (NEVER, False)
    just = hold_threshold(np.zeros(199, np.int64), 0.005)
    assert (just.hold_at, just.enough, just.honest) == (1, True, 199)
    one_bad = hold_threshold(np.array([70] + [0] * 198), 0.005)
    assert one_bad.hold_at == 71


def test_a_threshold_is_the_smallest_that_keeps_it() -> None:
    scores = population(3)[:1000]
    found = hold_threshold(scores, 0.01)
    held = (scores >= found.hold_at).sum()
    assert found.held == held
    assert (held + 1) / 1001 <= 0.01
    assert ((scores >= found.hold_at - 1).sum() + 1) / 1001 > 0.01


def test_each_slice_keeps_its_own_promise_and_small_slices_never_hold() -> None:
    scores = population(4, 1000)
    slices = ["A"] * 100 + ["C"] * 900
    made = promise(scores, slices, 0.01)
    assert made.threshold("C") <= 100
    assert made.slices["A"].honest == 100
    assert made.threshold("A") == hold_threshold(scores[:100], 0.01).hold_at
    assert promise(scores, slices, 0.005).threshold("A") == NEVER
    assert made.threshold("never seen") == NEVER
    assert made.threshold(None) == NEVER


def test_what_is_no_score_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        hold_threshold(np.full(300, 101), 0.01)
    with pytest.raises(ValueError, match="alpha"):
        sample_min(0.0)
    with pytest.raises(ValueError, match="one slice"):
        promise(np.zeros(3, np.int64), ["a"], 0.1)
