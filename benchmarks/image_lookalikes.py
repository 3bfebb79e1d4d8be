"""Honest look-alikes: pages of one app, form or shop that differ only in what each person filled in, and thieves among them.

    python benchmarks/image_lookalikes.py [--apps 4] [--people 24] [--format json]

Drawn pages of five kinds, ``--apps`` layouts of each: app screens, result pages (number, name, time and amount alone
differ), pages with a photograph of one's own, scanned forms, receipts of one shop; everybody's own fields, screen size and
compression. Every pair of one layout is an honest pair; thieves hand in another's page, recompressed, resized, cropped
or bordered. PDQ and phash stand beside the room.
"""

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
import pdqhash
from image_market import QuickPast
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detectors.checks import world_of
from detectors.image import detector
from detectors.image.drawings import photo, screen
from detectors.image.examples import jpeg, row
from pipeline.decode.inline import InlineDecoder
from pipeline.ports import Example

WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "island",
    "jasper",
    "kettle",
    "lantern",
    "meadow",
    "north",
    "orchid",
    "pepper",
    "quartz",
    "river",
    "saffron",
    "timber",
    "umber",
    "velvet",
    "willow",
    "yarrow",
    "zephyr",
]
DRESSES = {
    "jpeg 40": lambda p: jpeg(p, 40),
    "half size": lambda p: jpeg(cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
    "crop 92": lambda p: jpeg(np.ascontiguousarray(p[20:-30, 10:-18])),
    "border": lambda p: jpeg(cv2.copyMakeBorder(p, 20, 20, 20, 20, cv2.BORDER_CONSTANT)),
}


def _told(page: Any, x: int, y: int, words: str, size: float = 0.5, font: int = 0) -> None:
    cv2.putText(page, words, (x, y), font, size, (40, 40, 40), 1, cv2.LINE_AA)


def result(seed: int, fields: int) -> Any:
    """Draw a phone's result page: all but four values is the app's own."""
    look, mine = np.random.default_rng(seed), np.random.default_rng(fields)
    page = np.full((640, 360, 3), int(look.integers(235, 256)), np.uint8)
    cv2.rectangle(page, (0, 0), (360, 60), tuple(map(int, look.integers(0, 200, 3))), -1)
    cv2.circle(page, (180, 130), 36, tuple(map(int, look.integers(0, 200, 3))), -1)
    cv2.putText(page, f"Task {look.integers(100)} done", (100, 200), 1, 1.4, (20, 20, 20), 2)
    values = (
        str(mine.integers(10**9, 10**10)), f"{_word(mine)} {_word(mine)}",
        f"{mine.integers(24):02}:{mine.integers(60):02}:{mine.integers(60):02}",
        f"{mine.integers(1, 100)}.{mine.integers(100):02}",
    )  # fmt: skip
    for i, (label, value) in enumerate(
        zip(("Number", "Name", "Time", "Amount"), values, strict=True)
    ):
        _told(page, 24, 250 + 36 * i, label)
        _told(page, 170, 250 + 36 * i, value)
    for i in range(int(look.integers(4, 8))):
        _told(page, 24, 420 + 24 * i, " ".join(_word(look) for _ in range(5)), 0.42)
    return page


def own_photo(seed: int, fields: int) -> Any:
    """Draw an app's page around a photograph that everybody took."""
    page = screen(seed, fields=fields)
    page[90:360, 20:340] = cv2.resize(photo(fields), (320, 270))
    return page


def form(seed: int, fields: int) -> Any:
    """Draw a printed form, filled in by hand and scanned."""
    look, mine = np.random.default_rng(seed), np.random.default_rng(fields)
    page = np.full((900, 640, 3), 246, np.uint8)
    cv2.putText(page, " ".join(_word(look) for _ in range(3)), (60, 70), 3, 0.9, (10, 10, 10), 2)
    for line in range(12):
        top = 110 + 60 * line
        cv2.rectangle(page, (40, top), (600, top + 60), (60, 60, 60), 1)
        cv2.line(page, (220, top), (220, top + 60), (60, 60, 60), 1)
        _told(page, 52, top + 36, f"{_word(look)} {_word(look)}", 0.55, 2)
        said = f"{_word(mine)} {mine.integers(1, 10**5)}"
        place = (240 + int(mine.integers(0, 40)), top + 30 + int(mine.integers(0, 20)))
        hand = mine.uniform(0.6, 0.95)
        cv2.putText(
            page, said, place, 6, hand, (120, 40, 20), int(mine.integers(1, 3)), cv2.LINE_AA
        )
    return _scanned(page, mine)


def receipt(seed: int, fields: int) -> Any:
    """Draw a receipt: the shop's head and foot, one's own purchases."""
    look, mine = np.random.default_rng(seed), np.random.default_rng(fields)
    page = np.full((760, 340, 3), 240, np.uint8)
    cv2.putText(page, f"{_word(look)} {_word(look)}".upper(), (50, 60), 2, 0.8, (20, 20, 20), 2)
    for i in range(4):
        _told(page, 40, 95 + 22 * i, " ".join(_word(look) for _ in range(3)))
    top = 210
    for _ in range(int(mine.integers(4, 12))):
        _told(page, 30, top, f"{_word(mine)} {_word(mine)}")
        _told(page, 250, top, f"{mine.integers(1, 100)}.{mine.integers(100):02}")
        top += 26
    _told(page, 30, top + 20, "TOTAL", 0.7)
    _told(page, 230, top + 20, f"{mine.integers(1, 1000)}.{mine.integers(100):02}", 0.7)
    for i in range(5):
        _told(page, 40, 620 + 22 * i, " ".join(_word(look) for _ in range(3)), 0.45)
    return _scanned(page, mine)


def _word(draw: np.random.Generator) -> str:
    return WORDS[int(draw.integers(len(WORDS)))]


def _scanned(page: Any, draw: np.random.Generator) -> Any:
    """Lay it on a scanner: a little askew, uneven light, grain."""
    height, width = page.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(draw.uniform(-1.5, 1.5)), 1)
    turn[:, 2] += draw.uniform(-6, 6, 2)
    page = cv2.warpAffine(page, turn, (width, height), borderValue=(225, 225, 225))
    light = 1 + draw.uniform(-0.08, 0.08) * np.linspace(-1, 1, width)[None, :, None]
    grain = draw.normal(0, draw.uniform(1, 5), page.shape)
    return np.clip(page * light + grain, 0, 255).astype(np.uint8)


