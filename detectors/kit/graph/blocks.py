"""Dense blocks against a degree- and time-preserving null: seeded search, priced likelihood ratios.

Worker w meets cell c (a publisher, or a publisher within some hours) with probability
p = d(w) · k(c) / E(w), the null of the bipartite configuration model; E(w) counts the edges of the time
in which the worker was active. A block (S, T) claims that the workers S meet the cells T with one
density ρ. Its log-likelihood ratio is summed over all of S × T, absent edges included, so edges
elsewhere (camouflage) neither help nor hide it, and it pays the price of having been chosen:
ln C(N, |S|) + ln C(M, |T|). What is left is the logarithm of an e-value: under the null
P(e ≥ x) ≤ 1/x by Markov's inequality, over all blocks at once, without simulation.

The alternating search is that of large average submatrices (Shabalin, Weigman, Perou & Nobel 2009).
"""

import math
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numba
import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, pdtr

Ints: TypeAlias = npt.NDArray[np.int32]
Longs: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Arrays: TypeAlias = tuple[Longs, Ints, Longs, Ints, Floats, Floats]
Scratch: TypeAlias = tuple[Ints, Floats, Floats, Ints]

DENSITY_MIN: Final = 0.2
DENSITY_MAX: Final = 0.98
ROUNDS_MAX: Final = 8
NEIGHBOURS_MAX: Final = 24
WORKERS_MIN: Final = 3
CELLS_MIN: Final = 2
WORKERS_MAX: Final = 8_192
CELLS_MAX: Final = 1_024
SEED_PAIR_MIN: Final = 7.0
"""A pair seeds a block from here on: the negative log-probability of all that the two share."""
SEED_CREDIT: Final = 40.0
"""How much of its price a growing block may still owe: chance neighbours owe more, crews nothing."""
GROW_MARGIN: Final = 1.0
"""Log-odds beyond the price of being chosen with which a worker joins a block that still grows."""
MEMBER_MARGIN: Final = 4.0
"""The same for the members of a block that is judged, 50 to 1, unless all together are proof."""
PROOF: Final = 30.0
"""The log e-value from which a block stands as it grew, with members who stand out less."""
MISSED: Final = 0.5
"""How many members may have been missed, for each one found, when non-members are measured."""
BETWEEN_MAX: Final = 0.1
"""How many others may be half-way to a member, for each member, in a block that stands apart."""
LOOKUPS_MAX: Final = 1e8
"""Budget for finding neighbours: the sum of squared sizes of the cells that are looked through."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
        """The six arrays, for compiled code."""
        return (
            self.cell_start, self.cell_of, self.worker_start, self.worker_of, self.size, self.rate,
        )  # fmt: skip

    @property
    def workers(self) -> int:
        """How many workers could be in a block."""
        return max(1, int((np.diff(self.cell_start) >= CELLS_MIN).sum()))

    @property
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
    """Workers and cells by ascending index, the density between them, log e-value.

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


@numba.njit(cache=True)
def log_choose(n: float, k: float) -> float:
    """The logarithm of the binomial coefficient."""
    return math.lgamma(n + 1.0) - math.lgamma(k + 1.0) - math.lgamma(n - k + 1.0)


@numba.njit(cache=True)
def _neighbours(seed: int, s: Ints, graph: Arrays, size_max: float, scratch: Scratch) -> int:
    """Put the seed and its most surprising neighbours into ``s``; return how many they are.

    Two workers surprise by what they share: Σ −ln p of the other's meeting the seed's cells.
    """
    cell_start, cell_of, worker_start, worker_of, size, rate = graph
    count, score, _, met = scratch
    found = 0
    for i in range(cell_start[seed], cell_start[seed + 1]):
        c = cell_of[i]
        if worker_start[c + 1] - worker_start[c] > size_max:
            continue
        log_size = math.log(size[c])
        for j in range(worker_start[c], worker_start[c + 1]):
            u = worker_of[j]
            if count[u] == 0:
                met[found] = u
                found += 1
            count[u] += 1
            score[u] -= log_size
    best = np.full(NEIGHBOURS_MAX, SEED_PAIR_MIN)
    n = 1
    s[0] = seed
    for i in range(found):
        u = met[i]
        value = score[u] - count[u] * math.log(rate[u])
        if u != seed and count[u] >= CELLS_MIN and value > best[NEIGHBOURS_MAX - 1]:
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
    return n


