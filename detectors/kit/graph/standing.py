"""A scanned window that takes in more meetings: what the payout gate reads between two full scans.

New meetings are merged into the arrays of every width, and blocks are sought from the workers of the new
meetings alone. The activity E(w) of workers who are not in the batch stays that of the last full
scan; everything else is exact, so a block that touches the batch is found as a full scan finds it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numba
import numpy as np
import numpy.typing as npt

from detectors.kit.graph.blocks import blocks
from detectors.kit.graph.incidence import Block, Floats, Incidence, Ints, Longs
from detectors.kit.graph.scan import LOG_E_MIN, Meetings, Width, keys_of


@dataclass(slots=True)
class _Sheet:
    """One width and phase: its sorted cell names, their numbers, and the graph."""

    width: Width
    phase: int
    names: Longs
    number: Ints
    graph: Incidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Meetings of one window, cut at every width, ready to take in more."""

    sheets: list[_Sheet]
    at: list[Longs]
    first: Longs
    last: Longs
    pad: timedelta

    @classmethod
    def of(cls, meetings: Meetings, widths: Sequence[Width]) -> "Standing":
        """Cut the window at every width. Nothing is searched yet."""
        exposure = meetings.exposure()
        first = np.full(meetings.workers, np.iinfo(np.int64).max // 2)
        last = np.full(meetings.workers, np.iinfo(np.int64).min // 2)
        np.minimum.at(first, meetings.worker, meetings.at)
        np.maximum.at(last, meetings.worker, meetings.at)
        sheets = []
        for width in widths:
            for phase in range(width.phases):
                keys = keys_of(meetings.met[width.by], meetings.at, width, phase)
                names, cell = np.unique(keys, return_inverse=True)
                graph = _whole(meetings.worker, cell, meetings.workers, len(names), exposure)
                number = np.arange(len(names), dtype=np.int32)
                sheets.append(_Sheet(width, phase, names, number, graph))
        return cls(sheets=sheets, at=[meetings.at], first=first, last=last, pad=meetings.pad)

    def add(
        self, worker: Ints, met: Mapping[str, Ints], at: Longs, *, log_e_min: float = LOG_E_MIN
    ) -> list[tuple[Width, Block]]:
        """Take in meetings of known workers and return the blocks that they are now part of.

        ``worker`` and ``met`` are indices as in the ``Meetings`` that this began with; ``met`` may
        name things that are new. Blocks come most surprising first.
        """
        self.at[:] = [np.sort(np.concatenate([*self.at, at]), kind="stable")]
        np.minimum.at(self.first, worker, at)
        np.maximum.at(self.last, worker, at)
        dirty = np.unique(worker).astype(np.int64)
        pad = self.pad // timedelta(microseconds=1)
        end = np.searchsorted(self.at[0], self.last[dirty] + pad, "right")
        exposure = end - np.searchsorted(self.at[0], self.first[dirty] - pad, "left")
        toll = float(np.log(len(self.sheets)))
        found: list[tuple[Width, Block]] = []
        for sheet in self.sheets:
            keys = keys_of(met[sheet.width.by], at, sheet.width, sheet.phase)
            cell = _number(sheet, keys)
            _merge_into(sheet, worker, cell, dirty, exposure.astype(np.float64))
            for block in blocks(sheet.graph, seeds=dirty):
                if block.log_e - toll >= log_e_min:
                    found.append((sheet.width, replace(block, log_e=block.log_e - toll)))
        return sorted(found, key=lambda f: (-f[1].log_e, f[1].workers.tolist()))


def _whole(worker: Ints, cell: Longs, workers: int, cells: int, exposure: Floats) -> Incidence:
    """Like ``blocks.incidence``, but with workers of a single cell kept: they may get a second."""
    pair = np.unique(worker.astype(np.int64) * cells + cell)
    w, c = (pair // cells).astype(np.int32), (pair % cells).astype(np.int32)
    empty = Incidence(
        cell_start=np.zeros(workers + 1, np.int64), cell_of=np.empty(0, np.int32),
        worker_start=np.zeros(cells + 1, np.int64), worker_of=np.empty(0, np.int32),
        size=np.bincount(c, minlength=cells).astype(np.float64),
        rate=np.bincount(w, minlength=workers) / np.maximum(exposure, 1.0),
    )  # fmt: skip
    return _with(empty, w, c, cells)


def _with(graph: Incidence, w: Ints, c: Ints, cells: int) -> Incidence:
    """Add pairs to both directions; ``size`` and ``rate`` are the caller's to mend."""
    by_w, by_c = np.argsort(w, kind="stable"), np.argsort(c, kind="stable")
    grown = np.concatenate(
        [graph.worker_start, np.full(cells + 1 - len(graph.worker_start), len(graph.worker_of))]
    )
    cell_start, cell_of = _merge(graph.cell_start, graph.cell_of, w[by_w], c[by_w])
    worker_start, worker_of = _merge(grown, graph.worker_of, c[by_c], w[by_c])
    return replace(
        graph,
        cell_start=cell_start,
        cell_of=cell_of,
        worker_start=worker_start,
        worker_of=worker_of,
    )


@numba.njit(cache=True)
def _merge(start: Longs, items: Ints, owner: Ints, more: Ints) -> tuple[Longs, Ints]:
    """Append ``more`` (sorted by ``owner``) to the lists that ``start`` cuts out of ``items``."""
    new_start = np.empty_like(start)
    out = np.empty(len(items) + len(more), np.int32)
    at, k = 0, 0
    new_start[0] = 0
    for v in range(len(start) - 1):
        for i in range(start[v], start[v + 1]):
            out[at] = items[i]
            at += 1
        while k < len(owner) and owner[k] == v:
            out[at] = more[k]
            at += 1
            k += 1
        new_start[v + 1] = at
    return new_start, out


def _number(sheet: _Sheet, keys: Longs) -> Ints:
    """Number the cells of these keys; new cells get the next numbers."""
    wanted = np.unique(keys)
    place = np.searchsorted(sheet.names, wanted)
    known = np.zeros(len(wanted), np.bool_)
    within = place < len(sheet.names)
    known[within] = sheet.names[place[within]] == wanted[within]
    fresh = wanted[~known]
    if len(fresh):
        numbers = np.arange(len(sheet.names), len(sheet.names) + len(fresh), dtype=np.int32)
        sheet.number = np.insert(sheet.number, place[~known], numbers)
        sheet.names = np.insert(sheet.names, place[~known], fresh)
    return sheet.number[np.searchsorted(sheet.names, keys)]


def _merge_into(sheet: _Sheet, worker: Ints, cell: Ints, dirty: Longs, exposure: Floats) -> None:
    """Put new pairs into the graph of one width, and mend degrees and rates."""
    graph, cells = sheet.graph, len(sheet.names)
    pair = np.unique(worker.astype(np.int64) * cells + cell)
    w, c = (pair // cells).astype(np.int32), (pair % cells).astype(np.int32)
    new = ~_held(graph.cell_start, graph.cell_of, w, c)
    w, c = w[new], c[new]
    size = np.concatenate([graph.size, np.zeros(cells - len(graph.size))])
    np.add.at(size, c, 1.0)
    merged = _with(graph, w, c, cells)
    rate = graph.rate.copy()
    rate[dirty] = np.diff(merged.cell_start)[dirty] / np.maximum(exposure, 1.0)
    sheet.graph = replace(merged, size=size, rate=rate)


@numba.njit(cache=True)
def _held(cell_start: Longs, cell_of: Ints, w: Ints, c: Ints) -> npt.NDArray[np.bool_]:
    """Say which pairs the graph has already."""
    out = np.zeros(len(w), np.bool_)
    for k in range(len(w)):
        for i in range(cell_start[w[k]], cell_start[w[k] + 1]):
            if cell_of[i] == c[k]:
                out[k] = True
                break
    return out
