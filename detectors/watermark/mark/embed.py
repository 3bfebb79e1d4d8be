"""Writing the mark into a picture, under a mask of local activity and to a stated PSNR."""

from functools import cache
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft as sfft

from detectors.watermark.mark.code import encode, seal
from detectors.watermark.mark.kernels import add_luma
from detectors.watermark.mark.keys import MarkKey
from detectors.watermark.mark.search import MIDDLE_SIDE, taper
from detectors.watermark.mark.tile import (
    CANONICAL,
    TILE,
    Complexes,
    activity,
    draw_lines,
    guide_lines,
    listen,
    mask,
    tile_shift,
)
from pipeline.model.errors import UsageError

PSNR_DEFAULT: Final = 42.1
SIDE_MIN: Final = 128

HOST_REJECTION: Final = 0.9
LINE_CAPS: Final = (8.0, 6.5, 5.3, 4.3, 3.5, 2.8, 2.3, 1.9, 1.5, 1.2)
ENERGY_MAX: Final = 2.0
"""How far the strength of a line may follow the picture: at most, and all lines together."""

REDUCED: Final = 4
SSIM_MIN: Final = 0.9859
ROUNDING: Final = np.float32(1 / 12)
"""Variance that rounding to whole levels adds."""
STRIP: Final = 64
SAMPLE_PIXELS: Final = 50_000
STRIPS_PIXELS: Final = 250_000
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
CHANNELS: Final = _LUMA / np.square(_LUMA).sum()
"""Change of R, G, B for one of luma, with the least squared error."""

