"""One window of meetings, searched for blocks at several widths of time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np

from detectors.kit.graph.blocks import blocks
from detectors.kit.graph.incidence import Block, Floats, Incidence, Ints, Longs, incidence

LOG_E_MIN: Final = math.log(100.0)
"""Under the null, at most one window in a hundred holds any block as surprising as this."""
ACTIVE_PAD: Final = timedelta(days=3)
"""A worker was active from this long before the first meeting to as long after the last: honest
newcomers of one week meet in that week's tasks, and a null over the whole window would not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Width:
    """One way to cut the window into cells.

    ``by`` names what is met (``publisher``, ``task``), ``span`` the width of time within it (None:
    the whole window), ``phases`` how many shifted grids are laid over it, so that no group
    straddles the edges of all of them.
    """

    name: str
    by: str
    span: timedelta | None = None
    phases: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Meetings:
    """Who met what and when, as arrays of one length in order of time.

    ``worker`` indexes workers from 0, ``met`` each kind of thing from 0, ``at`` is microseconds,
    ``pad`` how far beyond its own meetings a worker counts as active.
    """

    worker: Ints
    met: dict[str, Ints]
    at: Longs
    workers: int
    pad: timedelta = ACTIVE_PAD

    def exposure(self) -> Floats:
        """E(w): how many meetings fall into the time in which each worker was active."""
        pad = self.pad // timedelta(microseconds=1)
        first = np.full(self.workers, np.iinfo(np.int64).max // 2)
        last = np.full(self.workers, np.iinfo(np.int64).min // 2)
        np.minimum.at(first, self.worker, self.at)
        np.maximum.at(last, self.worker, self.at)
        end = np.searchsorted(self.at, last + pad, "right")
        return (end - np.searchsorted(self.at, first - pad, "left")).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A block, the width it was found at, and which meetings lie inside it.

    ``log_e`` has paid for the number of scans; ``expected`` is the density that activity alone
    explains.
    """

    width: Width
    block: Block
    log_e: float
    expected: float
    inside: Longs


def keys_of(met: Ints, at: Longs, width: Width, phase: int) -> Longs:
    """Name the cell of every meeting: the thing met in the high 32 bits, the slot of time below."""
    if width.span is None:
        return met.astype(np.int64) << 32
    span = width.span // timedelta(microseconds=1)
    slot = (at + phase * span // width.phases) // span
    return (met.astype(np.int64) << 32) + slot


def cells_of(met: Ints, at: Longs, width: Width, phase: int) -> tuple[Ints, int]:
    """Number the cell of every meeting, from 0 without gaps, and count the cells."""
    if width.span is None:
        return met, int(met.max()) + 1 if len(met) else 0
    names, cell = np.unique(keys_of(met, at, width, phase), return_inverse=True)
    return cell.astype(np.int32), len(names)


def graphs(meetings: Meetings, widths: Sequence[Width]) -> Iterator[tuple[Width, Ints, Incidence]]:
    """Cut the meetings at every width and phase: the width, the cell of each meeting, the graph."""
    exposure = meetings.exposure()
    for width in widths:
        for phase in range(width.phases):
            cell, count = cells_of(meetings.met[width.by], meetings.at, width, phase)
            yield (
                width,
                cell,
                incidence(
                    meetings.worker, cell, workers=meetings.workers, cells=count, exposure=exposure
                ),
            )


def scan(
    meetings: Meetings, widths: Sequence[Width], *, log_e_min: float = LOG_E_MIN
) -> list[Found]:
    """Find the blocks of every width, the most surprising first."""
    if len(meetings.at) == 0:
        return []
    toll = math.log(sum(w.phases for w in widths))
    found = []
    for width, cell, graph in graphs(meetings, widths):
        for block in blocks(graph):
            log_e = block.log_e - toll
            if log_e >= log_e_min:
                found.append(_found(meetings, width, cell, graph, block, log_e))
    return sorted(found, key=lambda f: (-f.log_e, f.block.workers.tolist()))


def _found(
    meetings: Meetings, width: Width, cell: Ints, graph: Incidence, block: Block, log_e: float
) -> Found:
    member = np.zeros(meetings.workers, np.bool_)
    member[block.workers] = True
    inside = np.flatnonzero(member[meetings.worker])
    inside = inside[np.isin(cell[inside], block.cells)]
    mass = graph.rate[block.workers].sum() * graph.size[block.cells].sum()
    return Found(
        width=width,
        block=block,
        log_e=log_e,
        expected=float(mass) / (len(block.workers) * len(block.cells)),
        inside=inside,
    )
