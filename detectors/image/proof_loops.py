"""The compiled loops of proof: matching codes, agreeing on a similarity, comparing blocks, centres."""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.index.popcount import popcount

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Blocks = npt.NDArray[np.bool_]

_FAR: Final = 256
BLOCK: Final = 12
"""Pixels on each side of a block; a constant, so that its loops are unrolled."""


@njit(cache=True, nogil=True)
def two_nearest(ours: U64, theirs: U64, near: I64, back: I64) -> None:
    """Find for each code (n, 2) the nearest of ``theirs`` (m, 2), and for each of these that of ours.

    Fills ``near`` (3, n) and ``back`` (3, m): which, its distance, the second's. Of equally near codes
    the first is taken; where there is no second, its distance is 256.
    """
    back[0], back[1], back[2] = 0, _FAR, _FAR
    for i in range(len(ours)):
        one = two = np.int64(_FAR)
        at = 0
        first, last = ours[i, 0], ours[i, 1]
        for j in range(len(theirs)):
            far = np.int64(popcount(first ^ theirs[j, 0]) + popcount(last ^ theirs[j, 1]))
            if far < one:
                one, two, at = far, one, j
            elif far < two:
                two = far
            if far < back[1, j]:
                back[2, j] = back[1, j]
                back[0, j], back[1, j] = i, far
            elif far < back[2, j]:
                back[2, j] = far
        near[0, i], near[1, i], near[2, i] = at, one, two


@njit(cache=True, nogil=True)
def _nearest(far: npt.NDArray[np.uint8]) -> int:
    """Return the first place of the least value, which is worn down to 255 for the next asking."""
    least = np.uint8(255)
    for j in range(len(far)):
        least = np.uint8(min(least, far[j]))
    at = 0
    while far[at] != least:
        at += 1
    far[at] = 255
    return at


@njit(cache=True, nogil=True)
def two_centres(codes: U64, centres: U64, choices: int, near: I64) -> None:
    """Find for each 64-bit code (n,) the nearest centre and, with two ``choices``, the one after it.

    Fills ``near`` (n, choices); of equally near centres the first is nearer.
    """
    far = np.empty(len(centres), np.uint8)
    for i in range(len(codes)):
        code = codes[i]
        for j in range(len(centres)):
            far[j] = np.uint8(popcount(code ^ centres[j]))
        for k in range(choices):
            near[i, k] = _nearest(far)


@njit(cache=True, nogil=True)
def consensus(
    ours: F64, theirs: F64, grow: F64, turn: F64, scale_slack: float, angle_slack: float
) -> Blocks:
    """Mark the pairs that agree with the best similarity said by one pair.

    ``ours`` and ``theirs`` (n, 2) are places; ``grow`` (n,) the log₂ of how sizes change and ``turn``
    (n,) how angles do, in radians. Of equally good similarities the first is taken.
    """
    n, full = len(ours), 2 * np.pi
    turns = turn % full
    best = np.zeros(n, np.bool_)
    mine = np.empty(n, np.bool_)
    most = 0
    for i in range(n):
        scale = 2.0 ** grow[i]
        cos, sin = scale * np.cos(turn[i]), scale * np.sin(turn[i])
        count = 0
        for j in range(n):
            if count + n - j <= most:
                break  # no more can agree than did before
            mine[j] = False
            if abs(grow[j] - grow[i]) >= scale_slack:
                continue
            bent = abs(turns[j] - turns[i])
            if min(bent, full - bent) >= angle_slack:
                continue
            dx, dy = theirs[j, 0] - theirs[i, 0], theirs[j, 1] - theirs[i, 1]
            x = ours[i, 0] + cos * dx - sin * dy - ours[j, 0]
            y = ours[i, 1] + sin * dx + cos * dy - ours[j, 1]
            if np.sqrt(x * x + y * y) < 6 + 0.12 * scale * np.sqrt(dx * dx + dy * dy):
                mine[j] = True
                count += 1
        if count > most:
            most = count
            best[:] = mine
    return best


