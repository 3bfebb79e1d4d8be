"""Reading the words in a picture: one lazily loaded RapidOCR engine, shared by the rooms.

RapidOCR (PP-OCRv4, Chinese and Latin) ships its weights in the wheel and needs no network. One
thread each way, so that equal pixels give equal text on any machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

SIDE_MIN = 16
"""Pictures with a shorter side are not read: no glyph fits."""
GLYPH_MIN = 6
"""Pixels that a single line must have each way to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of text. ``box`` is (x0, y0, x1, y1) in pixels of the picture given."""

    text: str
    confidence: float
    box: tuple[float, float, float, float]


@cache
def _engine() -> Any:
    """Load the models once in a process (about 1.5 s with the import)."""
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1, print_verbose=False)


def read_lines(
    pixels: npt.NDArray[np.uint8], *, confidence_min: float = 0.5, upright: bool = True
) -> tuple[Line, ...]:
    """Read the lines of text in a picture, from top to bottom, then left to right.

    ``pixels`` is uint8 (height, width, 3) RGB. Lines under ``confidence_min`` are left out.
    ``upright`` skips the classifier that turns lines standing on their head.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"RGB uint8 expected, got {pixels.dtype} {pixels.shape}")
    if min(pixels.shape[:2]) < SIDE_MIN:
        return ()
    bgr = np.ascontiguousarray(pixels[:, :, ::-1])
    found, _ = _engine()(bgr, use_cls=not upright)
    lines = [
        Line(text=str(text), confidence=round(float(confidence), 4), box=_bounds(quad))
        for quad, text, confidence in found or ()
        if float(confidence) >= confidence_min
    ]
    return tuple(sorted(lines, key=lambda line: (line.box[1], line.box[0], line.text)))


def read_row(
    pixels: npt.NDArray[np.uint8], box: tuple[float, float, float, float]
) -> tuple[str, float]:
    """Read what stands in a box (x0, y0, x1, y1 pixels, clipped to the picture) as one line of text.

    Returns the text and its confidence, 0 where the box holds too few pixels. A fraction of the cost
    of ``read_lines``, which finds the lines first.
    """
    x0, y0 = max(0, int(box[0])), max(0, int(box[1]))
    part = pixels[y0 : max(y0, round(box[3])), x0 : max(x0, round(box[2])), ::-1]
    if min(part.shape[:2]) < GLYPH_MIN:
        return "", 0.0
    found, _ = _engine().text_rec([np.ascontiguousarray(part)])
    text, confidence = found[0]
    return str(text), float(confidence)


def _bounds(quad: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    xs, ys = [float(x) for x, _ in quad], [float(y) for _, y in quad]
    return (min(xs), min(ys), max(xs), max(ys))
