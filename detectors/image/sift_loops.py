"""The compiled loops of feature detection: extrema of a scale space, their angles and descriptors.

After Lowe 2004 (IJCV 60) with two savings: angles and descriptors are made of the chosen places only, and
a descriptor is made of 16 × 16 samples of the turned patch rather than of every pixel under it. The
samples lie evenly about the place, so that a flip of the picture permutes a descriptor's bins exactly.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

F32 = npt.NDArray[np.float32]

LAYERS: Final = 3
EDGE: Final = 5
"""Pixels from the edge within which no extremum is sought."""
_STEPS_MAX: Final = 5
_ANGLE_BINS: Final = 36
_PEAK_SHARE: Final = 0.8
PATCH: Final = 16
"""Samples of a descriptor's patch on each side; four to a cell."""
_CELL: Final = 3.0
"""Width of a cell in scales of the feature, as Lowe's."""
_CLIP: Final = 0.2


@njit(cache=True, nogil=True)
def _turn(y: float, x: float) -> float:
    """Approximate atan2 in turns, within 0.001, [0, 1): even in both signs, as a flip demands."""
    ax, ay = abs(x), abs(y)
    if ax + ay == 0.0:
        return 0.0
    small, large = (ay, ax) if ax >= ay else (ax, ay)
    ratio = small / large
    square = ratio * ratio
    angle = (
        ((-0.0464964749 * square + 0.15931422) * square - 0.327622764) * square + 1.0
    ) * ratio * 0.15915494309189535  # fmt: skip
    if ay > ax:
        angle = 0.25 - angle
    if x < 0.0:
        angle = 0.5 - angle
    if y < 0.0:
        angle = 1.0 - angle
    return angle - 1.0 if angle >= 1.0 else angle


@njit(cache=True, nogil=True)
def _is_extremum(dog: F32, s: int, r: int, c: int) -> bool:
    value = dog[s, r, c]
    for k in range(s - 1, s + 2):
        for i in range(r - 1, r + 2):
            for j in range(c - 1, c + 2):
                if value > 0:
                    if dog[k, i, j] > value:
                        return False
                elif dog[k, i, j] < value:
                    return False
    return True


@njit(cache=True, nogil=True)
def _refined(
    dog: F32, s: int, r: int, c: int, contrast_min: float, edge_ratio: float
) -> tuple[float, float, float, float]:
    """Fit a paraboloid; return layer, row, column and contrast, or contrast 0 for none."""
    layers, height, width = dog.shape
    for _ in range(_STEPS_MAX):
        v2 = 2.0 * dog[s, r, c]
        dx = 0.5 * (dog[s, r, c + 1] - dog[s, r, c - 1])
        dy = 0.5 * (dog[s, r + 1, c] - dog[s, r - 1, c])
        ds = 0.5 * (dog[s + 1, r, c] - dog[s - 1, r, c])
        dxx = dog[s, r, c + 1] + dog[s, r, c - 1] - v2
        dyy = dog[s, r + 1, c] + dog[s, r - 1, c] - v2
        dss = dog[s + 1, r, c] + dog[s - 1, r, c] - v2
        dxy = 0.25 * (
            dog[s, r + 1, c + 1] - dog[s, r + 1, c - 1]
            - dog[s, r - 1, c + 1] + dog[s, r - 1, c - 1]
        )  # fmt: skip
        dxs = 0.25 * (
            dog[s + 1, r, c + 1] - dog[s + 1, r, c - 1]
            - dog[s - 1, r, c + 1] + dog[s - 1, r, c - 1]
        )  # fmt: skip
        dys = 0.25 * (
            dog[s + 1, r + 1, c] - dog[s + 1, r - 1, c]
            - dog[s - 1, r + 1, c] + dog[s - 1, r - 1, c]
        )  # fmt: skip
        # The inverse of a symmetric 3 × 3 matrix by its cofactors.
        a, b, e = dyy * dss - dys * dys, dxs * dys - dxy * dss, dxy * dys - dxs * dyy
        det = dxx * a + dxy * b + dxs * e
        if abs(det) < 1e-12:
            return 0.0, 0.0, 0.0, 0.0
        f, g, h = dxx * dss - dxs * dxs, dxy * dxs - dxx * dys, dxx * dyy - dxy * dxy
        mx = -(a * dx + b * dy + e * ds) / det
        my = -(b * dx + f * dy + g * ds) / det
        ms = -(e * dx + g * dy + h * ds) / det
        if abs(mx) < 0.5 and abs(my) < 0.5 and abs(ms) < 0.5:
            contrast = abs(dog[s, r, c] + 0.5 * (dx * mx + dy * my + ds * ms))
            flat = dxx * dyy - dxy * dxy
            bend = dxx + dyy
            if contrast < contrast_min or flat <= 0:
                return 0.0, 0.0, 0.0, 0.0
            if bend * bend * edge_ratio >= (edge_ratio + 1) ** 2 * flat:
                return 0.0, 0.0, 0.0, 0.0
            return s + ms, r + my, c + mx, contrast
        if not (abs(mx) < 1e3 and abs(my) < 1e3 and abs(ms) < 1e3):
            return 0.0, 0.0, 0.0, 0.0
        c, r, s = c + round(mx), r + round(my), s + round(ms)
        if not (1 <= s < layers - 1 and EDGE <= c < width - EDGE and EDGE <= r < height - EDGE):
            return 0.0, 0.0, 0.0, 0.0
    return 0.0, 0.0, 0.0, 0.0


