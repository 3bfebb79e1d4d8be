"""Writing the mark into a picture, under a mask of local activity and to a stated PSNR."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft as sfft

from detectors.watermark.mark.code import encode, seal
from detectors.watermark.mark.keys import MarkKey
from detectors.watermark.mark.tile import CANONICAL, TILE, Complexes, draw_lines, tile_shift
from pipeline.model.errors import UsageError

PSNR_DEFAULT: Final = 42.3
SIDE_MIN: Final = 128
ACTIVITY_MIN, ACTIVITY_MAX, ACTIVITY_POWER = 1.5, 18.0, 0.6

HOST_REJECTION: Final = 0.85
LINE_CAPS: Final = (8.0, 6.5, 5.3, 4.3, 3.5, 2.8, 2.3, 1.9, 1.5, 1.2)
ENERGY_MAX: Final = 1.7
"""How far the strength of a line may follow the picture: at most, and all lines together."""

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
    activity = np.asarray(cv2.sqrt(cv2.GaussianBlur(high * high, (0, 0), 3.5)), np.float32)
    mask = np.asarray(np.clip(activity, ACTIVITY_MIN, ACTIVITY_MAX) ** ACTIVITY_POWER, np.float32)
    turn = _shift_phases(*tile_shift(key, pixels))
    lines = draw_lines(key, encode(seal(key, serial)))
    lines = _informed(lines, turn, high, activity, mask, psnr_db) * turn
    tile = np.real(sfft.ifft2(lines)).astype(np.float32)
    full = cv2.resize(mask, luma.shape[::-1], interpolation=cv2.INTER_LINEAR)
    mark = np.asarray(cv2.multiply(_spread(tile, luma.shape), full), np.float32)
    return _add(pixels, mark, psnr_db)


def _shift_phases(rows: int, columns: int) -> Complexes:
    """Phases that shift a tile by whole pixels."""
    k = np.fft.fftfreq(TILE)
    turn = np.exp(-2j * np.pi * (k[:, None] * rows + k[None, :] * columns))
    return np.asarray(turn, np.complex64)


def _informed(
    lines: Complexes, turn: Complexes, high: Floats, activity: Floats, mask: Floats, psnr_db: float
) -> Complexes:
    """Give each line the strength that this picture asks for.

    The reader sees the picture's own content on a line beside the mark; where it already speaks
    for the mark less is written, where it speaks against it more. Improved spread spectrum
    (Malvar and Florêncio, 2003); what would cost too much to turn is left alone.
    """
    spread = np.tile(
        np.real(sfft.ifft2(lines * turn)).astype(np.float32),
        (high.shape[0] // TILE + 1, high.shape[1] // TILE + 1),
    )
    mark = spread[: high.shape[0], : high.shape[1]] * mask
    gain = np.float32(255 / 10 ** (psnr_db / 20)) / np.sqrt(np.mean(mark * mark))
    level = activity + 2.0
    written = sfft.fft2(_fold(gain * mark / level))
    host = sfft.fft2(_fold(high / level)) * np.conj(turn)
    used = lines != 0
    mine = np.stack([lines[used].real, lines[used].imag])
    theirs = np.stack([host[used].real, host[used].imag])
    typical = float(np.median(np.abs(written[used]) / np.abs(lines[used]))) + 1e-9
    against = -theirs / (typical * mine)
    least = float(np.clip(0.8 / np.sqrt(np.mean(against**2)), 0.12, 0.4))
    need = np.maximum(1 + HOST_REJECTION * against, least)
    energy = mine * mine
    for cap in LINE_CAPS:
        gains = np.where(need > cap, 2 * least, need)
        if (energy * gains * gains).sum() <= ENERGY_MAX * energy.sum():
            break
    out = np.zeros_like(lines)
    out[used] = mine[0] * gains[0] + 1j * mine[1] * gains[1]
    return out


def _fold(part: Floats) -> Floats:
    """Sum what lies at equal places of the tiles."""
    tall, wide = (-(-side // TILE) * TILE for side in part.shape)
    padded = np.zeros((tall, wide), np.float32)
    padded[: part.shape[0], : part.shape[1]] = part
    return np.asarray(
        padded.reshape(tall // TILE, TILE, wide // TILE, TILE).sum(axis=(0, 2)), np.float32
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


def _add(pixels: Pixels, mark: Floats, psnr_db: float) -> Pixels:
    """Add the mark to all channels with the gain that meets the PSNR after clipping."""
    wanted = 255.0**2 / 10 ** (psnr_db / 10)
    gain = float(np.sqrt(wanted / float(np.mean(mark * mark))))
    step = max(1, min(pixels.shape[:2]) // 512)
    sample, thin = pixels[::step, ::step].astype(np.float32), mark[::step, ::step, None]
    for _ in range(3):
        change = np.clip(np.rint(sample + gain * thin), 0, 255) - sample
        gain *= float(np.sqrt(wanted / max(float(np.mean(change * change)), 1e-6)))
    mark = mark * np.float32(gain)
    return cv2.add(pixels, cv2.merge([mark, mark, mark]), dtype=cv2.CV_8U).astype(np.uint8)
