"""Visible marks of others: learned from examples that carry one, found in new pictures.

What many pictures share at one place is the mark, what they do not is the picture: the median of
their strokes keeps the first and loses the second (Dekel et al. 2017). Strokes are gradients of
bounded length without what runs on straight, so that horizons, window frames and lines of a form
resemble no mark. A new picture is searched roughly over a pyramid at half the size, and what is
nominated, the mark's usual place always, is measured at full size and fine scales. Where the mark
was erased but its ghost remains, the correlation at its usual place is weak yet far from chance.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from pipeline.model.errors import UsageError

SIDE: Final = 384
"""Longer side at which marks are learned and usual places are told."""
EXAMPLES_MIN: Final = 4
MATCH_MIN, MATCH_SURE = 0.27, 0.33
"""Correlation from which a mark is seen wherever it lies, and is sure."""
HOME_MIN, HOME_Z_MIN = 0.18, 5.5
"""Correlation, and deviations of the picture's other places, that suffice at the usual place."""
HOME_REACH, HOME_STRETCH = 0.06, 0.065
"""How far from the usual place and size (shares of the side, logarithm of scale) still counts."""
PARTS, PART_MIN, GHOST_PART_MIN = 4, 0.15, 0.12
"""A mark is there as a whole: all but one of its parts must correlate so well by themselves. A ring
that a mark has in common with an icon is no mark."""
GHOST_Z_MIN: Final = 6.0
SOFTNESS: Final = 6.0
STRAIGHT: Final = 25
"""Pixels over which what is alike along its own direction counts as a straight line."""
TILED_MIN: Final = 0.19
ROUGH: Final = 2
"""How much the rough search reduces pictures and marks."""
NOMINATED, NOMINATED_MIN = 3, 0.14
"""Places that the rough search may nominate, and the correlation there from which it does."""
_SCALES: Final = tuple(float(s) for s in np.exp(np.arange(math.log(0.5), math.log(2.01), 0.04)))
_FINE: Final = tuple(float(s) for s in np.exp(np.arange(-3, 4) * 0.0125))
_AT_HOME: Final = tuple(float(s) for s in np.exp(np.arange(-5, 6) * 0.0125))

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One known mark: its strokes (rows, columns, 2), and where its corner usually lies
    (x, y as shares of width and height)."""

    name: str
    strokes: Floats = field(repr=False, compare=False)
    place: tuple[float, float]
    examples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A mark in a picture: correlation, how many deviations of other places it stands out, where
    (x0, y0, x1, y1 pixels of the picture given), whether that is its usual place, and whether all
    that is left of it is a ghost."""

    name: str
    score: float
    deviations: float
    box: tuple[int, int, int, int]
    scale: float
    at_home: bool
    ghost: bool = False

    @property
    def strength(self) -> float:
        """0.6 and more where it was never seen by chance, 0.3 where it is worth a look."""
        if self.ghost:
            return 0.3
        return min(0.9, 0.6 + self.score - MATCH_SURE) if self.score >= MATCH_SURE else 0.35


def _grey(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def _gradients(grey: Pixels) -> Floats:
    """Gradients with their length bounded by one: edges of a picture outweigh no mark."""
    soft = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.8)
    gx = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3, scale=0.25)
    gy = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3, scale=0.25)
    length = cv2.magnitude(gx, gy) + np.float32(SOFTNESS)
    return np.asarray(np.dstack([gx / length, gy / length]), np.float32)


def _strokes(gradients: Floats, straight: int = STRAIGHT) -> Floats:
    """Gradients less what they are on average along the edge that they cross."""
    gx, gy = cv2.split(gradients)
    gx, gy = gx - cv2.blur(gx, (1, straight)), gy - cv2.blur(gy, (straight, 1))
    return np.asarray(np.dstack([gx, gy]), np.float32)


