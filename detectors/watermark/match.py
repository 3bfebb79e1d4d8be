"""Does the picture match the recorded delivery? Without that a mark accuses nobody.

The mark itself tells scale, turn and bend, and its shift tells where the picture lay up to whole
tiles, so the comparison with the recorded thumbnail has only a few dozen places to try. What is
compared are edges (band-passed grey), which unrelated pictures do not share by their light alone.
A residual lifted from one picture and pasted on another decodes, but fails here.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from detectors.watermark.mark.detect import Reading
from detectors.watermark.mark.tile import CANONICAL, TILE, Floats
from detectors.watermark.registry import THUMBNAIL_SIDE, Delivery

SHRINK: Final = CANONICAL // THUMBNAIL_SIDE
OVERLAP_MIN: Final = 0.12
"""Share of the delivery that must be seen."""
AGREE_MIN, AGREE_MIN_PART = 0.55, 0.65
"""Correlation of edges from which the pictures are one, in whole or where under a third is seen;
of unrelated ones the best place of all gave up to 0.47 on small overlaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How well the picture agrees with a delivery: ``box`` is where it lies in the picture given
    (x0, y0, x1, y1 pixels), ``corner`` where its corner lies in canonical pixels (x, y), ``seen``
    the share of the delivery that overlaps."""

    agreement: float
    seen: float
    box: tuple[int, int, int, int]
    corner: tuple[int, int] = (0, 0)

    @property
    def holds(self) -> bool:
        """Whether this is the recorded picture."""
        least = AGREE_MIN if self.seen >= 0.3 else AGREE_MIN_PART
        return self.agreement >= least and self.seen >= OVERLAP_MIN


def match(pixels: npt.NDArray[np.uint8], reading: Reading, delivery: Delivery) -> Match:
    """Lay the picture out as the mark says, and compare it with the delivery's thumbnail."""
    if min(delivery.thumbnail.shape) < 8:
        return Match(agreement=0.0, seen=0.0, box=(0, 0, 0, 0))
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    corners = np.array([[0, 0, width, width], [0, height, 0, height], [1, 1, 1, 1]], float)
    inside = np.linalg.inv(reading.homography) @ corners
    extent = (inside[:2] / inside[2]).max(axis=1) / SHRINK
    columns, rows = (int(np.clip(e, 8, 256)) for e in extent)
    grow = np.diag([SHRINK, SHRINK, 1.0])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    map_to = np.linalg.inv(half) @ reading.homography @ grow @ half
    scale = float(np.sqrt(abs(np.linalg.det(map_to[:2, :2]))))
    soft = cv2.GaussianBlur(grey, (0, 0), max(0.4, 0.4 * scale)) if scale > 1 else grey
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpPerspective(soft, map_to, (columns, rows), flags=flags)
    known = cv2.warpPerspective(np.ones_like(grey), map_to, (columns, rows), flags=flags)
    inner = np.asarray(cv2.erode(known, np.ones((3, 3), np.uint8)), np.uint8)
    seen_edges, own_edges = _edges(np.asarray(laid, np.uint8)), _edges(delivery.thumbnail)
    best = Match(agreement=0.0, seen=0.0, box=(0, 0, 0, 0))
    for y, x in _places(reading, delivery, (rows, columns)):
        agreement, seen = _agree(seen_edges, inner, own_edges, y, x)
        if agreement > best.agreement:
            box = _box(reading, delivery, y * SHRINK, x * SHRINK, (height, width))
            best = Match(
                agreement=round(agreement, 4),
                seen=round(seen, 4),
                box=box,
                corner=(x * SHRINK, y * SHRINK),
            )
    return best


def _edges(grey: npt.NDArray[np.uint8]) -> Floats:
    light = grey.astype(np.float32)
    edges = cv2.GaussianBlur(light, (0, 0), 0.8) - cv2.GaussianBlur(light, (0, 0), 3.0)
    return np.asarray(edges, np.float32)


def _places(reading: Reading, delivery: Delivery, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Where the delivery's corner may lie, in thumbnail pixels: the shift, up to whole tiles."""
    step = TILE // SHRINK
    own = delivery.thumbnail.shape
    out = []
    for axis in (0, 1):
        first = (reading.shift[axis] - delivery.shift[axis]) / SHRINK % step
        places = np.arange(first - step * (own[axis] // step + 2), size[axis], step)
        out.append([round(float(p)) + d for p in places for d in (-1, 0, 1)])
    return [(y, x) for y in out[0] for x in out[1]]


def _agree(
    seen: Floats, known: npt.NDArray[np.uint8], own: Floats, y: int, x: int
) -> tuple[float, float]:
    """Correlation over the overlap of ``own`` laid at (y, x) on ``seen``, and its share of own."""
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + own.shape[0], seen.shape[0]), min(x + own.shape[1], seen.shape[1])
    if bottom - top < 8 or right - left < 8:
        return 0.0, 0.0
    there = known[top:bottom, left:right] > 0
    share = float(there.sum()) / own.size
    if share < OVERLAP_MIN:
        return 0.0, share
    a = seen[top:bottom, left:right][there]
    b = own[top - y : bottom - y, left - x : right - x][there]
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return (float((a * b).sum()) / norm if norm > 0 else 0.0), share


def _box(
    reading: Reading, delivery: Delivery, y: int, x: int, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    rows, columns = (side * SHRINK for side in delivery.thumbnail.shape)
    corners = np.array([[x, x, x + columns, x + columns], [y, y + rows, y, y + rows], [1] * 4])
    placed = reading.homography @ corners.astype(float)
    xs, ys = np.clip(placed[:2] / placed[2], 0, [[size[1]], [size[0]]])
    return (round(xs.min()), round(ys.min()), round(xs.max()), round(ys.max()))
