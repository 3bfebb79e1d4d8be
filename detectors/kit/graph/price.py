"""What it costs a block to have been chosen: minus the logarithm of a prior over all blocks.

The prior is laid down before anybody looks, so the weighted sum of all blocks' likelihood ratios is
itself an e-value, and no block can exceed it: one bound for the whole window, without counting
tests. Workers are told by the better of two codes, a mixture of equal parts: *flat*, any n of the N
who could be in a block, and *layered*, n(k) of the N(k) of each stratum of activity. Whoever pads
honest-looking work around a ring becomes busy, and busy workers are few: there the second code asks for
much less. Sizes are told by 1 / (n (n + 1)), densities by their place on a grid.
"""

import math
from typing import Final

import numba
import numpy as np
import numpy.typing as npt

STRATA: Final = 6
"""Workers by how many cells they met: 2 and 3, 4 to 7, 8 to 15, 16 to 31, 32 to 63, 64 and more."""
DENSITY_MIN: Final = 0.2
DENSITY_STEP: Final = 0.05
DENSITIES: Final = 16
"""Densities that a block may claim: 0.20, 0.25 … 0.95."""

LOG_FACTORIAL: Final = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, 64.0)))])


def strata_of(degree: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    """The stratum of workers by the number of their cells; those of fewer than two have none (−1)."""
    layer = np.log2(np.maximum(degree, 1)).astype(np.int8) - np.int8(1)
    return np.asarray(np.minimum(layer, np.int8(STRATA - 1)))


@numba.njit(cache=True)
def log_choose(n: float, k: float) -> float:
    """The logarithm of the binomial coefficient."""
    return math.lgamma(n + 1.0) - math.lgamma(k + 1.0) - math.lgamma(n - k + 1.0)


@numba.njit(cache=True)
def on_grid(density: float) -> float:
    """The nearest density that a block may claim."""
    step = round((density - DENSITY_MIN) / DENSITY_STEP)
    return DENSITY_MIN + DENSITY_STEP * min(DENSITIES - 1, max(0, step))


@numba.njit(cache=True)
def _codes(held: npt.NDArray[np.float64], there: npt.NDArray[np.float64]) -> tuple[float, float]:
    n, of = held.sum(), there.sum()
    flat = log_choose(of, n) + math.log(n * (n + 1.0))
    layered = 0.0
    for k in range(STRATA):
        layered += log_choose(there[k], held[k]) + math.log((held[k] + 1.0) * (held[k] + 2.0))
    return flat, layered


@numba.njit(cache=True)
def price(
    held: npt.NDArray[np.float64], there: npt.NDArray[np.float64], cells: float, of_cells: float
) -> float:
    """Price a block of ``held`` workers a stratum among ``there``, ``cells`` among ``of_cells``."""
    flat, layered = _codes(held, there)
    of_workers = min(flat, layered) + math.log(2.0)
    chosen = log_choose(of_cells, cells) + math.log(cells * (cells + 1.0))
    return of_workers + chosen + math.log(float(DENSITIES))


@numba.njit(cache=True)
def rough(
    held: npt.NDArray[np.float64], log_there: npt.NDArray[np.float64], cells: int, log_cells: float
) -> float:
    """The price by n ln N − ln n! of each choice: for a few of many, at a fraction of the time.

    ``log_there`` is the logarithm of how many there are of each stratum, and of all, last.
    """
    n, layered = 0, 0.0
    for k in range(STRATA):
        h = int(held[k])
        n += h
        layered += h * log_there[k] - LOG_FACTORIAL[h]
    flat = n * log_there[STRATA] - LOG_FACTORIAL[n]
    t = min(cells, len(LOG_FACTORIAL) - 1)
    return float(min(flat, layered) + t * log_cells - LOG_FACTORIAL[t])


@numba.njit(cache=True)
def tolls(
    held: npt.NDArray[np.float64], there: npt.NDArray[np.float64], margin: float
) -> npt.NDArray[np.float64]:
    """What one more worker of each stratum must bring to a block that holds these, and a margin."""
    flat, layered = _codes(held, there)
    out = np.empty(STRATA)
    for k in range(STRATA):
        if flat <= layered:
            out[k] = math.log(max(1.0, there.sum())) - math.log(max(1.0, held.sum())) + margin
        else:
            out[k] = math.log(max(1.0, there[k])) - math.log(max(1.0, held[k])) + margin
    return out
