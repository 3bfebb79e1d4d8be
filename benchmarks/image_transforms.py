"""The attacks that the image benchmarks make on a picture: BGR uint8 in, BGR uint8 out, seeded."""

from collections.abc import Sequence

import cv2
import numpy as np

Pixels = np.ndarray
Draw = np.random.Generator
WHITE = (255, 255, 255)


def jpeg(picture: Pixels, quality: int) -> Pixels:
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)


def scaled(picture: Pixels, across: float, down: float) -> Pixels:
    return cv2.resize(picture, None, fx=across, fy=down, interpolation=cv2.INTER_AREA)


def crop(picture: Pixels, side: float, draw: Draw) -> Pixels:
    height, width = picture.shape[:2]
    tall, wide = int(height * side), int(width * side)
    top, left = draw.integers(0, height - tall + 1), draw.integers(0, width - wide + 1)
    return picture[top : top + tall, left : left + wide]


def rotate(picture: Pixels, degrees: float) -> Pixels:
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(picture, turn, (width, height), borderValue=WHITE)


def border(picture: Pixels, share: float, level: int) -> Pixels:
    edge = int(share * max(picture.shape))
    return cv2.copyMakeBorder(
        picture, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(level,) * 3
    )


def letterbox(picture: Pixels, share: float) -> Pixels:
    edge = int(share * picture.shape[0])
    return cv2.copyMakeBorder(picture, edge, edge, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))


def light(picture: Pixels, factor: float, offset: float = 0) -> Pixels:
    return np.clip(picture.astype(np.float32) * factor + offset, 0, 255).astype(np.uint8)


def gamma(picture: Pixels, power: float) -> Pixels:
    return (255 * (picture / 255.0) ** power).astype(np.uint8)


def hue(picture: Pixels, shift: int) -> Pixels:
    made = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
    made[..., 0] = (made[..., 0].astype(int) + shift) % 180
    return cv2.cvtColor(made, cv2.COLOR_HSV2BGR)


def grey(picture: Pixels) -> Pixels:
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def noise(picture: Pixels, sigma: float, draw: Draw) -> Pixels:
    return np.clip(picture + draw.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8)


