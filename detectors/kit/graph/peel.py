"""Greedy peeling of the densest block, after FRAUDAR (Hooi et al. 2016): a peer to measure against.

Edges weigh 1 / ln(k + 5) by the degree k of their cell, which is what makes camouflage on popular
cells cheap to ignore. No room uses it: a natural core of busy people peels as well as a crew does.
"""

import heapq
import math
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from detectors.kit.graph.incidence import Incidence, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Peeled:
    """The densest block found: workers and cells by index, average suspiciousness a node."""

    workers: Ints
    cells: Ints
    density: float


@numba.njit(cache=True)
def _peel(
    cell_start: npt.NDArray[np.int64], cell_of: Ints, worker_start: npt.NDArray[np.int64],
    worker_of: Ints, weight: npt.NDArray[np.float64],
) -> tuple[Ints, int, float]:  # fmt: skip
    """Take away the least suspicious node until none is left.

    Returns the step at which each node went (workers first), the best step, and its density.
    """
    n_w, n_c = len(cell_start) - 1, len(worker_start) - 1
    mass = np.zeros(n_w + n_c)
    total = 0.0
    for w in range(n_w):
        for i in range(cell_start[w], cell_start[w + 1]):
            c = cell_of[i]
            mass[w] += weight[c]
            mass[n_w + c] += weight[c]
            total += weight[c]
    heap = [(mass[v], np.int64(v)) for v in range(n_w + n_c) if mass[v] > 0.0]
    heapq.heapify(heap)
    left = len(heap)
    gone = np.full(n_w + n_c, -1, np.int32)
    step, best_step, best = 0, 0, total / max(1, left)
    while heap:
        value, v = heapq.heappop(heap)
        if gone[v] >= 0 or value > mass[v] + 1e-12:
            continue
        gone[v] = step
        step += 1
        total -= mass[v]
        left -= 1
        if v < n_w:
            for i in range(cell_start[v], cell_start[v + 1]):
                u = n_w + cell_of[i]
                if gone[u] < 0:
                    mass[u] -= weight[cell_of[i]]
                    heapq.heappush(heap, (mass[u], np.int64(u)))
        else:
            for i in range(worker_start[v - n_w], worker_start[v - n_w + 1]):
                u = worker_of[i]
                if gone[u] < 0:
                    mass[u] -= weight[v - n_w]
                    heapq.heappush(heap, (mass[u], np.int64(u)))
        if left > 0 and total / left > best:
            best = total / left
            best_step = step
    return gone, best_step, best


def peel(graph: Incidence) -> Peeled:
    """Find the block of greatest average suspiciousness among eligible workers."""
    weight = 1.0 / np.log(graph.size + 5.0)
    gone, best_step, density = _peel(
        graph.cell_start, graph.cell_of, graph.worker_start, graph.worker_of, weight
    )
    n_w = len(graph.rate)
    kept = np.flatnonzero(gone >= best_step).astype(np.int32)
    return Peeled(
        workers=kept[kept < n_w],
        cells=kept[kept >= n_w] - np.int32(n_w),
        density=float(density) if math.isfinite(density) else 0.0,
    )
