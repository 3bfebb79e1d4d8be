"""Reading the mark out of a picture: find the geometry, straighten it locally, decode, verify."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft as sfft
from scipy.stats import binom

from detectors.watermark.mark.code import (
    CODED_BITS,
    MAC_BITS,
    decode,
    decode_list,
    encode,
    seal,
    unseal,
)
from detectors.watermark.mark.kernels import whiten_lines
from detectors.watermark.mark.keys import MarkKey
from detectors.watermark.mark.search import (
    DIHEDRAL,
    FREQUENCY_MAX,
    MIDDLE_SIDE,
    SEARCH_SIDE,
    Spectrum,
    nominate,
    refine,
    spectrum,
    stages,
    whiten_picture,
)
from detectors.watermark.mark.tile import (
    CANONICAL,
    TILE,
    Floats,
    Ints,
    activity,
    heard,
    layout,
    sync_places,
)

WORKING_SIDE: Final = 1024
"""Shorter side of the picture that is read; larger ones are reduced to it."""
SIDE_MIN: Final = 96
GATE: Final = 5.0
"""Correlation from which a geometry is worth straightening (null: 4.2 ± 0.3 at one geometry)."""
GLANCE_MIN: Final = 4.45
"""Correlation at a glance from which a geometry is laid out: a sixth of those that the search brings
of unmarked pictures, and all that were read on marked ones (4.8 and more)."""
SURE: Final = 6.5
"""Correlation from which the mark is there."""
LISTS_MAX: Final = 2
LIST_LENGTH: Final = 512
"""Geometries at which more than the likeliest message is tried, and messages there: worth 1.2 dB,
and 1,024 MACs of 32 bits, which leaves a false serial at under 3e-7 a picture and key."""
RINGS: Final = (200.0, 300.0, 420.0, 1e9, 1e9, 1e9)
"""Canonical pixels around the plainest window that each straightening rests on."""
HEARD: Final = 4.0
HEARD_MIN: Final = 3
"""Windows that must correlate so well, or nothing is straightened (null: 3.0 ± 0.4 a window)."""
TRUST_BANDS: Final = 8
LAID_MAX: Final = len(DIHEDRAL) + 1
_WINDOW: Final = 224
_REACH: Final = 9

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """What one key reads at the best geometry found. ``sync_agreement`` is the share of sync signs
    that agree at it.

    ``serial`` is None where no MAC held. ``sync`` is the correlation with the sync tile in
    deviations, ``soft`` the payload lines' values with keyed signs still on, ``heard`` what they say
    of each coded bit, ``homography`` takes
    canonical pixels to pixels of the picture given, ``shift`` says where a tile starts there (rows,
    columns), ``attempts`` counts the MACs tried.
    """

    key_id: str
    serial: int | None
    sync: float
    soft: Floats
    heard: Floats
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
        self.scale = min(self.luma.shape) / CANONICAL
        self._laid: dict[bytes, Floats] = {}

    @cached_property
    def small(self) -> tuple[Floats, float]:
        """The whitened picture at search size, and its pixels per working pixel."""
        ratio = SEARCH_SIDE / min(self.luma.shape)
        if ratio > 0.8:
            return whiten_picture(self.luma), 1.0
        size = (round(self.luma.shape[1] * ratio), round(self.luma.shape[0] * ratio))
        reduced = cv2.resize(self.luma, size, interpolation=cv2.INTER_AREA)
        return whiten_picture(np.asarray(reduced, np.float32)), ratio

    def windows(self, name: str) -> Iterator[Spectrum]:
        """Yield the spectra of the whole picture, its middle, or its quarters."""
        if name == "all":
            yield self.whole
        elif name == "middle":
            yield self.middle
        else:
            yield from self.quarters

    @cached_property
    def whole(self) -> Spectrum:
        """The spectrum of the whole picture at search size."""
        white, ratio = self.small
        return spectrum(white, ratio)

    @cached_property
    def middle(self) -> Spectrum:
        """The spectrum of the window in which bends are looked for."""
        white, ratio = self.small
        side = min(*white.shape, MIDDLE_SIDE)
        y, x = (white.shape[0] - side) // 2, (white.shape[1] - side) // 2
        return spectrum(white[y : y + side, x : x + side], ratio)

    @cached_property
    def quarters(self) -> tuple[Spectrum, ...]:
        """The spectra of the picture's four quarters."""
        white, ratio = self.small
        tall, wide = white.shape[0] // 2, white.shape[1] // 2
        return tuple(
            spectrum(white[y : y + tall, x : x + wide], ratio) for y in (0, tall) for x in (0, wide)
        )

    def canvas(self, homography: Matrix) -> Floats:
        """The picture laid out in canonical pixels. A few are kept: every key asks for the plain ones."""
        name = homography.tobytes()
        if name not in self._laid:
            while len(self._laid) >= LAID_MAX:
                del self._laid[next(iter(self._laid))]
            self._laid[name] = _canvas(self.luma, homography)
        return self._laid[name]


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
    seen: list[Reading] = []
    listed = 0
    tried = 0
    for stage, matrix in _geometries(work, key, thorough):
        found = _straighten(work, key, matrix, tried, stage)
        if found.serial is None and found.sync >= SURE and listed < LISTS_MAX:
            found, listed = _listed(found, key), listed + 1
        tried = found.attempts
        if found.serial is not None:
            return found
        seen.append(found)
    seen.sort(key=lambda reading: reading.sync, reverse=True)
    for found in seen[: LISTS_MAX - listed]:
        if GATE <= found.sync < SURE:
            again = _listed(replace(found, attempts=tried), key)
            tried = again.attempts
            if again.serial is not None:
                return again
    return replace(seen[0], attempts=tried)