Bools = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def embed(pixels: Pixels, serial: int, key: MarkKey, *, psnr_db: float = PSNR_DEFAULT) -> Pixels:
    """Mark a picture with a delivery's serial (64 bits), and return the marked copy.

    ``pixels`` is uint8 (height, width, 3) RGB; ``psnr_db`` is met on the pixels returned, rounding
    and clipping included, within 0.2 dB. Raises ``UsageError`` for a retired key or a picture whose
    shorter side is under ``SIDE_MIN`` pixels.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"RGB uint8 expected, got {pixels.dtype} {pixels.shape}")
    if key.retired:
        raise UsageError("mark.key", f"key {key.key_id} is retired: it only detects")
    if min(pixels.shape[:2]) < SIDE_MIN:
        raise UsageError("mark.small", f"shorter side under {SIDE_MIN} pixels")
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    scale = min(luma.shape) / CANONICAL
    size = (round(luma.shape[1] / scale), round(luma.shape[0] / scale))
    how = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    small = cv2.resize(luma, size, interpolation=how).astype(np.float32)
    high = small - cv2.GaussianBlur(small, (0, 0), 3.0)
    busy = activity(high)
    strength = mask(busy)
    turn = _shift_phases(*tile_shift(key, pixels))
    lines = draw_lines(key, encode(seal(key, serial)))
    lines = _informed(lines, guide_lines(key), turn, small, high, busy, strength, psnr_db) * turn
    tile = np.real(sfft.ifft2(lines)).astype(np.float32)
    full = cv2.resize(strength, luma.shape[::-1], interpolation=cv2.INTER_LINEAR)
    mark = np.asarray(cv2.multiply(_spread(tile, luma.shape), full), np.float32)
    return _add(pixels, np.asarray(luma, np.uint8), mark, psnr_db)


def _shift_phases(rows: int, columns: int) -> Complexes:
    """Phases that shift a tile by whole pixels."""
    k = np.fft.fftfreq(TILE)
    turn = np.exp(-2j * np.pi * (k[:, None] * rows + k[None, :] * columns))
    return np.asarray(turn, np.complex64)


def _informed(
    lines: Complexes,
    guides: Bools,
    turn: Complexes,
    small: Floats,
    high: Floats,
    busy: Floats,
    strength: Floats,
    psnr_db: float,
) -> Complexes:
    """Give each line the strength that this picture asks for.

    The reader sees the picture's own content on a line beside the mark; where it already speaks
    for the mark less is written, where it speaks against it more. Improved spread spectrum
    (Malvar and Florêncio, 2003); what would cost too much to turn is left alone. The inner lines
    are held to what they will meet in a picture reduced to a quarter, too: all that is left then.
    """
    spread = np.tile(
        np.real(sfft.ifft2(lines * turn)).astype(np.float32),
        (high.shape[0] // TILE + 1, high.shape[1] // TILE + 1),
    )
    mark = spread[: high.shape[0], : high.shape[1]] * strength
    mark *= np.float32(255 / 10 ** (psnr_db / 20)) / np.sqrt(np.mean(mark * mark))
    used, inner = lines != 0, _inner()
    heard = listen(busy)
    host, own = high * heard, mark * heard
    against = _against(_lines(host), _lines(own), lines, turn, used)
    looked = _middle(high.shape)
    middle = _against(_lines(host * looked), _lines(own * looked), lines, turn, guides)
    at = guides[used]
    against[:, at] = np.maximum(against[:, at], middle)
    host, own = _far(small, mark)
    reduced = _against(_reduced_lines(host), _reduced_lines(own), lines, turn, used & inner)
    at = inner[used]
    against[:, at] = np.maximum(against[:, at], reduced)
    mine = np.stack([lines[used].real, lines[used].imag])
    gains = _gains(against, mine * mine)
    out = np.zeros_like(lines)
    out[used] = mine[0] * gains[0] + 1j * mine[1] * gains[1]
    return out


def _middle(shape: tuple[int, ...]) -> Floats:
    """The window in which the reader first looks for bends, as it weighs it."""
    out = np.zeros(shape, np.float32)
    side = min(*shape, MIDDLE_SIDE)
    y, x = (shape[0] - side) // 2, (shape[1] - side) // 2
    out[y : y + side, x : x + side] = np.outer(taper(side), taper(side))
    return out


def _far(small: Floats, mark: Floats) -> tuple[Floats, Floats]:
    """What a reader hears of picture and mark once they are reduced by ``REDUCED``."""
    size = (small.shape[1] // REDUCED, small.shape[0] // REDUCED)
    host, own = (_high(cv2.resize(p, size, interpolation=cv2.INTER_AREA)) for p in (small, mark))
    heard = listen(activity(host, REDUCED))
    return host * heard, own * heard


def _high(reduced: npt.NDArray[Any]) -> Floats:
    soft = cv2.GaussianBlur(reduced, (0, 0), 3.0 / REDUCED)
    return np.asarray(reduced - soft, np.float32)


def _against(
    host: Complexes, written: Complexes, lines: Complexes, turn: Complexes, used: Bools
) -> Floats:
    """How strongly the picture speaks against each used line, in strengths of the mark there."""
    theirs = (host * np.conj(turn))[used]
    mine = lines[used]
    typical = float(np.median(np.abs(written[used]) / np.abs(mine))) + 1e-9
    told = np.stack([theirs.real / mine.real, theirs.imag / mine.imag])
    return np.asarray(-told / typical, np.float32)


def _gains(against: Floats, energy: Floats) -> Floats:
    """Strengths by need, within what all lines together may cost."""
    least = float(np.clip(0.8 / np.sqrt(np.mean(against**2)), 0.12, 0.4))
    need = np.maximum(1 + HOST_REJECTION * against, least)
    for cap in LINE_CAPS:
        gains = np.where(need > cap, 2 * least, need)
        if (energy * gains * gains).sum() <= ENERGY_MAX * energy.sum():
            break
    return np.asarray(gains, np.float32)


@cache
def _inner() -> Bools:
    k = np.abs(np.fft.fftfreq(TILE))
    return np.asarray(np.maximum(k[:, None], k[None, :]) < 0.48 / REDUCED)


def _reduced_lines(part: Floats) -> Complexes:
    """Lines of a picture reduced by ``REDUCED``, at their places among those of a whole tile."""
    side = TILE // REDUCED
    few = sfft.fft2(_fold(part, side))
    k = np.rint(np.fft.fftfreq(side) * side).astype(int)
    phase = np.exp(-2j * np.pi * k * (REDUCED - 1) / 2 / TILE)
    out = np.zeros((TILE, TILE), np.complex64)
    out[np.ix_(k, k)] = few * phase[:, None] * phase[None, :]
    return out


def _lines(part: Floats) -> Complexes:
    return np.asarray(sfft.fft2(_fold(part)), np.complex64)


def _fold(part: Floats, tile: int = TILE) -> Floats:
    """Sum what lies at equal places of the tiles."""
    tall, wide = (-(-side // tile) * tile for side in part.shape)
    padded = np.zeros((tall, wide), np.float32)
    padded[: part.shape[0], : part.shape[1]] = part
    return np.asarray(
        padded.reshape(tall // tile, tile, wide // tile, tile).sum(axis=(0, 2)), np.float32
    )


def _spread(tile: Floats, size: tuple[int, int]) -> Floats:
    """Repeat the tile over a picture of that size (rows, columns)."""
    height, width = size
    scale = min(size) / CANONICAL
    repeat = (int(height / scale) // TILE + 2, int(width / scale) // TILE + 2)
    matrix = np.array([[1 / scale, 0, 0.5 / scale - 0.5], [0, 1 / scale, 0.5 / scale - 0.5]])
    return cv2.warpAffine(
        np.tile(tile, repeat),
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    ).astype(np.float32)


def _add(pixels: Pixels, luma: Pixels, mark: Floats, psnr_db: float) -> Pixels:
    """Add the mark (a change of luma) with the gain that meets PSNR after clipping, and SSIM.

    Each channel changes as it counts in luma, which costs a quarter less of squared error than
    the same change of luma in all three alike.
    """
    wanted = 255.0**2 / 10 ** (psnr_db / 10)
    gain = float(np.sqrt(wanted / (float(np.mean(mark * mark)) * float(np.mean(CHANNELS**2)))))
    step = max(1, round(float(np.sqrt(mark.size / SAMPLE_PIXELS))))
    sample, thin = pixels[::step, ::step].astype(np.float32), mark[::step, ::step, None] * CHANNELS
    for _ in range(3):
        change = np.clip(np.rint(sample + gain * thin), 0, 255) - sample
        gain *= float(np.sqrt(wanted / max(float(np.mean(change * change)), 1e-6)))
    mark = mark * np.float32(gain)
    mark *= np.float32(_bearable(luma, mark))
    return np.asarray(add_luma(np.ascontiguousarray(pixels), mark, CHANNELS), np.uint8)


def _bearable(luma: Pixels, mark: Floats) -> float:
    """The share of the mark, at most 1, that leaves a structural similarity of ``SSIM_MIN``.

    With v, w and c the local variances of picture and mark and their covariance, similarity (Wang
    et al. 2004) is the mean of 1 − w / (2 v + 2 c + w + constant), as far as the mark changes no
    local mean. Large pictures are asked in strips.
    """
    held, written, shared = [], [], []
    for start in range(0, luma.shape[0], STRIP * max(1, luma.size // STRIPS_PIXELS)):
        x, m = luma[start : start + STRIP].astype(np.float32), mark[start : start + STRIP]
        mean_x, mean_m = _soft(x), _soft(m)
        held.append((_soft(x * x) - mean_x * mean_x)[::3, ::3].ravel())
        written.append((_soft(m * m) - mean_m * mean_m)[::3, ::3].ravel())
        shared.append((_soft(x * m) - mean_x * mean_m)[::3, ::3].ravel())
    v = 2 * np.concatenate(held) + np.float32(0.03 * 255) ** 2
    w, c = np.concatenate(written), 2 * np.concatenate(shared)
    low, high = 0.0, 2.0
    for _ in range(9):
        middle = np.float32((low + high) / 2)
        change = middle * middle * w + ROUNDING
        loss = float(np.mean(change / (v + middle * c + change)))
        low, high = (float(middle), high) if loss <= 1 - SSIM_MIN else (low, float(middle))
        if low >= 1:
            return 1.0
    return low


def _soft(part: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(part, (11, 11), 1.5), np.float32)
