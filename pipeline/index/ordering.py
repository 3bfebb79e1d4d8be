"""The compiled loops of posting runs: sort rows, merge sorted runs, find keys; all without the GIL.

Rows are ordered by (key, doc). Keys are hashes, so their leading bits spread them evenly over buckets
that fit the cache; a bucket that is not even (one key that thousands carry) is sorted by merging.
Arrays may be read-only, as mapped files are.
"""

import numpy as np
from numba import njit, types, uint64

from pipeline.index.shapes import I32, I64, U32, U64

# mypy: disable-error-code="arg-type,assignment,return-value,no-any-return"
# The compiler's integers are its own: which width a sum has is in the signatures, not the hints.

INSERTION_MAX = 48
"""Rows that share all the bits looked at, and are still sorted by insertion."""
FINE_BITS, FINE_BITS_MAX = 8, 13
"""Bits that part the rows of one bucket: so many that few rows share them, in a table the cache holds."""
COARSE_BITS_MAX = 9
"""Bits of the first parting: more streams of writes than this are slower than a wider second one."""
BUCKET_ROWS = 2048
"""Rows of a bucket, where the first parting has bits enough."""
_KEYS = types.Array(types.uint64, 1, "C", readonly=True)
_DOCS = types.Array(types.uint32, 1, "C", readonly=True)
_INTS = types.Array(types.int32, 1, "C", readonly=True)
_ROWS = types.uint32[::1]
_OUT = types.uint64[::1]


@njit(types.boolean(types.uint64, types.uint32, types.uint64, types.uint32, _DOCS), cache=True,
      inline="always")  # fmt: skip
def _before(key: int, row: int, other: int, other_row: int, docs: U32) -> bool:
    if key != other:
        return key < other
    return row < other_row if len(docs) == 0 else docs[row] < docs[other_row]


@njit(types.void(_OUT, _ROWS, _DOCS, types.int64, types.int64), cache=True, nogil=True)
def _insert(keys: U64, rows: U32, docs: U32, low: int, high: int) -> None:
    for i in range(low + 1, high):
        key, row = keys[i], rows[i]
        j = i - 1
        while j >= low and _before(key, row, keys[j], rows[j], docs):
            keys[j + 1], rows[j + 1] = keys[j], rows[j]
            j -= 1
        keys[j + 1], rows[j + 1] = key, row


@njit(types.void(_OUT, _ROWS, _DOCS, types.int64, types.int64), cache=True, nogil=True)
def _merge_sort(keys: U64, rows: U32, docs: U32, low: int, high: int) -> None:
    """Sort a stretch in n log n whatever stands in it."""
    for begin in range(low, high, INSERTION_MAX):
        _insert(keys, rows, docs, begin, min(begin + INSERTION_MAX, high))
    spare_keys, spare_rows = keys[low:high].copy(), rows[low:high].copy()
    width = INSERTION_MAX
    while width < high - low:
        spare_keys[:] = keys[low:high]
        spare_rows[:] = rows[low:high]
        for begin in range(0, high - low, 2 * width):
            i, middle = begin, min(begin + width, high - low)
            j, end = middle, min(begin + 2 * width, high - low)
            for k in range(low + begin, low + end):
                right = j < end and (
                    i >= middle
                    or _before(spare_keys[j], spare_rows[j], spare_keys[i], spare_rows[i], docs)
                )
                at = j if right else i
                keys[k], rows[k] = spare_keys[at], spare_rows[at]
                if right:
                    j += 1
                else:
                    i += 1
        width *= 2


@njit(types.void(_OUT, _ROWS, _DOCS, types.int64, types.int64, types.int64, _OUT, _ROWS),
      cache=True, nogil=True)  # fmt: skip
def _settle(
    keys: U64, rows: U32, docs: U32, low: int, high: int, top: int, spare_keys: U64,
    spare_rows: U32,
) -> None:  # fmt: skip
    """Sort one bucket by the bits of its keys below ``top``, then what still ties."""
    bits = np.int64(FINE_BITS)
    while ((high - low) >> bits) > FINE_BITS and bits < FINE_BITS_MAX:
        bits += 1
    shift = top - bits
    places = np.zeros((1 << bits) + 1, np.int64)
    mask = uint64((1 << bits) - 1)
    for i in range(low, high):
        places[np.int64((keys[i] >> uint64(shift)) & mask) + 1] += 1
    widest = places.max()
    for b in range(1 << bits):
        places[b + 1] += places[b]
    for i in range(low, high):
        b = np.int64((keys[i] >> uint64(shift)) & mask)
        spare_keys[places[b]], spare_rows[places[b]] = keys[i], rows[i]
        places[b] += 1
    keys[low:high] = spare_keys[: high - low]
    rows[low:high] = spare_rows[: high - low]
    if widest <= INSERTION_MAX:
        _insert(keys, rows, docs, low, high)
    else:
        _merge_sort(keys, rows, docs, low, high)


