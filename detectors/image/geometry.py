"""Geometric proof: do the features of two pictures lie as one picture's would?

Each pair of like features (Hamming distance and ratio test) already says a whole similarity by its
places, sizes and angles, so every pair is tried as the hypothesis: exhaustive, without chance, and in
one matrix operation. The best is refined to an affine map and, with enough support, a homography.
"""

from dataclasses import dataclass
from math import comb, log10
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from detectors.image import proof_loops as loops
from detectors.image.features import F32, I64, Features

F64: TypeAlias = npt.NDArray[np.float64]

DISTANCE_MAX: Final = 40
RATIO_MAX: Final = 0.87
PAIRS_MAX: Final = 120
INLIERS_MIN: Final = 5
_SCALE_SLACK: Final = 0.5
_ANGLE_SLACK: Final = 0.45
_HOMOGRAPHY_FROM: Final = 12
_SLACK: Final = 0.7
"""Share of the tolerance within which a match agrees with the final map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How one picture lies in another: ``transform`` (3, 3) maps source to accused pixels.

    Pixels are those of the feature pictures. ``inliers`` counts distinct features on both sides;
    ``points`` (k, 2) are their places in the accused. ``mirrored`` says that the accused was flipped
    left to right and ``inverted`` that it was negated before comparing; ``transform`` then leads into
    the flipped accused. ``chance_log10`` is the logarithm of how often so many features would be
    expected to agree if matches fell anywhere (``chance_log10``); 0 where no features were asked.
    """

    transform: F64
    inliers: int
    points: F32
    sources: F32
    mirrored: bool = False
    inverted: bool = False
    chance_log10: float = 0.0

    @property
    def scale(self) -> float:
        """Accused pixels per source pixel."""
        return float(np.sqrt(abs(np.linalg.det(self.transform[:2, :2]))))

    @property
    def turn_degrees(self) -> float:
        """Rotation from source to accused."""
        return float(np.degrees(np.arctan2(self.transform[1, 0], self.transform[0, 0])))


def _pairs(accused: Features, source: Features) -> tuple[I64, I64]:
    """Match each feature with its nearest, both ways round, where the second is clearly farther."""
    near, back = np.empty((3, len(accused)), np.int64), np.empty((3, len(source)), np.int64)
    loops.two_nearest(_words(accused), _words(source), near, back)
    ours, theirs = _clear(near), _clear(back)
    distance = np.concatenate([near[1, ours], back[1, theirs]])
    a = np.concatenate([ours, back[0, theirs]])
    b = np.concatenate([near[0, ours], theirs])
    order = np.lexsort((b, a, distance))
    a, b = a[order], b[order]
    fresh = np.ones(len(a), np.bool_)
    fresh[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])  # a pair that is found both ways is one
    kept = np.flatnonzero(fresh)[:PAIRS_MAX]
    return a[kept], b[kept]


def _clear(near: I64) -> I64:
    """Find the codes whose nearest is near, and the second clearly farther."""
    _, least, second = near
    return np.flatnonzero((least <= DISTANCE_MAX) & (least <= RATIO_MAX * second))


def _words(features: Features) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(features.codes).view(np.uint64)


def align(accused: Features, source: Features) -> Alignment | None:
    """Find the transform that most pairs agree on; None where fewer than INLIERS_MIN do."""
    if len(accused) < INLIERS_MIN or len(source) < INLIERS_MIN:
        return None
    a, b = _pairs(accused, source)
    if len(a) < INLIERS_MIN:
        return None
    pa, pb = accused.points[a].astype(np.float64), source.points[b].astype(np.float64)
    kept = _consensus(pa, pb, accused, source, a, b)
    transform = np.empty((3, 3))
    tolerance = max(accused.width, accused.height) * 0.02
    if not loops.refined(pb, pa, kept, tolerance, transform):
        return None
    transform, kept = _perspective(transform, kept, pa, pb, tolerance)
    inliers = _distinct(a[kept], b[kept], pa[kept], pb[kept])
    if inliers < INLIERS_MIN or not _sensible(transform):
        return None
    hit = np.pi * (tolerance * _SLACK) ** 2 / (accused.width * accused.height)
    fixed = 4 if transform[2, :2].any() else 3
    return Alignment(
        transform=transform, inliers=inliers,
        chance_log10=chance_log10(len(a), inliers, fixed, hit),
        points=pa[kept].astype(np.float32), sources=pb[kept].astype(np.float32),
    )  # fmt: skip


