"""Bots of the project's own making: families of pointer scripts to train against.

Each family draws paths between real end points; ``timing`` is the script's own (even, slightly
shaken) or a person's, taken from the platform's own strokes. Nothing here was caught or downloaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.special import erf

from detectors.kit.strokes import FloatArray, IntArray, Strokes, of_points

Draw: TypeAlias = np.random.Generator
Path: TypeAlias = FloatArray
"""Points (n, 2) from (0, 0) to (1, 0) in units of the chord; the sideways axis is the second."""

EASINGS: Final[tuple[Callable[[FloatArray], FloatArray], ...]] = (
    lambda u: u,
    lambda u: 1.0 - (1.0 - u) ** 2,
    lambda u: 1.0 - (1.0 - u) ** 3,
    lambda u: u * u * (3.0 - 2.0 * u),
    lambda u: np.where(u < 0.5, 4.0 * u**3, 1.0 - (2.0 - 2.0 * u) ** 3 / 2.0),
    lambda u: np.sin(u * np.pi / 2.0),
    lambda u: u * u,
    lambda u: 1.0 - 2.0 ** (-10.0 * u),
)


def _eased(draw: Draw, u: FloatArray) -> FloatArray:
    return EASINGS[int(draw.integers(len(EASINGS)))](u)


def straight(draw: Draw, u: FloatArray, chord: float) -> Path:
    """Along the ruler, even or eased."""
    s = _eased(draw, u) if draw.random() < 0.5 else u
    return np.stack([s, np.zeros_like(s)], axis=1)


def bezier(draw: Draw, u: FloatArray, chord: float) -> Path:
    """Cubic Bézier with thrown control points, even or eased (as pyclick and most recipes)."""
    s = _eased(draw, u)
    bend = draw.uniform(0.02, 0.5)
    x1, x2 = np.sort(draw.uniform(0.0, 1.0, 2))
    y1, y2 = draw.normal(0.0, bend, 2)
    x = 3 * (1 - s) ** 2 * s * x1 + 3 * (1 - s) * s**2 * x2 + s**3
    y = 3 * (1 - s) ** 2 * s * y1 + 3 * (1 - s) * s**2 * y2
    path = np.stack([x, y], axis=1)
    if draw.random() < 0.35:
        path += draw.normal(0.0, draw.uniform(0.3, 1.5) / chord, path.shape)
    return path


def wind(draw: Draw, u: FloatArray, chord: float) -> Path:
    """WindMouse: gravity to the target and gusts that die near it (B. Land, 2021)."""
    gravity, gust = draw.uniform(5.0, 12.0), draw.uniform(1.0, 6.0)
    step_max, near = draw.uniform(6.0, 18.0), draw.uniform(8.0, 20.0)
    x = y = vx = vy = wx = wy = 0.0
    points = [(0.0, 0.0)]
    noise = draw.uniform(-1.0, 1.0, (600, 2))
    clip = draw.uniform(0.5, 1.0, 600)
    for i in range(600):
        far = np.hypot(chord - x, y)
        if far < 1.0:
            break
        fade = min(gust, far)
        if far >= near:
            wx = wx / np.sqrt(3) + noise[i, 0] * fade / np.sqrt(5)
            wy = wy / np.sqrt(3) + noise[i, 1] * fade / np.sqrt(5)
        else:
            wx, wy = wx / np.sqrt(3), wy / np.sqrt(3)
            step_max = max(3.0, step_max / np.sqrt(5))
        vx += wx + gravity * (chord - x) / far
        vy += wy - gravity * y / far
        speed = np.hypot(vx, vy)
        if speed > step_max:
            scale = step_max * clip[i] / speed
            vx, vy = vx * scale, vy * scale
        x, y = x + vx, y + vy
        points.append((x, y))
    return np.asarray(points) / chord


def minimum_jerk(draw: Draw, u: FloatArray, chord: float) -> Path:
    """One or two minimum-jerk movements (Flash & Hogan 1985), the second correcting the first."""
    reach = draw.uniform(0.85, 1.08) if draw.random() < 0.5 else 1.0
    split = draw.uniform(0.6, 0.85)

    def bell(v: FloatArray) -> FloatArray:
        v = np.clip(v, 0.0, 1.0)
        return 10 * v**3 - 15 * v**4 + 6 * v**5

    x = reach * bell(u / split) + (1 - reach) * bell((u - split * 0.8) / (1 - split * 0.8))
    if reach == 1.0:
        x = bell(u)
    y = draw.normal(0.0, 0.08) * np.sin(np.pi * bell(u))
    return np.stack([x, y], axis=1)


def lognormal(draw: Draw, u: FloatArray, chord: float) -> Path:
    """Two to five sigma-lognormal primitives with turning directions (Plamondon 1995)."""
    count = int(draw.integers(2, 6))
    weights = draw.dirichlet(np.full(count, 1.5))
    angles = draw.normal(0.0, 0.35, count)
    turn = draw.normal(0.0, 0.5, count)
    onset = np.sort(draw.uniform(-0.05, 0.5, count))
    mu, sigma = draw.normal(-1.6, 0.2, count), draw.uniform(0.2, 0.45, count)
    x, y = np.zeros_like(u), np.zeros_like(u)
    for k in range(count):
        since = np.maximum(u - onset[k], 1e-6)
        done = 0.5 * (1.0 + erf((np.log(since) - mu[k]) / (sigma[k] * np.sqrt(2.0))))
        heading = angles[k] + turn[k] * (done - 0.5)
        x += weights[k] * done * np.cos(heading)
        y += weights[k] * done * np.sin(heading)
    path = np.stack([x, y], axis=1)
    path -= path[0]
    end = path[-1]
    scale = float(end @ end)
    if scale < 1e-6:
        return straight(draw, u, chord)
    turned = np.stack([path @ end, path @ np.array([-end[1], end[0]])], axis=1)
    return turned / scale


def noisy(draw: Draw, u: FloatArray, chord: float) -> Path:
    """A line or curve carried off by smooth noise (Perlin-like or Gaussian), pinned at its ends."""
    base = straight(draw, u, chord) if draw.random() < 0.5 else bezier(draw, u, chord)
    smooth = draw.uniform(0.8, 8.0)
    raw = gaussian_filter1d(draw.normal(0.0, 1.0, base.shape), smooth, axis=0, mode="nearest")
    raw *= draw.uniform(0.005, 0.08) / max(float(raw.std()), 1e-9)
    pins = np.minimum(1.0, 4.0 * np.minimum(u, 1.0 - u))[:, None]
    return base + raw * pins


def spline(draw: Draw, u: FloatArray, chord: float) -> Path:
    """Through a handful of way-points or round an arc, at near-constant speed."""
    if draw.random() < 0.5:
        sweep = draw.uniform(0.5, 6.2) * (1 if draw.random() < 0.5 else -1)
        radius = draw.uniform(0.15, 0.8)
        wobble = 1.0 + draw.normal(0.0, 0.06) * np.sin(
            np.arange(1, 4)[:, None] * u * sweep + draw.uniform(0, 6.28, (3, 1))
        ).sum(axis=0)
        stretch = draw.uniform(0.7, 1.4)
        s = u * sweep
        x, y = radius * wobble * np.sin(s), stretch * radius * wobble * (1.0 - np.cos(s))
        path = np.stack([x, y], axis=1)
    else:
        count = int(draw.integers(3, 8))
        way = np.stack([np.linspace(0, 1, count), draw.normal(0.0, 0.2, count)], axis=1)
        way[1:-1, 0] += draw.normal(0.0, 0.15, count - 2)
        way[0], way[-1] = (0.0, 0.0), (1.0, 0.0)
        knots = np.linspace(0.0, 1.0, count)
        fine = np.linspace(0.0, 1.0, 200)
        dense = np.stack([np.interp(fine, knots, way[:, k]) for k in (0, 1)], axis=1)
        dense = gaussian_filter1d(dense, draw.uniform(4.0, 14.0), axis=0, mode="nearest")
        path = dense
    fine_step = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(fine_step)])
    if along[-1] < 1e-9:
        return straight(draw, u, chord)
    even = u if draw.random() < 0.7 else _eased(draw, u)
    at = even * along[-1]
    moved = np.stack([np.interp(at, along, path[:, k]) for k in (0, 1)], axis=1)
    if draw.random() < 0.5:
        moved = moved + draw.normal(0.0, draw.uniform(0.2, 1.0) / chord, moved.shape)
    return np.asarray(moved)


FAMILIES: Final[Mapping[str, Callable[[Draw, FloatArray, float], Path]]] = MappingProxyType(
    {
        "straight": straight,
        "bezier": bezier,
        "wind": wind,
        "minimum_jerk": minimum_jerk,
        "lognormal": lognormal,
        "noisy": noisy,
        "spline": spline,
    }
)
RESAMPLED: Final = "resampled"
"""The eighth family: people's own paths boiled down to their commonest shapes and drawn anew."""
ALL: Final = (*FAMILIES, RESAMPLED)
HUMAN_TIMING: Final = 0.4
_PROFILE: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """What the generators borrow of a platform's people: end points, intervals, common shapes."""

    chords: FloatArray
    intervals: tuple[FloatArray, ...]
    mean: FloatArray
    shapes: FloatArray
    spread: FloatArray
    whole: bool


