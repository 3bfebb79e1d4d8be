"""Whether text was laid over a photo: a cheap look for rows of strokes, and one line read to prove it.

Reading a whole photo costs half a second, and few are stamped. A row of narrow pieces, as tall as each
other and side by side, is found in some 20 milliseconds; leaves and windows make rows too, so each
is given to the reader of single lines first, which costs 30 milliseconds and makes no text of leaves.
"""

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from detectors.kit.ocr import read_row

LOOK_SIDE: Final = 800
STROKE: Final = 9
"""Pixels of the look that a stroke is narrower than."""
LINE_PIECES: Final = 7
PIECES_MAX: Final = 2500
"""Pieces of one mask: a photo of gravel has more, and its rows mean nothing."""
READ_MIN, SURE_MIN = 6, 0.6
"""Letters and digits, and confidence, that make a row text."""

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]


def may_be_stamped(pixels: Pixels) -> bool:
    """Say whether a line of text is laid over a photo (uint8 RGB)."""
    return any(_reads(pixels, box) for box in stroke_rows(pixels))


def _reads(pixels: Pixels, box: Box) -> bool:
    text, confidence = read_row(pixels, box)
    return confidence >= SURE_MIN and sum(c.isalnum() for c in text) >= READ_MIN


def stroke_rows(pixels: Pixels) -> Iterator[Box]:
    """Yield where rows of strokes lie (x0, y0, x1, y1 pixels of the picture given), at most one for
    each way in which ink stands out."""
    scale = min(1.0, LOOK_SIDE / max(pixels.shape[:2]))
    small = pixels
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    for strokes in _strokes(small):
        row = _row(strokes)
        if row is not None:
            yield tuple(v / scale for v in row)


def _strokes(small: Pixels) -> Iterator[Pixels]:
    """Masks of what is narrow and stands out, likeliest ink first."""
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    kernel = np.ones((STROKE, STROKE), np.uint8)
    lighter = np.asarray(cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, kernel), np.uint8)
    yield ((lighter > 44) & (grey > 185)).astype(np.uint8)
    chroma = np.asarray(small.max(axis=2) - small.min(axis=2), np.uint8)
    coloured = np.asarray(cv2.morphologyEx(chroma, cv2.MORPH_TOPHAT, kernel), np.uint8)
    yield (coloured > 60).astype(np.uint8)
    yield (lighter > 60).astype(np.uint8)
    darker = np.asarray(cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, kernel), np.uint8)
    yield ((darker > 70) & (grey < 60)).astype(np.uint8)


def _row(strokes: Pixels) -> Box | None:
    """The longest row of pieces of like height that stand side by side, if any is long enough."""
    _, _, stats, centres = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    sizes = stats[1:]
    ok = (sizes[:, cv2.CC_STAT_HEIGHT] >= 5) & (sizes[:, cv2.CC_STAT_HEIGHT] <= 44)
    ok &= (sizes[:, cv2.CC_STAT_WIDTH] <= 52) & (sizes[:, cv2.CC_STAT_AREA] >= 6)
    if not LINE_PIECES <= int(ok.sum()) <= PIECES_MAX:
        return None
    order = np.argsort(centres[1:][ok][:, 0], kind="stable")
    sizes, places = sizes[ok][order], centres[1:][ok][order]
    heights = sizes[:, cv2.CC_STAT_HEIGHT]
    best: tuple[int, Box] | None = None
    for i in range(len(heights) - LINE_PIECES + 1):
        h = float(heights[i])
        row = np.abs(places[i:, 1] - places[i, 1]) < 0.35 * h + 1
        row &= (np.abs(heights[i:] - h) <= 0.3 * h + 1) & (places[i:, 0] <= places[i, 0] + 24 * h)
        held = int(row.sum())
        if held < LINE_PIECES or (best is not None and held <= best[0]):
            continue
        gaps = np.diff(places[i:, 0][row])
        if np.median(gaps) < 2.0 * h and gaps.max() < 6 * h:
            best = (held, _bounds(sizes[i:][row], h))
    return best[1] if best is not None else None


def _bounds(sizes: npt.NDArray[np.int32], height: float) -> Box:
    """The row's box, with room for glyphs that did not stand out."""
    x, y = sizes[:, cv2.CC_STAT_LEFT], sizes[:, cv2.CC_STAT_TOP]
    right, foot = x + sizes[:, cv2.CC_STAT_WIDTH], y + sizes[:, cv2.CC_STAT_HEIGHT]
    return (
        float(x.min() - 2 * height), float(np.median(y) - 0.4 * height),
        float(right.max() + 2 * height), float(np.median(foot) + 0.4 * height),
    )  # fmt: skip