def learn(name: str, pictures: Sequence[Pixels]) -> Template:
    """Learn a mark from pictures that carry it at one relative place, ``EXAMPLES_MIN`` or more.

    Raises ``UsageError`` where too few are given or nothing is shared by them.
    """
    if len(pictures) < EXAMPLES_MIN:
        raise UsageError("marks.learn", f"{EXAMPLES_MIN} examples at least, got {len(pictures)}")
    shape = np.median([p.shape[:2] for p in pictures], axis=0)
    shrink = SIDE / shape.max()
    size = (max(16, round(shape[1] * shrink)), max(16, round(shape[0] * shrink)))
    stack = []
    for picture in pictures:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        fitted = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        stack.append(_gradients(np.asarray(fitted, np.uint8)))
    shared = _shared(stack)
    box = _extent(_length(shared))
    if box is None:
        raise UsageError("marks.learn", "the pictures share no mark at one place")
    x0, y0, x1, y1 = box
    strokes = _shared([_strokes(gradients) for gradients in stack])
    noise = float(np.median(_length(strokes)))
    own = strokes[y0:y1, x0:x1]
    # what is no longer than what the pictures share by chance is taken away
    kept = np.maximum(0.0, 1 - 2 * noise / np.maximum(_length(own), 1e-6))
    return Template(
        name=name,
        strokes=np.ascontiguousarray(own * kept[..., None]),
        place=(round(x0 / size[0], 4), round(y0 / size[1], 4)),
        examples=len(pictures),
    )


def _shared(stack: Sequence[Floats]) -> Floats:
    return np.asarray(np.median(np.stack(stack), axis=0), np.float32)


def _length(vectors: Floats) -> Floats:
    return np.asarray(cv2.magnitude(vectors[..., 0], vectors[..., 1]), np.float32)


def _energy(vectors: Floats) -> Floats:
    x, y = vectors[..., 0], vectors[..., 1]
    return np.asarray(x * x + y * y, np.float32)


def _extent(length: Floats) -> tuple[int, int, int, int] | None:
    """Bound where shared gradients are dense, without the picture's frame."""
    inner = length.copy()
    inner[:3], inner[-3:], inner[:, :3], inner[:, -3:] = 0, 0, 0, 0
    floor = float(np.median(inner)) + 5 * float(np.median(np.abs(inner - np.median(inner)))) + 0.05
    strong = cv2.morphologyEx((inner > floor).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9)))
    count, _, stats, _ = cv2.connectedComponentsWithStats(strong)
    if count < 2:
        return None
    large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= 60]
    if not large:
        return None
    biggest = max(stats[i, cv2.CC_STAT_AREA] for i in large)
    kept = stats[[i for i in large if stats[i, cv2.CC_STAT_AREA] >= 0.15 * biggest]]
    x0, y0 = kept[:, 0].min(), kept[:, 1].min()
    x1, y1 = (kept[:, 0] + kept[:, 2]).max(), (kept[:, 1] + kept[:, 3]).max()
    if x1 - x0 < 12 or y1 - y0 < 8:
        return None
    return int(x0), int(y0), int(x1), int(y1)


def find_known(pixels: Pixels, templates: Sequence[Template]) -> Sighting | None:
    """Find the best known mark in a picture; a ghost only where no mark is seen."""
    grey = _grey(pixels)
    base = SIDE / max(grey.shape)
    best: Sighting | None = None
    for template, nominated in zip(templates, _nominate(grey, base, templates), strict=True):
        for place in (None, *nominated):
            seen = _measure(grey, base, template, place)
            if seen is not None and (best is None or _rank(seen) > _rank(best)):
                best = seen
    return best


def _rank(sighting: Sighting) -> tuple[bool, float]:
    return not sighting.ghost, sighting.score


Place = tuple[float, float, float]
"""A scale (1 as learned) and the corner of a mark (x, y), in shares of the picture's sides."""


