"""From raw bytes to the port's types: arrays of pixels."""

import numpy as np

from pipeline.decode.limits import Limits
from pipeline.ports import Picture


def check_ask(side_max: int, frames_max: int, limits: Limits) -> None:
    """Raise ``ValueError`` where the caller asks for more than there can be: a bug, no bad bytes."""
    if not 1 <= side_max <= limits.side_max or frames_max < 1:
        raise ValueError(f"side_max {side_max} or frames_max {frames_max} is out of range")


def picture(
    pixels: bytes | memoryview, width: int, height: int, scale: float, frame_index: int,
    *, grey: bool = False,
) -> Picture:  # fmt: skip
    """View ``pixels`` (height × width × 3 bytes, or × 1 where ``grey``) as an array without copying."""
    shape = (height, width) if grey else (height, width, 3)
    array = np.frombuffer(pixels, np.uint8).reshape(shape)
    return Picture(pixels=array, scale=scale, frame_index=frame_index)
