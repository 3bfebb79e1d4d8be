"""Drift: does today look like the reference window, signal by signal and score by score?

Two measures side by side. The population stability index (PSI; Siddiqi, *Credit Risk Scorecards*,
2006: below 0.1 stable, above 0.25 shifted) over fixed bins, and a two-sample test: Kolmogorov–Smirnov
where there are values, Fisher's exact test for how often a reason code is said at all. A detector that
spoke in the reference window and says nothing today is *silent*: an incident, whatever the p-value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

FloatArray = npt.NDArray[np.float64]

PSI_SHIFTED: Final = 0.25
PSI_WATCH: Final = 0.10
ALPHA: Final = 0.001
SPOKE_MIN: Final = 20
"""Findings in the reference window from which silence means something."""
STRENGTH_BINS: Final = np.linspace(0.0, 1.0, 11)
SCORE_BINS: Final = np.linspace(0.0, 100.0, 11)
SMOOTHING: Final = 0.5
"""Added to every bin (Krichevsky–Trofimov), so that an empty bin does not make the index infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One distribution against its reference.

    ``psi`` and ``p_value`` are None where one side is empty. ``state`` is ``stable``, ``watch``,
    ``shifted`` or ``silent``. ``rate_reference`` and ``rate_today`` are findings a submission.
    """

    name: str
    n_reference: int
    n_today: int
    rate_reference: float
    rate_today: float
    psi: float | None
    p_value: float | None
    state: str


def psi(reference: FloatArray, today: FloatArray, edges: FloatArray) -> float:
    """Return the population stability index of two samples over fixed bins."""
    expected = np.histogram(np.clip(reference, edges[0], edges[-1]), edges)[0] + SMOOTHING
    found = np.histogram(np.clip(today, edges[0], edges[-1]), edges)[0] + SMOOTHING
    p, q = expected / expected.sum(), found / found.sum()
    return float(((q - p) * np.log(q / p)).sum())


def drift(
    reference: tuple[pl.DataFrame, pl.DataFrame], today: tuple[pl.DataFrame, pl.DataFrame]
) -> list[Drift]:
    """Compare two windows, each (SIGNALS, ASSESSMENTS): one row a reason code, and one for the score.

    A window's size is the number of its assessments.
    """
    sizes = reference[1].height, today[1].height
    codes = sorted({*reference[0]["reason_code"], *today[0]["reason_code"]})
    rows = [_code(code, reference[0], today[0], sizes) for code in codes]
    return [*rows, _score(_values(reference[1], "score"), _values(today[1], "score"))]


def _values(frame: pl.DataFrame, column: str) -> FloatArray:
    return frame[column].cast(pl.Float64).to_numpy()


def _code(code: str, before: pl.DataFrame, now: pl.DataFrame, sizes: Sequence[int]) -> Drift:
    mine = pl.col("reason_code") == code
    a, b = _values(before.filter(mine), "strength"), _values(now.filter(mine), "strength")
    told = [f.filter(mine)["submission_id"].n_unique() for f in (before, now)]
    p_values = [_fisher(told, sizes)]
    index = None
    if len(a) and len(b):
        index = psi(a, b, STRENGTH_BINS)
        p_values.append(_smirnov(a, b))
    p_value = min(1.0, len(p_values) * min(p_values))
    silent = told[0] >= SPOKE_MIN and told[1] == 0 and sizes[1] > 0 and p_value < ALPHA
    return Drift(
        name=code,
        n_reference=told[0],
        n_today=told[1],
        rate_reference=told[0] / sizes[0] if sizes[0] else 0.0,
        rate_today=told[1] / sizes[1] if sizes[1] else 0.0,
        psi=index,
        p_value=p_value,
        state="silent" if silent else _state(index, p_value),
    )


def _score(before: FloatArray, now: FloatArray) -> Drift:
    index = psi(before, now, SCORE_BINS) if len(before) and len(now) else None
    p_value = _smirnov(before, now) if len(before) and len(now) else None
    return Drift(
        name="score",
        n_reference=len(before),
        n_today=len(now),
        rate_reference=1.0,
        rate_today=1.0,
        psi=index,
        p_value=p_value,
        state=_state(index, p_value),
    )


def _state(index: float | None, p_value: float | None) -> str:
    """A small sample moves the index by chance: without a significant test nothing has shifted."""
    if p_value is None or p_value >= ALPHA:
        return "stable"
    return "shifted" if index is None or index >= PSI_SHIFTED else "watch"


def _smirnov(a: FloatArray, b: FloatArray) -> float:
    from scipy.stats import ks_2samp

    return float(ks_2samp(a, b, method="auto").pvalue)


def _fisher(told: Sequence[int], sizes: Sequence[int]) -> float:
    from scipy.stats import fisher_exact

    if not all(sizes):
        return 1.0
    table = np.array([[told[0], sizes[0] - told[0]], [told[1], sizes[1] - told[1]]])
    return float(fisher_exact(table).pvalue)
