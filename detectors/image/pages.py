"""Is it a page (a screenshot, receipt or form), where honest pictures share most of their pixels?

A narrow range of greys fills a page, and what lies on that ground are thin strokes and level lines. A sky
or a wall fills a photograph as well, but shapes stand before it, and their edges run anywhere.
"""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from detectors.image.hashes import Grey

GROUND_SHARE: Final = 0.27
"""Share of the picture that twelve neighbouring greys fill, from which these may be a page's ground."""
_STEP: Final = 4
_RANGE_SLACK: Final = 12
_STROKE: Final = np.ones((7, 7), np.uint8)
_STROKE_DEPTH: Final = 30
_EDGE_MIN: Final = 80.0
_EDGES_MIN: Final = 50
_LEVEL: Final = float(np.tan(np.radians(8)))
"""Slope up to which an edge counts as upright or level."""
LEVEL_WEIGHT: Final = 6.0
WRITTEN_MIN: Final = -1.6
"""Fitted by logistic regression with whole sources held out (docs/image.md): at this bound .4 % of pages
count as photographs, most of them one desktop with a photograph for its ground."""


def is_page(canvas: Grey) -> bool:
    """Say whether the small picture is a page."""
    ground, low = _ground(canvas)
    return ground >= GROUND_SHARE and written(canvas, low) >= WRITTEN_MIN


def narrow_share(pixels: Grey) -> float:
    """Return the largest share of the pixels that twelve neighbouring grey levels hold."""
    return _ground(pixels)[0]


def written(canvas: Grey, low: int) -> float:
    """Measure how much of what lies on the ground, greys ``low`` to ``low`` + 11, is writing.

    The logarithm of the share that thin strokes on the ground have of all that is no ground, and the
    weighed share of the clear edges that are upright or level.
    """
    high = low + 3 * _STEP - 1
    thick = np.asarray(cv2.morphologyEx(canvas, cv2.MORPH_CLOSE, _STROKE), np.uint8)
    thin = np.asarray(cv2.morphologyEx(canvas, cv2.MORPH_OPEN, _STROKE), np.uint8)
    dark = (cv2.subtract(thick, canvas) > _STROKE_DEPTH) & _within(thick, low, high)
    bright = (cv2.subtract(canvas, thin) > _STROKE_DEPTH) & _within(thin, low, high)
    ground = float(((canvas >= low) & (canvas <= high)).mean())
    strokes = float((dark | bright).mean()) / max(1 - ground, 0.02)
    return float(np.log(strokes + 0.005)) + LEVEL_WEIGHT * _level_share(canvas)


def _ground(pixels: Grey) -> tuple[float, int]:
    """Return the share of the fullest twelve greys, and the lowest of them."""
    share = np.bincount(pixels.ravel() // _STEP, minlength=256 // _STEP) / pixels.size
    wide = np.convolve(share, [1, 1, 1], "same")
    fullest = int(wide.argmax())
    return float(wide[fullest]), _STEP * (fullest - 1)


def _within(grey: Grey, low: int, high: int) -> npt.NDArray[np.bool_]:
    found = (grey >= max(0, low - _RANGE_SLACK)) & (grey <= min(255, high + _RANGE_SLACK))
    return np.asarray(found, np.bool_)


def _level_share(canvas: Grey) -> float:
    across = np.abs(cv2.Sobel(canvas, cv2.CV_32F, 1, 0))
    down = np.abs(cv2.Sobel(canvas, cv2.CV_32F, 0, 1))
    clear = cv2.magnitude(across, down) > _EDGE_MIN
    level = np.minimum(across, down) < _LEVEL * np.maximum(across, down)
    count = int(clear.sum())
    return float((level & clear).sum()) / count if count > _EDGES_MIN else 0.0
