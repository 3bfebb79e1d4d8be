"""The project's invisible mark beside invisible-watermark and blind-watermark: 30 attacks.

All mark the same photographs with 64 bits. The libraries are given the easier question, whether
known bits are there (binomial p ≤ 1e-6: 51 of 64 right), and the place and size of what they wrote;
the project's mark must be decoded blind, with its 32-bit MAC. Run with
``python benchmarks/watermark_invisible.py [--photos N] [--peers] [--pages] [--nulls N]
[--format json]``; needs the development photos. Peers (both in the group ``bench``, MIT):
``invisible-watermark`` (its network model needs torch and is left out) and ``blind-watermark``.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw
from scipy.stats import binom, kstest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from watermark_attacks import ATTACKS, Pixels

from detectors.watermark.mark import MarkKey, embed, read, verify

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
KEY = MarkKey(key_id="bench", master=b"a key of the benchmark alone", epoch=1)
SERIAL = 0x9E37_79B9_7F4A_7C15
BITS = [SERIAL >> (63 - i) & 1 for i in range(64)]
RIGHT_MIN = int(binom.isf(1e-6, 64, 0.5)) + 1

Mark = Callable[[Pixels], Pixels]
Found = Callable[[Pixels, Pixels], bool]


def psnr(a: Pixels, b: Pixels) -> float:
    """PSNR in dB over all channels."""
    return float(cv2.PSNR(a, b))


def ssim(a: Pixels, b: Pixels) -> float:
    """Mean structural similarity of the luma (Wang et al. 2004, Gaussian window of 1.5)."""
    x, y = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float64) for p in (a, b))

    def soft(p: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(p, (11, 11), 1.5)

    mx, my = soft(x), soft(y)
    vx, vy, cov = soft(x * x) - mx * mx, soft(y * y) - my * my, soft(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(
        ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()
    )


def ours() -> tuple[Mark, Found]:
    """The project's mark, decoded blind."""

    def found(pixels: Pixels, _: Pixels) -> bool:
        return any(r.serial == SERIAL for r in read(pixels, [KEY]))

    return lambda p: embed(p, SERIAL, KEY), found


def _right(bits: Any) -> bool:
    return int((np.asarray(bits).astype(int).ravel()[:64] == BITS).sum()) >= RIGHT_MIN


def invisible(method: str) -> tuple[Mark, Found]:
    """invisible-watermark's dwtDct or dwtDctSvd; torch is stubbed, its network is not used."""
    sys.modules.setdefault("torch", types.ModuleType("torch"))
    from imwatermark import WatermarkDecoder, WatermarkEncoder

    def mark(pixels: Pixels) -> Pixels:
        encoder = WatermarkEncoder()
        encoder.set_watermark("bits", BITS)
        return np.ascontiguousarray(encoder.encode(pixels[:, :, ::-1], method)[:, :, ::-1])

    def found(pixels: Pixels, _: Pixels) -> bool:
        if pixels.shape[0] * pixels.shape[1] < 256 * 256:
            return False
        return _right(WatermarkDecoder("bits", 64).decode(pixels[:, :, ::-1], method))

    return mark, found


def blind() -> tuple[Mark, Found]:
    """blind-watermark with its default strength."""
    import blind_watermark
    from blind_watermark import WaterMark

    blind_watermark.bw_notes.close()

    def mark(pixels: Pixels) -> Pixels:
        marker = WaterMark(password_img=1, password_wm=1)
        marker.read_img(img=np.ascontiguousarray(pixels[:, :, ::-1]))
        marker.read_wm([bool(b) for b in BITS], mode="bit")
        return np.clip(np.rint(marker.embed()), 0, 255).astype(np.uint8)[:, :, ::-1].copy()

    def found(pixels: Pixels, _: Pixels) -> bool:
        marker = WaterMark(password_img=1, password_wm=1)
        try:
            bits = marker.extract(embed_img=pixels[:, :, ::-1].copy(), wm_shape=64, mode="bit")
        except (AssertionError, IndexError, ValueError):
            return False
        return _right(np.asarray(bits) > 0.5)

    return mark, found


def photos(count: int, short_min: int = 500) -> list[Pixels]:
    """Lossless photographs first, then others of the size asked for."""
    files = sorted((SHARED / "photos").glob("kodim*")) + sorted((SHARED / "photos").glob("imag*"))
    large = [f for f in files if min(Image.open(f).size) >= short_min]
    return [np.array(Image.open(f).convert("RGB")) for f in large[:count]]


