"""A 256-bit perceptual hash with its eight orientations, after PDQ's plan.

The signs of the 16 × 16 lowest frequencies of a 64 × 64 grey picture (PDQ: Davis & Rosen, *The TMK+PDQF
video-hashing algorithm and the PDQ image-hashing algorithm*, 2019; there the median splits, here zero
does). A mirrored picture flips the sign of the odd frequencies and a turned one transposes them, so the
codes of all eight orientations follow from one decoding without touching the pixels again.
"""

from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Grey: TypeAlias = npt.NDArray[np.uint8]
"""A grey picture (height, width) uint8."""

SIDE: Final = 64
BAND: Final = 16
QUALITY_MIN: Final = 50
"""PDQ's gate: a picture below carries too little detail for its hash to mean anything."""


def _cosines() -> npt.NDArray[np.float32]:
    place = np.arange(SIDE) + 0.5
    waves = np.arange(1, BAND + 1)[:, None] * place[None]
    return np.asarray(np.sqrt(2 / SIDE) * np.cos(np.pi / SIDE * waves), np.float32)


_DCT: Final = _cosines()
_ODD: Final = np.arange(1, BAND + 1) % 2 == 1
_FLIP_X: Final = np.broadcast_to(_ODD[None, :], (BAND, BAND))
_FLIP_Y: Final = np.broadcast_to(_ODD[:, None], (BAND, BAND))


def shrink(grey: Grey) -> npt.NDArray[np.float32]:
    """Resize to 64 × 64 by area, whatever the aspect."""
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def quality(small: npt.NDArray[np.float32]) -> int:
    """PDQ's measure of detail, 0 to 100: the sum of clear steps between neighbours."""
    down = np.abs(np.diff(small, axis=0)) * np.float32(100 / 255)
    across = np.abs(np.diff(small, axis=1)) * np.float32(100 / 255)
    total = down.astype(np.int32).sum() + across.astype(np.int32).sum()
    return min(100, int(total) // 90)


def code_of(small: npt.NDArray[np.float32]) -> bytes:
    """Return the 32-byte code of a 64 × 64 picture."""
    return np.packbits(_DCT @ small @ _DCT.T > 0).tobytes()


def orientations(code: bytes) -> list[bytes]:
    """Return the codes of the eight mirrored and turned pictures, the upright one first."""
    upright = np.unpackbits(np.frombuffer(code, np.uint8)).reshape(BAND, BAND).astype(bool)
    found = []
    for turned in (upright, upright.T):
        for mask in (None, _FLIP_X, _FLIP_Y, _FLIP_X ^ _FLIP_Y):
            bits = turned if mask is None else turned ^ mask
            found.append(np.packbits(bits).tobytes())
    return found


def complement(code: bytes) -> bytes:
    """Return the code of the negative."""
    return bytes(255 - b for b in code)


def hamming(one: bytes, other: bytes) -> int:
    """Count the bits in which two codes differ."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()
