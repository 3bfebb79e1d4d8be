"""Dense blocks against a degree- and time-preserving null: seeded search, priced likelihood ratios.

Worker w meets cell c (a publisher, or a publisher within some hours) m = d(w) · k(c) / E(w) times on
average, the null of the bipartite configuration model; E(w) counts the edges of the time in which
the worker was active. A block (S, T) claims that the workers S go to each of the cells T by
agreement with probability q, and by chance besides: a miss is 1 − q times as likely as under the
null, a meeting 1 − q + q / (1 − exp(−m)) times. The log-likelihood ratio is summed over all of
S × T, absent edges included, so edges elsewhere (camouflage) neither help nor hide it, and it pays the
price of having been chosen (``price``). What is left is the logarithm of an e-value: under the null
P(e ≥ x) ≤ 1/x by Markov's inequality, over all blocks at once, without simulation.

The alternating search is that of large average submatrices (Shabalin, Weigman, Perou & Nobel 2009).
"""

import math
from typing import Final, TypeAlias

import numba
import numpy as np
import numpy.typing as npt

from detectors.kit.graph.incidence import (
    CELLS_MIN,
    WORKERS_MIN,
    Arrays,
    Block,
    Floats,
    Incidence,
    Ints,
    Longs,
)
from detectors.kit.graph.price import STRATA, on_grid, price, rough, tolls
from detectors.kit.graph.temper import GROW_MARGIN, PROOF, temper

Scratch: TypeAlias = tuple[Ints, Floats, Ints]
Flags: TypeAlias = npt.NDArray[np.uint8]

ROUNDS_MAX: Final = 8
NEIGHBOURS_MAX: Final = 24
WORKERS_MAX: Final = 8_192
CELLS_MAX: Final = 1_024
SEED_PAIR_MIN: Final = 7.0
"""A pair seeds a block from here on: the negative log-probability of all that the two share."""
SEED_CREDIT: Final = 40.0
"""How much of its price a growing block may still owe: chance neighbours owe more, crews nothing."""


@numba.njit(cache=True)
def _often(seed: int, graph: Arrays, size_max: float, scratch: Scratch, seen: Flags) -> int:
    """Count and score, for those who meet enough of the seed's cells; return how many they are.

    Most meet one cell and are of no interest. ``seen`` is a byte for each worker, which stays in the
    processor's cache where counts and scores would not: those are kept for the few in ``met`` alone.
    ``seen`` comes and goes all zero but for ``met``.
    """
    cell_start, cell_of, worker_start, worker_of, size, _, _ = graph
    count, score, met = scratch
    found = 0
    for i in range(cell_start[seed], cell_start[seed + 1]):
        c = cell_of[i]
        if worker_start[c + 1] - worker_start[c] <= size_max:
            for j in range(worker_start[c], worker_start[c + 1]):
                u = worker_of[j]
                if seen[u] < CELLS_MIN:
                    seen[u] += 1
                    if seen[u] == CELLS_MIN:
                        met[found] = u
                        found += 1
    for i in range(cell_start[seed], cell_start[seed + 1]):
        c = cell_of[i]
        if worker_start[c + 1] - worker_start[c] <= size_max:
            log_size = math.log(size[c])
            for j in range(worker_start[c], worker_start[c + 1]):
                u = worker_of[j]
                if seen[u] < CELLS_MIN:
                    seen[u] = 0
                else:
                    count[u] += 1
                    score[u] -= log_size
    return found


