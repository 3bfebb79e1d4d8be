"""Reading the mark out of a picture: find the geometry, straighten it locally, decode, verify."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft as sfft
from scipy.stats import binom

from detectors.watermark.mark.code import CODED_BITS, MAC_BITS, decode, encode, seal, unseal
from detectors.watermark.mark.keys import MarkKey
from detectors.watermark.mark.search import (
    DIHEDRAL,
    SEARCH_SIDE,
    Spectrum,
    nominate,
    refine,
    spectrum,
    stages,
    whiten_picture,
)
from detectors.watermark.mark.tile import CANONICAL, TILE, Floats, Ints, layout

WORKING_SIDE: Final = 1024
"""Shorter side of the picture that is read; larger ones are reduced to it."""
SIDE_MIN: Final = 96
GATE: Final = 5.0
"""Correlation from which a geometry is worth straightening (null: 4.2 ± 0.3 at one geometry)."""
BENDS_MAX: Final = 4
TRUST_BANDS: Final = 8
_WINDOW: Final = 224
_REACH: Final = 9

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """What one key reads at the best geometry found. ``sync_agreement`` is the share of sync signs
    that agree at it.

    ``serial`` is None where no MAC held. ``sync`` is the correlation with the sync tile in
    deviations, ``soft`` the payload lines' values with keyed signs still on, ``homography`` takes
    canonical pixels to pixels of the picture given, ``shift`` says where a tile starts there (rows,
    columns), ``attempts`` counts the MACs tried.
    """

    key_id: str
    serial: int | None
    sync: float
    soft: Floats
    sync_agreement: float
    homography: Matrix
    shift: tuple[float, float]
    attempts: int
    stage: str

    @property
    def p_decode(self) -> float:
        """Chance that noise gave a serial: MACs tried × 2^-bits (bound)."""
        return min(1.0, self.attempts * 2.0**-MAC_BITS)


class _Work:
    """The working picture and, once they are needed, its spectra."""

    def __init__(self, pixels: npt.NDArray[np.uint8]) -> None:
        gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
        short = min(gray.shape)
        self.factor = 1.0
        if short > WORKING_SIDE * 1.2:
            self.factor = WORKING_SIDE / short
            size = (round(gray.shape[1] * self.factor), round(gray.shape[0] * self.factor))
            gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        self.luma: Floats = np.asarray(gray, np.float32)
        self.white = whiten_picture(self.luma)
        self.scale = min(self.luma.shape) / CANONICAL

    @cached_property
    def small(self) -> tuple[Floats, float]:
        """The whitened picture at search size, and its pixels per working pixel."""
        ratio = SEARCH_SIDE / min(self.luma.shape)
        if ratio > 0.8:
            return self.white, 1.0
        size = (round(self.luma.shape[1] * ratio), round(self.luma.shape[0] * ratio))
        reduced = cv2.resize(self.luma, size, interpolation=cv2.INTER_AREA)
        return whiten_picture(np.asarray(reduced, np.float32)), ratio

    def windows(self, name: str) -> Iterator[Spectrum]:
        """Yield the spectra of the whole picture, its middle, or its quarters."""
        if name == "all":
            yield self.whole
            return
        white, ratio = self.small
        height, width = white.shape
        if name == "middle":
            side = min(height, width, 352)
            y, x = (height - side) // 2, (width - side) // 2
            yield spectrum(white[y : y + side, x : x + side], ratio)
            return
        for y in (0, height // 2):
            for x in (0, width // 2):
                yield spectrum(white[y : y + height // 2, x : x + width // 2], ratio)

    @cached_property
    def whole(self) -> Spectrum:
        """The spectrum of the whole picture at search size."""
        white, ratio = self.small
        return spectrum(white, ratio)


def read(pixels: npt.NDArray[np.uint8], keys: Iterable[MarkKey], *, thorough: bool = True) -> list[
    Reading
]:  # fmt: skip
    """Read a picture (uint8, RGB or grey) with every key: one reading a key, best geometry each.

    ``thorough`` also looks for crops, stretches, turns and bends; without it only resizing,
    mirroring and quarter turns are undone.
    """
    if min(pixels.shape[:2]) < SIDE_MIN:
        return []
    work = _Work(pixels)
    return [_read(work, key, thorough) for key in keys]


def _read(work: _Work, key: MarkKey, thorough: bool) -> Reading:
    best: Reading | None = None
    for number, (stage, matrix) in enumerate(_geometries(work, key, thorough)):
        found = _straighten(work, key, matrix, number * 2 * BENDS_MAX + 1, stage)
        if best is None or found.serial is not None or found.sync > best.sync:
            best = found
        if found.serial is not None:
            break
    assert best is not None
    return best


def _geometries(work: _Work, key: MarkKey, thorough: bool) -> Iterator[tuple[str, Matrix]]:
    """Yield geometries worth decoding; the uncropped one always."""
    yield "plain", _plain(work, key)
    if not thorough:
        return
    for stage in stages():
        for seen in work.windows(stage.window):
            for start, _ in nominate(seen, key, stage.matrices * work.scale, stage.candidates):
                matrix, score = refine(seen, key, start)
                if score >= GATE:
                    yield stage.name, matrix


def _plain(work: _Work, key: MarkKey) -> Matrix:
    """The best of the eight ways to lay an uncropped picture, judged on one folding."""
    eye = np.eye(2) * work.scale
    tile = _fold(work, _centred(work, eye))
    scores = [_peak(_whiten_tile(_turn(tile, turn)), key)[2] for turn in range(len(DIHEDRAL))]
    return np.asarray(DIHEDRAL[int(np.argmax(scores))] * work.scale, np.float64)


def _turn(tile: Floats, which: int) -> Floats:
    """Resample a folded tile as the dihedral matrix ``which`` would have laid it (up to a shift)."""
    (a, b), (c, d) = DIHEDRAL[which].astype(int)
    v, u = np.indices(tile.shape)
    return np.asarray(tile[(c * u + d * v) % TILE, (a * u + b * v) % TILE])


def _centred(work: _Work, matrix: Matrix) -> Matrix:
    """The homography of a matrix, canonical origin at the corner of what the picture covers."""
    height, width = work.luma.shape
    corners = np.array([[0, 0, width, width], [0, height, 0, height]], float)
    inside = np.linalg.inv(matrix) @ corners
    low = inside.min(axis=1)
    out = np.eye(3)
    out[:2, :2] = matrix
    out[:2, 2] = matrix @ low
    return out


def _canvas(work: _Work, homography: Matrix) -> Floats:
    """The whitened working picture laid out in canonical pixels, zero where there is none."""
    height, width = work.luma.shape
    corners = np.array([[0, 0, width, width], [0, height, 0, height], [1, 1, 1, 1]], float)
    inside = np.linalg.inv(homography) @ corners
    extent = (inside[:2] / inside[2]).max(axis=1)
    columns, rows = (int(np.clip(e, 64, 2048)) for e in extent)
    white = work.white
    shrink = float(np.sqrt(abs(np.linalg.det(homography[:2, :2]))))
    if shrink > 1.3:
        white = np.asarray(cv2.GaussianBlur(white, (0, 0), 0.35 * shrink), np.float32)
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    sampled = np.linalg.inv(half) @ homography @ half
    return cv2.warpPerspective(
        white, sampled, (columns, rows), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    ).astype(np.float32)


def _fold(work: _Work, homography: Matrix) -> Floats:
    canvas = _canvas(work, homography)
    return _sum_tiles(canvas, 0, 0)


def _sum_tiles(part: Floats, y: int, x: int) -> Floats:
    """Sum what lies at equal places of the tiles; (y, x) is where ``part`` starts."""
    rows, columns = part.shape
    top, left = y % TILE, x % TILE
    tall = -(-(top + rows) // TILE) * TILE
    wide = -(-(left + columns) // TILE) * TILE
    padded = np.zeros((tall, wide), np.float32)
    padded[top : top + rows, left : left + columns] = part
    folded = padded.reshape(tall // TILE, TILE, wide // TILE, TILE).sum(axis=(0, 2))
    return np.asarray(folded, np.float32)


def _whiten_tile(tile: Floats) -> npt.NDArray[np.complex64]:
    lines = sfft.fft2(tile)
    power = (lines.real**2 + lines.imag**2).astype(np.float32)
    power[0, 0] = power[0, 1]
    level = cv2.blur(np.fft.fftshift(power), (9, 9), borderType=cv2.BORDER_REFLECT)
    lines = lines / (np.sqrt(np.fft.ifftshift(level)) + 1e-9)
    size = np.abs(lines)
    return np.asarray(lines * np.minimum(1.0, 3.0 / np.maximum(size, 1e-9)), np.complex64)


def _field(lines: npt.NDArray[np.complex64], key: MarkKey) -> Floats:
    """Correlation with the sync tile at every shift, in deviations: (TILE, TILE)."""
    field = np.real(sfft.ifft2(lines * np.conj(layout(key).sync_tile)))
    return np.asarray(field / (field.std() + 1e-12), np.float32)


def _peak(lines: npt.NDArray[np.complex64], key: MarkKey) -> tuple[float, float, float]:
    """Shift (y, x) of the best correlation, to a fraction of a pixel, and its height."""
    field = _field(lines, key)
    y, x = divmod(int(field.argmax()), TILE)
    dy, dx = _subpixel(field, y, x)
    return y + dy, x + dx, float(field[y, x])


def _subpixel(field: Floats, y: int, x: int) -> tuple[float, float]:
    def vertex(a: float, b: float, c: float) -> float:
        bend = a - 2 * b + c
        return 0.0 if bend >= 0 else float(np.clip(0.5 * (a - c) / bend, -0.5, 0.5))

    n = len(field)
    here = float(field[y, x])
    dy = vertex(float(field[(y - 1) % n, x]), here, float(field[(y + 1) % n, x]))
    dx = vertex(float(field[y, (x - 1) % n]), here, float(field[y, (x + 1) % n]))
    return dy, dx


def _straighten(work: _Work, key: MarkKey, matrix: Matrix, attempts: int, stage: str) -> Reading:
    """Decode; where the MAC does not hold, bend the geometry until the windows agree, and again."""
    homography = _centred(work, matrix)
    best: Reading | None = None
    for _ in range(BENDS_MAX):
        canvas = _canvas(work, homography)
        lines = _whiten_tile(_sum_tiles(canvas, 0, 0))
        peak = _peak(lines, key)
        found = _decoded(work, key, lines, peak, homography, attempts, stage)
        attempts += 1
        if found.serial is not None or peak[2] < GATE - 0.2:
            return found if best is None or found.serial is not None else best
        bend, weights = _bend(canvas, key, peak[0], peak[1])
        heavy = _whiten_tile(_weighted(canvas, weights))
        peak = _peak(heavy, key)
        if peak[2] > found.sync:
            found = _decoded(work, key, heavy, peak, homography, attempts, stage)
            attempts += 1
        if found.serial is not None:
            return found
        if best is not None and found.sync <= best.sync + 0.05:
            break
        best = found
        if bend is None:
            break
        homography = homography @ bend
    assert best is not None
    return best


def _decoded(
    work: _Work,
    key: MarkKey,
    lines: npt.NDArray[np.complex64],
    peak: tuple[float, float, float],
    homography: Matrix,
    attempts: int,
    stage: str,
) -> Reading:
    """Decode the payload at one geometry and shift, each line trusted as its neighbours deserve."""
    place = layout(key)
    soft = _soft(lines, place.payload, peak[0], peak[1])
    seen = _soft(lines, place.sync, peak[0], peak[1])
    known = np.concatenate([place.sync_values.real, place.sync_values.imag])
    trust = _trust(place.sync, seen * np.sign(known), place.payload)
    message = decode(
        np.bincount(place.assign, soft * place.signs * trust, CODED_BITS).astype(np.float32)
    )
    return Reading(
        key_id=key.key_id,
        serial=unseal(key, message) if peak[2] >= GATE - 0.8 else None,
        sync=peak[2],
        soft=soft,
        sync_agreement=float(((seen > 0) == (known > 0)).mean()),
        homography=np.diag([1 / work.factor, 1 / work.factor, 1.0]) @ homography,
        shift=(peak[0], peak[1]),
        attempts=attempts,
        stage=stage,
    )


def _trust(sync: Ints, agreement: Floats, payload: Ints) -> Floats:
    """Weigh payload lines by how well sync lines of like radius came through (both parts)."""
    radius = np.hypot(sync[:, 0], sync[:, 1]) / TILE
    order = np.argsort(radius, kind="stable")
    both = (agreement[: len(sync)] + agreement[len(sync) :])[order]
    parts = np.array_split(np.arange(len(order)), TRUST_BANDS)
    centres = [float(radius[order][part].mean()) for part in parts]
    heights = [max(float(both[part].mean()), 0.04) for part in parts]
    mine = np.interp(np.hypot(payload[:, 0], payload[:, 1]) / TILE, centres, heights)
    return np.concatenate([mine, mine]).astype(np.float32)


_Window = tuple[slice, slice]


def _windows(shape: tuple[int, ...]) -> list[_Window]:
    """Overlapping windows that cover a canvas, 2 to 4 each way."""
    spans = []
    for extent in shape:
        side = min(_WINDOW, extent)
        count = int(np.clip(round(extent / 150), 1, 4)) if extent > side * 1.15 else 1
        starts = np.linspace(0, extent - side, count).astype(int)
        spans.append([slice(int(s), int(s) + side) for s in starts])
    return [(rows, columns) for rows in spans[0] for columns in spans[1]]


def _bend(
    canvas: Floats, key: MarkKey, y: float, x: float
) -> tuple[Matrix | None, list[tuple[_Window, float]]]:
    """Estimate how windows are displaced against the whole, and how well each correlates.

    The displacement of a window's best correlation near the common shift is fitted by a small
    projective change (eight numbers, linear least squares with a ridge).
    """
    windows = _windows(canvas.shape)
    rows, weights = [], []
    for window in windows:
        part = canvas[window]
        lines = _whiten_tile(_sum_tiles(part, window[0].start, window[1].start))
        field = _field(lines, key)
        reach = np.arange(-_REACH, _REACH + 1)
        near = field[np.ix_((round(y) + reach) % TILE, (round(x) + reach) % TILE)]
        at, across = divmod(int(near.argmax()), len(reach))
        py, px = (round(y) + reach[at]) % TILE, (round(x) + reach[across]) % TILE
        dy, dx = _subpixel(field, py, px)
        cy = (window[0].start + window[0].stop) / 2
        cx = (window[1].start + window[1].stop) / 2
        height = float(near[at, across])
        rows.append(
            (cx, cy, reach[across] + dx - (x - round(x)), reach[at] + dy - (y - round(y)), height)
        )
        weights.append((window, max(height - 2.0, 0.0)))
    table = np.array(rows)
    sure = np.clip(table[:, 4] - 3.0, 0, 6) ** 2
    if (sure > 0).sum() < 3:
        return None, weights
    return _fit(table, sure, canvas.shape), weights


def _fit(table: npt.NDArray[np.float64], sure: npt.NDArray[np.float64], shape: tuple[int, ...]) -> (
    Matrix
):  # fmt: skip
    """Least squares for the small projective change that moves the windows as observed."""
    middle, size = np.array([shape[1] / 2, shape[0] / 2]), max(shape) / 2
    u, v = (table[:, :2] - middle).T / size
    zero, one = np.zeros_like(u), np.ones_like(u)
    dx = np.stack([one, u, v, zero, zero, zero, u * u, u * v], 1)
    dy = np.stack([zero, zero, zero, one, u, v, u * v, v * v], 1)
    weight = np.sqrt(np.concatenate([sure, sure]))
    left = np.concatenate([dx, dy]) * weight[:, None]
    right = np.concatenate([table[:, 2], table[:, 3]]) * weight
    ridge = np.diag([0.3, 0.6, 0.6, 0.3, 0.6, 0.6, 2.0, 2.0])
    p = np.linalg.solve(left.T @ left + ridge, left.T @ right) / size
    bend = np.array([[1 + p[1], p[2], p[0]], [p[4], 1 + p[5], p[3]], [-p[6], -p[7], 1.0]])
    to = np.array([[size, 0, middle[0]], [0, size, middle[1]], [0, 0, 1.0]])
    return np.asarray(to @ bend @ np.linalg.inv(to), np.float64)


def _weighted(canvas: Floats, weights: list[tuple[_Window, float]]) -> Floats:
    """Fold the canvas with each window counting as much as it correlates."""
    total = np.zeros((TILE, TILE), np.float32)
    for window, weight in weights:
        if weight > 0:
            part = canvas[window]
            total += np.float32(weight) * _sum_tiles(part, window[0].start, window[1].start)
    return total


def _soft(lines: npt.NDArray[np.complex64], k: Ints, y: float, x: float) -> Floats:
    """Values of those lines with the shift undone: real parts, then imaginary."""
    turned = lines[k[:, 0], k[:, 1]] * np.exp(2j * np.pi * (k[:, 0] * y + k[:, 1] * x) / TILE)
    return np.concatenate([turned.real, turned.imag]).astype(np.float32)


HYPOTHESES: Final = 20_000 * TILE * TILE
"""Geometries and shifts that a thorough reading looks at, rounded up."""


def p_present(reading: Reading, key: MarkKey) -> float:
    """Probability that an unmarked picture agrees this well with the key's sync signs anywhere.

    Binomial at one geometry and shift, Bonferroni over all that were looked at.
    """
    count = 2 * len(layout(key).sync)
    agree = round(reading.sync_agreement * count)
    return float(min(1.0, HYPOTHESES * binom.sf(agree - 1, count, 0.5)))


def verify(reading: Reading, key: MarkKey, serial: int, trials: int = 1) -> float:
    """Probability that an unmarked picture agrees this well with that serial's signs.

    Under the null the keyed signs are independent of the picture, so the number of coded bits whose
    combined sign agrees is binomial(n, ½) exactly; Bonferroni over ``trials`` (candidates ×
    geometries). It is counted in coded bits, not lines: lines that carry one bit agree together on
    a picture that carries another serial, and a bystander must not be framed by that.
    """
    place = layout(key)
    combined = np.bincount(place.assign, reading.soft * place.signs, CODED_BITS)
    agree = int(((combined > 0) == (encode(seal(key, serial)) > 0)).sum())
    return float(min(1.0, trials * binom.sf(agree - 1, CODED_BITS, 0.5)))
