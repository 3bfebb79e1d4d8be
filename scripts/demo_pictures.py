# ruff: noqa: INP001
"""The pictures of the demo market, drawn from nothing: posters, signs by a river, result pages."""

import io
import itertools
import random
from datetime import datetime

from PIL import Image, ImageDraw, ImageFilter, ImageFont, PngImagePlugin

SIZE = (448, 336)


def jpeg(image: Image.Image, *, quality: int = 80, exif: Image.Exif | None = None) -> bytes:
    """Encode as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, exif=exif or Image.Exif())
    return out.getvalue()


def png(image: Image.Image, **text: str) -> bytes:
    """Encode as PNG with text chunks."""
    info = PngImagePlugin.PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True, pnginfo=info)
    return out.getvalue()


def exif(taken_at: datetime, *, lat: float, lon: float, model: str) -> Image.Exif:
    """EXIF of a phone: camera time with its offset, position, make and model."""
    block = Image.Exif()
    block[0x010F], block[0x0110] = "Linden", model
    stamp = taken_at.strftime("%Y:%m:%d %H:%M:%S")
    inner = block.get_ifd(0x8769)
    inner[0x9003], inner[0x9004], inner[0x9011] = stamp, stamp, "+00:00"
    gps = block.get_ifd(0x8825)
    for tag, value, letters in ((1, lat, "NS"), (3, lon, "EW")):
        degrees, rest = divmod(abs(value), 1)
        minutes, seconds = divmod(rest * 60, 1)
        gps[tag] = letters[0] if value >= 0 else letters[1]
        gps[tag + 1] = (float(degrees), float(minutes), round(seconds * 60, 3))
    return block


def _colour(draw: random.Random, low: int = 0, high: int = 255) -> tuple[int, int, int]:
    return (draw.randint(low, high), draw.randint(low, high), draw.randint(low, high))


def _sky(draw: random.Random) -> Image.Image:
    top, bottom = _colour(draw, 20, 150), _colour(draw, 120, 250)
    column = Image.new("RGB", (1, SIZE[1]))
    for y in range(SIZE[1]):
        share = y / SIZE[1]
        column.putpixel(
            (0, y), tuple(int(a + (b - a) * share) for a, b in zip(top, bottom, strict=True))
        )
    return column.resize(SIZE)


def _ridge(draw: random.Random, base: float, rough: float) -> list[tuple[float, float]]:
    """A line of hills by midpoint displacement."""
    heights = [base + draw.uniform(-rough, rough), base + draw.uniform(-rough, rough)]
    while len(heights) < 129:
        rough *= 0.55
        grown = []
        for a, b in itertools.pairwise(heights):
            grown += [a, (a + b) / 2 + draw.uniform(-rough, rough)]
        heights = [*grown, heights[-1]]
    step = SIZE[0] / (len(heights) - 1)
    return [(i * step, h) for i, h in enumerate(heights)]


def _grain(image: Image.Image, draw: random.Random, strength: float) -> Image.Image:
    noise = Image.frombytes("L", SIZE, draw.randbytes(SIZE[0] * SIZE[1]))
    noise = noise.filter(ImageFilter.GaussianBlur(0.8)).convert("RGB")
    return Image.blend(image, noise, strength)


def poster(seed: int) -> Image.Image:
    """Hills, a sun or moon, stars or birds, and a band for the date."""
    draw = random.Random(f"poster {seed}")
    image = _sky(draw)
    pen = ImageDraw.Draw(image)
    x, y, r = draw.randint(60, 380), draw.randint(40, 120), draw.randint(18, 48)
    pen.ellipse((x - r, y - r, x + r, y + r), fill=_colour(draw, 180, 255))
    for _ in range(draw.randint(12, 40)):
        sx, sy = draw.randint(0, SIZE[0]), draw.randint(0, 170)
        pen.ellipse((sx, sy, sx + 2, sy + 2), fill=_colour(draw, 200, 255))
    for layer in range(4):
        shade = tuple(max(0, c - 35 * layer) for c in _colour(draw, 90, 190))
        ridge = _ridge(draw, 150 + 45 * layer, 60)
        pen.polygon([*ridge, (SIZE[0], SIZE[1]), (0, SIZE[1])], fill=shade)
    for _ in range(draw.randint(5, 12)):
        tx, ty, size = draw.randint(0, SIZE[0]), draw.randint(210, 290), draw.randint(14, 40)
        pen.polygon([(tx, ty - size), (tx - size / 2, ty), (tx + size / 2, ty)],
                    fill=_colour(draw, 10, 90))  # fmt: skip
    word = draw.choice(["HILLSIDE", "RIDGE & REED", "UPLAND NIGHTS", "LONG VALLEY", "HIGH MEADOW"])
    pen.text((draw.randint(14, 150), draw.randint(285, 305)), word, fill="white",
             font=ImageFont.load_default(draw.randint(20, 30)))  # fmt: skip
    return _grain(image, draw, 0.06)


def sign(seed: int) -> Image.Image:
    """A signpost beside water, with its own arrows, planks and weather."""
    draw = random.Random(f"sign {seed}")
    image = _sky(draw)
    pen = ImageDraw.Draw(image)
    horizon = draw.randint(130, 200)
    pen.rectangle((0, horizon, *SIZE), fill=_colour(draw, 60, 140))
    for _ in range(260):
        x, y = draw.randint(0, SIZE[0]), draw.randint(horizon, SIZE[1])
        length = draw.randint(8, 60)
        pen.line((x, y, x + length, y), fill=_colour(draw, 70, 190), width=1)
    post = draw.randint(120, 320)
    pen.rectangle((post - 6, 60, post + 6, SIZE[1]), fill=_colour(draw, 50, 100))
    for i in range(draw.randint(2, 4)):
        y, width = 70 + 48 * i, draw.randint(90, 150)
        side = draw.choice((-1, 1))
        pen.polygon(
            [(post - side * 20, y), (post + side * width, y), (post + side * (width + 20), y + 17),
             (post + side * width, y + 34), (post - side * 20, y + 34)], fill=_colour(draw, 110, 220),
        )  # fmt: skip
        words = draw.choice(["Ferry", "Old Mill", "Weir", "Lock 7", "Boathouse", "Reed Bank"])
        text = f"{words} {draw.randint(2, 39) / 10} km"
        pen.text((min(post, post + side * width) + 12, y + 8), text, fill="black",
                 font=ImageFont.load_default(14))  # fmt: skip
    for _ in range(draw.randint(20, 50)):
        x = draw.randint(0, SIZE[0])
        pen.line((x, SIZE[1], x + draw.randint(-12, 12), SIZE[1] - draw.randint(15, 70)),
                 fill=_colour(draw, 20, 120), width=2)  # fmt: skip
    return _grain(image.filter(ImageFilter.GaussianBlur(0.6)), draw, 0.10)


def result_page(name: str, seed: int) -> Image.Image:
    """One reading app's check-in page: the same template, everybody's own name and numbers."""
    draw = random.Random(f"page {seed}")
    image = Image.new("RGB", (360, 640), (247, 248, 250))
    pen = ImageDraw.Draw(image)
    small, large = ImageFont.load_default(15), ImageFont.load_default(26)
    pen.rectangle((0, 0, 360, 70), fill=(38, 110, 96))
    pen.text((20, 22), "Leafturn", fill="white", font=large)
    pen.rounded_rectangle((20, 90, 340, 250), 14, fill="white")
    pen.text((40, 110), f"Well read, {name}!", fill=(30, 30, 30), font=large)
    pen.text((40, 160), f"Day {draw.randint(3, 400)} in a row", fill=(90, 90, 90), font=small)
    stamp = f"2026-03-02 {draw.randint(6, 16):02d}:{draw.randint(0, 59):02d}"
    pen.text((40, 190), f"{stamp}   {draw.randint(5, 95)} min", fill=(90, 90, 90), font=small)
    pen.text((40, 215), f"No. {draw.randint(10**9, 10**10 - 1)}", fill=(150, 150, 150), font=small)
    titles = ["The Salt Road", "Nine Small Rivers", "A Lamp in Autumn", "Tin Roofs", "Marsh Birds",
              "The Cartographer", "Winter Bread", "Slow Trains", "Glass Orchard"]  # fmt: skip
    for i, title in enumerate(draw.sample(titles, 5)):
        y = 275 + 66 * i
        pen.rounded_rectangle((20, y, 340, y + 54), 10, fill="white")
        pen.rectangle((32, y + 8, 62, y + 46), fill=_colour(draw, 60, 220))
        pen.text((76, y + 10), title, fill=(40, 40, 40), font=small)
        done = draw.randint(4, 100)
        pen.rectangle((76, y + 36, 76 + 2 * done, y + 41), fill=(38, 110, 96))
        pen.text((290, y + 30), f"{done} %", fill=(120, 120, 120), font=small)
    return image
