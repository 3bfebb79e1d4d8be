"""The compiled loop that counts voices. Imported where it runs, because loading numba costs a moment."""

import numpy as np
from numba import njit

from detectors.kit.lexical.shapes import I64, U64

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
    kept = first
    for i in range(first, first + count):
        at = low + np.searchsorted(quiet[low:high], keys[i])
        if at == high or quiet[at] != keys[i]:
            keys[kept] = keys[i]
            kept += 1
    ends[row + 1] = kept


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
                if by[first + i] == by[first + j] or _alike(
                    own, ends[i], ends[i + 1], ends[j], ends[j + 1], part
                ):
                    counted[g] -= 1
                    was, now = voice[i], voice[j]
                    for k in range(i + 1):
                        if voice[k] == was:
                            voice[k] = now
    return counted