@numba.njit(cache=True)
def _choose_cells(
    s: Ints, n_s: int, t: Ints, n_before: int, rho: float, price: float, graph: Arrays,
    scratch: Scratch,
) -> tuple[int, int, float]:  # fmt: skip
    """Choose the cells that these workers meet more often than their degrees explain.

    Returns how many, the edges inside, the summed log-likelihood ratio.
    """
    cell_start, cell_of, _, _, size, rate = graph
    count, score, mass, met = scratch
    found = 0
    rates = 0.0
    for i in range(n_s):
        w = s[i]
        rates += rate[w]
        log_rate = math.log(rate[w])
        for j in range(cell_start[w], cell_start[w + 1]):
            c = cell_of[j]
            if count[c] == 0:
                met[found] = c
                found += 1
            count[c] += 1
            score[c] -= log_rate
            mass[c] += rate[w]
    hit, miss = math.log(rho), math.log(1.0 - rho)
    toll = price - math.log(max(1.0, float(n_before)))
    n, edges, total = 0, 0, 0.0
    for i in range(found):
        c = met[i]
        a = count[c]
        gain = score[c] + a * (hit - math.log(size[c])) + (n_s - a) * miss
        gain += (rates - mass[c]) * size[c]
        if a >= 2 and gain > toll and n < CELLS_MAX:
            t[n] = c
            n += 1
            edges += a
            total += gain
        count[c] = 0
        score[c] = 0.0
        mass[c] = 0.0
    return n, edges, total


@numba.njit(cache=True)
def _choose_workers(
    t: Ints, n_t: int, s: Ints, n_before: int, rho: float, price: float, graph: Arrays,
    scratch: Scratch, gain_of: Floats,
) -> tuple[int, int, float]:  # fmt: skip
    """Choose the workers that meet these cells more often than their degrees explain."""
    _, _, worker_start, worker_of, size, rate = graph
    count, score, mass, met = scratch
    found = 0
    sizes = 0.0
    for i in range(n_t):
        c = t[i]
        sizes += size[c]
        log_size = math.log(size[c])
        for j in range(worker_start[c], worker_start[c + 1]):
            w = worker_of[j]
            if count[w] == 0:
                met[found] = w
                found += 1
            count[w] += 1
            score[w] -= log_size
            mass[w] += size[c]
    hit, miss = math.log(rho), math.log(1.0 - rho)
    toll = price - math.log(max(1.0, float(n_before)))
    n, edges, total = 0, 0, 0.0
    for i in range(found):
        w = met[i]
        a = count[w]
        gain = score[w] + a * (hit - math.log(rate[w])) + (n_t - a) * miss
        gain += (sizes - mass[w]) * rate[w]
        if a >= CELLS_MIN and gain > toll and n < WORKERS_MAX:
            s[n] = w
            gain_of[n] = gain
            n += 1
            edges += a
            total += gain
        count[w] = 0
        score[w] = 0.0
        mass[w] = 0.0
    return n, edges, total


@numba.njit(cache=True)
def _nucleus(
    s: Ints, n_s: int, t: Ints, graph: Arrays, counts: tuple[float, float], price: float,
    of_cells: Scratch,
) -> int:  # fmt: skip
    """Choose how many of the seed's neighbours to begin with; 0 where they owe too much."""
    best, best_n = -SEED_CREDIT, 0
    for n in (4, 8, 12, NEIGHBOURS_MAX + 1):
        size = min(n, n_s)
        n_t, _, total = _choose_cells(s, size, t, CELLS_MIN, 0.5, price, graph, of_cells)
        left = total - log_choose(counts[0], size) - log_choose(counts[1], n_t)
        if n_t >= CELLS_MIN and left > best:
            best, best_n = left, size
        if n >= n_s:
            break
    return best_n


