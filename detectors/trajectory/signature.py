"""Signatures of strokes: shape and timing in 28 numbers, and the keys under which they are found.

A signature does not change with place, scale or turn of the page, and little with jitter, dropped
points or stretched time. Keys are p-stable locality-sensitive hashes (Datar et al., SoCG 2004) of
coordinates measured in units of what a disguised playback changes.
"""

from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from detectors.kit.strokes import FloatArray, IntArray, Strokes

POINTS: Final = 32
SHAPE: Final = 10
TIMES: Final = 6
SIZE: Final = 2 * SHAPE + TIMES + 2
"""Cosine coefficients of x (10) and y (10) along the path, of time (6), ln ms, ln px."""

POINTS_MIN: Final = 6
DIAMETER_PX_MIN: Final = 30.0
DECIMATE: Final = 0.03
"""Points nearer than this share of the stroke's size (at least 3 px) to the last are passed over,
so that jitter does not lengthen the path."""

TOLERANCE: Final[FloatArray] = np.array(
    [
        *(0.020, 0.070, 0.044, 0.037, 0.032, 0.026, 0.023, 0.020, 0.018, 0.016),
        *(0.010, 0.070, 0.060, 0.050, 0.040, 0.033, 0.029, 0.026, 0.022, 0.020),
        *(0.067, 0.056, 0.036, 0.034, 0.027, 0.025, 0.100, 0.150),
    ]
)
"""What a playback warped by 30 %, jittered by 2.5 px, turned by 10°, scaled by 20 % and thinned by a
quarter changes in each number (robust standard deviation)."""

TELLING: Final = 1.0
"""A stroke whose own mirror image is nearer than this is as good as straight: it proves nothing, and
no key is made of it."""

BANDS: Final = 16
HASHES: Final = 10
WIDTH: Final = 6.0
HASHED: Final = (0, 1, 2, 3, 11, 12, 13, 14, 20, 21, 26, 27)
_SEED: Final = 20_240_229

_COSINES: Final[FloatArray] = np.sqrt(2.0 / POINTS) * np.cos(
    np.pi * np.outer(np.arange(1, SHAPE + 1), np.arange(POINTS) + 0.5) / POINTS
)


def _mirror() -> FloatArray:
    """Signs that turn a signature into those of its mirror image, its reversal, and of both."""
    side = np.ones(SIZE)
    side[SHAPE : 2 * SHAPE] = -1.0
    back = np.ones(SIZE)
    odd = np.arange(SHAPE) % 2 == 1
    back[:SHAPE][odd] = back[SHAPE : 2 * SHAPE][odd] = -1.0
    back[2 * SHAPE : 2 * SHAPE + TIMES][odd[:TIMES]] = -1.0
    return np.stack([side, back, side * back])


DECOYS: Final[FloatArray] = _mirror()