def borrow(strokes: Strokes, rows: IntArray) -> Hand:
    """Learn end points (n, 4: x, y, dx, dy), intervals and common shapes from these strokes."""
    chords, intervals, profiles = [], [], []
    for i in rows:
        a, b = int(strokes.start[i]), int(strokes.start[i + 1])
        x, y = strokes.x[a:b], strokes.y[a:b]
        dx, dy = float(x[-1] - x[0]), float(y[-1] - y[0])
        chord = float(np.hypot(dx, dy))
        if chord < 30.0:
            continue
        chords.append((float(x[0]), float(y[0]), dx, dy))
        intervals.append(np.maximum(np.diff(strokes.t[a:b]), 0.25))
        along = ((x - x[0]) * dx + (y - y[0]) * dy) / chord**2
        side = ((y - y[0]) * dx - (x - x[0]) * dy) / chord**2
        at = np.linspace(0, len(x) - 1, _PROFILE)
        places = np.arange(len(x))
        profile = np.concatenate([np.interp(at, places, along), np.interp(at, places, side)])
        if np.abs(profile).max() < 2.0:
            profiles.append(profile)
    if len(profiles) < 50:
        raise ValueError(f"{len(profiles)} usable strokes are too few to train on: 50 are needed")
    table = np.asarray(profiles)
    mean = table.mean(axis=0)
    _, values, shapes = np.linalg.svd(table - mean, full_matrices=False)
    whole = np.mean(strokes.x == np.round(strokes.x)) > 0.95
    return Hand(
        chords=np.asarray(chords), intervals=tuple(intervals), mean=mean, shapes=shapes[:10],
        spread=values[:10] / np.sqrt(len(table)), whole=bool(whole),
    )  # fmt: skip


