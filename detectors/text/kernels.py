"""The compiled loop that counts voices. Imported where it runs, because loading numba costs a moment."""

from typing import Final

import numpy as np
from numba import njit

from detectors.kit.lexical.shapes import I64, U64
from pipeline.index.popcount import popcount

MARKS: Final = 8
"""Words of 64 marks by which most texts are told apart without looking at their fingerprints."""

# mypy: disable-error-code="assignment,return-value,no-any-return"
# The compiler's integers are its own: which width a sum has is in the signatures, not the hints.


@njit("boolean(u8[::1], i8, i8, i8, i8, f8)", cache=True)
def _alike(keys: U64, a: int, a_end: int, b: int, b_end: int, part: float) -> bool:
    """Say whether two sorted runs share that part of the shorter one; stop as soon as it is known."""
    needed = max(part * min(a_end - a, b_end - b), 1.0)
    shared = 0
    while shared + min(a_end - a, b_end - b) >= needed:
        if shared >= needed:
            return True
        if keys[a] < keys[b]:
            a += 1
        elif keys[b] < keys[a]:
            b += 1
        else:
            shared += 1
            a += 1
            b += 1
    return False


@njit("void(u8[::1], i8, i8, u8[::1], i8[::1], i8, i8)", cache=True)
def _beyond(quiet: U64, low: int, high: int, keys: U64, ends: I64, row: int, count: int) -> None:
    """Take out of the run ``row`` of ``keys``, ``count`` long, what stands in the run of ``quiet``."""
    first = ends[row]
    if low == high:
        ends[row + 1] = first + count
        return
    kept = first
    for i in range(first, first + count):
        at = low + np.searchsorted(quiet[low:high], keys[i])
        if at == high or quiet[at] != keys[i]:
            keys[kept] = keys[i]
            kept += 1
    ends[row + 1] = kept


@njit("i8(u8[:,::1], i8, i8, i8, i8)", cache=True)
def _shared_most(marks: U64, a: int, b: int, a_spare: int, b_spare: int) -> int:
    """Bound from above what two texts share: common marks, and what lies on a mark already set."""
    common = np.int64(0)
    for w in range(MARKS):
        common += np.int64(popcount(marks[a, w] & marks[b, w]))
    return common + min(a_spare, b_spare)


@njit("void(u8[::1], i8[::1], u8[:,::1], i8[::1])", cache=True)
def _mark(prints: U64, starts: I64, marks: U64, spare: I64) -> None:
    """Set a bit of 512 for each fingerprint of a text; ``spare`` are those whose bit was set already."""
    for n in range(len(starts) - 1):
        for i in range(starts[n], starts[n + 1]):
            place = (prints[i] >> np.uint64(20)) & np.uint64(64 * MARKS - 1)
            bit = np.uint64(1) << (place & np.uint64(63))
            if marks[n, place >> np.uint64(6)] & bit:
                spare[n] += 1
            marks[n, place >> np.uint64(6)] |= bit


@njit("i8[::1](i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], u8[::1], i8[::1], u8[::1], i8, f8)",
      cache=True)  # fmt: skip
def voices(
    groups: I64, lows: I64, highs: I64, nodes: I64, by: I64,
    prints: U64, starts: I64, quiet: U64, most: int, part: float,
) -> I64:  # fmt: skip
    """Count, in each group of carriers, those that are left when one worker's and like texts are one.

    Group ``g`` has the members ``groups[g]`` to ``groups[g + 1]``, at most ``most``: the text
    ``nodes``, whose sorted fingerprints are ``prints[starts[n]:starts[n + 1]]``, and the worker ``by``.
    ``quiet[lows[g]:highs[g]]``, sorted, does not count. Likeness is carried on: a voice is a
    component.
    """
    counted = np.zeros(len(groups) - 1, np.int64)
    longest = 0
    for n in range(len(starts) - 1):
        longest = max(longest, starts[n + 1] - starts[n])
    marks = np.zeros((len(starts) - 1, MARKS), np.uint64)
    spare = np.zeros(len(starts) - 1, np.int64)
    _mark(prints, starts, marks, spare)
    own = np.empty(most * longest, np.uint64)
    ends, voice = np.zeros(most + 1, np.int64), np.empty(most, np.int64)
    for g in range(len(counted)):
        first, size = groups[g], groups[g + 1] - groups[g]
        counted[g] = size
        for i in range(size):
            node, voice[i] = nodes[first + i], i
            count = starts[node + 1] - starts[node]
            own[ends[i] : ends[i] + count] = prints[starts[node] : starts[node + 1]]
            _beyond(quiet, lows[g], highs[g], own, ends, i, count)
            for j in range(i):
                if voice[j] == voice[i]:
                    continue
                alike = by[first + i] == by[first + j]
                if not alike:
                    other = nodes[first + j]
                    fewer = min(ends[i + 1] - ends[i], ends[j + 1] - ends[j])
                    bound = _shared_most(marks, node, other, spare[node], spare[other])
                    alike = bound >= part * fewer and _alike(
                        own, ends[i], ends[i + 1], ends[j], ends[j + 1], part
                    )
                if alike:
                    counted[g] -= 1
                    was, now = voice[i], voice[j]
                    for k in range(i + 1):
                        if voice[k] == was:
                            voice[k] = now
    return counted
