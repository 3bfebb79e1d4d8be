"""What is left of a block once the taste that everybody else shows for its cells is allowed for."""

import math
from dataclasses import replace
from typing import Final

import numpy as np
from scipy.special import bdtr, gammaln

from detectors.kit.graph.incidence import (
    CELLS_MIN,
    WORKERS_MIN,
    Block,
    Floats,
    Incidence,
    Ints,
    Longs,
)
from detectors.kit.graph.price import price, tolls

GROW_MARGIN: Final = 1.0
"""Log-odds beyond the price of being chosen with which a worker joins a block that still grows."""
MEMBER_MARGIN: Final = 4.0
"""The same for the members of a block that is judged, 50 to 1, unless all together are proof."""
PROOF: Final = 30.0
"""The log e-value from which a block stands as it grew, with members who stand out less."""
MISSED: Final = 0.5
"""How many members may have been missed, for each one found, when non-members are measured."""
BETWEEN_MAX: Final = 0.1
"""How many more than foretold may be half-way to a member, for each member, in a block apart."""


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
    grown = _tempered(graph, block, touched, 0.0 if block.log_e >= PROOF else GROW_MARGIN)
    if grown is not None and grown.log_e >= PROOF and _stands_apart(graph, block, touched):
        return grown
    core = _of_members(graph, block, MEMBER_MARGIN)
    return None if core is None else _tempered(graph, core, touched, MEMBER_MARGIN)


def _stands_apart(graph: Incidence, block: Block, touched: tuple[Ints, Longs]) -> bool:
    """Tell whether there is a gap between what the members meet of the cells and what others do.

    Between half and four fifths of what a member meets of the cells there are some members with
    little luck, whom a binomial with the members' mean foretells, and others by chance, each with
    its own number of cells. Of a crowd with a taste there are many more.
    """
    who, met = touched
    inside = np.isin(who, block.workers)
    usual, cells = float(met[inside].mean()), len(block.cells)
    low, high = math.ceil(0.5 * usual), math.ceil(0.8 * usual)
    between = int(((met >= low) & (met < high)).sum())
    lucky = float((met >= high).sum())
    below, band = _binomial(cells, usual / cells, low, high)
    members = lucky * float(band) / max(1e-9, 1.0 - float(below) - float(band))
    degree = np.diff(graph.cell_start)
    degree[block.workers] = 0
    others = np.flatnonzero(degree >= low)
    of_others = float(graph.size[block.cells].sum()) - float(met[inside].sum())
    share = np.minimum(1.0, graph.rate[others] * of_others / degree[others])
    chance = float(_binomial(degree[others], share, low, high)[1].sum())
    return between - members - chance <= BETWEEN_MAX * len(block.workers)


def _binomial(n: Longs | int, p: Floats | float, low: int, high: int) -> tuple[Floats, Floats]:
    """The chance of fewer than ``low``, and of ``low`` to under ``high``, of n at p each."""
    below = np.asarray(bdtr(np.minimum(low - 1, n), n, p), np.float64)
    return below, np.asarray(bdtr(np.minimum(high - 1, n), n, p), np.float64) - below


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
    degree = np.diff(graph.cell_start)
    degree[block.workers] = 0
    busy = degree >= CELLS_MIN
    squares = float((graph.rate[busy] ** 2 * (degree[busy] - 1.0) / degree[busy]).sum())
    pairs = float((others * (others - 1.0)).sum())
    lift = max(1.0, (pairs + 1.0) / (squares * (sizes - float(met[inside].sum())) ** 2 + 1.0))
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
    stratum, there = graph.stratum[block.workers], graph.there
    keep = block.gain > tolls(graph.held(stratum), there, margin)[stratum]
    if int(keep.sum()) < WORKERS_MIN:
        return None
    owed = price(
        graph.held(stratum[keep]), there, float(len(block.cells)), float(graph.cells)
    )  # fmt: skip
    gain = block.gain[keep]
    return replace(block, workers=block.workers[keep], gain=gain, log_e=float(gain.sum()) - owed)