@njit(cache=True, nogil=True)
def extrema(blurred: F32, contrast_min: float, edge_ratio: float, found: F32) -> int:
    """Find the extrema of the differences of ``blurred`` (LAYERS + 3, height, width).

    Fills ``found`` (room, 4) with layer, row, column and contrast, and returns how many there are
    (never more than there is room).
    """
    dog = blurred[1:] - blurred[:-1]
    layers, height, width = dog.shape
    likely = 0.5 * contrast_min
    count = 0
    for s in range(1, layers - 1):
        for r in range(EDGE, height - EDGE):
            for c in range(EDGE, width - EDGE):
                value = dog[s, r, c]
                if abs(value) <= likely:
                    continue
                # Most places fail against their neighbours in the row already.
                left, right = dog[s, r, c - 1], dog[s, r, c + 1]
                if value > 0:
                    if left > value or right > value:
                        continue
                elif left < value or right < value:
                    continue
                if not _is_extremum(dog, s, r, c):
                    continue
                layer, row, column, contrast = _refined(dog, s, r, c, contrast_min, edge_ratio)
                if contrast > 0 and count < len(found):
                    found[count, 0], found[count, 1] = layer, row
                    found[count, 2], found[count, 3] = column, contrast
                    count += 1
    return count


@njit(cache=True, nogil=True)
def _histogram(image: F32, row: float, column: float, scale: float, bins: F32) -> None:
    """Collect the directions of the gradients around a place, smoothed over neighbouring bins."""
    height, width = image.shape
    radius = round(4.5 * scale)
    r0, c0 = round(row), round(column)
    spread = -1.0 / (2.0 * (1.5 * scale) ** 2)
    raw = np.zeros(_ANGLE_BINS, np.float32)
    for r in range(max(1, r0 - radius), min(height - 1, r0 + radius + 1)):
        for c in range(max(1, c0 - radius), min(width - 1, c0 + radius + 1)):
            dx = image[r, c + 1] - image[r, c - 1]
            dy = image[r + 1, c] - image[r - 1, c]
            near = np.exp(((r - r0) ** 2 + (c - c0) ** 2) * spread)
            bin_ = round(_turn(dy, dx) * _ANGLE_BINS) % _ANGLE_BINS
            raw[bin_] += near * np.sqrt(dx * dx + dy * dy)
    for i in range(_ANGLE_BINS):
        bins[i] = (
            6 * raw[i]
            + 4 * (raw[i - 1] + raw[(i + 1) % _ANGLE_BINS])
            + raw[i - 2] + raw[(i + 2) % _ANGLE_BINS]
        ) / 16  # fmt: skip


