"""Forty attacks on real pictures: what the room, PDQ, imagehash and ORB + RANSAC still recognise.

    python benchmarks/image_attacks.py [--every 12] [--peers] [--format json]

Recall is of single pairs put through the room's own nomination (hash or words among all sources) and
proof; peers are given the true source and need no index. Development figures: ``BOUNTYGUARD_SHARED``.
"""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
import pdqhash
import polars as pl
from image_market import QuickPast
from image_transforms import attacks
from PIL import Image

from detectors.checks.memory import MemoryBlobs, World
from detectors.image import detector
from pipeline.decode.inline import InlineDecoder
from pipeline.model import frames

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", ROOT.parent / "shared"))


def world(sources: dict[str, bytes], attacked: dict[str, bytes]) -> World:
    """Each source is an early submission to a task of its own, each attack a late one."""
    blobs, decoder = MemoryBlobs(), InlineDecoder()
    start = np.datetime64("2026-01-01T00:00:00", "us")
    submissions, contents = [], []
    for i, (name, data) in enumerate([*sources.items(), *attacked.items()]):
        probe = decoder.probe(data)
        submissions.append({
            "submission_id": name, "task_id": f"t-{name}", "worker_id": f"w-{name}", "text": "",
            "submitted_at": (start + np.timedelta64(i, "m")).item(), "extra": "{}",
        })  # fmt: skip
        contents.append({
            "submission_id": name, "content_index": 0, "digest": blobs.put(data), "path": name,
            "media_type": probe.media_type, "byte_count": len(data),
        })  # fmt: skip
    stamped = pl.DataFrame(submissions).with_columns(
        pl.col("submitted_at").dt.replace_time_zone("UTC")
    )
    return World(
        submissions=frames.conform(stamped, frames.SUBMISSIONS),
        contents=frames.conform(pl.DataFrame(contents), frames.CONTENTS),
        tasks=frames.empty(frames.TASKS), workers=frames.empty(frames.WORKERS),
        events=frames.empty(frames.EVENTS), blobs=blobs, decoder=decoder, assets={},
    )  # fmt: skip


def _pdq(picture: np.ndarray) -> np.ndarray:
    return pdqhash.compute(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))[0]


def _pil(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))


def _orb(picture: np.ndarray) -> tuple[Any, Any]:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    factor = min(1.0, 512 / max(grey.shape))
    grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return cv2.ORB_create(1000).detectAndCompute(grey, None)


def _orb_inliers(one: tuple[Any, Any], other: tuple[Any, Any]) -> int:
    if one[1] is None or other[1] is None or len(one[1]) < 2 or len(other[1]) < 2:
        return 0
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(one[1], other[1], k=2)
    good = [p[0] for p in pairs if len(p) == 2 and p[0].distance < 0.75 * p[1].distance]
    if len(good) < 6:
        return 0
    cv2.setRNGSeed(0)
    a = np.float32([one[0][m.queryIdx].pt for m in good])
    b = np.float32([other[0][m.trainIdx].pt for m in good])
    mask = cv2.findHomography(a, b, cv2.RANSAC, 4.0)[1]
    return 0 if mask is None else int(mask.sum())


def peers(picture: np.ndarray, source: np.ndarray) -> dict[str, bool]:
    """Ask each peer about the true pair, at its own published threshold."""
    return {
        "PDQ ≤31": int((_pdq(picture) != _pdq(source)).sum()) <= 31,
        "phash ≤9": imagehash.phash(_pil(picture)) - imagehash.phash(_pil(source)) <= 9,
        "ORB ≥12": _orb_inliers(_orb(picture), _orb(source)) >= 12,
    }


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--every", type=int, default=12, help="attack every n-th picture")
    ask.add_argument("--peers", action="store_true")
    ask.add_argument("--format", choices=["table", "json"], default="table")
    args = ask.parse_args()
    files = sorted(p for p in (SHARED / "photos").glob("*") if p.suffix in {".jpg", ".png"})
    if not files:
        print("no pictures: set BOUNTYGUARD_SHARED", file=sys.stderr)
        return 2
    pictures = [cv2.imread(str(p)) for p in files]
    sources = {p.name: p.read_bytes() for p in files}
    attacked: dict[str, bytes] = {}
    hits: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for i in range(0, len(files), args.every):
        others = [pictures[(i + 57 * k) % len(files)] for k in (1, 2, 3)]
        for name, made in attacks(pictures[i], others, np.random.default_rng(i)).items():
            quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
            attacked[f"{name}|{files[i].name}"] = bytes(cv2.imencode(".jpg", made, quality)[1])
            if args.peers:
                for peer, hit in peers(made, pictures[i]).items():
                    hits[name][peer].append(hit)
    here = world(sources, attacked)
    start = time.process_time()
    past = QuickPast(here, detector.fingerprint(here.batch()))
    found = detector.detect(here.batch(list(attacked)), past).signals
    spent = time.process_time() - start
    best: dict[str, tuple[float, str]] = {}
    for sid, strength, matched in found.select(
        "submission_id", "strength", "matched_submission_id"
    ).iter_rows():
        best[sid] = max(best.get(sid, (0.0, "")), (strength, matched))
    wrong = 0
    for sid in attacked:
        name, source = sid.split("|")
        strength, matched = best.get(sid, (0.0, ""))
        right = matched.rpartition("|")[2] == source  # or an earlier copy of it
        wrong += bool(matched) and not right and "collage" not in name
        hits[name]["room"].append(strength >= 0.2 and right)
        hits[name]["room, sure"].append(strength >= 0.5 and right)
    table = {name: {k: float(np.mean(v)) for k, v in rows.items()} for name, rows in hits.items()}
    columns = sorted({k for rows in table.values() for k in rows})
    mean = {k: float(np.mean([rows[k] for rows in table.values()])) for k in columns}
    if args.format == "json":
        print(json.dumps({"attacks": table, "mean": mean, "named_wrongly": wrong}, indent=1))
        return 0
    each = 1000 * spent / (len(attacked) + len(files))
    print(f"{len(attacked)} attacked pictures among {len(files)}, {each:.0f} ms each")
    print(f"{'attack':22}" + "".join(f"{c:>12}" for c in columns))
    for name, rows in [*table.items(), ("mean", mean)]:
        print(f"{name:22}" + "".join(f"{rows[c]:12.2f}" for c in columns))
    print(f"named another picture than the source: {wrong}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
