"""The carrier: one keyed tile, repeated over the picture, made of signs on keyed Fourier lines.

A tile of ``TILE`` × ``TILE`` canonical pixels (the picture's shorter side is ``CANONICAL`` of them)
is the sum of keyed lines of its discrete Fourier transform. Sync lines carry known values and find
scale, turn and shift; payload lines carry coded signs. Spread spectrum after Cox et al. (1997), the
periodic tile after Kutter (1998).
"""

import hashlib
import hmac
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from detectors.watermark.mark.code import CODED_BITS
from detectors.watermark.mark.kernels import heed
from detectors.watermark.mark.keys import MarkKey

TILE: Final = 128
CANONICAL: Final = 512
RADIUS_MIN, RADIUS_MAX = 0.040, 0.27
"""Band of the lines, in cycles a canonical pixel."""
USED: Final = 0.62
SYNC_SHARE: Final = 0.16
FALLOFF: Final = 0.65
GUIDE_STEP: Final = 4
"""Guide lines lie on every 4th line number: a pattern of a quarter of the tile, whose shift is
found on a 16th of the places, which makes a rough search over geometry cheap."""
GUIDE_MIN, GUIDE_MAX, GUIDE_SHARE, GUIDE_GAIN = 0.05, 0.20, 0.95, 2.2

