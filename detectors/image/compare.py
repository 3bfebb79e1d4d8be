"""Dense proof: two aligned pictures compared block by block, as an eye would lay one over the other.

A block is 12 × 12 pixels of the small grey picture. Blocks with texture match by normalised
correlation, best of nine one-pixel shifts, so brightness, contrast and a small misalignment do
not count; even blocks say little and are counted apart.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from detectors.image import proof_loops as loops
from detectors.image.geometry import Alignment
from detectors.image.hashes import Grey

Blocks: TypeAlias = npt.NDArray[np.bool_]
F32: TypeAlias = npt.NDArray[np.float32]

BLOCK: Final = loops.BLOCK
TEXTURE_MIN: Final = 7.0
"""Grey levels of standard deviation from which a block has texture."""
MATCH_MIN: Final = 0.65
CLOSE_MIN: Final = 0.9
"""Correlation from which two blocks are the same pixels, coded anew."""
SHADE_MAX: Final = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What matched, on the accused picture's own grid of blocks (rows, columns).

    ``known`` blocks lie wholly inside the source; of these ``textured`` have structure in either
    picture, ``shared`` in both, and ``matched`` agree. ``likeness`` is the correlation where textured.
    In a mirrored comparison the grid is that of the mirrored accused.
    """

    known: Blocks
    textured: Blocks
    shared: Blocks
    matched: Blocks
    likeness: F32
    hull: Blocks
    source_share: float

    @property
    def overlap(self) -> float:
        """Share of the accused picture that the source covers."""
        return float(self.known.mean()) if self.known.size else 0.0

    def agreement(self, where: Blocks | None = None) -> float:
        """Share of textured known blocks that match, of those in ``where``."""
        asked = self.textured & self.known
        if where is not None:
            asked = asked & where
        return float((self.matched & asked).sum() / max(int(asked.sum()), 1))

    def count(self, where: Blocks | None = None) -> int:
        """How many textured known blocks there are in ``where``."""
        asked = self.textured & self.known
        return int((asked if where is None else asked & where).sum())


def compare(accused: Grey, source: Grey, alignment: Alignment) -> Comparison:
    """Lay the source over the accused picture and compare every block."""
    ours = accused[:, ::-1] if alignment.mirrored else accused
    ours = 255 - ours if alignment.inverted else ours
    rows, columns = ours.shape[0] // BLOCK, ours.shape[1] // BLOCK
    height, width = rows * BLOCK, columns * BLOCK
    if not height or not width:
        none = np.zeros((rows, columns), np.bool_)
        return Comparison(
            known=none, textured=none, shared=none, matched=none, hull=none, source_share=0.0,
            likeness=np.zeros((rows, columns), np.float32),
        )  # fmt: skip
    scale = alignment.scale
    shown = _soft(ours, 0.5 * scale if scale > 1.2 else 0.0)
    given = _soft(source, 0.5 / scale if scale < 0.83 else 0.0)
    size = (width + 2, height + 2)
    shift = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1]], np.float64)
    moved = cv2.warpPerspective(given, shift @ alignment.transform, size, flags=cv2.INTER_LINEAR)
    inside = cv2.warpPerspective(
        np.full(source.shape, 255, np.uint8), shift @ alignment.transform, size,
        flags=cv2.INTER_NEAREST,
    )  # fmt: skip
    grid = (columns, rows)
    covered = _mean(inside[1:-1, 1:-1].astype(np.float32), grid)
    known = covered > 254.0
    best, mean_a, spread_a, mean_s, spread_s = np.empty((5, rows, columns), np.float32)
    loops.liken(
        shown[:height, :width].astype(np.float32), moved.astype(np.float32), best, mean_a,
        spread_a, mean_s, spread_s,
    )  # fmt: skip
    textured = np.maximum(spread_a, spread_s) >= TEXTURE_MIN
    shared = np.minimum(spread_a, spread_s) >= TEXTURE_MIN
    offset = np.median((mean_a - mean_s)[known]) if known.any() else 0.0
    even = np.abs(mean_a - mean_s - offset) < SHADE_MAX
    matched = np.where(textured, best >= MATCH_MIN, even) & known
    source_area = abs(np.linalg.det(alignment.transform[:2, :2])) * source.size
    return Comparison(
        known=known, textured=textured, shared=shared & known, matched=matched, likeness=best,
        hull=_hull(alignment.points, rows, columns),
        source_share=float(min(1.0, covered.mean() / 255 * ours.size / max(source_area, 1.0))),
    )  # fmt: skip


def textured(grey: Grey) -> Blocks:
    """Mark the blocks (rows, columns) of a small picture that have texture."""
    rows, columns = grey.shape[0] // BLOCK, grey.shape[1] // BLOCK
    blocks = grey[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    return np.asarray(blocks.std(axis=(1, 3), dtype=np.float32) >= TEXTURE_MIN, np.bool_)


def _soft(grey: Grey, sigma: float) -> Grey:
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), max(0.7, min(sigma, 2.5))), np.uint8)


def _mean(values: npt.NDArray[np.float32], grid: tuple[int, int]) -> F32:
    return np.asarray(cv2.resize(values, grid, interpolation=cv2.INTER_AREA), np.float32)


def _hull(points: npt.NDArray[np.float32], rows: int, columns: int) -> Blocks:
    """Mark the blocks inside the convex hull of the features that agree."""
    mask = np.zeros((rows, columns), np.uint8)
    if len(points) < 3:
        return mask.astype(np.bool_)
    corners = cv2.convexHull(points.astype(np.float32) / np.float32(BLOCK) - np.float32(0.5))
    cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 1)
    return mask.astype(np.bool_)
