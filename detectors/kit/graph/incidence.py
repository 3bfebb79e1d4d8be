"""Who met what, as a bipartite graph both ways, and a block of it."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numba
import numpy as np
import numpy.typing as npt

from detectors.kit.graph.price import STRATA, strata_of

Ints: TypeAlias = npt.NDArray[np.int32]
Longs: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bytes: TypeAlias = npt.NDArray[np.int8]
Arrays: TypeAlias = tuple[Longs, Ints, Longs, Ints, Floats, Floats, Bytes]

WORKERS_MIN: Final = 3
CELLS_MIN: Final = 2
LOOKUPS_MAX: Final = 1e8
"""Budget for finding neighbours: the sum of squared sizes of the cells that are looked through."""


@dataclass(frozen=True, kw_only=True)
class Incidence:
    """Which worker met which cell, both ways, each pair once.

    ``cell_of`` / ``cell_start`` list the cells of each eligible worker (two cells and more),
    ``worker_of`` / ``worker_start`` the eligible workers of each cell. ``size`` is the full degree
    of each cell, ``rate`` d(w) / E(w) of each worker.
    """

    cell_start: Longs
    cell_of: Ints
    worker_start: Longs
    worker_of: Ints
    size: Floats
    rate: Floats

    @property
    def arrays(self) -> Arrays:
        """The six arrays and the stratum of each worker, for compiled code."""
        return (
            self.cell_start, self.cell_of, self.worker_start, self.worker_of, self.size, self.rate,
            self.stratum,
        )  # fmt: skip

    @cached_property
    def stratum(self) -> Bytes:
        """The stratum of activity of each worker (−1: cannot be in a block)."""
        return strata_of(np.diff(self.cell_start))

    @cached_property
    def there(self) -> Floats:
        """How many workers of each stratum could be in a block."""
        return self.held(self.stratum)

    @staticmethod
    def held(stratum: Bytes) -> Floats:
        """Count the workers of each stratum."""
        return np.bincount(stratum[stratum >= 0], minlength=STRATA).astype(np.float64)

    @cached_property
    def cells(self) -> int:
        """How many cells could be in a block."""
        return max(1, int((np.diff(self.worker_start) >= 2).sum()))

    def lookup_size_max(self) -> float:
        """The largest cell through which neighbours are sought within the budget."""
        size = np.sort(np.diff(self.worker_start)).astype(np.float64)
        within = int(np.searchsorted(np.cumsum(size * size), LOOKUPS_MAX, "right"))
        return math.inf if within == len(size) else float(size[max(0, within - 1)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Workers and cells by ascending index, the density between them as it grew, log e-value.

    ``gain`` is each member's own log-likelihood ratio, ``lift`` how much more often than by chance
    non-members meet two of the cells (1: not more often).
    """

    workers: Ints
    cells: Ints
    density: float
    log_e: float
    gain: Floats
    lift: float = 1.0


def incidence(
    worker: Ints, cell: Ints, *, workers: int, cells: int, exposure: Floats | None = None
) -> Incidence:
    """Build both directions from edge lists; repeated pairs count once.

    ``exposure`` is E(w) of each worker, the edges of the time it was active in (None: all edges).
    """
    pair = np.sort(worker.astype(np.int64) * cells + cell)
    pair = pair[np.concatenate([[True], pair[1:] != pair[:-1]])] if len(pair) else pair
    w, c = (pair // cells).astype(np.int32), (pair % cells).astype(np.int32)
    degree = np.bincount(w, minlength=workers)
    size = np.bincount(c, minlength=cells).astype(np.float64)
    total = np.full(workers, float(len(pair))) if exposure is None else exposure
    keep = degree[w] >= CELLS_MIN
    w, c = w[keep], c[keep]
    worker_start = starts(c, cells)
    return Incidence(
        cell_start=starts(w, workers),
        cell_of=c,
        worker_start=worker_start,
        worker_of=_transpose(w, c, worker_start),
        size=size,
        rate=degree / np.maximum(total, 1.0),
    )


def starts(index: Ints, n: int) -> Longs:
    """Where each index begins in a list sorted by it: n + 1 offsets."""
    return np.concatenate([[0], np.cumsum(np.bincount(index, minlength=n))]).astype(np.int64)


@numba.njit(cache=True)
def _transpose(w: Ints, c: Ints, start: Longs) -> Ints:
    out = np.empty(len(w), np.int32)
    at = start.copy()
    for i in range(len(w)):
        out[at[c[i]]] = w[i]
        at[c[i]] += 1
    return out