@numba.njit(cache=True)
def _neighbours(
    seed: int, s: Ints, graph: Arrays, size_max: float, scratch: Scratch, seen: Flags
) -> int:
    """Put the seed and its most surprising neighbours into ``s``; return how many they are.

    Two workers surprise by what they share: Σ −ln p of the other's meeting the seed's cells.
    """
    rate = graph[5]
    count, score, met = scratch
    found = _often(seed, graph, size_max, scratch, seen)
    best = np.full(NEIGHBOURS_MAX, SEED_PAIR_MIN)
    n = 1
    s[0] = seed
    for i in range(found):
        u = met[i]
        value = score[u] - count[u] * math.log(rate[u])
        if u != seed and value > best[NEIGHBOURS_MAX - 1]:
            k = min(n, NEIGHBOURS_MAX) - 1
            while k > 0 and value > best[k - 1]:
                best[k] = best[k - 1]
                s[k + 1] = s[k]
                k -= 1
            best[k] = value
            s[k + 1] = u
            n = min(n + 1, NEIGHBOURS_MAX + 1)
        count[u] = 0
        score[u] = 0.0
        seen[u] = 0
    return n


@numba.njit(cache=True)
def _hit(q: float, mean: float) -> float:
    """Log-likelihood ratio of a meeting that chance gives with probability 1 − exp(−mean)."""
    chance = mean * (1.0 - mean * (0.5 - mean / 6.0)) if mean < 0.1 else 1.0 - math.exp(-mean)
    return math.log(1.0 - q + q / chance)


@numba.njit(cache=True)
def _choose_cells(
    s: Ints, n_s: int, t: Ints, n_before: int, q: float, price: float, graph: Arrays,
    scratch: Scratch,
) -> tuple[int, float, float]:  # fmt: skip
    """Choose the cells that these workers meet more often than their degrees explain.

    Returns how many, the agreement that they show, the summed log-likelihood ratio.
    """
    cell_start, cell_of, _, _, size, rate, _ = graph
    count, score, met = scratch
    found, rates = 0, 0.0
    for i in range(n_s):
        w = s[i]
        rates += rate[w]
        for j in range(cell_start[w], cell_start[w + 1]):
            c = cell_of[j]
            if count[c] == 0:
                met[found] = c
                found += 1
            count[c] += 1
            score[c] += _hit(q, rate[w] * size[c])
    miss = math.log(1.0 - q)
    toll = price - math.log(max(1.0, float(n_before)))
    n, edges, total, sizes = 0, 0, 0.0, 0.0
    for i in range(found):
        c = met[i]
        a = count[c]
        gain = score[c] + (n_s - a) * miss
        if a >= 2 and gain > toll and n < CELLS_MAX:
            t[n] = c
            n += 1
            edges += a
            total += gain
            sizes += size[c]
        count[c] = 0
        score[c] = 0.0
    return n, _agreement(edges, rates * sizes, n_s * n), total


@numba.njit(cache=True)
def _choose_workers(
    t: Ints, n_t: int, s: Ints, q: float, toll: Floats, graph: Arrays, scratch: Scratch,
    gain_of: Floats,
) -> tuple[int, int, float, float]:  # fmt: skip
    """Choose the workers that meet these cells more often than their degrees explain.

    Returns how many, the meetings inside, their agreement, the summed log-likelihood ratio.
    """
    _, _, worker_start, worker_of, size, rate, stratum = graph
    count, score, met = scratch
    found, sizes = 0, 0.0
    for i in range(n_t):
        c = t[i]
        sizes += size[c]
        for j in range(worker_start[c], worker_start[c + 1]):
            w = worker_of[j]
            if count[w] == 0:
                met[found] = w
                found += 1
            count[w] += 1
            score[w] += _hit(q, rate[w] * size[c])
    miss = math.log(1.0 - q)
    n, edges, total, rates = 0, 0, 0.0, 0.0
    for i in range(found):
        w = met[i]
        a = count[w]
        gain = score[w] + (n_t - a) * miss
        if a >= CELLS_MIN and gain > toll[stratum[w]] and n < WORKERS_MAX:
            s[n] = w
            gain_of[n] = gain
            n += 1
            edges += a
            total += gain
            rates += rate[w]
        count[w] = 0
        score[w] = 0.0
    return n, edges, _agreement(edges, rates * sizes, n * n_t), total


