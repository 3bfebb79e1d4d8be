"""Visible marks: learned from generated examples, each judged by others, and clean photos beside them.

Marks of three designs are drawn at three opacities over real photographs; each picture is judged
by a template learned from others of its design. Thresholds were set on the designs and photographs
of ``--set tune``; ``--set test`` has others, and unmarked pictures of another collection. Run with
``python benchmarks/watermark_visible.py [--set test] [--examples N] [--clean N] [--format json]``;
needs the development data and, for Chinese marks, the wheel ``cvttf-notosanscjk-regular``.
"""

import argparse
import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detectors.watermark.visible import MATCH_MIN, find_known, learn, tiled

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
FOLDS = 3
ATTACKS = ("none", "jpeg 50", "resize .75", "resize 1.4", "crop")


def cjk(size: int) -> Any:
    """Find a font with Chinese glyphs in the wheel that carries one."""
    for file in metadata.files("cvttf-notosanscjk-regular") or ():
        if file.name.endswith(".otf"):
            return ImageFont.truetype(str(file.locate()), size)
    raise SystemExit("install cvttf-notosanscjk-regular for the Chinese marks")


def layer(design: int) -> Image.Image:
    """The mark of a design alone, white on black."""
    drawn = Image.new("L", (600, 150), 0)
    pen = ImageDraw.Draw(drawn)
    if design == 0:
        pen.text((20, 30), "STOCKLIB", font=ImageFont.load_default(100), fill=255)
    elif design == 1:
        pen.ellipse((40, 10, 170, 140), outline=255, width=14)
        pen.text((200, 30), "photoria", font=ImageFont.load_default(88), fill=255)
    elif design == 2:
        pen.text((10, 30), "@cityshots", font=ImageFont.load_default(96), fill=255)
        pen.line((10, 140, 560, 140), fill=255, width=8)
    elif design == 3:
        pen.text((30, 0), "千图素材网", font=cjk(104), fill=255)
    elif design == 4:
        pen.polygon([(30, 130), (90, 10), (150, 130)], fill=255)
        pen.rectangle((60, 90, 120, 130), fill=0)
        pen.text((180, 10), "Yuan影像", font=cjk(88), fill=255)
    else:
        pen.text((10, 5), "vista.example", font=ImageFont.load_default(92), fill=255)
        drawn = drawn.rotate(18, expand=True, resample=Image.Resampling.BICUBIC)
    return drawn


PLACES = ((0.2, 0.42), (0.45, 0.8), (0.05, 0.85), (0.5, 0.04), (0.04, 0.8), (0.25, 0.35))
WIDTHS = (0.6, 0.5, 0.45, 0.46, 0.42, 0.55)
SETS = {"tune": (0, 1, 2), "test": (3, 4, 5)}


def draw(pixels: np.ndarray, design: int, alpha: float) -> np.ndarray:
    """Lay a mark of that design over its place of a picture; every other one is dark."""
    picture = Image.fromarray(pixels)
    w, h = picture.size
    mark = layer(design)
    wide = round(w * WIDTHS[design])
    mark = mark.resize((wide, round(wide * mark.size[1] / mark.size[0])))
    mask = Image.new("L", picture.size, 0)
    place = PLACES[design]
    mask.paste(mark, (round(w * place[0]), min(round(h * place[1]), h - mark.size[1])))
    opacity = np.asarray(mask, np.float32)[..., None] / 255 * alpha
    ink = 0 if design == 4 else 255
    return np.clip(pixels * (1 - opacity) + ink * opacity, 0, 255).astype(np.uint8)