Floats = npt.NDArray[np.float32]
Complexes = npt.NDArray[np.complex64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """Where a key puts what. ``sync`` and ``payload`` are rows (ky, kx) of line numbers.

    The first ``guides`` of ``sync`` are the guide lines; ``sync_values`` are complex values,
    ``assign[i]`` is the coded bit that the i-th payload sign carries (real parts of all lines,
    then imaginary), ``signs[i]`` its keyed sign.
    """

    guides: int
    sync: Ints
    sync_values: Complexes
    payload: Ints
    assign: Ints
    signs: Floats
    sync_tile: Complexes
    shape: Floats


ACTIVITY_MIN, ACTIVITY_MAX, ACTIVITY_POWER = 1.5, 18.0, 0.6
"""The mask under which a mark is written: local activity, bounded, to a power."""


def activity(high: Floats, reduced: int = 1) -> Floats:
    """Local root mean square of a high-passed picture, ``reduced`` canonical pixels a pixel."""
    power = high * high
    if reduced > 1:
        return np.asarray(cv2.sqrt(cv2.GaussianBlur(power, (0, 0), 4.0 / reduced)), np.float32)
    size = (max(1, high.shape[1] // 2), max(1, high.shape[0] // 2))
    half = cv2.GaussianBlur(cv2.resize(power, size, interpolation=cv2.INTER_AREA), (0, 0), 2.0)
    return np.asarray(cv2.resize(cv2.sqrt(half), high.shape[::-1]), np.float32)


def mask(busy: Floats) -> Floats:
    """How strongly a mark may be written where a picture is that busy."""
    return np.asarray(np.clip(busy, ACTIVITY_MIN, ACTIVITY_MAX) ** ACTIVITY_POWER, np.float32)


HEARD_STEPS, HEARD_MAX = 16, 4095


@cache
def _heard() -> Floats:
    """``listen`` for every 16th of a level: a power costs too much to take at every pixel."""
    steps = np.arange(HEARD_MAX + 1, dtype=np.float32)
    busy = np.asarray((steps + np.float32(0.5)) / np.float32(HEARD_STEPS), np.float32)
    return np.asarray(4 * mask(busy) / np.square(busy + 2.0), np.float32)


def heard(high: Floats, busy: Floats, known: npt.NDArray[np.uint8]) -> Floats:
    """Weigh a high-passed picture by ``listen`` where it is known; the rest is nothing."""
    heed(high, busy, _heard(), HEARD_STEPS, known)
    return high


def listen(busy: Floats) -> Floats:
    """How much a pixel says of the mark: its strength there over the variance of the picture."""
    return _heard()[np.minimum(busy * HEARD_STEPS, HEARD_MAX).astype(np.intp)]


def _generator(key: MarkKey, purpose: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(int.from_bytes(key.derive(purpose, 16), "big")))


def _quadrants(draw: np.random.Generator, count: int) -> Complexes:
    parts = 2 * draw.integers(0, 2, (2, count)) - 1
    return np.asarray((parts[0] + 1j * parts[1]) / np.sqrt(2), np.complex64)


@lru_cache(maxsize=32)
def layout(key: MarkKey) -> Layout:
    """Lay out the lines of a key; the same key gives the same layout on every machine."""
    k = (np.fft.fftfreq(TILE) * TILE).astype(int)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    radius = np.hypot(ky, kx) / TILE
    half = (ky > 0) | ((ky == 0) & (kx > 0))
    lines = np.argwhere(half & (radius >= RADIUS_MIN) & (radius <= RADIUS_MAX))
    lines = np.stack([k[lines[:, 0]], k[lines[:, 1]]], axis=1)
    draw = _generator(key, "lines")
    lines = lines[draw.permutation(len(lines))]
    size = np.hypot(lines[:, 0], lines[:, 1]) / TILE
    on_grid = (lines % GUIDE_STEP == 0).all(axis=1)
    on_grid &= (size >= GUIDE_MIN) & (size <= GUIDE_MAX)
    guides, others = lines[on_grid], lines[~on_grid]
    guides = guides[: int(GUIDE_SHARE * len(guides))]
    others = others[: int(USED * len(others))]
    cut = int(SYNC_SHARE * len(others))
    sync, payload = np.concatenate([guides, others[:cut]]), others[cut:]
    sync_values = _quadrants(_generator(key, "sync"), len(sync))
    sync_values[: len(guides)] *= GUIDE_GAIN
    payload = payload[np.argsort(np.hypot(payload[:, 0], payload[:, 1]), kind="stable")]
    draw = _generator(key, "signs")
    count = 2 * len(payload)
    tile = np.zeros((TILE, TILE), np.complex64)
    tile[sync[:, 0], sync[:, 1]] = sync_values
    tile[-sync[:, 0], -sync[:, 1]] = np.conj(sync_values)
    return Layout(
        guides=len(guides),
        sync=sync,
        sync_values=sync_values,
        payload=payload,
        assign=_spread_bits(count, draw),
        signs=(2.0 * draw.integers(0, 2, count) - 1.0).astype(np.float32),
        sync_tile=tile,
        shape=((np.maximum(radius, RADIUS_MIN) / RADIUS_MIN) ** -FALLOFF).astype(np.float32),
    )


def _spread_bits(count: int, draw: np.random.Generator) -> Ints:
    """Assign coded bits to signs, lines ordered by radius: every band carries every bit.

    What shrinks or blurs a picture takes the outer lines; with bits dealt in rounds, no bit loses
    all its signs as long as the innermost round is left.
    """
    rounds = [draw.permutation(CODED_BITS) for _ in range(-(-count // CODED_BITS))]
    dealt = np.concatenate(rounds)[:count]
    return np.concatenate([dealt[0::2], dealt[1::2]])


def expected_signs(key: MarkKey, coded: Floats) -> Floats:
    """Return the signs that the payload lines of a file with that code carry."""
    place = layout(key)
    return coded[place.assign] * place.signs


def draw_lines(key: MarkKey, coded: Floats) -> Complexes:
    """Return the tile's Fourier lines (``TILE`` × ``TILE``, Hermitian) that carry the code."""
    place = layout(key)
    signs = expected_signs(key, coded)
    count = len(place.payload)
    values = (signs[:count] + 1j * signs[count:]) / np.sqrt(2)
    lines = place.sync_tile.copy()
    lines[place.payload[:, 0], place.payload[:, 1]] = values
    lines[-place.payload[:, 0], -place.payload[:, 1]] = np.conj(values)
    return np.asarray(lines * place.shape, np.complex64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyncPlaces:
    """Sync lines in the half of a tile's transform: where each is read (``ky``, ``kx``, numbers that
    may be negative), where it is put (``rows``, ``columns``), and the values that undo its own."""

    ky: Ints
    kx: Ints
    rows: Ints
    columns: Ints
    values: Complexes


@lru_cache(maxsize=32)
def sync_places(key: MarkKey) -> SyncPlaces:
    """Lay out a key's sync lines for the correlation at every shift."""
    place = layout(key)
    lines = np.concatenate([place.sync, -place.sync])
    values = np.concatenate([np.conj(place.sync_values), place.sync_values])
    kept = lines[:, 1] >= 0
    lines, values = lines[kept], values[kept]
    return SyncPlaces(
        ky=lines[:, 0],
        kx=lines[:, 1],
        rows=lines[:, 0] % TILE,
        columns=lines[:, 1],
        values=values.astype(np.complex64),
    )


def guide_lines(key: MarkKey) -> npt.NDArray[np.bool_]:
    """Say where in the tile's transform a key's guide lines lie, conjugates included."""
    place = layout(key)
    lines = place.sync[: place.guides]
    out = np.zeros((TILE, TILE), np.bool_)
    out[lines[:, 0], lines[:, 1]] = True
    out[-lines[:, 0], -lines[:, 1]] = True
    return out


def tile_shift(key: MarkKey, pixels: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Draw the tile's shift (rows, columns) from the picture itself.

    Pictures differ in it, so averaging deliveries of different pictures estimates no tile
    (arXiv:2406.09026); copies of one picture agree in it, so averaging those leaves the sync lines.
    """
    seen = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).digest()
    made = hmac.new(key.derive("shift"), seen, hashlib.sha256).digest()
    return made[0] % TILE, made[1] % TILE