@numba.njit(cache=True)
def _grow(
    s: Ints, n_s: int, t: Ints, gain_of: Floats, graph: Arrays, counts: tuple[float, float],
    prices: tuple[float, float], of_workers: Scratch, of_cells: Scratch,
) -> tuple[int, int, float, float]:  # fmt: skip
    """Alternate between the best cells and the best workers until nothing moves.

    Returns workers, cells, summed log-likelihood ratio and density; no cells where it came to
    nothing.
    """
    n_s = _nucleus(s, n_s, t, graph, counts, prices[1], of_cells)
    n_t, rho, total = CELLS_MIN, 0.5, 0.0
    last_s, last_t = -1, -1
    for _ in range(ROUNDS_MAX if n_s else 0):
        n_t, edges, total = _choose_cells(s, n_s, t, n_t, rho, prices[1], graph, of_cells)
        if n_t < CELLS_MIN:
            return n_s, 0, 0.0, rho
        rho = min(DENSITY_MAX, max(DENSITY_MIN, edges / (n_s * n_t)))
        n_s, edges, total = _choose_workers(
            t, n_t, s, n_s, rho, prices[0], graph, of_workers, gain_of
        )
        if n_s < WORKERS_MIN:
            return n_s, 0, 0.0, rho
        rho = min(DENSITY_MAX, max(DENSITY_MIN, edges / (n_s * n_t)))
        if n_s == last_s and n_t == last_t:
            break
        last_s, last_t = n_s, n_t
    return n_s, n_t if n_s else 0, total, rho