def _listed(reading: Reading, key: MarkKey) -> Reading:
    """Try the next best messages, too: the MAC tells which of them was written."""
    tried = reading.attempts
    for message in decode_list(reading.heard, LIST_LENGTH):
        tried += 1
        serial = unseal(key, message)
        if serial is not None:
            return replace(reading, serial=serial, attempts=tried)
    return replace(reading, attempts=tried)


def _geometries(work: _Work, key: MarkKey, thorough: bool) -> Iterator[tuple[str, Matrix]]:
    """Yield geometries worth decoding; the uncropped one always."""
    yield "plain", _plain(work, key)
    if not thorough:
        return
    for stage in stages():
        for seen in work.windows(stage.window):
            starts = nominate(seen, key, stage.matrices * work.scale, stage.candidates)
            for matrix, score in zip(*refine(seen, key, starts), strict=True):
                if score >= stage.gate and _glance(work, key, matrix) >= GLANCE_MIN:
                    yield stage.name, matrix


def _glance(work: _Work, key: MarkKey, matrix: Matrix) -> float:
    """Correlation on the picture as the search whitened it: a quarter of the cost of laying it out."""
    white, ratio = work.small
    homography = np.diag([ratio, ratio, 1.0]) @ _centred(work, matrix)
    sampled, size = _sampling(white.shape, homography)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = np.asarray(cv2.warpAffine(white, sampled[:2], size, flags=flags), np.float32)
    return _peak(_whiten_tile(_sum_tiles(laid, 0, 0), _in_band(matrix)), key)[2]


def _plain(work: _Work, key: MarkKey) -> Matrix:
    """The best of the eight ways to lay an uncropped picture, judged on one folding.

    To turn or mirror a tile is to turn or mirror its lines.
    """
    eye = np.eye(2) * work.scale
    lines = _whiten_tile(_sum_tiles(work.canvas(_centred(work, eye)), 0, 0), _in_band(eye))
    fields = np.stack([_field(lines, key, turn) for turn in DIHEDRAL.astype(np.intp)])
    best = int(fields.reshape(len(DIHEDRAL), -1).max(axis=1).argmax())
    return np.asarray(DIHEDRAL[best] * work.scale, np.float64)


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


def _sampling(shape: tuple[int, ...], homography: Matrix) -> tuple[Matrix, tuple[int, int]]:
    """How to sample a picture of that shape in canonical pixels, and how many (columns, rows)."""
    height, width = shape
    corners = np.array([[0, 0, width, width], [0, height, 0, height], [1, 1, 1, 1]], float)
    inside = np.linalg.inv(homography) @ corners
    extent = (inside[:2] / inside[2]).max(axis=1)
    columns, rows = (int(np.clip(e, 64, 2048)) for e in extent)
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(half) @ homography @ half, (columns, rows)


