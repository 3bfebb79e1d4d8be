"""Pictures inside a picture: cells of a collage, the photo in a gallery's screenshot.

A frame is cut along rows and columns that are even from side to side (gutters), again and again, as a
page is by recursive X-Y cuts (Nagy & Seth 1984, ICPR). What remains and looks like a photograph is a
picture of its own.
"""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from detectors.image.hashes import Grey
from detectors.image.views import Box

EVEN_SPREAD: Final = 5.0
"""Grey levels of standard deviation within which a row or column counts as a gutter."""
GUTTER_MIN: Final = 2
PANELS_MAX: Final = 4
AREA_MIN: Final = 0.06
AREA_MAX: Final = 0.9
SIDE_MIN: Final = 72
DEPTH_MAX: Final = 4
_EDGE: Final = 2


def panels_of(grey: Grey) -> list[Box]:
    """Return the boxes of at most PANELS_MAX panels, the largest first."""
    height, width = grey.shape
    found: list[Box] = []
    _cut(grey, (0, 0, width, height), 0, found)
    total = height * width
    kept = [box for box in found if AREA_MIN <= _area(box) / total <= AREA_MAX]
    kept = [_inset(box) for box in kept if _looks_like_a_photo(grey, box)]
    return sorted(kept, key=lambda box: (-_area(box), box))[:PANELS_MAX]


def _cut(grey: Grey, box: Box, depth: int, found: list[Box]) -> None:
    left, top, right, bottom = box
    if right - left < SIDE_MIN or bottom - top < SIDE_MIN:
        return
    part = grey[top:bottom, left:right]
    if depth < DEPTH_MAX:
        for axis in (0, 1):
            runs = _runs(part, axis)
            whole = part.shape[axis]
            if len(runs) == 1 and runs[0] == (0, whole):
                continue
            for start, stop in runs:
                inner = (
                    (left, top + start, right, top + stop)
                    if axis == 0
                    else (left + start, top, left + stop, bottom)
                )
                _cut(grey, inner, depth + 1, found)
            return
    found.append(box)


def _runs(part: Grey, axis: int) -> list[tuple[int, int]]:
    """Find the runs of rows (axis 0) or columns (axis 1) between gutters."""
    busy = _spread(part, axis) > EVEN_SPREAD
    edges = np.flatnonzero(np.diff(np.concatenate([[0], busy.astype(np.int8), [0]])))
    runs = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    joined: list[tuple[int, int]] = []
    for start, stop in runs:
        if joined and start - joined[-1][1] < GUTTER_MIN:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined


def _spread(part: Grey, axis: int) -> npt.NDArray[np.float32]:
    values = part.astype(np.float32)
    mean = values.mean(axis=1 - axis)
    square = (values * values).mean(axis=1 - axis)
    return np.asarray(np.sqrt((square - mean * mean).clip(0)), np.float32)


def _looks_like_a_photo(grey: Grey, box: Box) -> bool:
    """Say whether no narrow range of greys fills the box and it carries structure."""
    left, top, right, bottom = box
    part = grey[top:bottom, left:right]
    share = cv2.calcHist([part], [0], None, [64], [0, 256]).ravel() / part.size
    return bool(np.convolve(share, [1, 1, 1], "same").max() < 0.4 and part.std() > 12)


def _inset(box: Box) -> Box:
    left, top, right, bottom = box
    return (left + _EDGE, top + _EDGE, right - _EDGE, bottom - _EDGE)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