@njit(cache=True, nogil=True)
def fitted(source: F64, target: F64, kept: Blocks, bent: bool, transform: F64) -> bool:
    """Fit a similarity to the kept pairs (n, 2), or an affine map pulled towards it (``bent``).

    The similarity is Umeyama's (1991, PAMI 13) without reflection; from six pairs on what it leaves may
    be fitted by ridge regression. Fills ``transform`` (3, 3); says whether it neither collapses nor
    explodes.
    """
    count = 0
    sx = sy = tx = ty = 0.0
    for i in range(len(kept)):
        if kept[i]:
            count += 1
            sx, sy = sx + source[i, 0], sy + source[i, 1]
            tx, ty = tx + target[i, 0], ty + target[i, 1]
    sx, sy, tx, ty = sx / count, sy / count, tx / count, ty / count
    xx = xy = yy = xu = xv = yu = yv = 0.0
    for i in range(len(kept)):
        if kept[i]:
            x, y = source[i, 0] - sx, source[i, 1] - sy
            u, v = target[i, 0] - tx, target[i, 1] - ty
            xx, xy, yy = xx + x * x, xy + x * y, yy + y * y
            xu, xv, yu, yv = xu + x * u, xv + x * v, yu + y * u, yv + y * v
    norm = max(xx + yy, 1e-9)
    cos, sin = (xu + yv) / norm, (xv - yu) / norm
    a, b, c, d = cos, -sin, sin, cos
    if bent and count >= 6:
        # The residuals are linear in the target, so their sums follow from those above.
        ru, rv = xu - a * xx - b * xy, xv - c * xx - d * xy
        su, sv = yu - a * xy - b * yy, yv - c * xy - d * yy
        ridge = 0.02 * (xx + yy) + 1e-6
        p, q = xx + ridge, yy + ridge
        det = p * q - xy * xy
        a, b = a + (q * ru - xy * su) / det, b + (p * su - xy * ru) / det
        c, d = c + (q * rv - xy * sv) / det, d + (p * sv - xy * rv) / det
    transform[0, 0], transform[0, 1], transform[0, 2] = a, b, tx - a * sx - b * sy
    transform[1, 0], transform[1, 1], transform[1, 2] = c, d, ty - c * sx - d * sy
    transform[2, 0], transform[2, 1], transform[2, 2] = 0.0, 0.0, 1.0
    return 0.02 < abs(a * d - b * c) < 50


@njit(cache=True, nogil=True)
def refined(source: F64, target: F64, kept: Blocks, tolerance: float, transform: F64) -> bool:
    """Fit ``transform`` (3, 3) to the kept pairs and again to those near it, ever nearer.

    Changes ``kept``; says whether enough pairs and a sound map came of it.
    """
    if kept.sum() < 3:
        return False
    fitted(source, target, kept, False, transform)
    for slack in (1.5, 1.0, 0.7):
        count = 0
        for i in range(len(kept)):
            x, y = source[i, 0], source[i, 1]
            u = transform[0, 0] * x + transform[0, 1] * y + transform[0, 2] - target[i, 0]
            v = transform[1, 0] * x + transform[1, 1] * y + transform[1, 2] - target[i, 1]
            kept[i] = np.sqrt(u * u + v * v) < tolerance * slack
            count += kept[i]
        if count < 4 or not fitted(source, target, kept, True, transform):
            return False
    return True


@njit(cache=True, nogil=True, fastmath=True)
def liken(
    ours: F32, wide: F32, likeness: F32, mean_a: F32, spread_a: F32, mean_s: F32,
    spread_s: F32,
) -> None:  # fmt: skip
    """Correlate every block with the source, the best of nine shifts.

    ``ours`` (rows · BLOCK, columns · BLOCK) is the accused; ``wide`` the source laid over it, with one
    pixel more on every side. Fills, by block, the correlation and both pictures' means and deviations.
    """
    rows, columns = likeness.shape
    count = np.float32(BLOCK * BLOCK)
    for r in range(rows):
        for c in range(columns):
            top, left = r * BLOCK, c * BLOCK
            total, square = np.float32(0), np.float32(0)
            for i in range(BLOCK):
                for j in range(BLOCK):
                    v = ours[top + i, left + j]
                    total += v
                    square += v * v
            mean = total / count
            spread = np.sqrt(max(square / count - mean * mean, np.float32(0)))
            mean_a[r, c], spread_a[r, c] = mean, spread
            best = np.float32(-1)
            for dy in range(3):
                # One pass for products and sums, a row a vector; shifts across are written out so that
                # the compiler sees them.
                c0 = c1 = c2 = s0 = s1 = s2 = q0 = q1 = q2 = np.float32(0)
                for i in range(BLOCK):
                    for j in range(BLOCK):
                        s = wide[top + dy + i, left + j]
                        c0, s0, q0 = c0 + s * ours[top + i, left + j], s0 + s, q0 + s * s
                    for j in range(BLOCK):
                        s = wide[top + dy + i, left + 1 + j]
                        c1, s1, q1 = c1 + s * ours[top + i, left + j], s1 + s, q1 + s * s
                    for j in range(BLOCK):
                        s = wide[top + dy + i, left + 2 + j]
                        c2, s2, q2 = c2 + s * ours[top + i, left + j], s2 + s, q2 + s * s
                for dx in range(3):
                    cross, s_mean = (c0, c1, c2)[dx], (s0, s1, s2)[dx] / count
                    square = (q0, q1, q2)[dx]
                    s_spread = np.sqrt(max(square / count - s_mean * s_mean, np.float32(0)))
                    alike = (cross / count - mean * s_mean) / (spread * s_spread + np.float32(4))
                    best = max(best, alike)
                    if dy == 1 and dx == 1:
                        mean_s[r, c], spread_s[r, c] = s_mean, s_spread
            likeness[r, c] = best
