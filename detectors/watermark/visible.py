"""Visible marks of others: learned from examples that carry one, found in new pictures.

What many pictures share at one place is the mark, what they do not is the picture: the median of
their gradients keeps the first and loses the second (Dekel et al. 2017). A new picture is searched
by normalised correlation of bounded gradients over a pyramid, which a faint mark passes and a busy
picture does not. Where the mark was erased but its ghost remains, the correlation at its usual
place is weak yet far from chance.
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
MATCH_MIN, MATCH_SURE = 0.36, 0.46
GHOST_Z_MIN: Final = 5.0
SOFTNESS: Final = 6.0
TILED_MIN: Final = 0.19
_SCALES: Final = tuple(float(s) for s in np.exp(np.arange(math.log(0.5), math.log(2.01), 0.06)))

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One known mark: bounded gradients (rows, columns, 2), and where its corner usually lies
    (x, y as shares of width and height)."""

    name: str
    gradients: Floats = field(repr=False, compare=False)
    place: tuple[float, float]
    examples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A mark in a picture: correlation, where (x0, y0, x1, y1 pixels of the picture given), and
    for a ghost how many deviations its place stands out."""

    name: str
    score: float
    box: tuple[int, int, int, int]
    scale: float
    ghost_z: float | None = None

    @property
    def strength(self) -> float:
        """0.6 and more where it was never seen by chance, 0.3 where it is worth a look."""
        if self.ghost_z is not None:
            return 0.3
        return min(0.9, 0.6 + self.score - MATCH_SURE) if self.score >= MATCH_SURE else 0.35


def _grey(pixels: Pixels, scale: float) -> Floats:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    size = (max(8, round(grey.shape[1] * scale)), max(8, round(grey.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, size, interpolation=how), np.float32)


def _gradients(grey: Floats) -> Floats:
    """Gradients with their length bounded by one: edges of a picture outweigh no mark."""
    soft = cv2.GaussianBlur(grey, (0, 0), 0.8)
    gx = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3) / 4
    gy = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3) / 4
    length = cv2.magnitude(gx, gy) + SOFTNESS
    return np.asarray(np.dstack([gx / length, gy / length]), np.float32)


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
        stack.append(_gradients(np.asarray(fitted, np.float32)))
    shared = np.asarray(np.median(np.stack(stack), axis=0), np.float32)
    box = _extent(np.asarray(cv2.magnitude(shared[..., 0], shared[..., 1]), np.float32))
    if box is None:
        raise UsageError("marks.learn", "the pictures share no mark at one place")
    x0, y0, x1, y1 = box
    return Template(
        name=name,
        gradients=np.ascontiguousarray(shared[y0:y1, x0:x1]),
        place=(round(x0 / size[0], 4), round(y0 / size[1], 4)),
        examples=len(pictures),
    )


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
    best: Sighting | None = None
    ghost: Sighting | None = None
    base = SIDE / max(pixels.shape[:2])
    for scale in _SCALES:
        field_ = _gradients(_grey(pixels, base * scale))
        for template in templates:
            seen = _correlate(field_, template)
            if seen is None:
                continue
            score, at, deviation = seen
            box = _box(template, at, base * scale)
            sighting = Sighting(name=template.name, score=round(score, 4), box=box, scale=scale)
            if best is None or score > best.score:
                best = sighting
            at_home = abs(scale - 1) < 0.04
            faint = _ghost(field_, template, deviation, base * scale) if at_home else None
            if faint is not None and (ghost is None or _deviations(faint) > _deviations(ghost)):
                ghost = faint
    if best is not None and best.score >= MATCH_MIN:
        return best
    return ghost


def _deviations(sighting: Sighting) -> float:
    return sighting.ghost_z or 0.0


def _correlate(field_: Floats, template: Template) -> tuple[float, tuple[int, int], Floats] | None:
    own = template.gradients
    if field_.shape[0] < own.shape[0] or field_.shape[1] < own.shape[1]:
        return None
    product = cv2.matchTemplate(field_, own, cv2.TM_CCORR)
    energy = cv2.boxFilter(
        (field_ * field_).sum(axis=2), cv2.CV_32F, (own.shape[1], own.shape[0]),
        normalize=False, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT,
    )[: product.shape[0], : product.shape[1]]  # fmt: skip
    floor = 0.004 * own.shape[0] * own.shape[1]
    score = product / (np.sqrt(np.maximum(energy, floor)) * np.sqrt(float((own * own).sum())))
    y, x = divmod(int(score.argmax()), score.shape[1])
    return float(score[y, x]), (x, y), np.asarray(score, np.float32)


def _ghost(field_: Floats, template: Template, score: Floats, scale: float) -> Sighting | None:
    """Judge the usual place against all others of the picture (deviations, robust)."""
    x = round(template.place[0] * field_.shape[1])
    y = round(template.place[1] * field_.shape[0])
    near = score[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
    if near.size == 0 or score.size < 400:
        return None
    middle = float(np.median(score))
    spread = 1.4826 * float(np.median(np.abs(score - middle))) + 1e-6
    z = (float(near.max()) - middle) / spread
    if z < GHOST_Z_MIN:
        return None
    box = _box(template, (x, y), scale)
    return Sighting(
        name=template.name, score=round(float(near.max()), 4), box=box,
        scale=round(scale, 4), ghost_z=round(z, 2),
    )  # fmt: skip


def _box(template: Template, at: tuple[int, int], scale: float) -> tuple[int, int, int, int]:
    rows, columns = template.gradients.shape[:2]
    x0, y0 = at[0] / scale, at[1] / scale
    return round(x0), round(y0), round(x0 + columns / scale), round(y0 + rows / scale)


def tiled(pixels: Pixels) -> tuple[float, tuple[int, int]]:
    """How strongly a faint pattern repeats over a picture, and its period (rows, columns).

    Autocorrelation of bounded gradients at the best lag of a tenth to a half of the picture. A
    fence or a wall of windows repeats too: worth a look, never more.
    """
    field_ = _gradients(_grey(pixels, SIDE / max(pixels.shape[:2])))
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
    """Write the asset ``watermark.templates``: gradients as signed bytes."""
    rows: list[dict[str, Any]] = []
    for t in templates:
        packed = np.clip(np.rint(t.gradients * 127), -127, 127).astype(np.int8)
        rows.append(
            {
                "name": t.name, "place": list(t.place), "examples": t.examples,
                "shape": list(packed.shape), "gradients": base64.b64encode(packed.tobytes()).decode(),
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
                gradients=np.asarray(
                    np.frombuffer(base64.b64decode(row["gradients"]), np.int8)
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
