"""Scale-invariant features of a grey picture (SIFT: Lowe 2004, IJCV 60), made quick for small pictures.

OpenCV's SIFT doubles the picture first and describes every extremum; here the finest scale is that of
the picture itself, and only the chosen places are turned and described. On pictures of 384 pixels that
is several times quicker and finds copies as well (docs/image.md).
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from detectors.image import sift_loops as loops
from detectors.image.hashes import Grey

F32: TypeAlias = npt.NDArray[np.float32]
I64: TypeAlias = npt.NDArray[np.int64]

SIGMA: Final = 1.1
"""Blur of an octave's first image, in its own pixels."""
SIGMA_GIVEN: Final = 0.5
"""Blur that a picture is taken to have already."""
CONTRAST_MIN: Final = 0.015 * 255 / loops.LAYERS
CONTRAST_FAINT: Final = 0.005 * 255 / loops.LAYERS
FEW: Final = 80
"""With fewer extrema a picture is sparse or washed out: it is doubled, and fainter ones are taken."""
EDGE_RATIO: Final = 12.0
SIDE_MIN: Final = 20
EXTREMA_MAX: Final = 4096
PEAKS_MAX: Final = 3
_GRID: Final = 4
_COARSE: Final = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keypoints:
    """What was found, the strongest first.

    ``points`` (n, 2) float32 x and y in pixels; ``sizes`` (n,) diameters in pixels; ``angles`` (n,)
    radians; ``descriptors`` (n, 128) float32: cell row, cell column, direction.
    """

    points: F32
    sizes: F32
    angles: F32
    descriptors: F32


def _tables() -> tuple[F32, npt.NDArray[np.int64], F32]:
    """Weigh the samples of a patch: by distance, and between the two nearest cells each way."""
    off = np.arange(loops.PATCH) - (loops.PATCH - 1) / 2
    near = np.exp(-(off**2) / (2 * (loops.PATCH / 2) ** 2))
    at = off / 4 + 1.5
    low = np.floor(at).astype(np.int64)
    share = at - low
    cells = np.stack([low, low + 1], axis=1)
    shares = np.stack([1 - share, share], axis=1)
    shares[(cells < 0) | (cells > 3)] = 0
    return (
        np.outer(near, near).astype(np.float32), cells.clip(0, 3), shares.astype(np.float32),
    )  # fmt: skip


_WEIGHTS, _CELLS, _SHARES = _tables()


def keypoints(small: Grey, most: int) -> Keypoints:
    """Find and describe at most ``most`` features, the strongest, evenly over places and scales."""
    octaves = _octaves(small, SIGMA_GIVEN)
    rows = _extrema(octaves, CONTRAST_MIN)
    unit = np.float32(1)
    if len(rows) < FEW:
        octaves = _octaves(_doubled(small), 2 * SIGMA_GIVEN)
        rows = _extrema(octaves, CONTRAST_FAINT)
        unit = np.float32(0.5)
    grow = np.exp2(rows[:, 4])
    points = rows[:, 2:0:-1] * grow[:, None]
    sizes = np.float32(2 * SIGMA) * np.exp2(rows[:, 0] / np.float32(loops.LAYERS)) * grow
    chosen = spread(points * unit, sizes * unit, rows[:, 3], small.shape, most)
    return _described(octaves, rows[chosen], most, unit)


def _doubled(small: Grey) -> Grey:
    size = (2 * small.shape[1], 2 * small.shape[0])
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _extrema(octaves: list[F32], contrast_min: float) -> F32:
    """Find the extrema of all octaves, (n, 5): layer, row, column, contrast, octave."""
    found = np.empty((EXTREMA_MAX, 4), np.float32)
    parts = [np.empty((0, 5), np.float32)]
    for number, blurred in enumerate(octaves):
        count = loops.extrema(blurred, contrast_min, EDGE_RATIO, found)
        part = np.empty((count, 5), np.float32)
        part[:, :4], part[:, 4] = found[:count], number
        parts.append(part)
    return np.concatenate(parts)


