"""The promise of few false holds: thresholds by conformal risk control on honest submissions.

Angelopoulos, Bates, Fisch, Lei, Schuster: *Conformal Risk Control* (ICLR 2024), with the loss
"an honest submission is held". The promise is on average over calibrations, for submissions that
are exchangeable with those it was set on; a single calibration may lie above it (``docs/rulebook.md``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

NEVER: Final = 101
"""A threshold that no score reaches: points alone do not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From which score to hold, and what that rests on.

    ``hold_at`` is the smallest score that keeps the promise, ``NEVER`` where none does; ``honest``
    the sample size, ``held`` how many of these it would have held, ``enough`` whether the sample is
    large enough to promise anything.
    """

    hold_at: int
    honest: int
    held: int
    alpha: float

    @property
    def enough(self) -> bool:
        """Tell whether the sample could carry the promise at all."""
        return self.honest >= sample_min(self.alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The thresholds of one calibration: by slice, and for slices that it never saw."""

    alpha: float
    slices: Mapping[str, Threshold] = field(default_factory=dict)

    def threshold(self, name: str | None) -> int:
        """Return the score from which that slice is held; ``NEVER`` where it is too small."""
        found = self.slices.get(name or "")
        return found.hold_at if found and found.enough else NEVER


def sample_min(alpha: float) -> int:
    """Return how many honest submissions it takes to promise a share of ``alpha`` at all."""
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha lies between 0 and 1, not {alpha}")
    return math.ceil(1.0 / alpha - 1e-9) - 1


def hold_threshold(honest_scores: npt.NDArray[np.int64], alpha: float) -> Threshold:
    """Set the hold threshold on the scores (0 to 100) of honest submissions.

    The smallest λ with (n·R(λ) + 1) / (n + 1) ≤ α, where R(λ) is the share with score ≥ λ: then the
    expected share of honest submissions held is at most α. ``NEVER`` where n is too small.
    """
    n = int(honest_scores.size)
    if n and not (honest_scores.min() >= 0 and honest_scores.max() <= 100):
        raise ValueError("scores lie between 0 and 100")
    if n < sample_min(alpha):
        return Threshold(hold_at=NEVER, honest=n, held=0, alpha=alpha)
    counts = np.bincount(honest_scores, minlength=NEVER + 1)
    at_least = counts[::-1].cumsum()[::-1]  # at_least[λ]: how many have score ≥ λ
    kept = np.flatnonzero((at_least + 1) / (n + 1) <= alpha + 1e-12)
    hold_at = int(kept[0]) if kept.size else NEVER
    return Threshold(hold_at=hold_at, honest=n, held=int(at_least[hold_at]), alpha=alpha)


def promise(honest_scores: npt.NDArray[np.int64], slices: list[str], alpha: float) -> Promise:
    """Set one threshold a slice; each slice keeps the promise by itself.

    ``slices`` names the slice of each honest submission (task grade and tenure, say).
    """
    if len(slices) != honest_scores.size:
        raise ValueError("one slice a score")
    names = np.array(slices, dtype=object)
    return Promise(
        alpha=alpha,
        slices={
            name: hold_threshold(honest_scores[names == name], alpha)
            for name in sorted(set(slices))
        },
    )