def _nominate(grey: Pixels, base: float, templates: Sequence[Template]) -> list[list[Place]]:
    """Search roughly: for every template the most likely places, each at another scale or spot."""
    small = _fit(grey, min(1.0, 1.5 * base * _SCALES[-1] / ROUGH))
    found: list[list[tuple[float, Place]]] = [[] for _ in templates]
    for scale in _SCALES:
        shrunk = _fit(small, base * scale / ROUGH * max(grey.shape) / max(small.shape))
        field_ = _strokes(_gradients(shrunk), STRAIGHT // ROUGH | 1)
        energy = _energy(field_)
        for rough, kept in zip(templates, found, strict=True):
            scores = _correlation(field_, energy, _reduced(rough))
            if scores is None:
                continue
            y, x = divmod(int(scores.argmax()), scores.shape[1])
            place = (scale, x / field_.shape[1], y / field_.shape[0])
            kept.append((float(scores[y, x]), place))
    return [[place for _, place in _apart(kept)] for kept in found]


def _apart(found: list[tuple[float, Place]]) -> list[tuple[float, Place]]:
    """The best few that are not about one place."""
    out: list[tuple[float, Place]] = []
    for score, place in sorted(found, reverse=True):
        near = any(
            abs(math.log(place[0] / other[0])) < 0.05
            and abs(place[1] - other[1]) + abs(place[2] - other[2]) < 0.05
            for _, other in out
        )
        if len(out) == NOMINATED or score < NOMINATED_MIN:
            break
        if not near:
            out.append((score, place))
    return out


def _reduced(template: Template) -> Floats:
    rows, columns = template.strokes.shape[:2]
    size = (max(4, columns // ROUGH), max(4, rows // ROUGH))
    return np.asarray(cv2.resize(template.strokes, size, interpolation=cv2.INTER_AREA), np.float32)


def _fit(grey: Pixels, scale: float) -> Pixels:
    size = (max(8, round(grey.shape[1] * scale)), max(8, round(grey.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, size, interpolation=how), np.uint8)


def _correlation(field_: Floats, energy: Floats, own: Floats) -> Floats | None:
    """Normalised correlation with a mark at every place where it fits; None where it does not."""
    rows, columns = own.shape[:2]
    if field_.shape[0] < rows or field_.shape[1] < columns:
        return None
    product = cv2.matchTemplate(field_, own, cv2.TM_CCORR)
    local = cv2.boxFilter(
        energy, cv2.CV_32F, (columns, rows), normalize=False, anchor=(0, 0),
        borderType=cv2.BORDER_CONSTANT,
    )[: product.shape[0], : product.shape[1]]  # fmt: skip
    norm = np.sqrt(np.maximum(local, 0.004 * rows * columns) * float(np.square(own).sum()))
    return np.asarray(product / np.maximum(norm, 1e-6), np.float32)


def _measure(grey: Pixels, base: float, template: Template, place: Place | None) -> Sighting | None:
    """Measure one place at fine scales; None stands for the usual one. None where nothing is seen."""
    scale, x, y = (1.0, *template.place) if place is None else place
    scales = [scale * step for step in (_AT_HOME if place is None else _FINE)]
    best = (-1.0, 0, 0, scales[0])
    for one in scales:
        seen = _closely(grey, base * one, template.strokes, (x, y), HOME_REACH)
        if seen is not None and seen[0] > best[0]:
            best = (*seen, one)
    score, left, top, scale = best
    shape = [side * base * scale for side in grey.shape]
    away = max(abs(left / shape[1] - template.place[0]), abs(top / shape[0] - template.place[1]))
    at_home = away <= HOME_REACH + 0.01 and abs(math.log(scale)) <= HOME_STRETCH
    sure = score >= MATCH_MIN
    if not sure and not (at_home and score >= HOME_MIN / 2):
        return None
    usual, part = _in_detail(grey, base * scale, template.strokes, (left, top))
    deviations = score / usual
    whole = sure or (score >= HOME_MIN and deviations >= HOME_Z_MIN)
    if part < PART_MIN:
        whole = False
    if not whole and not (at_home and deviations >= GHOST_Z_MIN and part >= GHOST_PART_MIN):
        return None
    return Sighting(
        name=template.name, score=round(score, 4), deviations=round(deviations, 2),
        box=_box(template, (left, top), base * scale), scale=round(scale, 4), at_home=at_home,
        ghost=not whole,
    )  # fmt: skip


def _closely(
    grey: Pixels, scale: float, own: Floats, corner: tuple[float, float], reach: float
) -> tuple[float, int, int] | None:
    """The best correlation within ``reach`` (shares) of a corner, and where (x, y)."""
    shrunk = _fit(grey, scale)
    rows, columns = own.shape[:2]
    margin = STRAIGHT // 2 + 4
    spans = []
    for extent, side, share in zip(shrunk.shape[::-1], (columns, rows), corner, strict=True):
        low = max(0, math.floor((share - reach) * extent))
        high = min(extent, math.ceil((share + reach) * extent) + side)
        low = max(0, min(low, extent - side))
        if high - low < side:
            return None
        spans.append((low, high, max(0, low - margin), min(extent, high + margin)))
    (x0, x1, left, right), (y0, y1, top, bottom) = spans
    field_ = _strokes(_gradients(shrunk[top:bottom, left:right]))
    field_ = field_[y0 - top : y1 - top, x0 - left : x1 - left]
    scores = _correlation(field_, _energy(field_), own)
    if scores is None:
        return None
    y, x = divmod(int(scores.argmax()), scores.shape[1])
    return float(scores[y, x]), x0 + x, y0 + y


def _in_detail(
    grey: Pixels, scale: float, own: Floats, corner: tuple[int, int]
) -> tuple[float, float]:
    """How far correlation strays from nothing over the whole picture (half the middle 68 %), and
    how well all but the worst part of the mark correlate at that corner (x, y)."""
    field_ = _strokes(_gradients(_fit(grey, scale)))
    scores = _correlation(field_, _energy(field_), own)
    usual = 1.0
    if scores is not None and scores.size >= 400:
        low, high = np.quantile(scores[::2, ::2], (0.16, 0.84))
        usual = max(float(high - low) / 2, 1e-3)
    rows, columns = own.shape[:2]
    there = field_[corner[1] : corner[1] + rows, corner[0] : corner[0] + columns]
    if there.shape != own.shape:
        return usual, 0.0
    if rows > columns:
        own, there = own.transpose(1, 0, 2), there.transpose(1, 0, 2)
    told = np.cumsum(np.square(own).sum(axis=(0, 2)))
    cuts = np.searchsorted(told, told[-1] * np.arange(1, PARTS) / PARTS)
    parts = zip(np.split(own, cuts, axis=1), np.split(there, cuts, axis=1), strict=True)
    agreed = sorted(_agreement(mine, seen) for mine, seen in parts)
    return usual, agreed[1]


def _agreement(mine: Floats, seen: Floats) -> float:
    energy = max(float(np.square(seen).sum()), 0.004 * seen.shape[0] * seen.shape[1])
    norm = math.sqrt(energy * float(np.square(mine).sum()))
    return float((mine * seen).sum()) / max(norm, 1e-6)


def _box(template: Template, at: tuple[int, int], scale: float) -> tuple[int, int, int, int]:
    rows, columns = template.strokes.shape[:2]
    x0, y0 = at[0] / scale, at[1] / scale
    return round(x0), round(y0), round(x0 + columns / scale), round(y0 + rows / scale)


def tiled(pixels: Pixels) -> tuple[float, tuple[int, int]]:
    """How strongly a faint pattern repeats over a picture, and its period (rows, columns).

    Autocorrelation of bounded gradients at the best lag of a tenth to a half of the picture. A
    fence or a wall of windows repeats too: worth a look, never more.
    """
    grey = _grey(pixels)
    field_ = _gradients(_fit(grey, SIDE / max(grey.shape)))
    rows, columns = field_.shape[:2]
    total = np.zeros((2 * rows, 2 * columns), np.float32)
    for part in (0, 1):
        lines = np.fft.rfft2(field_[..., part] - field_[..., part].mean(), (2 * rows, 2 * columns))
        total += np.fft.irfft2(np.abs(lines) ** 2, (2 * rows, 2 * columns)).astype(np.float32)
    overlap = np.outer(rows - np.arange(rows // 2), columns - np.arange(columns // 2))
    level = total[: rows // 2, : columns // 2] / overlap
    level /= max(float(level[0, 0]), 1e-9)
    level[: rows // 10, : columns // 10] = 0
    y, x = divmod(int(level.argmax()), level.shape[1])
    return float(level[y, x]), (y, x)


def to_json(templates: Sequence[Template]) -> bytes:
    """Write the asset ``watermark.templates``: strokes as signed bytes."""
    rows: list[dict[str, Any]] = []
    for t in templates:
        packed = np.clip(np.rint(t.strokes * 127), -127, 127).astype(np.int8)
        rows.append(
            {
                "name": t.name, "place": list(t.place), "examples": t.examples,
                "shape": list(packed.shape), "strokes": base64.b64encode(packed.tobytes()).decode(),
            }
        )  # fmt: skip
    return msgspec.json.encode({"templates": rows})


@lru_cache(maxsize=4)
def from_json(data: bytes) -> tuple[Template, ...]:
    """Read the asset. Raises ``UsageError`` where it is malformed."""
    try:
        return tuple(
            Template(
                name=str(row["name"]),
                strokes=np.asarray(
                    np.frombuffer(base64.b64decode(row["strokes"]), np.int8)
                    .reshape(row["shape"])
                    .astype(np.float32)
                    / np.float32(127),
                    np.float32,
                ),
                place=(float(row["place"][0]), float(row["place"][1])),
                examples=int(row["examples"]),
            )
            for row in msgspec.json.decode(data)["templates"]
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise UsageError("marks.templates", "the templates are not of the declared form") from error
