"""The compiled loops of ``carriers`` and ``owners``: names in a table, the earliest documents of keys."""

from typing import Any

import numpy as np
from numba import njit

from pipeline.index.shapes import I32, I64, U8, U32, U64

# mypy: disable-error-code="arg-type,no-any-return,assignment,return-value"

_FNV = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)


@njit(cache=True, nogil=True)
def _place(letters: U8, begin: int, end: int, size: int) -> int:
    """Say where in a table of that size a name is looked for first (FNV-1a, its upper half)."""
    mixed = _FNV
    for i in range(begin, end):
        mixed = (mixed ^ np.uint64(letters[i])) * _PRIME
    mixed ^= mixed >> np.uint64(32)
    return np.int64((mixed * _PRIME >> np.uint64(16)) % np.uint64(size))


@njit(cache=True, nogil=True)
def enter(letters: U8, spots: I64, first: int, last: int, table: U32) -> None:
    """Put the names ``first`` to ``last`` into the table, as number + 1; 0 is a free place."""
    for number in range(first, last):
        at = _place(letters, spots[number], spots[number + 1], len(table))
        while table[at] != 0:
            at = at + 1 if at + 1 < len(table) else 0
        table[at] = np.uint32(number + 1)


@njit(cache=True, nogil=True)
def leave(asked: U8, bounds: I64, letters: U8, spots: I64, table: U32, found: I64) -> None:
    """Find the numbers of names; −1 where one is not in the table."""
    for i in range(len(bounds) - 1):
        size = bounds[i + 1] - bounds[i]
        at = _place(asked, bounds[i], bounds[i + 1], len(table))
        found[i] = -1
        while table[at] != 0 and found[i] < 0:
            number = np.int64(table[at]) - 1
            begin = spots[number]
            if spots[number + 1] - begin == size:
                same = True
                for k in range(size):
                    if letters[begin + k] != asked[bounds[i] + k]:
                        same = False
                        break
                if same:
                    found[i] = number
            at = at + 1 if at + 1 < len(table) else 0


@njit(cache=True, nogil=True)
def _before(times: I64, spots: I64, letters: U8, one: int, two: int) -> bool:
    """Say whether a document came before another: by time, then name."""
    if times[one] != times[two]:
        return times[one] < times[two]
    a, a_end, b, b_end = spots[one], spots[one + 1], spots[two], spots[two + 1]
    while a < a_end and b < b_end:
        if letters[a] != letters[b]:
            return letters[a] < letters[b]
        a += 1
        b += 1
    return a == a_end and b < b_end


@njit(cache=True, nogil=True)
def pour(
    docs: Any, contents: Any, begins: I64, ends: I64, gone: U32, times: I64, spots: I64, letters: U8,
    sizes: I64, told_docs: U32, told_contents: I32,
) -> None:  # fmt: skip
    """Keep the earliest texts of each stretch of rows, beside what other runs gave.

    ``told_docs`` and ``told_contents`` (keys, most) hold the texts of each key in order of submission,
    ``sizes`` how many there are; a text counts once. Documents in the sorted ``gone`` are passed over.
    """
    most = told_docs.shape[1]
    for k in range(len(begins)):
        for row in range(begins[k], ends[k]):
            doc = np.int64(docs[row if len(docs) > 1 else 0])
            content = np.int64(contents[row if len(contents) > 1 else 0])
            if len(gone):
                at = np.searchsorted(gone, np.uint32(doc))
                if at < len(gone) and np.int64(gone[at]) == doc:
                    continue
            place, again = sizes[k], False
            while place > 0:
                other, its = (
                    np.int64(told_docs[k, place - 1]),
                    np.int64(told_contents[k, place - 1]),
                )
                if other == doc:
                    again = its == content
                    if its <= content:
                        break
                elif _before(times, spots, letters, other, doc):
                    break
                place -= 1
            if again or place == most:
                continue
            for i in range(min(sizes[k], most - 1), place, -1):
                told_docs[k, i], told_contents[k, i] = told_docs[k, i - 1], told_contents[k, i - 1]
            told_docs[k, place], told_contents[k, place] = np.uint32(doc), np.int32(content)
            sizes[k] = min(sizes[k] + 1, most)


@njit(cache=True, nogil=True)
def mark(keys: U64, bounds: I64, marks: U64, spare: I32) -> None:
    """Set a mark for each key of a set; ``spare`` counts those whose mark was set already."""
    for n in range(len(bounds) - 1):
        for i in range(bounds[n], bounds[n + 1]):
            place = (keys[i] >> np.uint64(20)) & np.uint64(64 * marks.shape[1] - 1)
            bit = np.uint64(1) << (place & np.uint64(63))
            if marks[n, place >> np.uint64(6)] & bit:
                spare[n] += 1
            marks[n, place >> np.uint64(6)] |= bit
