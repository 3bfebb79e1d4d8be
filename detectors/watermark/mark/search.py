"""Finding the geometry of a marked picture blind: keyed, coherent search on one spectrum.

A hypothesis is the 2 × 2 matrix A that takes canonical pixels (x, y) to working pixels. It moves
each line of the tile to another frequency; sampling the picture's whitened spectrum there, undoing
the keyed phases and transforming back gives the correlation with the sync tile at every shift at
once. Rough grids use the low lines alone, which forgive a wrong angle or scale most.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft as sfft

from detectors.watermark.mark.kernels import sample_lines
from detectors.watermark.mark.keys import MarkKey
from detectors.watermark.mark.tile import GUIDE_STEP, TILE, Complexes, Floats, Ints, layout

Matrices = npt.NDArray[np.float64]
"""(n, 2, 2): canonical (x, y) to working (x, y)."""

SEARCH_SIDE: Final = 512
MIDDLE_SIDE: Final = 352
"""Side of the window in the middle of a picture in which bends are looked for."""
_PAD: Final = 1.25
FREQUENCY_MAX: Final = 0.48
_CHUNK: Final = 512

DIHEDRAL: Final[Matrices] = np.array(
    [
        [[1, 0], [0, 1]], [[-1, 0], [0, 1]], [[0, -1], [1, 0]], [[0, 1], [-1, 0]],
        [[-1, 0], [0, -1]], [[1, 0], [0, -1]], [[0, 1], [1, 0]], [[0, -1], [-1, 0]],
    ],
    np.float64,
)  # fmt: skip
"""Identity, mirror, quarter turns, half turn, and their mirrors."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comb:
    """Sync lines with kx ≥ 0: numbers (kx, ky), conjugate values, places in the small transform."""

    kx: Floats
    ky: Floats
    values: Complexes
    rows: Ints
    columns: Ints
    size: int


