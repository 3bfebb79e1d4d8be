"""The attacks of the watermark benchmark: what happens to a picture on its way back to us.

Each takes RGB uint8 pixels and a seeded generator and returns RGB uint8 pixels.
"""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Attack = Callable[[Pixels, np.random.Generator], Pixels]


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Encode and decode as JPEG."""
    packed = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[:, :, ::-1])


def resize(pixels: Pixels, fx: float, fy: float) -> Pixels:
    """Scale; area sampling where it shrinks, cubic where it grows."""
    how = cv2.INTER_AREA if fx < 1 or fy < 1 else cv2.INTER_CUBIC
    size = (max(8, round(pixels.shape[1] * fx)), max(8, round(pixels.shape[0] * fy)))
    return np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8)


def crop(pixels: Pixels, area: float, draw: np.random.Generator) -> Pixels:
    """Cut a random rectangle of that share of the area, same shape."""
    side = area**0.5
    h, w = round(pixels.shape[0] * side), round(pixels.shape[1] * side)
    y = int(draw.integers(0, pixels.shape[0] - h + 1))
    x = int(draw.integers(0, pixels.shape[1] - w + 1))
    return pixels[y : y + h, x : x + w].copy()


def rotate(pixels: Pixels, degrees: float) -> Pixels:
    """Turn about the middle, same size, black corners."""
    h, w = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(pixels, matrix, (w, h), flags=cv2.INTER_CUBIC), np.uint8)


def perspective(pixels: Pixels, share: float, draw: np.random.Generator) -> Pixels:
    """Move each corner by up to ``share`` of the size, either way."""
    h, w = pixels.shape[:2]
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    moved = corners + draw.uniform(-share, share, (4, 2)) * [w, h]
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    return np.asarray(cv2.warpPerspective(pixels, matrix, (w, h), flags=cv2.INTER_CUBIC), np.uint8)


def tone(pixels: Pixels, gain: float, lift: float) -> Pixels:
    """Scale and shift all values."""
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=gain, beta=lift), np.uint8)


def noise(pixels: Pixels, sigma: float, draw: np.random.Generator) -> Pixels:
    """Add Gaussian noise."""
    return np.clip(np.rint(pixels + draw.normal(0, sigma, pixels.shape)), 0, 255).astype(np.uint8)


def grey(pixels: Pixels) -> Pixels:
    """Take the colour out."""
    return np.asarray(
        cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8
    )


def colour(pixels: Pixels) -> Pixels:
    """More saturation, another hue."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + 8) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * 13 // 10, 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def overlay(pixels: Pixels, draw: np.random.Generator) -> Pixels:
    """Cover a fifth of the area with flat stickers."""
    out = pixels.copy()
    h, w = (int(side * 0.316) for side in pixels.shape[:2])
    for _ in range(2):
        y = int(draw.integers(0, pixels.shape[0] - h))
        x = int(draw.integers(0, pixels.shape[1] - w))
        out[y : y + h, x : x + w] = draw.integers(0, 255, 3)
    return out


def collage(pixels: Pixels, draw: np.random.Generator) -> Pixels:
    """One of four cells, each of the picture's own size; the others are unmarked textures."""
    h, w = pixels.shape[:2]
    out = np.empty((2 * h, 2 * w, 3), np.uint8)
    mine = int(draw.integers(0, 4))
    for cell in range(4):
        y, x = cell // 2 * h, cell % 2 * w
        rough = draw.integers(0, 255, (h // 16, w // 16, 3), dtype=np.uint8)
        filler = noise(
            np.asarray(cv2.resize(rough, (w, h), interpolation=cv2.INTER_CUBIC)), 6, draw
        )
        out[y : y + h, x : x + w] = pixels if cell == mine else filler
    return jpeg(resize(out, 0.75, 0.75), 85)


def screenshot(pixels: Pixels, draw: np.random.Generator) -> Pixels:
    """Shown in a phone's gallery, bars above and below, taken as a JPEG."""
    h, w = pixels.shape[:2]
    scale = 1080 / w if w < 1080 else 1.0
    shown = resize(pixels, scale, scale)
    h, w = shown.shape[:2]
    bar = int(0.35 * h)
    out = np.zeros((h + 2 * bar, w, 3), np.uint8)
    out[: bar // 4] = 240
    out[bar : bar + h] = shown
    cv2.putText(out, "12:34   4G", (20, bar // 6), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 2)
    return jpeg(out, 80)


def screenshot_crop(pixels: Pixels, draw: np.random.Generator) -> Pixels:
    """The same, cut back by hand to most of the picture."""
    scale = 1080 / pixels.shape[1] if pixels.shape[1] < 1080 else 1.0
    return jpeg(crop(resize(pixels, scale, scale), 0.72, draw), 80)


def phone_photo(pixels: Pixels, draw: np.random.Generator) -> Pixels:
    """Photographed from a screen: bent, unevenly lit, blurred, noisy, compressed."""
    bent = perspective(resize(pixels, 1.25, 1.25), 0.012, draw)
    h, w = bent.shape[:2]
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    light = 1.05 - 0.25 * (((x / w - 0.5) ** 2 + (y / h - 0.5) ** 2) * 2)
    ripple = 1 + 0.02 * np.sin(x * 0.9 + y * 0.35)
    lit = np.clip(bent * (light * ripple)[..., None], 0, 255).astype(np.uint8)
    return jpeg(noise(np.asarray(cv2.GaussianBlur(lit, (0, 0), 1.1)), 4, draw), 75)


ATTACKS: Final[dict[str, Attack]] = {
    "none": lambda p, d: p,
    "jpeg 90": lambda p, d: jpeg(p, 90),
    "jpeg 70": lambda p, d: jpeg(p, 70),
    "jpeg 50": lambda p, d: jpeg(p, 50),
    "jpeg 30": lambda p, d: jpeg(p, 30),
    "resize .25": lambda p, d: resize(p, 0.25, 0.25),
    "resize .5": lambda p, d: resize(p, 0.5, 0.5),
    "resize 2": lambda p, d: resize(p, 2, 2),
    "crop 50 %": lambda p, d: crop(p, 0.5, d),
    "crop 25 %": lambda p, d: crop(p, 0.25, d),
    "aspect +10 %": lambda p, d: resize(p, 1.1, 1),
    "aspect -10 %": lambda p, d: resize(p, 0.9, 1),
    "rotate 2": lambda p, d: rotate(p, 2),
    "rotate 5": lambda p, d: rotate(p, -5),
    "rotate 10": lambda p, d: rotate(p, 10),
    "quarter turn": lambda p, d: np.ascontiguousarray(np.rot90(p)),
    "mirror": lambda p, d: np.ascontiguousarray(p[:, ::-1]),
    "perspective 3 %": lambda p, d: perspective(p, 0.03, d),
    "blur 1.5": lambda p, d: np.asarray(cv2.GaussianBlur(p, (0, 0), 1.5)),
    "median 5": lambda p, d: np.asarray(cv2.medianBlur(p, 5)),
    "noise 10": lambda p, d: noise(p, 10, d),
    "brightness": lambda p, d: tone(p, 1.0, 40),
    "contrast": lambda p, d: tone(p, 1.4, -40),
    "grey": lambda p, d: grey(p),
    "colour": lambda p, d: colour(p),
    "overlay 20 %": lambda p, d: overlay(p, d),
    "collage of 4": collage,
    "screenshot": screenshot,
    "screenshot, cut": screenshot_crop,
    "phone photo": phone_photo,
}
"""Thirty, of which the first is none."""
