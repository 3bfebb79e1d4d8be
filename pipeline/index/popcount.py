"""The compiled loops of Hamming search over 256-bit codes; imported only where a search is large.

Codes are *planes*: an array (4, n) of uint64, plane p holding bits 64p … 64p+63 of every code, so
that the scan streams one plane at a time and the compiler turns it into vector popcounts.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import intrinsic

from pipeline.index.shapes import CHUNK_COUNT, CHUNK_VALUES, U32, U64

BLOCK: Final = 4096
"""Codes scanned at a time: two planes of a block and its distances stay in the first-level cache."""


def _count_bits(typingctx: Any, word: Any) -> Any:
    """Count the bits of a uint64 by the processor's own instruction."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), build


popcount: Any = intrinsic(_count_bits)
"""Bits of a uint64, inside compiled loops."""


@njit(cache=True, nogil=True)
def scan(
    planes: U64, queries: U64, distance_max: int, out_query: U32, out_row: U32, out_distance: U32
) -> int:
    """Compare every query (4, m) with every code (4, n); return how many pairs are near.

    Fills the three outputs up to their length and goes on counting beyond it, so that the caller
    can ask again with enough room. The first 128 bits alone reject nearly every code.
    """
    n, m = planes.shape[1], queries.shape[1]
    room = len(out_row)
    half = np.empty(BLOCK, np.uint8)
    found = 0
    for start in range(0, n, BLOCK):
        width = min(BLOCK, n - start)
        first = planes[0, start : start + width]
        second = planes[1, start : start + width]
        for q in range(m):
            q0, q1 = queries[0, q], queries[1, q]
            least = np.uint8(255)
            for i in range(width):
                d = np.uint8(popcount(first[i] ^ q0) + popcount(second[i] ^ q1))
                half[i] = d
                least = np.uint8(min(least, d))
            if least > distance_max:
                continue
            for i in range(width):
                if half[i] > distance_max:
                    continue
                total = np.int64(half[i]) + np.int64(
                    popcount(planes[2, start + i] ^ queries[2, q])
                    + popcount(planes[3, start + i] ^ queries[3, q])
                )
                if total <= distance_max:
                    if found < room:
                        out_query[found], out_row[found] = q, start + i
                        out_distance[found] = total
                    found += 1
    return found


@njit(cache=True, nogil=True)
def bucket(codes16: npt.NDArray[np.uint16], heads: U32, rows: U32) -> None:
    """Sort the rows into buckets by each of the sixteen 16-bit chunks (n, 16) of their codes.

    ``heads`` (16, 65537) are the bucket bounds and ``rows`` (16, n) the row numbers, by counting.
    """
    n = codes16.shape[0]
    for c in range(CHUNK_COUNT):
        for i in range(n):
            heads[c, codes16[i, c] + 1] += 1
        for v in range(CHUNK_VALUES):
            heads[c, v + 1] += heads[c, v]
        next_place = heads[c, :CHUNK_VALUES].copy()
        for i in range(n):
            v = codes16[i, c]
            rows[c, next_place[v]] = i
            next_place[v] += 1


@njit(cache=True, nogil=True)
def probe(
    codes: U64, heads: U32, rows: U32, query: U64, query16: npt.NDArray[np.uint16], flips: int,
    distance_max: int, out_row: U32, out_distance: U32,
) -> int:  # fmt: skip
    """Look into the buckets of one query's chunks, and with ``flips`` = 1 their one-bit neighbours.

    ``codes`` (n, 4) is row-major here, since candidates come in no order. Finds every code within
    16·(flips + 1) − 1 bits (pigeonhole; Norouzi et al., arXiv 1307.2982); a row may come repeatedly.
    """
    found, room = 0, len(out_row)
    for c in range(CHUNK_COUNT):
        for bit in range(1 + 16 * flips):
            value = np.int64(query16[c])
            if bit > 0:
                value ^= np.int64(1) << np.int64(bit - 1)
            for place in range(heads[c, value], heads[c, value + 1]):
                row = rows[c, place]
                d = np.int64(
                    popcount(codes[row, 0] ^ query[0]) + popcount(codes[row, 1] ^ query[1])
                )
                if d > distance_max:
                    continue
                d += np.int64(
                    popcount(codes[row, 2] ^ query[2]) + popcount(codes[row, 3] ^ query[3])
                )
                if d <= distance_max:
                    if found < room:
                        out_row[found], out_distance[found] = row, d
                    found += 1
    return found