@numba.njit(cache=True)
def _agreement(edges: int, by_chance: float, pairs: int) -> float:
    """The q with which this many of the pairs meet: 1 − density = (1 − q) (1 − chance)."""
    if pairs == 0:
        return on_grid(0.0)
    chance = min(0.9, by_chance / pairs)
    return on_grid(1.0 - (1.0 - edges / pairs) / (1.0 - chance))


@numba.njit(cache=True)
def _held(s: Ints, n: int, graph: Arrays) -> Floats:
    """Count the workers of each stratum among the first n."""
    out = np.zeros(STRATA)
    for i in range(n):
        out[graph[6][s[i]]] += 1.0
    return out


@numba.njit(cache=True)
def _nucleus(
    s: Ints,
    n_s: int,
    t: Ints,
    graph: Arrays,
    log_there: Floats,
    log_cells: float,
    scratch: Scratch,
) -> int:
    """Choose how many of the seed's neighbours to begin with; 0 where they owe too much."""
    best, best_n = -SEED_CREDIT, 0
    toll = log_cells + GROW_MARGIN
    for n in (4, 8, 12, NEIGHBOURS_MAX + 1):
        size = min(n, n_s)
        n_t, _, total = _choose_cells(s, size, t, CELLS_MIN, 0.5, toll, graph, scratch)
        if n_t >= CELLS_MIN:
            left = total - rough(_held(s, size, graph), log_there, n_t, log_cells)
            if left > best:
                best, best_n = left, size
        if n >= n_s:
            break
    return best_n


@numba.njit(cache=True)
def _grow(
    s: Ints, n_s: int, t: Ints, gain_of: Floats, graph: Arrays, there: Floats, log_there: Floats,
    of_cells: float, scratch: tuple[Scratch, Scratch],
) -> tuple[int, int, float, float]:  # fmt: skip
    """Alternate between the best cells and the best workers until nothing moves.

    Returns workers, cells, log e-value and density; no cells where it came to nothing.
    """
    n_s = _nucleus(s, n_s, t, graph, log_there, math.log(of_cells), scratch[1])
    n_t, q, log_e, density = CELLS_MIN, 0.5, 0.0, 0.0
    toll = math.log(of_cells) + GROW_MARGIN
    last_s, last_t = -1, -1
    for _ in range(ROUNDS_MAX if n_s else 0):
        n_t, q, _ = _choose_cells(s, n_s, t, n_t, q, toll, graph, scratch[1])
        if n_t < CELLS_MIN:
            return n_s, 0, 0.0, 0.0
        margin = 0.0 if log_e >= PROOF else GROW_MARGIN
        asked = tolls(_held(s, n_s, graph), there, margin)
        n_s, edges, next_q, total = _choose_workers(t, n_t, s, q, asked, graph, scratch[0], gain_of)
        density = edges / max(1, n_s * n_t)
        if n_s < WORKERS_MIN:
            return n_s, 0, 0.0, 0.0
        log_e = total - price(_held(s, n_s, graph), there, float(n_t), of_cells)
        if n_s == last_s and n_t == last_t:
            break
        last_s, last_t, q = n_s, n_t, next_q
    return n_s, n_t if n_s else 0, log_e, density


