"""Strokes: what the pointer did between two pauses, and the numbers that describe each stroke.

One definition for batch and online: a numba kernel over columns, so one submission gives the same
numbers alone or among a million events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numba
import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.model import clocks

PAUSE_MS: Final = 250.0
"""A longer pause ends a stroke (Gamboa & Fred 2004 and the mouse-dynamics literature since)."""
PIXEL_MAX: Final = 1e5
"""Farther out there is no screen; such points are left out."""
POINTS_MIN: Final = 8
PATH_PX_MIN: Final = 30.0
"""A stroke with fewer points or a shorter path is not described: it says next to nothing."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

STROKE_FEATURES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "points_log": ("ln count", "number of points"),
        "duration_log": ("ln ms", "first to last point"),
        "path_log": ("ln px", "length of the path"),
        "straightness": ("ratio", "chord over path"),
        "bulge": ("ratio", "greatest distance from the chord over the chord's length"),
        "skewness": ("ratio", "mean signed distance from the chord over the greatest"),
        "line_residual_log": ("ln px", "root mean square distance from the best straight line"),
        "speed_log": ("ln px/ms", "path over duration"),
        "speed_peak": ("ratio", "greatest step speed over the mean (steps of a moving mean of 3)"),
        "speed_spread": ("ratio", "standard deviation of step speed over its mean"),
        "speed_lag1": ("correlation", "step speed with the next"),
        "peak_time": ("ratio", "when the greatest smoothed speed comes, of the duration"),
        "speed_humps": ("per point", "local maxima of the smoothed speed"),
        "early_path": ("ratio", "share of the path covered in the first fifth of the time"),
        "late_path": ("ratio", "share of the path covered in the last fifth of the time"),
        "jerk_log": ("ln", "mean squared third difference of position over mean squared step"),
        "acceleration_log": ("ln", "mean squared second difference over mean squared step"),
        "turning": ("rad per step", "mean absolute turn"),
        "turning_spread": ("rad", "standard deviation of the turn"),
        "turning_lag1": ("correlation", "turn with the next"),
        "turns_none": ("ratio", "steps that turn by less than 0.01 rad"),
        "turns_sharp": ("ratio", "steps that turn by more than a quarter circle over two"),
        "turns_same_sign": ("ratio", "consecutive turns to the same side"),
        "axis_steps": ("ratio", "steps along exactly one axis"),
        "small_steps": ("ratio", "steps of at most 1.5 px"),
        "step_spread": ("ratio", "standard deviation of step length over its mean"),
        "step_lag1": ("correlation", "step length with the next"),
        "interval_log": ("ln ms", "median time between points"),
        "interval_spread": ("ratio", "standard deviation of that time over its mean"),
        "interval_mode": ("ratio", "share of the most frequent whole millisecond"),
        "interval_entropy": ("nat", "entropy of whole milliseconds up to 64"),
        "power_law": ("correlation", "log curvature with log speed (two-thirds power law)"),
        "jerk_fit": ("ratio", "path over time explained by a minimum-jerk profile (R²)"),
        "even_fit": ("ratio", "path over time explained by constant speed (R²)"),
    }
)
"""Name → (unit, what it is), in the kernel's order."""
FEATURE_COUNT: Final = len(STROKE_FEATURES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strokes:
    """The strokes of some submissions, as columns.

    ``t`` (ms), ``x``, ``y`` (px) hold all points; stroke ``i`` is points ``start[i]:start[i + 1]``
    and belongs to submission ``ids[owner[i]]``. Strokes are in order of (submission, time).
    """

    ids: tuple[str, ...]
    owner: IntArray
    start: IntArray
    t: FloatArray
    x: FloatArray
    y: FloatArray

    def __len__(self) -> int:
        return len(self.owner)

    def of(self, submission: int) -> range:
        """Numbers of the strokes of the submission ``ids[submission]``."""
        first, last = np.searchsorted(self.owner, [submission, submission + 1])
        return range(int(first), int(last))


def pointer_rows(events: pl.DataFrame, *types: str) -> pl.DataFrame:
    """Pointer events of mouse and pen with a usable time and place, in order of time.

    Touch is left out: a finger jumps from place to place, and its absence of movement is no sign.
    """
    place = pl.col("x").is_finite() & pl.col("y").is_finite()
    near = (pl.col("x").abs() <= PIXEL_MAX) & (pl.col("y").abs() <= PIXEL_MAX)
    device = pl.col("pointer_type").is_in(["mouse", "pen"])
    rows = events.filter(pl.col("type").is_in(list(types)) & device & place & near)
    return clocks.usable(rows).sort("submission_id", "at", "event_id", nulls_last=True)


def cut(events: pl.DataFrame) -> Strokes:
    """Cut an EVENTS frame into strokes of pointer movement; duplicates of an event are one."""
    rows = pointer_rows(events, "pointer.move").unique(
        ["submission_id", "event_id"], maintain_order=True
    )
    owners = rows["submission_id"].rle_id().to_numpy().astype(np.int64)
    ids = rows["submission_id"].unique(maintain_order=True).to_list()
    t, x, y = (rows[c].to_numpy().astype(np.float64) for c in ("at", "x", "y"))
    return of_points(tuple(ids), owners, t, x, y)


def of_points(
    ids: tuple[str, ...], owners: IntArray, t: FloatArray, x: FloatArray, y: FloatArray
) -> Strokes:
    """Cut points, ordered by (owner, time), into strokes; single points are no stroke."""
    if len(t) == 0:
        none = np.zeros(0)
        nothing = np.zeros(0, np.int64)
        return Strokes(ids=ids, owner=nothing, start=np.zeros(1, np.int64), t=none, x=none, y=none)
    breaks = (np.diff(t) > PAUSE_MS) | (np.diff(owners) != 0)
    start = np.concatenate([[0], np.flatnonzero(breaks) + 1, [len(t)]]).astype(np.int64)
    return Strokes(ids=ids, owner=owners[start[:-1]], start=start, t=t, x=x, y=y)


@numba.njit(cache=True)
def _lag1(v: FloatArray, n: int) -> float:
    if n < 3:
        return 0.0
    mean = 0.0
    for i in range(n):
        mean += v[i]
    mean /= n
    num, den = 0.0, 0.0
    for i in range(n):
        den += (v[i] - mean) ** 2
        if i:
            num += (v[i] - mean) * (v[i - 1] - mean)
    return num / den if den > 1e-12 else 0.0


@numba.njit(cache=True)
def _mean_spread(v: FloatArray, n: int) -> tuple[float, float]:
    mean = 0.0
    for i in range(n):
        mean += v[i]
    mean /= n
    var = 0.0
    for i in range(n):
        var += (v[i] - mean) ** 2
    return mean, np.sqrt(var / n)


@numba.njit(cache=True)
def _shape(x: FloatArray, y: FloatArray, out: FloatArray, path: float) -> None:
    """Fill straightness, bulge, skewness and residual: out[3:7]."""
    n = len(x)
    cx, cy = x[n - 1] - x[0], y[n - 1] - y[0]
    chord = np.sqrt(cx * cx + cy * cy)
    most, total = 0.0, 0.0
    mx, my = 0.0, 0.0
    for i in range(n):
        mx += x[i] / n
        my += y[i] / n
    sxx, syy, sxy = 0.0, 0.0, 0.0
    for i in range(n):
        if chord > 1e-9:
            away = (cx * (y[i] - y[0]) - cy * (x[i] - x[0])) / chord
        else:
            away = np.sqrt((x[i] - x[0]) ** 2 + (y[i] - y[0]) ** 2)
        total += away
        most = max(most, abs(away))
        sxx += (x[i] - mx) ** 2
        syy += (y[i] - my) ** 2
        sxy += (x[i] - mx) * (y[i] - my)
    least = 0.5 * (sxx + syy - np.sqrt((sxx - syy) ** 2 + 4 * sxy * sxy)) / n
    out[3] = chord / path
    out[4] = min(most / max(chord, 1.0), 20.0)
    out[5] = total / n / most if most > 1e-9 else 0.0
    out[6] = np.log(np.sqrt(max(least, 0.0)) + 0.1)


@numba.njit(cache=True)
def _speed(step: FloatArray, dt: FloatArray, m: int, out: FloatArray, path: float) -> None:
    """Fill speed and its course: out[7:15], and the fits out[32:34]."""
    duration = 0.0
    for i in range(m):
        duration += dt[i]
    speed = np.empty(m)
    smooth = np.empty(m)
    for i in range(m):
        speed[i] = step[i] / dt[i]
    for i in range(m):
        a, b = max(0, i - 1), min(m, i + 2)
        s, d = 0.0, 0.0
        for j in range(a, b):
            s += step[j]
            d += dt[j]
        smooth[i] = s / d
    mean, spread = _mean_spread(smooth, m)
    out[7] = np.log(path / duration + 1e-6)
    peak = 0
    humps = 0
    for i in range(m):
        if smooth[i] > smooth[peak]:
            peak = i
        if 0 < i < m - 1 and smooth[i] > smooth[i - 1] and smooth[i] >= smooth[i + 1]:
            humps += 1
    out[8] = min(smooth[peak] / max(mean, 1e-9), 50.0)
    out[9] = spread / max(mean, 1e-9)
    out[10] = _lag1(speed, m)
    out[12] = humps / m
    clock, done, early, late, at_peak = 0.0, 0.0, 0.0, 0.0, 0.0
    jerk_error, even_error, s1, s2 = 0.0, 0.0, 0.0, 0.0
    for i in range(m):
        clock += dt[i]
        done += step[i]
        u, s = clock / duration, done / path
        if u <= 0.2:
            early = s
        if u <= 0.8:
            late = s
        if i == peak:
            at_peak = u
        jerk_error += (s - (10 * u**3 - 15 * u**4 + 6 * u**5)) ** 2
        even_error += (s - u) ** 2
        s1 += s
        s2 += s * s
    out[11] = at_peak
    out[13] = early
    out[14] = 1.0 - late
    var = max(s2 - s1 * s1 / m, 1e-9)
    out[32] = max(1.0 - jerk_error / var, -5.0)
    out[33] = max(1.0 - even_error / var, -5.0)


@numba.njit(cache=True)
def _roughness(x: FloatArray, y: FloatArray, out: FloatArray) -> None:
    """Fill jerk and acceleration relative to the steps: out[15:17]."""
    n = len(x)
    s1, s2, s3 = 0.0, 0.0, 0.0
    for i in range(n - 1):
        s1 += (x[i + 1] - x[i]) ** 2 + (y[i + 1] - y[i]) ** 2
    for i in range(n - 2):
        ax = x[i + 2] - 2 * x[i + 1] + x[i]
        ay = y[i + 2] - 2 * y[i + 1] + y[i]
        s2 += ax * ax + ay * ay
    for i in range(n - 3):
        jx = x[i + 3] - 3 * x[i + 2] + 3 * x[i + 1] - x[i]
        jy = y[i + 3] - 3 * y[i + 2] + 3 * y[i + 1] - y[i]
        s3 += jx * jx + jy * jy
    s1 = max(s1 / (n - 1), 1e-9)
    out[15] = np.log(s3 / (n - 3) / s1 + 1e-6)
    out[16] = np.log(s2 / (n - 2) / s1 + 1e-6)


@numba.njit(cache=True)
def _turning(x: FloatArray, y: FloatArray, step: FloatArray, dt: FloatArray, m: int,
             out: FloatArray) -> None:  # fmt: skip
    """Fill turns and the power law: out[17:23] and out[31]. Steps of length 0 turn nothing."""
    turn = np.empty(m)
    k = 0
    none, sharp, same = 0, 0, 0
    last = -1
    a1, b1, a2, b2, ab, pairs = 0.0, 0.0, 0.0, 0.0, 0.0, 0
    for i in range(m):
        if step[i] <= 0.0:
            continue
        if last >= 0:
            ux, uy = x[last + 1] - x[last], y[last + 1] - y[last]
            vx, vy = x[i + 1] - x[i], y[i + 1] - y[i]
            angle = np.arctan2(ux * vy - uy * vx, ux * vx + uy * vy)
            turn[k] = angle
            if abs(angle) < 0.01:
                none += 1
            else:
                span = 0.5 * (step[last] + step[i])
                a = np.log(abs(angle) / span)
                b = np.log((step[last] + step[i]) / (dt[last] + dt[i]))
                a1, b1, a2, b2, ab = a1 + a, b1 + b, a2 + a * a, b2 + b * b, ab + a * b
                pairs += 1
            if abs(angle) > np.pi / 4:
                sharp += 1
            if k and angle * turn[k - 1] > 0:
                same += 1
            k += 1
        last = i
    if k == 0:
        for j in range(17, 23):
            out[j] = 0.0
        out[31] = 0.0
        return
    total = 0.0
    for i in range(k):
        total += abs(turn[i])
    _, spread = _mean_spread(turn, k)
    out[17], out[18], out[19] = total / k, spread, _lag1(turn, k)
    out[20], out[21], out[22] = none / k, sharp / k, same / max(k - 1, 1)
    out[31] = 0.0
    if pairs > 4:
        va, vb = a2 - a1 * a1 / pairs, b2 - b1 * b1 / pairs
        if va > 1e-9 and vb > 1e-9:
            out[31] = (ab - a1 * b1 / pairs) / np.sqrt(va * vb)


@numba.njit(cache=True)
def _steps(x: FloatArray, y: FloatArray, step: FloatArray, m: int, out: FloatArray) -> None:
    """Fill out[23:27]."""
    axis, small = 0, 0
    for i in range(m):
        dx, dy = x[i + 1] - x[i], y[i + 1] - y[i]
        if (dx == 0.0) != (dy == 0.0):
            axis += 1
        if step[i] <= 1.5:
            small += 1
    mean, spread = _mean_spread(step, m)
    out[23], out[24] = axis / m, small / m
    out[25], out[26] = spread / max(mean, 1e-9), _lag1(step, m)


@numba.njit(cache=True)
def _intervals(dt: FloatArray, m: int, out: FloatArray) -> None:
    """Fill out[27:31]."""
    mean, spread = _mean_spread(dt, m)
    counts = np.zeros(65, np.int64)
    for i in range(m):
        counts[min(64, int(dt[i] + 0.5))] += 1
    most, entropy, seen, median = 0, 0.0, 0, -1.0
    for c in range(65):
        if counts[c]:
            share = counts[c] / m
            entropy -= share * np.log(share)
            most = max(most, counts[c])
            if median < 0 and (seen + counts[c]) * 2 >= m:
                median = float(c)
            seen += counts[c]
    out[27] = np.log(median + 1.0)
    out[28] = spread / max(mean, 1e-9)
    out[29], out[30] = most / m, entropy


@numba.njit(cache=True)
def _describe(t: FloatArray, x: FloatArray, y: FloatArray, start: IntArray, out: FloatArray,
              good: npt.NDArray[np.bool_]) -> None:  # fmt: skip
    for s in range(len(start) - 1):
        a, b = start[s], start[s + 1]
        good[s] = False
        n = b - a
        if n < POINTS_MIN:
            continue
        xs, ys = x[a:b], y[a:b]
        step, dt = np.empty(n - 1), np.empty(n - 1)
        path, duration = 0.0, 0.0
        for i in range(n - 1):
            step[i] = np.sqrt((xs[i + 1] - xs[i]) ** 2 + (ys[i + 1] - ys[i]) ** 2)
            dt[i] = max(t[a + i + 1] - t[a + i], 0.25)
            path += step[i]
            duration += dt[i]
        if path < PATH_PX_MIN:
            continue
        row = out[s]
        row[0], row[1], row[2] = np.log(n), np.log(duration), np.log(path)
        _shape(xs, ys, row, path)
        _speed(step, dt, n - 1, row, path)
        _roughness(xs, ys, row)
        _turning(xs, ys, step, dt, n - 1, row)
        _steps(xs, ys, step, n - 1, row)
        _intervals(dt, n - 1, row)
        good[s] = True


def describe(strokes: Strokes) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Describe every stroke: features (strokes, FEATURE_COUNT) float64, and which rows hold any.

    A stroke with fewer than ``POINTS_MIN`` points or a path under ``PATH_PX_MIN`` is not described.
    """
    out = np.zeros((len(strokes), FEATURE_COUNT))
    good = np.zeros(len(strokes), np.bool_)
    if len(strokes):
        _describe(strokes.t, strokes.x, strokes.y, strokes.start, out, good)
    return out, good
