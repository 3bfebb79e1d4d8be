"""Exact comparison of pairs of texts: which passages they share, and how much that weighs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.kit.lexical.shapes import I32, I64, U8
from detectors.kit.lexical.table import fold_table
from detectors.kit.lexical.texts import Texts, read

ROOM: Final = 64
"""Blocks kept for a pair; of texts that share more passages the first are told."""
DROP: Final = 9
"""How far a block's score may fall behind its best before extension ends: three ideographs."""
LONG_UNITS: Final = 100_000
SEED_WINDOW: Final = 16
"""Of texts of so many units only winnowed shingles seed: one in every window of so many."""
CHANCE: Final = 9
"""Weight taken off each block: a phrase of four ideographs is no evidence, a paragraph loses nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignments:
    """Shared passages of pairs: ``blocks`` (pairs, 64, 5) int32, ``counts`` (pairs,) int32.

    A block is (left begin, left end, right begin, right end, weight of equal units), in units of the
    two texts. ``sums`` (pairs, 2) int64 are the score and the weight of all blocks of a pair.
    """

    blocks: I32
    counts: I32
    sums: I64

    def of(self, pair: int) -> I32:
        """Return the blocks of one pair."""
        return self.blocks[pair, : min(int(self.counts[pair]), ROOM)]


def seeds_of(texts: Texts, which: I64) -> U8:
    """Mark the units (of all texts) at which an alignment may begin, in the texts named.

    Of a long text these are its winnowed shingles: texts that share a window and a shingle share one.
    """
    from detectors.kit.lexical import kernels

    seeds = np.ones(len(texts.units), np.uint8)
    for index in which[np.diff(texts.starts)[which] > LONG_UNITS].tolist():
        here = slice(int(texts.starts[index]), int(texts.starts[index + 1]))
        hashes, lengths = texts.hashes[here], texts.lengths[here]
        bounds = np.array([0, len(hashes)], np.int64)
        keys, places = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int32)
        width = np.array([SEED_WINDOW], np.int64)
        count = kernels.winnow(hashes, lengths, bounds, width, keys, places, bounds.copy())
        seeds[here] = 0
        seeds[here][places[:count]] = 1
    return seeds


def align(
    texts: Texts, lefts: Sequence[int] | I64, rights: Sequence[int] | I64, hushed: U8 | None = None
) -> Alignments:
    """Align pairs of ``texts``: shared 12-unit shingles, extended over single edits (X-drop).

    ``hushed`` (units,) uint8 marks what counts for nothing on either side (see ``given_units``).
    Blocks come in the order of the left text and do not overlap there. Altschul et al., J. Mol. Biol.
    215 (1990), is where seeding and X-drop come from.
    """
    from detectors.kit.lexical import kernels

    left, right = np.asarray(lefts, np.int64), np.asarray(rights, np.int64)
    quiet = np.zeros(len(texts.units), np.uint8) if hushed is None else hushed
    blocks = np.zeros((len(left), ROOM, 5), np.int32)
    counts, sums = np.zeros(len(left), np.int32), np.zeros((len(left), 2), np.int64)
    same = _same_long(texts, left, right)
    for pair in np.flatnonzero(same).tolist():
        equal = _equal_weight(texts, int(left[pair]), int(right[pair]), quiet)
        size = int(texts.starts[left[pair] + 1] - texts.starts[left[pair]])
        if equal > CHANCE:
            blocks[pair, 0] = (0, size, 0, size, equal)
            counts[pair], sums[pair] = 1, (equal - CHANCE, equal)
    rest = np.flatnonzero(~same)
    told = (blocks[rest], counts[rest], sums[rest])
    seeds = seeds_of(texts, np.unique(np.concatenate([left[rest], right[rest]])))
    kernels.align(
        texts.units, fold_table().traits, texts.hashes, texts.lengths, seeds, texts.starts, quiet,
        left[rest], right[rest], DROP, CHANCE, *told,
    )  # fmt: skip
    blocks[rest], counts[rest], sums[rest] = told
    return Alignments(blocks=blocks, counts=counts, sums=sums)


def _same_long(texts: Texts, left: I64, right: I64) -> npt.NDArray[np.bool_]:
    """Mark pairs of long texts that are equal when folded: no need to seek what they share."""
    sizes = np.diff(texts.starts)
    likely = (sizes[left] >= LONG_UNITS) & (texts.digests[left] == texts.digests[right])
    likely &= sizes[left] == sizes[right]
    for pair in np.flatnonzero(likely).tolist():
        a, b = int(texts.starts[left[pair]]), int(texts.starts[right[pair]])
        size = int(sizes[left[pair]])
        likely[pair] = np.array_equal(texts.units[a : a + size], texts.units[b : b + size])
    marked: npt.NDArray[np.bool_] = likely
    return marked


def _equal_weight(texts: Texts, left: int, right: int, quiet: U8) -> int:
    a0, a1 = int(texts.starts[left]), int(texts.starts[left + 1])
    b0, b1 = int(texts.starts[right]), int(texts.starts[right + 1])
    weights = fold_table().traits[texts.units[a0:a1]] & 3
    return int(weights[(quiet[a0:a1] | quiet[b0:b1]) == 0].sum(dtype=np.int64))


def covered(texts: Texts, groups: I64, handed: Texts, bounds: I64) -> npt.NDArray[np.bool_]:
    """Mark the units of ``texts`` that lie in a shingle which their group was handed.

    ``groups`` (n,) names the group of each text, −1 none; ``handed[bounds[g]:bounds[g + 1]]`` are the
    texts that group ``g`` was handed.
    """
    from detectors.kit.lexical import kernels

    marks = np.zeros(len(texts.units), np.bool_)
    kernels.cover(
        texts.hashes, texts.lengths, texts.starts, np.argsort(groups, kind="stable"), groups,
        handed.hashes, handed.lengths, handed.starts[bounds], marks,
    )  # fmt: skip
    return marks


def containment(left: str, right: str) -> tuple[float, float, float]:
    """Shares of shingles: of ``left`` in ``right``, of ``right`` in ``left``, and Jaccard."""
    texts = read([left, right])
    a, b = texts.shingles_of(0), texts.shingles_of(1)
    both = len(np.intersect1d(a, b, assume_unique=True))
    union = len(a) + len(b) - both
    return (
        both / len(a) if len(a) else 0.0,
        both / len(b) if len(b) else 0.0,
        both / union if union else 0.0,
    )


def weights_of(texts: Texts) -> U8:
    """Return the weight of each unit."""
    return (fold_table().traits[texts.units] & 3).astype(np.uint8)