@lru_cache(maxsize=64)
def comb(key: MarkKey, guides: bool) -> Comb:
    """Prepare a key's sync lines for the search: all of them, or the guide lines on their grid."""
    place = layout(key)
    count = place.guides if guides else len(place.sync)
    lines, values = place.sync[:count], place.sync_values[:count]
    turn = (lines[:, 1] < 0) | ((lines[:, 1] == 0) & (lines[:, 0] < 0))
    lines = np.where(turn[:, None], -lines, lines)
    step, size = (GUIDE_STEP, 20) if guides else (1, 120)
    return Comb(
        kx=(lines[:, 1] / TILE).astype(np.float32),
        ky=(lines[:, 0] / TILE).astype(np.float32),
        values=np.where(turn, values, np.conj(values)).astype(np.complex64),
        rows=(lines[:, 0] // step % size).astype(np.int64),
        columns=(lines[:, 1] // step).astype(np.int64),
        size=size,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectrum:
    """The whitened spectrum of a working picture, origin at its centre: the half with columns from
    zero up, of ``wide`` in all. ``scale`` is its pixels per working pixel."""

    values: Complexes
    wide: int
    scale: float


def whiten_picture(luma: Floats) -> Floats:
    """High-pass and level a picture, so that flat and busy parts speak alike."""
    high = luma - cv2.GaussianBlur(luma, (0, 0), 3.0)
    activity = cv2.sqrt(cv2.GaussianBlur(high * high, (0, 0), 4.0))
    return np.asarray(high / (activity + 2.0), np.float32)


def spectrum(white: Floats, scale: float = 1.0) -> Spectrum:
    """Transform a whitened picture; ``scale`` is its pixels per working pixel."""
    height, width = white.shape
    rows = sfft.next_fast_len(int(height * _PAD), real=True)
    columns = sfft.next_fast_len(int(width * _PAD), real=True)
    tapered = white * np.outer(taper(height), taper(width))
    y, x = height // 2, width // 2
    padded = np.zeros((rows, columns), np.float32)
    padded[: height - y, : width - x], padded[: height - y, -x:] = tapered[y:, x:], tapered[y:, :x]
    padded[-y:, : width - x], padded[-y:, -x:] = tapered[:y, x:], tapered[:y, :x]
    half = sfft.rfft2(padded)
    power = (half.real**2 + half.imag**2).astype(np.float32)
    size = np.sqrt(power)
    size /= np.sqrt(cv2.blur(power, (15, 15))) + np.float32(1e-6)
    # whitened and bounded by three in one: x / level, and again by its own length over three
    bound = np.minimum(np.float32(1.0), np.float32(3.0) / np.maximum(size, np.float32(1e-9)))
    half *= bound * size / np.maximum(np.sqrt(power), np.float32(1e-12))
    return Spectrum(values=half, wide=columns, scale=scale)


def taper(length: int) -> Floats:
    """Weights of a window: one, falling to nothing over a tenth at either end."""
    edge = np.arange(length) + 0.5
    return np.asarray(np.minimum(1.0, np.minimum(edge, edge[::-1]) / (0.1 * length)), np.float32)


def correlate(seen: Spectrum, found: Comb, matrices: Matrices) -> Floats:
    """Best correlation with the sync lines over all shifts, for each hypothesis.

    In deviations of the noise; on unmarked pictures it is about √(2 ln size²) ± 0.4.
    """
    out = np.empty(len(matrices), np.float32)
    for at in range(0, len(matrices), _CHUNK):
        out[at : at + _CHUNK] = _correlate(seen, found, matrices[at : at + _CHUNK])
    return out


def _correlate(seen: Spectrum, found: Comb, matrices: Matrices) -> Floats:
    count = len(matrices)
    grid = np.zeros((count, found.size, found.size // 2 + 1), np.complex64)
    power = np.empty(count, np.float32)
    sample_lines(
        seen.values, seen.wide, np.ascontiguousarray(matrices), seen.scale, found.kx, found.ky,
        found.values, found.rows, found.columns, FREQUENCY_MAX, grid, power,
    )  # fmt: skip
    field = sfft.irfft2(grid, (found.size, found.size), overwrite_x=True)
    norm = np.sqrt(2 * power + 1e-9) / found.size**2
    return np.asarray(field.reshape(count, -1).max(axis=1) / norm, np.float32)


def refine(seen: Spectrum, key: MarkKey, starts: Matrices) -> tuple[Matrices, Floats]:
    """Climb from rough hypotheses by their guide lines; return them with scores on all lines."""
    guides, number = comb(key, True), np.arange(len(starts))
    best, score = starts, np.full(len(starts), -1.0, np.float32)
    for moves in _moves():
        tried = best[:, None] @ moves
        scores = correlate(seen, guides, tried.reshape(-1, 2, 2)).reshape(len(starts), -1)
        top = scores.argmax(axis=1)
        better = scores[number, top] > score
        best = np.where(better[:, None, None], tried[number, top], best)
        score = np.maximum(scores[number, top], score)
    return best, correlate(seen, comb(key, False), best)


def _similar(scales: Floats, angles: Floats) -> Matrices:
    """Every scale with every angle (radians): (n, 2, 2)."""
    size, angle = (a.ravel() for a in np.meshgrid(scales, angles, indexing="ij"))
    c, s = np.cos(angle) * size, np.sin(angle) * size
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2).astype(np.float64)


def _bent(step: float, reach: int, shear: int) -> Matrices:
    """Every small affine change: the diagonal up to ``reach`` steps, the rest up to ``shear``."""
    d, o = np.arange(-reach, reach + 1) * step, np.arange(-shear, shear + 1) * step
    a, b, c, e = (x.ravel() for x in np.meshgrid(d, o, o, d, indexing="ij"))
    return np.stack([np.stack([1 + a, b], -1), np.stack([c, 1 + e], -1)], -2)


def _geometric(low: float, high: float, step: float) -> Floats:
    return np.asarray(np.exp(np.arange(np.log(low), np.log(high), step)), np.float32)


@lru_cache(maxsize=1)
def _moves() -> tuple[Matrices, ...]:
    near = np.array([-0.004, -0.002, 0, 0.002, 0.004], np.float32)
    return (_similar(np.exp(near), near), _bent(0.004, 1, 1), _bent(0.002, 1, 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """A grid of hypotheses, relative to the scale of an uncropped picture.

    ``gate`` is the correlation from which a refined hypothesis is looked at closely. Where the grid
    holds the true geometry the mark is loud there; a bend it only comes near to.
    """

    name: str
    window: str
    matrices: Matrices
    candidates: int
    gate: float


@lru_cache(maxsize=1)
def stages() -> tuple[Stage, ...]:
    """The grids in the order in which they are tried: likely and cheap before rare and costly."""
    scales = _geometric(0.42, 3.2, 0.008)
    still = np.array([0.0], np.float32)
    mirrors = np.concatenate([_similar(scales, still) @ turn for turn in DIHEDRAL])
    narrow, wide = _geometric(0.86, 1.17, 0.011), _geometric(0.86, 1.17, 0.011)
    x, y = (a.ravel() for a in np.meshgrid(narrow, wide, indexing="ij"))
    stretched = np.zeros((len(x), 2, 2))
    stretched[:, 0, 0], stretched[:, 1, 1] = x, y
    angles = np.deg2rad(np.arange(-12.6, 12.61, 0.42)).astype(np.float32)
    turned = _similar(_geometric(0.68, 1.6, 0.012), angles)
    tilted = np.deg2rad(np.arange(-6, 6.1, 0.8)).astype(np.float32)
    return (
        Stage(name="scale", window="all", matrices=mirrors, candidates=6, gate=5.5),
        Stage(name="aspect", window="all", matrices=stretched, candidates=4, gate=5.0),
        Stage(name="bent", window="middle", matrices=_bent(0.014, 4, 3), candidates=5, gate=5.0),
        Stage(name="tilted", window="middle", matrices=_similar(
            _geometric(0.5, 1.7, 0.014), tilted), candidates=4, gate=5.3),
        Stage(name="turned", window="all", matrices=turned, candidates=6, gate=5.5),
        Stage(name="cell", window="quarters", matrices=_similar(
            _geometric(0.40, 1.1, 0.012), still), candidates=2, gate=5.0),
    )  # fmt: skip


def nominate(seen: Spectrum, key: MarkKey, matrices: Matrices, count: int) -> Matrices:
    """Return the best hypotheses of a grid, best first, none near a better one."""
    scores = correlate(seen, comb(key, True), matrices)
    taken: list[npt.NDArray[np.float64]] = []
    for at in np.argsort(scores, kind="stable")[::-1][: 40 * count]:
        one = matrices[at]
        near = any(np.abs(one - other).max() < 0.012 * np.abs(one).max() for other in taken)
        if near:
            continue
        taken.append(one)
        if len(taken) == count:
            break
    return np.stack(taken)