@njit(types.void(_KEYS, _DOCS, _OUT, _ROWS, types.boolean), cache=True, nogil=True)
def order(keys: U64, docs: U32, out: U64, rows: U32, whole: bool) -> None:
    """Sort rows by (key, doc): ``out`` takes the sorted keys, ``rows`` which row each came from.

    Where a row is nothing but its key and doc (``whole``), ``rows`` takes the docs themselves.
    """
    n = len(keys)
    owners = docs[:0] if whole else docs
    if n <= 4096:
        for i in range(n):
            out[i], rows[i] = keys[i], docs[i] if whole else np.uint32(i)
        _merge_sort(out, rows, owners, 0, n)
        return
    bits = 1
    while (n >> bits) > BUCKET_ROWS and bits < COARSE_BITS_MAX:
        bits += 1
    shift = 64 - bits
    places = np.zeros((1 << bits) + 1, np.int64)
    for i in range(n):
        places[np.int64(keys[i] >> uint64(shift)) + 1] += 1
    widest = places.max()
    for b in range(1 << bits):
        places[b + 1] += places[b]
    starts = places.copy()
    for i in range(n):
        b = np.int64(keys[i] >> uint64(shift))
        out[places[b]], rows[places[b]] = keys[i], docs[i] if whole else np.uint32(i)
        places[b] += 1
    spare_keys, spare_rows = np.empty(widest, np.uint64), np.empty(widest, np.uint32)
    for b in range(1 << bits):
        if starts[b + 1] > starts[b] + 1:
            _settle(
                out, rows, owners, starts[b], starts[b + 1], shift, spare_keys,
                spare_rows,
            )  # fmt: skip


@njit([types.void(_DOCS, _DOCS, _ROWS), types.void(_INTS, _DOCS, types.int32[::1])],
      cache=True, nogil=True)  # fmt: skip
def gather(values: U32 | I32, rows: U32, out: U32 | I32) -> None:
    """Copy ``values[rows]`` into ``out``; NumPy would widen the row numbers first."""
    for k in range(len(rows)):
        out[k] = values[rows[k]]


@njit(types.void(_KEYS, _DOCS, _KEYS, _DOCS, _OUT, _ROWS), cache=True, nogil=True)
def merge(left: U64, left_docs: U32, right: U64, right_docs: U32, out: U64, rows: U32) -> None:
    """Merge two sorted runs: ``rows`` counts on from the left one into the right one."""
    i, j, n, m = 0, 0, len(left), len(right)
    for k in range(n + m):
        second = j < m and (
            i >= n or right[j] < left[i] or (right[j] == left[i] and right_docs[j] < left_docs[i])
        )
        if second:
            out[k], rows[k] = right[j], np.uint32(n + j)
            j += 1
        else:
            out[k], rows[k] = left[i], np.uint32(i)
            i += 1


@njit(types.int64(_KEYS, types.int64, types.uint64), cache=True, inline="always")
def _first(keys: U64, low: int, wanted: int) -> int:
    """Find the first row at or after ``low`` whose key is not below the one wanted."""
    high = len(keys)
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@njit(types.int64(_KEYS, _KEYS, types.int64[::1], types.int64[::1]), cache=True)
def find(keys: U64, asked: U64, begins: I64, ends: I64) -> int:
    """Find the stretch of rows of each of the sorted ``asked``; return how many rows there are.

    The interpreter is not let go: taking it back from a busy writer costs more than the search.
    """
    at, total = np.int64(0), np.int64(0)
    for i in range(len(asked)):
        wanted = asked[i]
        at = _first(keys, at, wanted)
        begins[i] = at
        after = wanted + uint64(1)
        at = _first(keys, at, after) if after != uint64(0) else len(keys)
        ends[i] = at
        total += at - begins[i]
    return total


_NARROW_DOCS = (types.int8, types.uint8, types.int16, types.uint16, types.uint32)


@njit([types.void(types.Array(kind, 1, "C", readonly=True), types.int64[::1], types.int64[::1], _DOCS,
                  types.int64[:, ::1]) for kind in _NARROW_DOCS], cache=True)  # fmt: skip
def tally(docs: U32, begins: I64, ends: I64, gone: U32, told: I64) -> None:
    """Count the distinct docs of each stretch that are not in the sorted ``gone``.

    ``told`` (3, stretches) takes how many there are, the least and the greatest; of none 0, 0 and −1.
    """
    for k in range(len(begins)):
        begin, end = begins[k], ends[k]
        told[0, k], told[1, k], told[2, k] = 0, 0, -1
        if begin == end:
            continue
        if len(gone) == 0:
            told[1, k], told[2, k] = docs[begin], docs[end - 1]
            mine, after = docs[begin : end - 1], docs[begin + 1 : end]
            steps = np.int64(1)
            for i in range(len(mine)):  # two slices, so that the compiler sees no wrapping index
                steps += mine[i] != after[i]
            told[0, k] = steps
            continue
        for i in range(begin, end):
            if i > begin and docs[i] == docs[i - 1]:
                continue
            at = np.searchsorted(gone, np.uint32(docs[i]))
            if at < len(gone) and gone[at] == np.uint32(docs[i]):
                continue
            if told[0, k] == 0:
                told[1, k] = docs[i]
            told[0, k] += 1
            told[2, k] = docs[i]