def page(seed: int) -> Pixels:
    """A white page (1240 × 1754) of dense black text."""
    draw = np.random.default_rng(seed)
    sheet = Image.new("RGB", (1240, 1754), "white")
    pen = ImageDraw.Draw(sheet)
    from PIL import ImageFont

    face = ImageFont.load_default(22)
    words = [
        "the",
        "order",
        "was",
        "counted",
        "again",
        "before",
        "noon",
        "and",
        "the",
        "clerk",
        "signed",
        "for",
        "every",
        "box",
    ]
    for y in range(80, 1680, 30):
        line = " ".join(words[i] for i in draw.integers(0, len(words), 16))
        pen.text((80, y), line[:105], font=face, fill="black")
    return np.asarray(sheet)


def compare(name: str, made: tuple[Mark, Found], pictures: list[Pixels]) -> dict[str, Any]:
    """Mark every picture, attack it in every way, and count what is found."""
    mark, found = made
    found(mark(pictures[0]), pictures[0])  # what is compiled or loaded once is no part of the cost
    started = time.process_time()
    marked = [mark(p) for p in pictures]
    embedding = time.process_time() - started
    megapixels = sum(p.shape[0] * p.shape[1] for p in pictures) / 1e6
    recall, spent, seen = {}, 0.0, 0.0
    for attack, change in ATTACKS.items():
        hits = 0
        for i, p in enumerate(marked):
            changed = change(p, np.random.default_rng(i))
            started = time.process_time()
            hits += found(changed, p)
            if attack in ("none", "jpeg 70"):
                spent += time.process_time() - started
                seen += changed.shape[0] * changed.shape[1] / 1e6
        recall[attack] = round(hits / len(marked), 3)
    return {
        "method": name, "photos": len(pictures), "recall": recall,
        "mean_recall": round(float(np.mean(list(recall.values()))), 4),
        "psnr_db": round(float(np.median([psnr(a, b) for a, b in zip(pictures, marked, strict=True)])), 2),
        "ssim": round(float(np.median([ssim(a, b) for a, b in zip(pictures, marked, strict=True)])), 4),
        "psnr_db_min": round(min(psnr(a, b) for a, b in zip(pictures, marked, strict=True)), 2),
        "ssim_min": round(min(ssim(a, b) for a, b in zip(pictures, marked, strict=True)), 4),
        "embed_ms_per_mp": round(1000 * embedding / megapixels, 1),
        "detect_ms_per_mp": round(1000 * spent / seen, 1),
        **at_a_megapixel(made, pictures[:8]),
    }  # fmt: skip


def at_a_megapixel(made: tuple[Mark, Found], pictures: list[Pixels]) -> dict[str, float]:
    """What a picture of one megapixel costs (milliseconds): to mark, and to read with a mark or none.

    The least of three rounds, since other work on the machine only ever adds.
    """
    mark, found = made
    large = []
    for p in pictures:
        scale = (1e6 / (p.shape[0] * p.shape[1])) ** 0.5
        large.append(
            np.asarray(cv2.resize(p, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))
        )
    marked = [mark(p) for p in large]
    sent = [ATTACKS["jpeg 70"](p, np.random.default_rng(0)) for p in marked]

    def cost(task: Callable[[int], Any]) -> float:
        rounds = []
        for _ in range(3):
            started = time.process_time()
            for i in range(len(large)):
                task(i)
            rounds.append(time.process_time() - started)
        return round(1000 * min(rounds) / len(large), 1)

    return {
        "1 MP: mark": cost(lambda i: mark(large[i])),
        "1 MP: read, marked": cost(lambda i: found(sent[i], large[i])),
        "1 MP: read, unmarked": cost(lambda i: found(large[i], large[i])),
    }


def pages(count: int) -> dict[str, Any]:
    """Dense text on white, JPEG 50."""
    hits = sum(
        any(r.serial == SERIAL for r in read(ATTACKS["jpeg 50"](embed(page(i), SERIAL, KEY), np.random.default_rng(i)), [KEY]))
        for i in range(count)
    )  # fmt: skip
    return {"pages": count, "decoded": int(hits)}


