"""Pictures that nobody owns: drawn from a seed, for examples, tests and the shipped vocabulary."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from detectors.image.hashes import Grey


def photo(seed: int, height: int = 360, width: int = 480) -> Grey:
    """Draw something like a photograph, BGR: soft ground, overlapping shapes, grain.

    The spectrum falls as a natural picture's does (about 1/f: Field 1987, JOSA A 4), and shapes of
    all sizes hide each other as in the dead-leaves model (Lee, Mumford & Huang 2001, IJCV 41).
    """
    draw = np.random.default_rng(seed)
    canvas = np.stack([_cloud(draw, height, width) for _ in range(3)], axis=2) * 50
    canvas += draw.uniform(70, 180, 3)
    picture = np.clip(canvas, 0, 255).astype(np.uint8)
    for _ in range(int(draw.integers(40, 110))):
        _leaf(draw, picture)
    grain = draw.normal(0, draw.uniform(1, 5), picture.shape)
    soft = cv2.GaussianBlur(picture, (0, 0), float(draw.uniform(0.5, 1.1)))
    return np.clip(soft + grain, 0, 255).astype(np.uint8)


def _cloud(draw: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float64]:
    rows = np.fft.fftfreq(height)[:, None]
    columns = np.fft.rfftfreq(width)[None]
    size = np.hypot(rows, columns)
    size[0, 0] = 1
    phase = draw.uniform(0, 2 * np.pi, size.shape)
    field = np.fft.irfft2(size**-1.3 * np.exp(1j * phase), (height, width))
    return np.asarray((field - field.mean()) / (field.std() + 1e-9))


def _leaf(draw: np.random.Generator, picture: Grey) -> None:
    """Lay one shape with its own shade and texture over the picture."""
    height, width = picture.shape[:2]
    size = float(np.clip(6 * draw.pareto(1.2) + 6, 6, 0.4 * min(height, width)))
    centre = (float(draw.uniform(0, width)), float(draw.uniform(0, height)))
    mask = np.zeros((height, width), np.uint8)
    turn = float(draw.uniform(0, 180))
    kind = int(draw.integers(0, 3))
    if kind == 0:
        cv2.ellipse(mask, (centre, (size * 2, size * float(draw.uniform(0.6, 2))), turn), 255, -1)
    elif kind == 1:
        corners = cv2.boxPoints((centre, (size * 2, size * float(draw.uniform(0.3, 2))), turn))
        cv2.fillPoly(mask, [np.asarray(corners, np.int32)], 255)
    else:
        corners = np.array(centre) + draw.normal(0, size, (int(draw.integers(3, 7)), 2))
        cv2.fillPoly(mask, [np.asarray(corners, np.int32)], 255)
    inside = mask > 0
    shade = draw.uniform(0, 255, 3)
    slope = draw.normal(0, 40 / size, 2)
    rows, columns = np.nonzero(inside)
    light = (rows - centre[1]) * slope[0] + (columns - centre[0]) * slope[1]
    rough = draw.normal(0, draw.uniform(0, 18), len(rows))
    if draw.random() < 0.35:
        wave = float(draw.uniform(3, 14))
        rough += 25 * np.sign(np.sin((rows * np.cos(turn) + columns * np.sin(turn)) / wave * 6.28))
    picture[rows, columns] = np.clip(shade + (light + rough)[:, None], 0, 255).astype(np.uint8)


_WORDS: Final = [
    "order",
    "paid",
    "total",
    "time",
    "number",
    "name",
    "status",
    "list",
    "detail",
    "share",
    "back",
    "next",
    "done",
    "open",
    "send",
    "item",
    "price",
    "amount",
    "date",
    "user",
    "home",
    "search",
    "message",
    "setting",
    "help",
    "account",
    "record",
    "result",
    "task",
    "photo",
]
_FONTS: Final = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
)


def screen(seed: int, height: int = 640, width: int = 360, *, fields: int | None = None) -> Grey:
    """Draw something like a screenshot, BGR: bars, cards, icons and lines of text.

    With ``fields`` the page (its layout, labels and icons) is drawn from ``seed`` and what is
    filled in from ``fields``: two such pages with one seed are two people's views of one app.
    """
    page = np.random.default_rng(seed)
    filled = np.random.default_rng(seed if fields is None else fields)
    ground = int(page.choice([24, 236, 246, 255]))
    ink = (235,) * 3 if ground < 100 else (30,) * 3
    shade = tuple(int(v) for v in page.integers(0, 256, 3))
    picture = np.full((height, width, 3), ground, np.uint8)
    cv2.rectangle(picture, (0, 0), (width, 56), shade, -1)
    font = int(page.choice(_FONTS))
    _write(picture, _words(page, 2), (14, 38), font, 0.7, (255, 255, 255))
    top = 74
    while top < height - 60:
        tall = int(page.integers(50, 110))
        edge = tuple(int(v) for v in page.integers(100, 220, 3))
        cv2.rectangle(picture, (10, top), (width - 10, top + tall), edge, 1)
        spot = (36, top + tall // 2)
        cv2.circle(picture, spot, int(page.integers(8, 18)), edge, int(page.choice([-1, 2])))
        for line in range(top + 20, top + tall - 4, 22):
            _write(picture, _words(page, 1), (66, line), font, 0.45, ink)
            told = f"{_words(filled, 1)} {int(filled.integers(1, 10**6))}"
            _write(picture, told, (66 + width // 4, line), font, 0.45, ink)
        top += tall + 12
    return picture


def _words(draw: np.random.Generator, count: int) -> str:
    return " ".join(_WORDS[int(i)] for i in draw.integers(0, len(_WORDS), count))


def _write(
    picture: Grey,
    words: str,
    place: tuple[int, int],
    font: int,
    size: float,
    ink: tuple[int, ...],
) -> None:
    cv2.putText(picture, words, place, font, size, ink, 1, cv2.LINE_AA)