def attack(pixels: np.ndarray, name: str) -> np.ndarray:
    """Change a marked picture."""
    if name == "jpeg 50":
        packed = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
        return np.ascontiguousarray(cv2.imdecode(packed, 1)[:, :, ::-1])
    if name.startswith("resize"):
        f = float(name.split()[1])
        return np.asarray(cv2.resize(pixels, None, fx=f, fy=f, interpolation=cv2.INTER_AREA))
    if name == "crop":
        h, w = pixels.shape[:2]
        return pixels[h // 20 :, : w - w // 50].copy()
    return pixels


def clean_pictures(which: str, limit: int) -> list[np.ndarray]:
    """Unmarked pictures: the development photos to tune on, those of the market drop to test."""
    if which == "tune":
        files = [f for f in sorted((SHARED / "photos").glob("*")) if f.suffix in (".jpg", ".png")]
    else:
        blobs = SHARED / "market" / "full" / "drop" / "blobs"
        files = [f for f in sorted(blobs.rglob("*")) if f.suffix in (".jpg", ".png", ".webp")]
    out: list[np.ndarray] = []
    for file in files[:: max(1, len(files) // limit)]:
        try:
            with Image.open(file) as opened:
                if opened.size[0] * opened.size[1] < 20e6:
                    out.append(np.array(opened.convert("RGB")))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            continue
    return out[:limit]


def measure(which: str, examples: int, limit: int) -> dict[str, Any]:
    """Hold out a third for every design and opacity; then all clean pictures."""
    files = sorted(f for f in (SHARED / "photos").glob("*") if f.suffix in (".jpg", ".png"))
    pictures = [np.array(Image.open(f).convert("RGB")) for f in files if f.name[:4] != "nia_"]
    wide = [p for p in pictures if 1.45 < p.shape[1] / p.shape[0] < 1.55]
    found: dict[str, list[int]] = {}
    templates, seconds, looks = [], 0.0, 0
    for number, design in enumerate(SETS[which]):
        # every design on photographs of its own, and none of those that the other set has seen
        base = wide[which == "test" :: 2][number * examples : (number + 1) * examples]
        for alpha in (0.5, 0.35, 0.2):
            marked = [draw(p, design, alpha) for p in base]
            if alpha == 0.35:
                templates.append(learn(f"design {design}", marked))
            folds = [
                learn("mark", [m for j, m in enumerate(marked) if j % FOLDS != fold])
                for fold in range(FOLDS)
            ]
            for i, one in enumerate(marked):
                known = folds[i % FOLDS]
                for name in ATTACKS if alpha == 0.35 else ("none",):
                    started = time.process_time()
                    seen = find_known(attack(one, name), [known])
                    seconds, looks = seconds + time.process_time() - started, looks + 1
                    row = found.setdefault(f"opacity {alpha}, {name}", [0, 0, 0])
                    row[0] += seen is not None and not seen.ghost
                    row[1] += 1
                    row[2] += seen is not None and seen.strength >= 0.5
    clean = clean_pictures(which, limit)
    seen = [find_known(p, templates) for p in clean]
    marks = [s for s in seen if s is not None and not s.ghost]
    ghosts = [s for s in seen if s is not None and s.ghost]
    repeats = [tiled(p)[0] for p in clean]
    return {
        "examples_a_design": examples, "found": found, "clean": len(seen), "clean_marks": len(marks),
        "clean_ghosts": len(ghosts), "threshold": MATCH_MIN,
        "clean_seen": [(s.name, s.score, s.deviations, s.at_home, s.ghost) for s in marks + ghosts],
        "ms_a_picture_and_template": round(1000 * seconds / looks, 1),
        "tiled_clean_quantiles": [round(float(q), 3) for q in np.quantile(repeats, [0.5, 0.9, 0.99, 1])],
    }  # fmt: skip


def main() -> None:
    """Measure and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=12)
    parser.add_argument("--clean", type=int, default=600)
    parser.add_argument("--set", choices=tuple(SETS), default="test")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    asked = parser.parse_args()
    result = measure(asked.set, asked.examples, asked.clean)
    if asked.format == "json":
        print(json.dumps(result))
        return
    for what, (hit, of, sure) in result["found"].items():
        print(f"{what:<28} {hit} of {of}, {sure} of them sure")
    for what in list(result)[2:]:
        print(what, result[what])


if __name__ == "__main__":
    main()
