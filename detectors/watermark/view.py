"""One picture as the channels see it: decoded once, at the size that the most demanding asks for."""

import cv2
import numpy as np

from pipeline.model.errors import ContentError
from pipeline.ports import Decoder, Picture


class View:
    """A picture from a stranger, decoded at the first question and reduced for the others."""

    def __init__(self, decoder: Decoder, data: bytes, side_max: int) -> None:
        self._decoder, self._data, self._side = decoder, data, side_max
        self._decoded: Picture | None = None

    def at(self, side_max: int) -> Picture:
        """Return the first frame with a longer side of at most ``side_max``.

        Raises ``ContentError`` where the bytes cannot be decoded or hold no picture.
        """
        if self._decoded is None:
            frames = self._decoder.pictures(self._data, side_max=self._side, frames_max=1)
            if not frames:
                raise ContentError("blob.unreadable", "holds no picture")
            self._decoded = frames[0]
        whole = self._decoded
        shrink = side_max / max(whole.pixels.shape[:2])
        if shrink >= 1:
            return whole
        height, width = whole.pixels.shape[:2]
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        pixels = cv2.resize(whole.pixels, size, interpolation=cv2.INTER_AREA)
        return Picture(pixels=np.asarray(pixels, np.uint8), scale=whole.scale * shrink)