def _projections() -> tuple[FloatArray, FloatArray, npt.NDArray[np.uint64]]:
    draw = np.random.Generator(np.random.PCG64(_SEED))
    directions = draw.standard_normal((BANDS * HASHES, len(HASHED)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    mixers = draw.integers(1, 2**63, HASHES, dtype=np.uint64) | np.uint64(1)
    return directions, draw.uniform(0.0, 1.0, BANDS * HASHES), mixers


_DIRECTIONS, _OFFSETS, _MIXERS = _projections()


@numba.njit(cache=True)
def _resample(
    t: FloatArray, x: FloatArray, y: FloatArray, diameter: float, grid: FloatArray
) -> bool:
    """Fill grid (3, POINTS): x, y, and time as a share, at equal steps along the thinned path."""
    n = len(t)
    reach = max(3.0, DECIMATE * diameter)
    px, py, pt, s = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    px[0], py[0], pt[0], s[0] = x[0], y[0], t[0], 0.0
    m = 1
    for i in range(1, n):
        dx, dy = x[i] - px[m - 1], y[i] - py[m - 1]
        if dx * dx + dy * dy >= reach * reach or i == n - 1:
            px[m], py[m], pt[m] = x[i], y[i], t[i]
            s[m] = s[m - 1] + np.sqrt(dx * dx + dy * dy)
            m += 1
    length, duration = s[m - 1], pt[m - 1] - pt[0]
    if m < 3 or length <= 0.0 or duration <= 0.0:
        return False
    j = 0
    for k in range(POINTS):
        u = length * k / (POINTS - 1)
        while j < m - 2 and s[j + 1] < u:
            j += 1
        f = min(1.0, (u - s[j]) / max(s[j + 1] - s[j], 1e-9))
        grid[0, k] = px[j] + f * (px[j + 1] - px[j])
        grid[1, k] = py[j] + f * (py[j + 1] - py[j])
        grid[2, k] = (pt[j] + f * (pt[j + 1] - pt[j]) - pt[0]) / duration - k / (POINTS - 1)
    return True


@numba.njit(cache=True)
def _sign_one(t: FloatArray, x: FloatArray, y: FloatArray, cosines: FloatArray, grid: FloatArray,
              out: FloatArray) -> bool:  # fmt: skip
    wide, high = x.max() - x.min(), y.max() - y.min()
    diameter = np.sqrt(wide * wide + high * high)
    if diameter < DIAMETER_PX_MIN or not _resample(t, x, y, diameter, grid):
        return False
    mx, my = grid[0].mean(), grid[1].mean()
    size, cr, ci = 0.0, 0.0, 0.0
    for k in range(POINTS):
        grid[0, k] -= mx
        grid[1, k] -= my
        size += (grid[0, k] ** 2 + grid[1, k] ** 2) / POINTS
        along = k / (POINTS - 1) - 0.5
        cr += along * grid[0, k]
        ci += along * grid[1, k]
    size = np.sqrt(size)
    turn = np.sqrt(cr * cr + ci * ci) + 1e-12
    cr, ci = cr / turn, ci / turn
    for k in range(SHAPE):
        a, b, c = 0.0, 0.0, 0.0
        for i in range(POINTS):
            a += cosines[k, i] * (grid[0, i] * cr + grid[1, i] * ci) / size
            b += cosines[k, i] * (grid[1, i] * cr - grid[0, i] * ci) / size
            c += cosines[k, i] * grid[2, i]
        out[k], out[SHAPE + k] = a, b
        if k < TIMES:
            out[2 * SHAPE + k] = c
    out[SIZE - 2], out[SIZE - 1] = np.log(t[-1] - t[0]), np.log(diameter)
    return True


@numba.njit(cache=True)
def _sign(t: FloatArray, x: FloatArray, y: FloatArray, start: IntArray, cosines: FloatArray,
          out: FloatArray, good: npt.NDArray[np.bool_]) -> None:  # fmt: skip
    grid = np.empty((3, POINTS))
    for i in range(len(start) - 1):
        a, b = start[i], start[i + 1]
        if b - a >= POINTS_MIN:
            good[i] = _sign_one(t[a:b], x[a:b], y[a:b], cosines, grid, out[i])


def sign(strokes: Strokes) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Sign every stroke: (strokes, SIZE) float64 in units of ``TOLERANCE``, and which rows hold any.

    Strokes under ``POINTS_MIN`` points or ``DIAMETER_PX_MIN`` across have no signature.
    """
    out = np.zeros((len(strokes), SIZE))
    good = np.zeros(len(strokes), np.bool_)
    if len(strokes):
        _sign(strokes.t, strokes.x, strokes.y, strokes.start, _COSINES, out, good)
    return out / TOLERANCE, good


def telling(signatures: FloatArray) -> npt.NDArray[np.bool_]:
    """Say which strokes differ from their own mirror image, and so can prove anything at all."""
    apart = np.minimum(np.abs(2.0 * signatures[:, SHAPE : 2 * SHAPE]), 4.0)
    return np.asarray((apart**2).sum(axis=1) / SIZE >= TELLING)


def keys(signatures: FloatArray) -> npt.NDArray[np.uint64]:
    """Hash signatures: (strokes, BANDS) uint64; equal in a band with equal probability in each."""
    places = signatures[:, HASHED] @ _DIRECTIONS.T / WIDTH + _OFFSETS
    cells = np.floor(places).astype(np.int64).astype(np.uint64).reshape(-1, BANDS, HASHES)
    mixed = (cells * _MIXERS).sum(axis=2, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    mixed ^= np.arange(BANDS, dtype=np.uint64)
    return np.asarray(mixed, np.uint64)


def curve(signature: FloatArray) -> FloatArray:
    """Draw the path that a signature remembers: (POINTS, 2), mean 0, root mean square radius 1."""
    shape = (signature * TOLERANCE)[: 2 * SHAPE].reshape(2, SHAPE)
    return np.asarray((shape @ _COSINES).T)


def pack(signatures: FloatArray) -> bytes:
    """Write signatures as little-endian float16, 56 bytes a stroke."""
    return np.clip(signatures, -6e4, 6e4).astype("<f2").tobytes()


def unpack(value: bytes) -> FloatArray:
    """Read what ``pack`` wrote: (strokes, SIZE) float64."""
    return np.frombuffer(value, "<f2").reshape(-1, SIZE).astype(np.float64)
