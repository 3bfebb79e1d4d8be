"""Visible marks: learned from generated examples, each judged by others, and clean photos beside them.

Marks of three designs are drawn at three opacities over real photographs; each picture is judged
by a template learned from others of its design. Run with ``python
benchmarks/watermark_visible.py [--examples N] [--format json]``; needs the development photos.
"""

import argparse
import json
import os
import sys
import time
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


def draw(pixels: np.ndarray, design: int, alpha: float) -> np.ndarray:
    """Lay a mark of that design over the middle, the corner or the foot of a picture."""
    picture = Image.fromarray(pixels)
    w, h = picture.size
    layer = Image.new("L", (600, 150), 0)
    pen = ImageDraw.Draw(layer)
    if design == 0:
        pen.text((20, 30), "STOCKLIB", font=ImageFont.load_default(100), fill=255)
    elif design == 1:
        pen.ellipse((40, 10, 170, 140), outline=255, width=14)
        pen.text((200, 30), "photoria", font=ImageFont.load_default(88), fill=255)
    else:
        pen.text((10, 30), "@cityshots", font=ImageFont.load_default(96), fill=255)
        pen.line((10, 140, 560, 140), fill=255, width=8)
    wide = round(w * (0.6, 0.5, 0.45)[design])
    layer = layer.resize((wide, round(wide / 4)))
    place = ((0.2, 0.42), (0.45, 0.8), (0.05, 0.85))[design]
    mask = Image.new("L", picture.size, 0)
    mask.paste(layer, (round(w * place[0]), min(round(h * place[1]), h - layer.size[1])))
    opacity = np.asarray(mask, np.float32)[..., None] / 255 * alpha
    return np.clip(pixels * (1 - opacity) + 255 * opacity, 0, 255).astype(np.uint8)


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


def measure(examples: int, limit: int) -> dict[str, Any]:
    """Hold out a third for every design and opacity; then all clean pictures."""
    files = sorted(f for f in (SHARED / "photos").glob("*") if f.suffix in (".jpg", ".png"))
    pictures = [np.array(Image.open(f).convert("RGB")) for f in files if f.name[:4] != "nia_"]
    wide = [p for p in pictures if 1.45 < p.shape[1] / p.shape[0] < 1.55]
    found: dict[str, list[int]] = {}
    templates, seconds, looks = [], 0.0, 0
    for design in range(3):
        base = wide[design * examples : (design + 1) * examples]
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
                    row = found.setdefault(f"opacity {alpha}, {name}", [0, 0])
                    row[0] += seen is not None and seen.ghost_z is None
                    row[1] += 1
    clean = [p for p in pictures if not any(p is w for w in wide[: 3 * examples])]
    halves = [np.ascontiguousarray(p[:, : p.shape[1] * 3 // 4]) for p in clean]
    seen = [find_known(p, templates) for p in (clean + halves)[:limit]]
    marks = [s for s in seen if s is not None and s.ghost_z is None]
    ghosts = [s for s in seen if s is not None and s.ghost_z is not None]
    repeats = [tiled(p)[0] for p in clean]
    return {
        "examples_a_design": examples, "found": found, "clean": len(seen), "clean_marks": len(marks),
        "clean_ghosts": len(ghosts), "threshold": MATCH_MIN,
        "clean_highest": max((s.score for s in marks), default=None),
        "ms_a_picture_and_template": round(1000 * seconds / looks, 1),
        "tiled_clean_quantiles": [round(float(q), 3) for q in np.quantile(repeats, [0.5, 0.9, 0.99, 1])],
    }  # fmt: skip


def main() -> None:
    """Measure and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=12)
    parser.add_argument("--clean", type=int, default=1000)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    asked = parser.parse_args()
    result = measure(asked.examples, asked.clean)
    if asked.format == "json":
        print(json.dumps(result))
        return
    for what, (hit, of) in result["found"].items():
        print(f"{what:<28} {hit} of {of}")
    for what in list(result)[2:]:
        print(what, result[what])


if __name__ == "__main__":
    main()