def _consensus(
    pa: F64, pb: F64, accused: Features, source: Features, a: I64, b: I64
) -> npt.NDArray[np.bool_]:
    """Return the pairs that agree with the best similarity said by a single pair."""
    grow = np.log2(accused.sizes[a] / source.sizes[b]).astype(np.float64)
    turn = (accused.angles[a] - source.angles[b]).astype(np.float64)
    return np.asarray(loops.consensus(pa, pb, grow, turn, _SCALE_SLACK, _ANGLE_SLACK))


def _perspective(
    transform: F64, kept: npt.NDArray[np.bool_], pa: F64, pb: F64, tolerance: float
) -> tuple[F64, npt.NDArray[np.bool_]]:
    """Take a homography instead where clearly more pairs agree with it."""
    error = np.hypot(*(_apply(transform, pb) - pa).T)
    kept = error < tolerance * _SLACK
    if kept.sum() < _HOMOGRAPHY_FROM:
        return transform, kept
    near = error < tolerance * 2.5
    if near.sum() < kept.sum() * 1.05:
        return transform, kept  # nearly all pairs agree as it is
    fitted, _ = cv2.findHomography(pb[near], pa[near], 0)
    if fitted is None or not np.isfinite(fitted).all():
        return transform, kept
    with np.errstate(all="ignore"):
        bent = np.hypot(*(_apply(fitted, pb) - pa).T) < tolerance * _SLACK
    if bent.sum() < max(kept.sum() * 1.15, _HOMOGRAPHY_FROM):
        return transform, kept
    refit, _ = cv2.findHomography(pb[bent], pa[bent], 0)
    if refit is None or not _sensible(np.asarray(refit, np.float64)):
        return transform, kept
    return np.asarray(refit, np.float64), bent


def chance_log10(pairs: int, agreeing: int, fixed: int, hit: float) -> float:
    """Return log₁₀ of how many maps with ``agreeing`` of ``pairs`` matches chance would give.

    The null: the matches of unrelated pictures fall anywhere in the accused, each within tolerance of a
    map with probability ``hit``; ``fixed`` matches determine a map. The expected number of such maps (a
    contrario: Moisan & Stival 2004, IJCV 57; Moulon, Monasse & Marlet 2012, ACCV) bounds the probability
    of one. It says that two pictures show one thing, never that one was copied.
    """
    free = agreeing - fixed
    if free <= 0 or pairs <= fixed:
        return 0.0
    told = log10(pairs - fixed) + free * log10(min(hit, 1.0))
    told += log10(comb(pairs, min(agreeing, pairs))) + log10(comb(agreeing, fixed))
    return min(0.0, told)


def _distinct(a: I64, b: I64, pa: F64, pb: F64) -> int:
    """Count pairs by distinct places on both sides: one corner found twice is one."""
    spots_a = {(round(x / 3), round(y / 3)) for x, y in pa.tolist()}
    spots_b = {(round(x / 3), round(y / 3)) for x, y in pb.tolist()}
    return min(len(spots_a), len(spots_b), len(set(a.tolist())), len(set(b.tolist())))


def _sensible(transform: F64) -> bool:
    """Refuse reflections, collapses and wild perspective."""
    linear = transform[:2, :2]
    stretch = np.linalg.svd(linear, compute_uv=False)
    bent = float(np.abs(transform[2, :2]).max())
    return bool(
        np.linalg.det(linear) > 0 and stretch[0] / max(stretch[1], 1e-9) < 3 and bent < 2.5e-3
    )


def _apply(transform: F64, points: F64) -> F64:
    moved = points @ transform[:, :2].T + transform[:, 2]
    return np.asarray(moved[:, :2] / moved[:, 2:3], np.float64)


def apply(transform: F64, points: F64) -> F64:
    """Map points (n, 2)."""
    return _apply(transform, np.asarray(points, np.float64))