def _octaves(small: Grey, sigma_given: float) -> list[F32]:
    """Blur and halve: an octave is (LAYERS + 3, height, width) float32."""
    steps = SIGMA * np.exp2(np.arange(loops.LAYERS + 3) / loops.LAYERS)
    more = np.sqrt(np.diff(steps**2))
    base = _blur(np.asarray(small, np.float32), float(np.sqrt(SIGMA**2 - sigma_given**2)))
    made = []
    while min(base.shape) >= SIDE_MIN:
        blurred = np.empty((loops.LAYERS + 3, *base.shape), np.float32)
        blurred[0] = base
        for layer, sigma in enumerate(more.tolist()):
            _blur(blurred[layer], sigma, blurred[layer + 1])
        made.append(blurred)
        base = np.ascontiguousarray(blurred[loops.LAYERS, ::2, ::2])
    return made


def _blur(image: F32, sigma: float, out: F32 | None = None) -> F32:
    side = 2 * round(3.2 * sigma) + 1
    done = cv2.GaussianBlur(image, (side, side), sigma, dst=out)
    return np.asarray(done, np.float32)


def _described(octaves: list[F32], rows: F32, most: int, unit: np.float32) -> Keypoints:
    """Turn and describe the chosen extrema, (n, 5): layer, row, column, contrast, octave.

    ``unit`` is the width of an octave's first pixel in pixels of the picture.
    """
    places = np.ascontiguousarray(rows[:, :4])
    places[:, 3] = SIGMA * np.exp2(rows[:, 0] / loops.LAYERS)
    octave = rows[:, 4].astype(np.int64)
    turns = np.empty((len(rows), PEAKS_MAX), np.float32)
    counts = np.zeros(len(rows), np.int64)
    for number, blurred in enumerate(octaves):
        mine = np.flatnonzero(octave == number)
        told, count = turns[mine], counts[mine]
        loops.angles(blurred, places[mine], told, count)
        turns[mine], counts[mine] = told, count
    at = np.repeat(np.arange(len(rows)), counts)[:most]
    turn = turns[np.arange(PEAKS_MAX) < counts[:, None]][:most]
    made = np.empty((len(at), 128), np.float32)
    for number, blurred in enumerate(octaves):
        mine = np.flatnonzero(octave[at] == number)
        out = np.empty((len(mine), 128), np.float32)
        loops.describe(blurred, places[at[mine]], turn[mine], _WEIGHTS, _CELLS, _SHARES, out)
        made[mine] = out
    grow = np.exp2(rows[at, 4]) * unit
    return Keypoints(
        points=np.ascontiguousarray(rows[at, 2:0:-1] * grow[:, None]),
        sizes=2 * places[at, 3] * grow, angles=turn * np.float32(2 * np.pi), descriptors=made,
    )  # fmt: skip


def spread(points: F32, sizes: F32, strength: F32, shape: tuple[int, ...], most: int) -> I64:
    """Choose at most ``most``, the strongest first but evenly over places and scales.

    Every cell of a 4 × 4 grid gives its k-th strongest before any gives its (k + 1)-th, with half of
    the places kept for the strongest anywhere: a sticker must not hide the rest of the picture.
    """
    order = np.lexsort((points[:, 1], points[:, 0], -strength))
    if len(order) <= most:
        return order
    cell = (points[:, 1] * _GRID / shape[0]).astype(np.int64) * _GRID
    cell += (points[:, 0] * _GRID / shape[1]).astype(np.int64)
    group = (cell * 2 + (sizes > _COARSE))[order]
    # The rank of each within its group, in order of strength.
    by_group = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(group[by_group])) + 1])
    counts = np.diff(np.concatenate([starts, [len(group)]]))
    rank = np.empty(len(group), np.int64)
    rank[by_group] = np.arange(len(group)) - np.repeat(starts, counts)
    half = most // 2
    even = half + np.argsort(rank[half:], kind="stable")[: most - half]
    return np.concatenate([order[:half], order[even]])