def _native(draw: Draw, count: int) -> FloatArray:
    """Intervals of a script: one sleep, shaken a little or on a timer's grid."""
    sleep = float(np.exp(draw.uniform(np.log(4.0), np.log(110.0))))
    shake = draw.choice([0.0, 0.05, 0.12, 0.35])
    spans = sleep * (1.0 + draw.uniform(-shake, shake, count))
    if draw.random() < 0.25:
        grid = 1000.0 / 60.0
        spans = np.maximum(np.round(spans / grid), 1.0) * grid
    return np.asarray(spans)


def generate(
    hand: Hand, count: int, seed: int, families: tuple[str, ...] = ALL
) -> tuple[Strokes, IntArray]:
    """Draw ``count`` bot strokes of each family, two in five in a person's own intervals.

    Returns the strokes (one owner each) and the number of the family of each. Coordinates are whole
    where the platform's are.
    """
    t, x, y, owner, family = [], [], [], [], []
    number = 0
    for name in families:
        draw = np.random.Generator(np.random.PCG64([seed, ALL.index(name)]))
        for _ in range(count):
            x0, y0, dx, dy = hand.chords[draw.integers(len(hand.chords))]
            chord = float(np.hypot(dx, dy))
            human = draw.random() < HUMAN_TIMING
            spans = hand.intervals[draw.integers(len(hand.intervals))]
            if not human or len(spans) < 7:
                spans = _native(draw, int(draw.integers(8, 130)))
            clock = np.concatenate([[0.0], np.cumsum(spans)])
            u = clock / clock[-1]
            if name == RESAMPLED:
                weights = draw.normal(0.0, 1.0, len(hand.spread)) * hand.spread
                profile = (hand.mean + weights @ hand.shapes).reshape(2, _PROFILE)
                at = np.linspace(0.0, 1.0, _PROFILE)
                even = np.linspace(0.0, 1.0, len(u))
                path = np.stack([np.interp(even, at, profile[k]) for k in (0, 1)], axis=1)
                path = path - path[0]
            else:
                path = FAMILIES[name](draw, u, chord)
            if len(path) != len(clock):
                spans = np.resize(spans, len(path) - 1)
                clock = np.concatenate([[0.0], np.cumsum(spans)])
            px = x0 + path[:, 0] * dx - path[:, 1] * dy
            py = y0 + path[:, 0] * dy + path[:, 1] * dx
            if hand.whole:
                px, py = np.round(px), np.round(py)
            t.append(clock)
            x.append(px)
            y.append(py)
            owner.append(np.full(len(px), number, np.int64))
            family.append(ALL.index(name))
            number += 1
    cut = of_points(
        tuple(str(i) for i in range(number)), np.concatenate(owner), np.concatenate(t),
        np.concatenate(x), np.concatenate(y),
    )  # fmt: skip
    return cut, np.asarray(family, np.int64)[cut.owner]
