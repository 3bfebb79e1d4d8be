"""Local features as compact binary codes: SIFT keypoints with a 128-bit descriptor each.

Keypoints and descriptors are SIFT's (``detectors.image.sift``); each of the 128 bins becomes one bit by
its typical value, which loses almost nothing in matching at a thirty-second of the bytes. Mirroring and
inversion permute the bins, so a mirrored or negative copy is compared without touching its pixels.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from detectors.image import sift
from detectors.image.hashes import Grey

F32: TypeAlias = npt.NDArray[np.float32]
U8: TypeAlias = npt.NDArray[np.uint8]
I64: TypeAlias = npt.NDArray[np.int64]

SIDE: Final = 384
"""Longer side in pixels at which features are sought."""
FEATURES_MAX: Final = 200
BITS: Final = 128
_CODE_BYTES: Final = 16
_BINS: Final = np.arange(BITS).reshape(4, 4, 8)
MIRROR: Final[I64] = _BINS[::-1][:, :, (-np.arange(8)) % 8].reshape(-1)
"""Bin order after a left-right flip: cell rows reversed, gradient directions negated."""
INVERT: Final[I64] = _BINS[::-1, ::-1].reshape(-1)
"""Bin order of the negative: the keypoint turns by half, so its cells do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Keypoints of one picture of ``width`` × ``height`` pixels (the longer one at most SIDE).

    ``points`` (n, 2) float32 x and y; ``sizes`` (n,) float32 pixels; ``angles`` (n,) float32
    radians; ``codes`` (n, 16) uint8, 128 bits each.
    """

    width: int
    height: int
    points: F32
    sizes: F32
    angles: F32
    codes: U8

    def __len__(self) -> int:
        return len(self.points)

    def mirrored(self) -> "Features":
        """Return the features of the left-right flipped picture, in the same order."""
        points = self.points.copy()
        points[:, 0] = self.width - 1 - points[:, 0]
        return Features(
            width=self.width, height=self.height, points=points, sizes=self.sizes,
            angles=np.mod(np.float32(np.pi) - self.angles, np.float32(2 * np.pi)),
            codes=permuted(self.codes, MIRROR),
        )  # fmt: skip

    def inverted(self) -> "Features":
        """Return the features of the negative, in the same order."""
        return Features(
            width=self.width, height=self.height, points=self.points, sizes=self.sizes,
            angles=np.mod(self.angles + np.float32(np.pi), np.float32(2 * np.pi)),
            codes=permuted(self.codes, INVERT),
        )  # fmt: skip

    def pack(self) -> bytes:
        """Write 22 bytes a feature."""
        head = np.array([self.width, self.height, len(self)], "<u2")
        places = np.round(self.points * 64).clip(0, 65535).astype("<u2")
        sizes = np.round(np.log2(self.sizes.clip(0.5, 1e4)) * 16 + 16).clip(0, 255).astype(np.uint8)
        angles = np.round(self.angles * (256 / (2 * np.pi))).astype(np.int64) % 256
        parts = (head, places, sizes, angles.astype(np.uint8), self.codes)
        return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)

    @classmethod
    def unpack(cls, data: bytes, offset: int = 0) -> tuple["Features", int]:
        """Read what ``pack`` wrote; return it and where it ends."""
        width, height, n = np.frombuffer(data, "<u2", 3, offset).tolist()
        at = offset + 6
        places = np.frombuffer(data, "<u2", 2 * n, at).reshape(n, 2)
        sizes = np.frombuffer(data, np.uint8, n, at + 4 * n)
        angles = np.frombuffer(data, np.uint8, n, at + 5 * n)
        codes = np.frombuffer(data, np.uint8, _CODE_BYTES * n, at + 6 * n)
        found = cls(
            width=width, height=height,
            points=places.astype(np.float32) / np.float32(64),
            sizes=np.exp2((sizes.astype(np.float32) - 16) / 16),
            angles=angles.astype(np.float32) * np.float32(2 * np.pi / 256),
            codes=codes.reshape(n, _CODE_BYTES),
        )  # fmt: skip
        return found, at + (6 + _CODE_BYTES) * n


def permuted(codes: U8, order: I64) -> U8:
    """Reorder the bits of codes (n, 16)."""
    return np.packbits(np.unpackbits(codes, axis=1)[:, order], axis=1)


def resized(grey: Grey, side: int) -> Grey:
    """Shrink to a longer side of ``side``; a smaller picture stays as it is."""
    factor = side / max(grey.shape)
    if factor >= 1:
        return np.ascontiguousarray(grey)
    size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def features_of(grey: Grey) -> Features:
    """Find the features of a grey picture."""
    small = resized(grey, SIDE)
    found = sift.keypoints(small, FEATURES_MAX)
    return Features(
        width=small.shape[1], height=small.shape[0], points=found.points, sizes=found.sizes,
        angles=found.angles, codes=binary(found.descriptors),
    )  # fmt: skip


def binary(descriptors: F32) -> U8:
    """Turn descriptors (n, 128) into codes (n, 16): a bit where a bin is above its own cell's worth.

    The threshold is each descriptor's mean after a square root (RootSIFT: Arandjelović & Zisserman
    2012), which mirroring and inversion leave as it is.
    """
    root = np.sqrt(descriptors.clip(0))
    return np.packbits(root > root.mean(axis=1, keepdims=True), axis=1)


cv2.setNumThreads(1)