@numba.njit(cache=True)
def _search(
    seeds: Longs, graph: Arrays, size_max: float, counts: tuple[float, float],
    prices: tuple[float, float], room: tuple[Ints, Floats, Ints, Floats],
) -> int:  # fmt: skip
    """Grow a block from every seed that is in none yet. Returns how many were kept.

    ``room`` takes members, their gains, cells, and rows of (members from, to, cells from, to,
    log e, density).
    """
    members, gains, cells, rows = room
    cell_start, n_w, n_c = graph[0], len(graph[5]), len(graph[4])
    of_workers = (np.zeros(n_w, np.int32), np.zeros(n_w), np.zeros(n_w), np.empty(n_w, np.int32))
    of_cells = (np.zeros(n_c, np.int32), np.zeros(n_c), np.zeros(n_c), np.empty(n_c, np.int32))
    s = np.empty(WORKERS_MAX, np.int32)
    t = np.empty(CELLS_MAX, np.int32)
    gain_of = np.empty(WORKERS_MAX)
    taken = np.zeros(n_w, np.bool_)
    kept, used_s, used_t = 0, 0, 0
    for seed in seeds:
        if taken[seed] or cell_start[seed + 1] - cell_start[seed] < CELLS_MIN:
            continue
        n_s = _neighbours(seed, s, graph, size_max, of_workers)
        if n_s < WORKERS_MIN:
            continue
        n_s, n_t, total, rho = _grow(
            s, n_s, t, gain_of, graph, counts, prices, of_workers, of_cells
        )
        log_e = total - log_choose(counts[0], n_s) - log_choose(counts[1], n_t)
        if n_t == 0 or log_e <= 0.0:
            continue
        if kept == len(rows) or used_s + n_s > len(members) or used_t + n_t > len(cells):
            break
        members[used_s : used_s + n_s] = s[:n_s]
        gains[used_s : used_s + n_s] = gain_of[:n_s]
        cells[used_t : used_t + n_t] = t[:n_t]
        rows[kept] = np.array([used_s, used_s + n_s, used_t, used_t + n_t, log_e, rho])
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
    counts = (float(graph.workers), float(graph.cells))
    prices = (math.log(counts[0]) + GROW_MARGIN, math.log(counts[1]) + 1.0)
    kept = _search(
        order.astype(np.int64), graph.arrays, graph.lookup_size_max(), counts, prices, room
    )
    found = []
    for a, b, c, d, log_e, rho in room[3][:kept].tolist():
        rank = np.argsort(room[0][int(a) : int(b)])
        block = Block(
            workers=room[0][int(a) : int(b)][rank],
            cells=np.sort(room[2][int(c) : int(d)]),
            density=rho,
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


def temper(graph: Incidence, block: Block) -> Block | None:
    """Judge a block again under the taste that non-members show for the same cells.

    A block that stands apart from everybody else stays as it grew if that leaves proof. From any
    other only those are kept, and looked at alone, who stand out by themselves: of a crowd with a
    taste the keenest are no crew. None where nothing is left of it.
    """
    touch = np.concatenate(
        [graph.worker_of[graph.worker_start[c] : graph.worker_start[c + 1]] for c in block.cells]
    )
    touched = np.unique(touch, return_counts=True)
    grown = _tempered(graph, block, touched, GROW_MARGIN)
    if grown is not None and grown.log_e >= PROOF and _stands_apart(graph, block, touched):
        return grown
    core = _of_members(graph, block, MEMBER_MARGIN)
    return None if core is None else _tempered(graph, core, touched, MEMBER_MARGIN)


def _stands_apart(graph: Incidence, block: Block, touched: tuple[Ints, Longs]) -> bool:
    """Tell whether there is a gap between what the members meet of the cells and what others do.

    Between half and four fifths of what a member meets, there are few others beyond those whom
    chance explains: some members that were missed. Of a crowd with a taste there are many.
    """
    who, met = touched
    inside = np.isin(who, block.workers)
    usual = float(met[inside].mean())
    low, high = math.ceil(0.5 * usual), math.ceil(0.8 * usual)
    between = int(((met >= low) & (met < high) & ~inside).sum())
    mean = graph.rate * float(graph.size[block.cells].sum())
    chance = float((pdtr(high - 1, mean) - pdtr(low - 1, mean)).sum())
    return between - chance <= BETWEEN_MAX * len(block.workers)


def _tempered(
    graph: Incidence, block: Block, touched: tuple[Ints, Longs], margin: float
) -> Block | None:
    """Price each member by a null with the dispersion that everybody else shows.

    Cells of one district or trade are met together by honest workers too. The lift
    L = Σ a(a − 1) / Σ m² over non-members (a cells met, m expected) is 1 + 1/φ of a gamma-mixed
    Poisson null, whose heavier tail replaces the Poisson one for each member: a negative binomial.
    The busiest others, half as many as there are members, do not count: they may be members that
    were missed.
    """
    who, met = touched
    inside = np.isin(who, block.workers)
    others = np.sort(met[~inside])[
        : max(0, int((~inside).sum()) - math.ceil(MISSED * inside.sum()))
    ]
    sizes = float(graph.size[block.cells].sum())
    eligible = np.diff(graph.cell_start) >= CELLS_MIN
    squares = float((graph.rate[eligible] ** 2).sum() - (graph.rate[block.workers] ** 2).sum())
    pairs = float((others * (others - 1.0)).sum())
    lift = max(1.0, (pairs + 1.0) / (squares * sizes**2 + 1.0))
    gain = block.gain
    if lift > 1.0:
        a = met[inside].astype(np.float64)
        m = graph.rate[block.workers] * sizes
        phi = 1.0 / (lift - 1.0)
        heavy = gammaln(a + phi) - gammaln(phi) + phi * np.log(phi / (phi + m))
        gain = gain - (heavy - a * np.log(phi + m) + m)
    return _of_members(graph, replace(block, gain=gain, lift=lift), margin)


def _of_members(graph: Incidence, block: Block, margin: float) -> Block | None:
    """Keep the members who bring this much beyond their price; None where too few are left."""
    toll = math.log(graph.workers) + margin - math.log(len(block.workers))
    keep = block.gain > toll
    n = int(keep.sum())
    if n < WORKERS_MIN:
        return None
    price = log_choose(graph.workers, n) + log_choose(graph.cells, len(block.cells))
    gain = block.gain[keep]
    return replace(block, workers=block.workers[keep], gain=gain, log_e=float(gain.sum()) - price)


def blocks(graph: Incidence, *, seeds: Longs | None = None) -> list[Block]:
    """Search, temper, and order again by what is left."""
    tempered = [temper(graph, block) for block in search(graph, seeds=seeds)]
    left = [b for b in tempered if b is not None and b.log_e > 0.0]
    return sorted(left, key=lambda b: (-b.log_e, b.workers.tolist()))