def written(picture: Pixels, lines: int, draw: Draw) -> Pixels:
    made = picture.copy()
    height, width = made.shape[:2]
    for _ in range(lines):
        place = (int(draw.uniform(0, 0.4) * width), int(draw.uniform(0.1, 0.95) * height))
        ink = tuple(int(v) for v in draw.integers(0, 256, 3))
        size = width / 500 * draw.uniform(0.8, 1.6)
        said = f"Sample copy {draw.integers(10_000)}"
        thick = max(1, width // 250)
        cv2.putText(made, said, place, cv2.FONT_HERSHEY_SIMPLEX, size, ink, thick, cv2.LINE_AA)
    return made


def sticker(picture: Pixels, share: float, draw: Draw) -> Pixels:
    made = picture.copy()
    height, width = made.shape[:2]
    tall, wide = int(height * share**0.5), int(width * share**0.5)
    top, left = draw.integers(0, height - tall + 1), draw.integers(0, width - wide + 1)
    made[top : top + tall, left : left + wide] = draw.integers(0, 256, 3)
    centre = (int(left + wide / 2), int(top + tall / 2))
    ink = tuple(int(v) for v in draw.integers(0, 256, 3))
    cv2.circle(made, centre, min(tall, wide) // 3, ink, -1)
    return made


def phone(picture: Pixels, draw: Draw) -> Pixels:
    """Show it in a phone's gallery, and take a screenshot of that."""
    tall, wide, bars = 1280, 640, 300
    ground = int(draw.choice([18, 250]))
    page = np.full((tall, wide, 3), ground, np.uint8)
    factor = min(wide / picture.shape[1], (tall - bars) / picture.shape[0])
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    top, left = (tall - small.shape[0]) // 2, (wide - small.shape[1]) // 2
    page[top : top + small.shape[0], left : left + small.shape[1]] = small
    ink = (240,) * 3 if ground < 99 else (20,) * 3
    clock = f"{draw.integers(24):02}:{draw.integers(60):02}"
    cv2.putText(page, clock, (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 1, ink, 2)
    cv2.putText(page, "Gallery", (60, 100), cv2.FONT_HERSHEY_SIMPLEX, 1.1, ink, 2)
    for i in range(4):
        cv2.rectangle(page, (60 + i * 150, tall - 80), (100 + i * 150, tall - 40), ink, 2)
    return page


def of_a_screen(picture: Pixels, draw: Draw) -> Pixels:
    """Photograph it from a screen: perspective, uneven light, moiré, blur."""
    height, width = picture.shape[:2]
    size = (int(width * 1.4), int(height * 1.4))
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    bent = corners + np.float32([0.2 * width, 0.2 * height])
    bent = np.float32(bent + draw.uniform(-0.05, 0.05, (4, 2)) * [width, height])
    lens = cv2.getPerspectiveTransform(corners, bent)
    page = np.full((size[1], size[0], 3), int(draw.integers(20, 120)), np.uint8)
    inside = cv2.warpPerspective(np.full((height, width), 255, np.uint8), lens, size) > 0
    page[inside] = cv2.warpPerspective(picture, lens, size)[inside]
    rows, columns = np.mgrid[: size[1], : size[0]]
    shade = 1 + 0.05 * np.sin((columns + rows * 0.6) / 1.7) + 0.15 * (columns / size[0] - 0.5)
    return jpeg(cv2.GaussianBlur(light(page * shade[..., None], 0.9, 12), (0, 0), 0.9), 70)


def collage(picture: Pixels, others: Sequence[Pixels], cells: int, draw: Draw) -> Pixels:
    """Put it, cropped to a square, in one of two or four cells."""
    side, kept = 360, [picture, *others][:cells]
    shown = []
    for i in draw.permutation(cells):
        cell = kept[i]
        factor = side / min(cell.shape[:2])
        wide = (max(side, round(cell.shape[1] * factor)), max(side, round(cell.shape[0] * factor)))
        cell = cv2.resize(cell, wide, interpolation=cv2.INTER_AREA)
        top, left = (cell.shape[0] - side) // 2, (cell.shape[1] - side) // 2
        cell = cell[top : top + side, left : left + side]
        shown.append(cv2.copyMakeBorder(cell, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=WHITE))
    if cells == 2:
        return np.hstack(shown)
    return np.vstack([np.hstack(shown[:2]), np.hstack(shown[2:])])


def attacks(picture: Pixels, others: Sequence[Pixels], draw: Draw) -> dict[str, Pixels]:
    """Make every attack on one picture."""
    made = {
        "jpeg 50": jpeg(picture, 50), "jpeg 15": jpeg(picture, 15),
        "resize .5": scaled(picture, 0.5, 0.5), "resize .25": scaled(picture, 0.25, 0.25),
        "aspect": scaled(picture, 1, 0.8),
        **{f"crop {int(100 * s)}": crop(picture, s, draw) for s in (0.95, 0.9, 0.8, 0.65, 0.5)},
        "mirror": picture[:, ::-1], "flip": picture[::-1], "quarter turn": np.rot90(picture),
        "half turn": np.rot90(picture, 2), "three quarters": np.rot90(picture, 3),
        **{f"rotate {d}": rotate(picture, d) for d in (3, 5, 15)},
        "border 5": border(picture, 0.05, 255), "border 15": border(picture, 0.15, 0),
        "letterbox": letterbox(picture, 0.2), "brighter": light(picture, 1.4),
        "darker": light(picture, 0.6), "gamma": gamma(picture, 1.8),
        "contrast": light(picture, 0.6, 50), "hue": hue(picture, 40), "grey": grey(picture),
        "invert": 255 - picture, "blur": cv2.GaussianBlur(picture, (0, 0), 2.0),
        "noise": noise(picture, 25, draw), "text 1": written(picture, 1, draw),
        "text 4": written(picture, 4, draw), "sticker 10": sticker(picture, 0.1, draw),
        "sticker 30": sticker(picture, 0.3, draw), "phone screenshot": phone(picture, draw),
        "photo of a screen": of_a_screen(picture, draw),
        "collage 2": collage(picture, others, 2, draw),
        "collage 4": collage(picture, others, 4, draw),
        "mirror crop jpeg": jpeg(np.ascontiguousarray(crop(picture, 0.8, draw)[:, ::-1]), 30),
        "crop light text": written(light(crop(picture, 0.65, draw), 1.25), 1, draw),
        "turn border jpeg": jpeg(border(rotate(picture, 5), 0.05, 255), 40),
    }  # fmt: skip
    return {name: np.ascontiguousarray(pixels) for name, pixels in made.items()}