def unmarked(trials: int) -> Iterator[Pixels]:
    """Pictures that carry no mark, and every other one the mark of a key that nobody asks about."""
    files = [
        f
        for f in sorted((SHARED / "photos").glob("*.jpg"))
        if f.name[:4] in ("bsds", "imag", "desk", "rece")
    ]
    for number in range(trials):
        whole = Image.open(files[number % len(files)]).convert("RGB")
        turn = number // len(files)
        # another cut each time round, so that no picture is asked about twice
        draw = np.random.default_rng(number)
        wide, tall = (int(side * draw.uniform(0.6, 1.0)) for side in whole.size)
        x, y = (
            int(draw.integers(whole.width - wide + 1)),
            int(draw.integers(whole.height - tall + 1)),
        )
        part = whole if turn == 0 else whole.crop((x, y, x + wide, y + tall))
        half = part.resize((max(128, part.width // 2), max(128, part.height // 2)))
        pixels = np.asarray(half)
        if number % 2:
            marked_by = MarkKey(key_id="m", master=number.to_bytes(16, "big"), epoch=2)
            pixels = embed(pixels, number, marked_by)
        yield pixels


KEYS_A_PICTURE = 25
THOROUGH_EACH = 16


def nulls(trials: int) -> dict[str, Any]:
    """Unmarked pictures and other keys: are p-values uniform, and does any MAC hold?

    A trial is one picture read with one key: its signs are drawn independently of the picture and
    of other keys, so keys may share what is computed of a picture. Each decodes (MACs tried are
    counted) and is verified against one random serial. Every 16th picture is read thoroughly, every
    geometry tried, with one more key.
    """
    values: list[float] = []
    false = attempts = thorough = 0
    pictures = -(-trials // KEYS_A_PICTURE)
    draw = np.random.default_rng(1)
    for number, pixels in enumerate(unmarked(pictures)):
        # keys change with every 25th picture: laying one out costs more than reading with it
        first = number // KEYS_A_PICTURE * KEYS_A_PICTURE
        keys = [
            MarkKey(key_id="n", master=(first + i + 1).to_bytes(16, "big"), epoch=3)
            for i in range(KEYS_A_PICTURE)
        ]
        readings = list(zip(keys, read(pixels, keys, thorough=False), strict=True))
        for key, reading in readings:
            values.append(verify(reading, key, int(draw.integers(2**63))))
        if number % THOROUGH_EACH == 0:
            key = keys[number // THOROUGH_EACH % KEYS_A_PICTURE]
            readings.append((key, read(pixels, [key])[0]))
            thorough += 1
        attempts += sum(reading.attempts for _, reading in readings)
        false += sum(reading.serial is not None for _, reading in readings)
    drawn = np.asarray(values[:trials])
    levels = {f"p<={a}": round(float((drawn <= a).mean()), 6) for a in (0.1, 0.01, 0.001, 0.0001)}
    # binomial p-values are discrete; spread each over its step before asking whether it is uniform
    steps = np.unique(drawn)
    below = dict(zip(steps, np.concatenate([[0.0], steps[:-1]]), strict=True))
    spread = np.random.default_rng(0)
    smooth = np.array([spread.uniform(below[p], p) for p in drawn])
    return {
        "trials": trials, "pictures": pictures, "thorough": thorough, "false_decodes": false, "macs_tried": attempts,
        **levels, "min": float(drawn.min()), "uniform_ks_p": round(float(kstest(smooth, "uniform").pvalue), 3),
    }  # fmt: skip


def main() -> None:
    """Measure and print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--pages", type=int, default=0)
    parser.add_argument("--nulls", type=int, default=0)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    asked = parser.parse_args()
    result: dict[str, Any] = {"methods": []}
    pictures = photos(asked.photos) if asked.photos else []
    makers: dict[str, Callable[[], tuple[Mark, Found]]] = {"bountyguard": ours}
    if asked.peers:
        if importlib.util.find_spec("imwatermark"):
            makers |= {m: lambda m=m: invisible(m) for m in ("dwtDct", "dwtDctSvd")}
        if importlib.util.find_spec("blind_watermark"):
            makers["blind-watermark"] = blind
    for name, make in makers.items():
        if pictures:
            result["methods"].append(compare(name, make(), pictures))
            print(f"# {name} done", file=sys.stderr)
    if asked.pages:
        result["pages"] = pages(asked.pages)
    if asked.nulls:
        result["nulls"] = nulls(asked.nulls)
    if asked.format == "json":
        print(json.dumps(result))
        return
    for attack in ATTACKS if result["methods"] else ():
        print(f"{attack:<22}" + "".join(f"{m['recall'][attack]:>17}" for m in result["methods"]))
    for row in (
        "mean_recall",
        "psnr_db",
        "psnr_db_min",
        "ssim",
        "ssim_min",
        "embed_ms_per_mp",
        "detect_ms_per_mp",
        "1 MP: mark",
        "1 MP: read, marked",
        "1 MP: read, unmarked",
    ):
        print(f"{row:<22}" + "".join(f"{m[row]:>17}" for m in result["methods"]))
    print(" " * 22 + "".join(f"{m['method']:>17}" for m in result["methods"]))
    for part in ("pages", "nulls"):
        if part in result:
            print(part, result[part])


if __name__ == "__main__":
    main()