KINDS = {
    "app": lambda seed, fields: screen(seed, fields=fields), "result": result,
    "own photo": own_photo, "form": form, "receipt": receipt,
}  # fmt: skip


def shown(page: Any, draw: np.random.Generator) -> bytes:
    """Hand it in: most as it is, some at another screen's size."""
    factor = float(draw.choice([1.0, 1.0, 0.85, 1.2]))
    sized = cv2.resize(page, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return jpeg(sized, int(draw.integers(70, 92)))


def app(kind: str, number: int, people: int) -> dict[str, Any]:
    """Judge one layout's task; return pairs, honest ones accused, and thieves found."""
    pages = [KINDS[kind](500 + number, 1000 * number + i) for i in range(people)]
    draw = np.random.default_rng(number)
    rows = [row(f"h{i:03}", shown(p, draw), i) for i, p in enumerate(pages)]
    for k, (name, dress) in enumerate(DRESSES.items()):
        at = (number + 3 * k) % people
        rows.append(row(f"thief {name}", dress(pages[at]), 900 + k, extra=f"h{at:03}"))
    rows = [r | {"task_id": f"app{number}"} for r in rows]
    owners = {r["submission_id"]: r.pop("extra", None) for r in rows}
    world = world_of(Example(title="", submissions=tuple(rows)), InlineDecoder())
    past = QuickPast(world, detector.fingerprint(world.batch()))
    found = detector.detect(world.batch(), past).signals
    said: dict[str, list[tuple[float, str]]] = {}
    for sid, strength, matched in found.select(
        "submission_id", "strength", "matched_submission_id"
    ).iter_rows():
        said.setdefault(sid, []).append((strength, matched))
    honest = [
        (s, sid) for sid, rows in said.items() if sid.startswith("h") for s, _ in rows if s >= 0.2
    ]
    for strength, sid in honest:
        print(f"  {kind} {number}: {sid} {strength:.2f}", file=sys.stderr)
    hashes = [
        (imagehash.phash(Image.fromarray(p[:, :, ::-1])), pdqhash.compute(p[:, :, ::-1].copy())[0])
        for p in pages
    ]
    pairs = list(combinations(hashes, 2))
    return {
        "pairs": len(pairs),
        "pages": people,
        "sure": sum(s >= 0.5 for s, _ in honest),
        "look": sum(s < 0.5 for s, _ in honest),
        "phash ≤6": sum(a[0] - b[0] <= 6 for a, b in pairs),
        "PDQ ≤31": sum(int((a[1] != b[1]).sum()) <= 31 for a, b in pairs),
        "thieves": len(DRESSES),
        "thieves sure": sum(
            any(s >= 0.5 and m == owners[sid] for s, m in said.get(sid, ()))
            for sid in owners if sid.startswith("thief")
        ),
        "thieves found": sum(
            any(s >= 0.2 and m == owners[sid] for s, m in said.get(sid, ()))
            for sid in owners if sid.startswith("thief")
        ),
    }  # fmt: skip


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--apps", type=int, default=4)
    ask.add_argument("--people", type=int, default=24)
    ask.add_argument("--format", choices=["table", "json"], default="table")
    args = ask.parse_args()
    table: dict[str, dict[str, int]] = {}
    for k, kind in enumerate(KINDS):
        for number in range(args.apps):
            for name, count in app(kind, 100 * k + number, args.people).items():
                for row_name in (kind, "all"):
                    told = table.setdefault(row_name, {})
                    told[name] = told.get(name, 0) + count
    if args.format == "json":
        print(json.dumps(table, ensure_ascii=False, indent=1))
        return 0
    columns = list(table["all"])
    print(f"{'honest pairs of':16}" + "".join(f"{c:>15}" for c in columns))
    for name in [*KINDS, "all"]:
        print(f"{name:16}" + "".join(f"{table[name][c]:15}" for c in columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
