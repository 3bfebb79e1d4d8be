"""The compiled loops of voting: of all who carry some of a query's words, whose lie alike?

A picture's word stands beside how its feature lies. Two pictures that show one thing share
words whose turns and growths agree, so a word counts for a pair only in a bin of turn and growth that
others fall into too (weak geometric consistency: Jégou, Douze & Schmid 2008, ECCV). Documents are taken
in blocks whose counters stay in the cache: what may have enough hits in one bin is collected, and those
few rows are counted exactly. Arrays may be read-only, as mapped files are.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.index.popcount import popcount
from pipeline.index.shapes import I64, U64

# mypy: disable-error-code="arg-type,no-any-return"

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

PART_AT: Final = 19
"""A place is, from the lowest: feature number (8 bits), size in half octaves (5), angle in 64ths of a
turn (6), part (3)."""
TABLE_BITS: Final = 18
"""Counters kept at a time, which a second-level cache holds: so many documents of so many counters."""
CELL_BITS: Final = (4, 8)
"""Counters of a document, at least and at most, as a power of two."""
_BINS: Final = 256


@njit(cache=True, inline="always")
def _bins(place: int, other: int) -> tuple[int, int]:
    """Return the bin of turn and growth, of 8 × 32, in each of two grids that overlap by half."""
    turn = ((place >> 13) - (other >> 13)) & 63
    grow = ((place >> 8) & 31) - ((other >> 8) & 31) + 64
    one = ((turn >> 3) << 5) | ((grow >> 2) & 31)
    two = ((((turn + 4) & 63) >> 3) << 5) | (((grow + 2) >> 2) & 31)
    return one, two


@njit(cache=True, nogil=True)
def spread(
    docs: Any, begins: I64, ends: I64, first: int, block_bits: int, counts: I64
) -> None:  # fmt: skip
    """Count the rows of asked words by block of documents, ``counts`` beginning with block ``first``."""
    for i in range(len(begins)):
        for row in range(begins[i], ends[i]):
            counts[np.uint64((np.int64(docs[row]) >> block_bits) - first)] += 1


@njit(cache=True, nogil=True)
def deal(
    docs: Any, positions: Any, begins: I64, ends: I64, places: I64, modes: I64, entry: int,
    first: int, cell_bits: int, at: I64, hits: U64,
) -> None:  # fmt: skip
    """Deal the rows of a run out by blocks of documents, so that each block is read as one stream.

    Asked word i lies as ``places[i]`` in mode ``modes[i]``; its rows are ``begins[i]`` to ``ends[i]``.
    ``at`` (blocks,) is where the next hit of each block is written in ``hits``: entry number, counted on
    from ``entry`` (18 bits), row within the entry (20), then document within the block and two counters
    of it (TABLE_BITS + ``cell_bits``).
    """
    block_bits = TABLE_BITS - cell_bits
    for i in range(len(places)):
        place = places[i]
        salt = ((place >> PART_AT) << 2 | modes[i]) * 0x85EBCA6B
        named = np.uint64(entry + i) << np.uint64(46)
        for row in range(begins[i], ends[i]):
            doc = np.int64(docs[row])
            one, two = _bins(place, np.int64(positions[row]))
            a = ((salt + one * 0x9E3779B1) & 0xFFFFFFFF) >> (32 - cell_bits)
            b = ((salt + (two + _BINS) * 0x9E3779B1) & 0xFFFFFFFF) >> (32 - cell_bits)
            block = np.uint64((doc >> block_bits) - first)
            local = doc & ((1 << block_bits) - 1)
            hits[np.uint64(at[block])] = (
                named
                | np.uint64((row - begins[i]) << 26)
                | np.uint64((local << cell_bits | a) << cell_bits | b)
            )
            at[block] += 1


@njit(cache=True, nogil=True)
def sieve(hits: U64, bounds: I64, votes_min: int, cell_bits: int, ends: I64) -> int:
    """Keep, at the front of ``hits``, those that may lie with ``votes_min`` in one bin; return how many.

    ``bounds`` (blocks + 1,) are the streams; ``ends`` (blocks,) is filled with where what is kept of
    each ends. Different bins of a document may share a counter, so what is dropped is surely without
    votes, and what is kept only likely to have some.
    """
    counters = np.zeros(1 << TABLE_BITS, np.uint8)
    full = np.zeros(1 << (TABLE_BITS - cell_bits), np.uint8)
    wide, cells = np.uint64(cell_bits), np.uint64((1 << cell_bits) - 1)
    table = np.uint64((1 << TABLE_BITS) - 1)
    found = 0
    for block in range(len(bounds) - 1):
        ends[block] = found
        if bounds[block] == bounds[block + 1]:
            continue
        some = False
        for h in range(bounds[block], bounds[block + 1]):
            hit = hits[h]
            a = (hit >> wide) & table
            b = (a & ~cells) | (hit & cells)
            one, two = counters[a] + 1, counters[b] + 1
            counters[a], counters[b] = min(one, 255), min(two, 255)
            if one >= votes_min or two >= votes_min:
                full[a >> wide] = 1
                some = True
        if some:
            for h in range(bounds[block], bounds[block + 1]):
                hit = hits[h]
                a = (hit >> wide) & table
                if full[a >> wide] == 0:
                    continue
                b = (a & ~cells) | (hit & cells)
                if counters[a] >= votes_min or counters[b] >= votes_min:
                    hits[found] = hit
                    found += 1
            full[:] = 0
        counters[:] = 0
        ends[block] = found
    return found


@njit(cache=True, nogil=True)
def bound(
    hits: U64, ends: I64, rare: F64, first: int, cell_bits: int, docs: Any, bounds: F32, of: Any
) -> int:
    """List the documents that kept hits are of, and what no pair of theirs can outweigh; return how many.

    ``hits`` and ``ends`` are what ``sieve`` left, ``rare`` the worth of a hit by entry number, ``first``
    the number of the first block. Fills ``docs`` and ``bounds`` by document and, by hit, the place of its
    document in these (``of``). A bin's weight is at most the sum of its hits' worth, and no counter's
    sum is below that of a bin in it.
    """
    weights = np.zeros(1 << TABLE_BITS, np.float32)
    places = np.full(1 << (TABLE_BITS - cell_bits), -1, np.int32)
    wide, cells = np.uint64(cell_bits), np.uint64((1 << cell_bits) - 1)
    table = np.uint64((1 << TABLE_BITS) - 1)
    found = start = 0
    for block in range(len(ends)):
        for h in range(start, ends[block]):
            a = (hits[h] >> wide) & table
            b = (a & ~cells) | (hits[h] & cells)
            worth = np.float32(rare[hits[h] >> np.uint64(46)])
            weights[a] += worth
            weights[b] += worth
        for h in range(start, ends[block]):
            a = (hits[h] >> wide) & table
            b = (a & ~cells) | (hits[h] & cells)
            local = a >> wide
            if places[local] < 0:
                places[local] = found
                docs[found] = ((block + first) << (TABLE_BITS - cell_bits)) + np.int64(local)
                bounds[found] = 0
                found += 1
            of[h] = places[local]
            bounds[of[h]] = max(bounds[of[h]], weights[a], weights[b])
        for h in range(start, ends[block]):
            a = (hits[h] >> wide) & table
            weights[a] = 0
            weights[(a & ~cells) | (hits[h] & cells)] = 0
            places[a >> wide] = -1
        start = ends[block]
    return found


@njit(cache=True, nogil=True)
def count(
    pairs: U64, order: I64, places: I64, others: I64, rare: F64, votes_min: int, out_first: I64,
    out_votes: I64, out_weight: F64,
) -> int:  # fmt: skip
    """Count, for each pair of pictures, the features that agree in one bin; return how many have enough.

    Hits are taken in ``order``, where those of one pair stand together. Fills the first hit of each pair
    that has ``votes_min`` votes in a bin, its most votes (distinct features on either side, whichever are
    fewer) and its greatest weight: votes times how rare their words are on average.
    """
    ours, theirs = np.zeros((2 * _BINS, 4), np.uint64), np.zeros((2 * _BINS, 4), np.uint64)
    total, size = np.zeros(2 * _BINS, np.float64), np.zeros(2 * _BINS, np.int64)
    used = np.empty(2 * _BINS, np.int64)
    found = start = 0
    while start < len(order):
        end = start
        pair = pairs[order[start]]
        in_use = 0
        while end < len(order) and pairs[order[end]] == pair:
            hit = order[end]
            one, two = _bins(places[hit], others[hit])
            mine, its = places[hit] & 255, others[hit] & 255
            for bin_ in (one, _BINS + two):
                if size[bin_] == 0:
                    used[in_use] = bin_
                    in_use += 1
                size[bin_] += 1
                total[bin_] += rare[hit]
                ours[bin_, mine >> 6] |= np.uint64(1) << np.uint64(mine & 63)
                theirs[bin_, its >> 6] |= np.uint64(1) << np.uint64(its & 63)
            end += 1
        most, heaviest = np.int64(0), 0.0
        for k in range(in_use):
            bin_ = used[k]
            if size[bin_] >= votes_min:
                a, b = np.int64(0), np.int64(0)
                for word in range(4):
                    a += np.int64(popcount(ours[bin_, word]))
                    b += np.int64(popcount(theirs[bin_, word]))
                votes = min(a, b)
                most = max(most, votes)
                heaviest = max(heaviest, votes * total[bin_] / size[bin_])
            size[bin_], total[bin_] = 0, 0
            ours[bin_], theirs[bin_] = 0, 0
        if most >= votes_min:
            out_first[found], out_votes[found], out_weight[found] = order[start], most, heaviest
            found += 1
        start = end
    return found
