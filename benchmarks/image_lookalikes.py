"""Honest look-alikes: screens of one app that differ only in what each person filled in, and a thief among them.

    python benchmarks/image_lookalikes.py [--apps 12] [--people 24] [--format json]

Drawn pages (``detectors.image.drawings.screen``): one layout an app, everybody's own fields, recompressed. Every pair of one app is
an honest pair; the thief hands in another's page, recompressed, resized or cropped. PDQ and phash stand beside the room.
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
from detectors.image.drawings import screen
from detectors.image.examples import jpeg, row
from pipeline.decode.inline import InlineDecoder
from pipeline.ports import Example

DRESSES = {
    "jpeg 40": lambda p: jpeg(p, 40),
    "half size": lambda p: jpeg(cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
    "crop 92": lambda p: jpeg(np.ascontiguousarray(p[20:-30, 10:-18])),
    "border": lambda p: jpeg(cv2.copyMakeBorder(p, 20, 20, 20, 20, cv2.BORDER_CONSTANT)),
}


def app(number: int, people: int) -> dict[str, Any]:
    """Judge one app's task; return pairs, honest ones accused, and thieves found."""
    pages = [screen(500 + number, fields=1000 * number + i) for i in range(people)]
    rows = [row(f"h{i:03}", jpeg(p, 82), i) for i, p in enumerate(pages)]
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
    honest = [s for sid, rows in said.items() if sid.startswith("h") for s, _ in rows]
    hashes = [
        (imagehash.phash(Image.fromarray(p[:, :, ::-1])), pdqhash.compute(p[:, :, ::-1].copy())[0])
        for p in pages
    ]
    pairs = list(combinations(hashes, 2))
    return {
        "pairs": len(pairs),
        "sure": sum(s >= 0.5 for s in honest),
        "look": sum(0.2 <= s < 0.5 for s in honest),
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
    ask.add_argument("--apps", type=int, default=12)
    ask.add_argument("--people", type=int, default=24)
    ask.add_argument("--format", choices=["table", "json"], default="table")
    args = ask.parse_args()
    total: dict[str, int] = {}
    for number in range(args.apps):
        for name, count in app(number, args.people).items():
            total[name] = total.get(name, 0) + count
    if args.format == "json":
        print(json.dumps(total, ensure_ascii=False))
        return 0
    print(
        f"{total['pairs']} honest pairs of one app: sure {total['sure']}, worth a look {total['look']}"
    )
    print(f"  phash ≤6 calls {total['phash ≤6']} of them alike, PDQ ≤31 {total['PDQ ≤31']}")
    print(
        f"{total['thieves']} thieves: sure {total['thieves sure']}, found {total['thieves found']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