def _canvas(luma: Floats, homography: Matrix) -> Floats:
    """A picture laid out in canonical pixels and weighed, zero where there is none."""
    shrink = float(np.sqrt(abs(np.linalg.det(homography[:2, :2]))))
    if shrink > 1.3:
        luma = np.asarray(cv2.GaussianBlur(luma, (0, 0), 0.35 * shrink), np.float32)
    sampled, size = _sampling(luma.shape, homography)
    bent = bool(np.any(sampled[2, :2]))
    warp, to = (cv2.warpPerspective, sampled) if bent else (cv2.warpAffine, sampled[:2])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = warp(luma, to, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    known = warp(np.ones(luma.shape, np.uint8), to, size, flags=flags)
    high = np.asarray(laid - cv2.GaussianBlur(laid, (0, 0), 3.0), np.float32)
    return heard(high, activity(high), np.asarray(known, np.uint8))


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


def _in_band(matrix: Matrix) -> npt.NDArray[np.bool_]:
    """Say which lines a picture laid by that matrix can hold: those below its Nyquist frequency.

    In a picture that was reduced the others are empty, and whitened they would be noise.
    """
    k = np.fft.fftfreq(TILE)
    turned = np.linalg.inv(matrix)
    fx = turned[0, 0] * k[None, :] + turned[1, 0] * k[:, None]
    fy = turned[0, 1] * k[None, :] + turned[1, 1] * k[:, None]
    return np.asarray(np.maximum(np.abs(fx), np.abs(fy)) < FREQUENCY_MAX)


def _whiten_tile(tile: Floats, seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.complex64]:
    return np.asarray(whiten_lines(sfft.rfft2(tile), 4, 3.0, seen), np.complex64)


def _field(lines: npt.NDArray[np.complex64], key: MarkKey, turn: Ints | None = None) -> Floats:
    """Correlation with the sync tile at every shift, in deviations: (TILE, TILE).

    ``turn`` (2, 2) is how the tile is turned first.
    """
    sync = sync_places(key)
    ky, kx = sync.ky, sync.kx
    if turn is not None:
        ky, kx = turn[1, 0] * kx + turn[1, 1] * ky, turn[0, 0] * kx + turn[0, 1] * ky
    grid = np.zeros((TILE, TILE // 2 + 1), np.complex64)
    grid[sync.rows, sync.columns] = lines[ky, kx] * sync.values
    field = sfft.irfft2(grid, (TILE, TILE))
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


def _straighten(work: _Work, key: MarkKey, matrix: Matrix, tried: int, stage: str) -> Reading:
    """Decode; where the MAC does not hold, straighten outwards from where the mark is plainest.

    A bent picture is locked in one place only. Windows near it tell how to lay the next ring, and
    so on, as far as windows agree that the mark is there at all.
    """
    homography = _centred(work, matrix)
    best: Reading | None = None
    seed: tuple[float, float] | None = None
    for ring in RINGS:
        canvas = work.canvas(homography)
        seen = _in_band(homography[:2, :2])
        lines = _whiten_tile(_sum_tiles(canvas, 0, 0), seen)
        peak = _peak(lines, key)
        tried += 1
        found = _decoded(work, key, lines, peak, homography, tried, stage)
        if found.serial is not None or (best is None and peak[2] < GATE - 0.2):
            return found
        looks = _look(canvas, key, seen, peak[0], peak[1])
        heavy = _whiten_tile(_weighted(canvas, looks), seen)
        peak = _peak(heavy, key)
        if peak[2] > found.sync:
            tried += 1
            found = _decoded(work, key, heavy, peak, homography, tried, stage)
        if best is None or found.sync > best.sync or found.serial is not None:
            best = found
        if found.serial is not None:
            return found
        if seed is None:
            top = max(looks, key=lambda look: look.height)
            seed = (top.x, top.y)
        bend = _bend(looks, seed, ring, canvas.shape)
        if bend is None:
            break
        homography = homography @ bend
    assert best is not None
    return replace(best, attempts=tried)


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
    trust = _trust(place.sync, _doubtful(seen) * np.sign(known), place.payload)
    told = _doubtful(soft) * place.signs * trust
    heard = np.bincount(place.assign, told, CODED_BITS).astype(np.float32)
    message = decode(heard)
    return Reading(
        key_id=key.key_id,
        serial=unseal(key, message) if peak[2] >= GATE - 0.8 else None,
        sync=peak[2],
        soft=soft,
        heard=heard,
        sync_agreement=float(((seen > 0) == (known > 0)).mean()),
        homography=np.diag([1 / work.factor, 1 / work.factor, 1.0]) @ homography,
        shift=(peak[0], peak[1]),
        attempts=attempts,
        stage=stage,
    )


def _doubtful(soft: Floats) -> Floats:
    """Bound what a line may say, and heed those less that say it loudest.

    The writer brings lines to about one strength and leaves alone those that the picture holds too
    strongly, so a very loud line is the picture's. The bend follows the odds measured on marked
    photographs after compression, blur, noise, reduction and crops.
    """
    loud = np.abs(soft)
    heard = loud[loud > 0]
    usual = float(np.median(heard)) if heard.size else 1.0
    u = loud / np.float32(usual + 1e-9)
    bounded = np.minimum(np.minimum(u, 1.3), 2.6 / np.maximum(u, 1.3))
    return np.asarray(np.sign(soft) * bounded, np.float32)


def _trust(sync: Ints, agreement: Floats, payload: Ints) -> Floats:
    """Weigh payload lines by how well sync lines of like radius came through (both parts).

    Lines that the picture cannot hold are silent (zero) and tell nothing of their neighbours.
    """
    both = agreement[: len(sync)] + agreement[len(sync) :]
    heard = np.flatnonzero(both)
    if len(heard) < TRUST_BANDS:
        return np.ones(2 * len(payload), np.float32)
    radius = np.hypot(sync[:, 0], sync[:, 1])[heard] / TILE
    order = np.argsort(radius, kind="stable")
    parts = np.array_split(order, min(TRUST_BANDS, len(heard) // 12 + 1))
    centres = [float(radius[part].mean()) for part in parts]
    heights = [max(float(both[heard][part].mean()), 0.04) for part in parts]
    mine = np.interp(np.hypot(payload[:, 0], payload[:, 1]) / TILE, centres, heights)
    return np.concatenate([mine, mine]).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One window: its middle, how it is displaced against the whole, how well it correlates."""

    window: tuple[slice, slice]
    x: float
    y: float
    dx: float
    dy: float
    height: float


def _look(
    canvas: Floats, key: MarkKey, seen: npt.NDArray[np.bool_], y: float, x: float
) -> list[_Look]:
    """Find in every window the best correlation near the common shift."""
    reach = np.arange(-_REACH, _REACH + 1)
    top, left = round(y), round(x)
    looks = []
    for window in _windows(canvas.shape):
        rows, columns = window
        lines = _whiten_tile(_sum_tiles(canvas[window], rows.start, columns.start), seen)
        field = _field(lines, key)
        near = field[np.ix_((top + reach) % TILE, (left + reach) % TILE)]
        at, across = divmod(int(near.argmax()), len(reach))
        dy, dx = _subpixel(field, (top + reach[at]) % TILE, (left + reach[across]) % TILE)
        looks.append(
            _Look(
                window=window,
                x=(columns.start + columns.stop) / 2,
                y=(rows.start + rows.stop) / 2,
                dx=float(reach[across]) + dx - (x - left),
                dy=float(reach[at]) + dy - (y - top),
                height=float(near[at, across]),
            )
        )
    return looks


def _windows(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Overlapping windows that cover a canvas, up to 6 each way."""
    spans = []
    for extent in shape:
        side = min(_WINDOW, extent)
        count = int(np.clip(round(extent / 110), 1, 6)) if extent > side * 1.15 else 1
        starts = np.linspace(0, extent - side, count).astype(int)
        spans.append([slice(int(s), int(s) + side) for s in starts])
    return [(rows, columns) for rows in spans[0] for columns in spans[1]]


def _bend(
    looks: list[_Look], seed: tuple[float, float], ring: float, shape: tuple[int, ...]
) -> Matrix | None:
    """Fit a small projective change to the windows within ``ring`` pixels of the seed.

    Eight numbers, linear least squares with a ridge. None where too few windows hear the mark.
    """
    near = [k for k in looks if np.hypot(k.x - seed[0], k.y - seed[1]) <= ring]
    if sum(k.height >= HEARD for k in near) < HEARD_MIN:
        return None
    table = np.array([(k.x, k.y, k.dx, k.dy) for k in near])
    sure = np.clip(np.array([k.height for k in near]) - 3.0, 0, 6) ** 2
    return _fit(table, sure, shape)


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


def _weighted(canvas: Floats, looks: list[_Look]) -> Floats:
    """Fold the canvas with each window counting as much as it correlates."""
    total = np.zeros((TILE, TILE), np.float32)
    for look in looks:
        weight = look.height - 2.0
        if weight > 0:
            rows, columns = look.window
            total += np.float32(weight) * _sum_tiles(canvas[look.window], rows.start, columns.start)
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