@numba.njit(cache=True)
def _search(
    seeds: Longs,
    graph: Arrays,
    size_max: float,
    there: Floats,
    cell_count: float,
    room: tuple[Ints, Floats, Ints, Floats],
) -> int:
    """Grow a block from every seed that is in none yet. Returns how many were kept.

    ``room`` takes members, their gains, cells, and rows of (members from, to, cells from, to,
    log e, density).
    """
    members, gains, cells, rows = room
    cell_start, n_w, n_c = graph[0], len(graph[5]), len(graph[4])
    of_workers = (np.zeros(n_w, np.int32), np.zeros(n_w), np.empty(n_w, np.int32))
    of_cells = (np.zeros(n_c, np.int32), np.zeros(n_c), np.empty(n_c, np.int32))
    s = np.empty(WORKERS_MAX, np.int32)
    t = np.empty(CELLS_MAX, np.int32)
    gain_of = np.empty(WORKERS_MAX)
    log_there = np.log(np.maximum(np.append(there, there.sum()), 1.0))
    taken, seen = np.zeros(n_w, np.bool_), np.zeros(n_w, np.uint8)
    kept, used_s, used_t = 0, 0, 0
    for seed in seeds:
        if taken[seed] or cell_start[seed + 1] - cell_start[seed] < CELLS_MIN:
            continue
        n_s = _neighbours(seed, s, graph, size_max, of_workers, seen)
        if n_s < WORKERS_MIN:
            continue
        n_s, n_t, log_e, density = _grow(
            s, n_s, t, gain_of, graph, there, log_there, cell_count, (of_workers, of_cells)
        )
        if n_t == 0 or log_e <= 0.0:
            continue
        if kept == len(rows) or used_s + n_s > len(members) or used_t + n_t > len(cells):
            break
        members[used_s : used_s + n_s] = s[:n_s]
        gains[used_s : used_s + n_s] = gain_of[:n_s]
        cells[used_t : used_t + n_t] = t[:n_t]
        rows[kept] = np.array([used_s, used_s + n_s, used_t, used_t + n_t, log_e, density])
        used_s += n_s
        used_t += n_t
        kept += 1
        taken[s[:n_s]] = True
    return kept


def search(graph: Incidence, *, seeds: Longs | None = None) -> list[Block]:
    """Find blocks, the most surprising first; members of a found block seed no other.

    ``seeds`` are the workers to start from (None: all). Blocks may overlap; a block that is nearly
    another one is left out. Deterministic: no draw is made.
    """
    order = np.argsort(graph.rate, kind="stable") if seeds is None else np.unique(seeds)
    n = len(graph.rate)
    room = (
        np.empty(4 * n + WORKERS_MAX, np.int32), np.empty(4 * n + WORKERS_MAX),
        np.empty(4 * n + CELLS_MAX, np.int32), np.zeros((n + 1, 6)),
    )  # fmt: skip
    kept = _search(
        order.astype(np.int64), graph.arrays, graph.lookup_size_max(), graph.there,
        float(graph.cells), room,
    )  # fmt: skip
    found = []
    for a, b, c, d, log_e, density in room[3][:kept].tolist():
        rank = np.argsort(room[0][int(a) : int(b)])
        block = Block(
            workers=room[0][int(a) : int(b)][rank],
            cells=np.sort(room[2][int(c) : int(d)]),
            density=density,
            log_e=log_e,
            gain=room[1][int(a) : int(b)][rank],
        )
        found.append(block)
    return _distinct(found)


def _distinct(found: list[Block]) -> list[Block]:
    """Leave out blocks whose workers are mostly those of a better one."""
    kept: list[Block] = []
    of_worker: dict[int, list[int]] = {}
    for block in sorted(found, key=lambda b: (-b.log_e, b.workers.tolist())):
        names = block.workers.tolist()
        rivals = {k for w in names for k in of_worker.get(w, ())}
        if any(
            len(np.intersect1d(block.workers, kept[k].workers)) > 0.8 * len(names) for k in rivals
        ):
            continue
        for w in names:
            of_worker.setdefault(w, []).append(len(kept))
        kept.append(block)
    return kept


def blocks(graph: Incidence, *, seeds: Longs | None = None) -> list[Block]:
    """Search, temper, and order again by what is left."""
    tempered = [temper(graph, block) for block in search(graph, seeds=seeds)]
    left = [b for b in tempered if b is not None and b.log_e > 0.0]
    return sorted(left, key=lambda b: (-b.log_e, b.workers.tolist()))