@njit(cache=True, nogil=True)
def angles(blurred: F32, places: F32, turns: F32, counts: Any) -> None:
    """Find the dominant directions of places (n, 4): layer, row, column and scale, in octave units.

    Fills ``turns`` (n, peaks), in turns from the strongest on around the circle, and ``counts`` (n,).
    """
    bins = np.empty(_ANGLE_BINS, np.float32)
    for k in range(len(places)):
        layer = round(places[k, 0])
        scale = places[k, 3]
        _histogram(blurred[layer], places[k, 1], places[k, 2], scale, bins)
        top = bins.max()
        best = int(bins.argmax())
        count = 0
        for step in range(_ANGLE_BINS):
            i = (best + step) % _ANGLE_BINS
            before, after = bins[i - 1], bins[(i + 1) % _ANGLE_BINS]
            if bins[i] < _PEAK_SHARE * top or bins[i] <= before or bins[i] < after:
                continue
            if count == turns.shape[1]:
                break
            bend = before - 2 * bins[i] + after
            off = 0.0 if bend == 0 else 0.5 * (before - after) / bend
            turn = (i + off) / _ANGLE_BINS
            turns[k, count] = turn - np.floor(turn)
            count += 1
        counts[k] = count


@njit(cache=True, nogil=True)
def _patch(image: F32, row: float, column: float, scale: float, turn: float, patch: F32) -> None:
    """Sample the patch around a place, turned upright, with one sample more on every side."""
    height, width = image.shape
    step = _CELL * scale * 4 / PATCH
    cos, sin = np.cos(2 * np.pi * turn) * step, np.sin(2 * np.pi * turn) * step
    middle = (PATCH + 1) / 2
    for i in range(PATCH + 2):
        for j in range(PATCH + 2):
            v, u = i - middle, j - middle
            x = min(max(column + u * cos - v * sin, 0.0), width - 1.001)
            y = min(max(row + u * sin + v * cos, 0.0), height - 1.001)
            c, r = int(x), int(y)
            fx, fy = x - c, y - r
            upper = image[r, c] + fx * (image[r, c + 1] - image[r, c])
            lower = image[r + 1, c] + fx * (image[r + 1, c + 1] - image[r + 1, c])
            patch[i, j] = upper + fy * (lower - upper)


@njit(cache=True, nogil=True)
def _describe(patch: F32, weights: F32, cells: Any, shares: F32, out: F32) -> None:
    """Fill one descriptor (128,): cell row, cell column, direction, as in Lowe's paper."""
    out[:] = 0
    for i in range(PATCH):
        for j in range(PATCH):
            dx = patch[i + 1, j + 2] - patch[i + 1, j]
            dy = patch[i + 2, j + 1] - patch[i, j + 1]
            size = weights[i, j] * np.sqrt(dx * dx + dy * dy)
            at = _turn(dy, dx) * 8
            low = int(at)
            high_share = at - low
            low, high = low & 7, (low + 1) & 7
            for a in range(2):
                for b in range(2):
                    here = size * shares[i, a] * shares[j, b]
                    if here == 0:
                        continue
                    place = (cells[i, a] * 4 + cells[j, b]) * 8
                    out[place + low] += here * (1 - high_share)
                    out[place + high] += here * high_share
    norm = np.sqrt((out * out).sum())
    if norm > 0:
        for k in range(128):
            out[k] = min(out[k], _CLIP * norm)


@njit(cache=True, nogil=True)
def describe(
    blurred: F32, places: F32, turns: F32, weights: F32, cells: Any, shares: F32, out: F32
) -> None:
    """Fill ``out`` (n, 128) for places (n, 4): layer, row, column and scale, in octave units."""
    patch = np.empty((PATCH + 2, PATCH + 2), np.float32)
    for k in range(len(places)):
        image = blurred[round(places[k, 0])]
        _patch(image, places[k, 1], places[k, 2], places[k, 3], turns[k], patch)
        _describe(patch, weights, cells, shares, out[k])
