"""Forty-one attacks on real pictures: what the room, PDQ, imagehash and ORB + RANSAC still recognise.

    python benchmarks/image_attacks.py [--every 12] [--peers] [--format json]

Recall is of pictures put through the room's own nomination (hash or words, among all sources and all other
attacked pictures) and proof; peers are given the true source and need no index. Every attacked picture is held against every
source and every earlier attacked picture of another source: these unrelated pairs are counted, and what was said of
them. Development figures: ``BOUNTYGUARD_SHARED``.
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


def looks(picture: np.ndarray) -> dict[str, Any]:
    """Describe a picture as each peer does."""
    return {
        "PDQ": _pdq(picture), "phash": imagehash.phash(_pil(picture)), "ORB": _orb(picture),
        "crop-resistant": imagehash.crop_resistant_hash(_pil(picture), segmentation_image_size=200),
    }  # fmt: skip


def peers(one: dict[str, Any], other: dict[str, Any]) -> dict[str, bool]:
    """Ask each peer about the true pair, at its own published threshold."""
    return {
        "PDQ ≤31": int((one["PDQ"] != other["PDQ"]).sum()) <= 31,
        "phash ≤9": one["phash"] - other["phash"] <= 9,
        "ORB ≥12": _orb_inliers(one["ORB"], other["ORB"]) >= 12,
        "crop-res.": one["crop-resistant"].matches(
            other["crop-resistant"], region_cutoff=1, hamming_cutoff=2
        ),
    }


def _kind(file: str) -> str:
    stem = file.partition("_")[0]
    return {"desktop": "screenshot", "nia": "app", "receipt": "receipt"}.get(stem, "photo")


def unrelated(
    attacked: list[str], source_count: int, said: dict[str, list[tuple[float, str]]]
) -> tuple[int, int, int]:
    """Count the pairs of pictures that share no source, and those of them that were called alike.

    A collage shows other sources too, and two desktops or receipts may share what an app or shop prints, so
    collages are left out; look-alikes have a benchmark of their own but stay in here.
    """
    pairs = looked = held = 0
    earlier: dict[str, int] = defaultdict(int)
    for at, sid in enumerate(attacked):
        source = sid.partition("|")[2]
        if "collage" not in sid:
            pairs += source_count - 1 + at - earlier[source]
            other = [
                (s, m) for s, m in said[sid]
                if m.rpartition("|")[2] != source and "collage" not in m
            ]  # fmt: skip
            held += any(s >= 0.5 for s, _ in other)
            looked += any(0.2 <= s < 0.5 for s, _ in other)
            for s, m in other:
                print(f"  {sid} ~ {m}: {s:.2f}", file=sys.stderr)
        earlier[source] += 1
    return pairs, looked, held


def interval(found: dict[str, list[bool]], draws: int = 2_000) -> tuple[float, float]:
    """Bootstrap 95 % of the mean recall over whole sources: what was made from one hangs together."""
    rates = np.array([np.mean(hits) for hits in found.values()])
    draw = np.random.default_rng(0)
    means = rates[draw.integers(0, len(rates), (draws, len(rates)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--every", type=int, default=12, help="attack every n-th picture")
    ask.add_argument("--peers", action="store_true")
    ask.add_argument("--misses", action="store_true", help="name what was not found, on stderr")
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
    # What stands beside a picture in its collage is not attacked itself: no other one shows it.
    beside = [p for i, p in enumerate(pictures) if i % args.every] or pictures
    for i in range(0, len(files), args.every):
        others = [beside[(i + 57 * k) % len(beside)] for k in (1, 2, 3)]
        source_looks = looks(pictures[i]) if args.peers else {}
        for name, made in attacks(pictures[i], others, np.random.default_rng(i)).items():
            quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
            attacked[f"{name}|{files[i].name}"] = bytes(cv2.imencode(".jpg", made, quality)[1])
            if args.peers:
                for peer, hit in peers(looks(made), source_looks).items():
                    hits[name][peer].append(hit)
    here = world(sources, attacked)
    start = time.process_time()
    past = QuickPast(here, detector.fingerprint(here.batch()))
    found = detector.detect(here.batch(list(attacked)), past).signals
    spent = time.process_time() - start
    said: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for sid, strength, matched in found.select(
        "submission_id", "strength", "matched_submission_id"
    ).iter_rows():
        said[sid].append((strength, matched))
    kinds: dict[str, list[bool]] = defaultdict(list)
    by_source: dict[str, list[bool]] = defaultdict(list)
    for sid in attacked:
        name, source = sid.split("|")
        mine = [
            s for s, m in said[sid] if m.rpartition("|")[2] == source
        ]  # or an earlier copy of it
        strength = max(mine, default=0.0)
        hits[name]["room"].append(strength >= 0.2)
        hits[name]["room, sure"].append(strength >= 0.5)
        kinds[_kind(source)].append(strength >= 0.2)
        by_source[source].append(strength >= 0.2)
        if args.misses and strength < 0.2:
            print(f"  missed: {sid}", file=sys.stderr)
    pairs, looked, held = unrelated(list(attacked), len(files), said)
    table = {name: {k: float(np.mean(v)) for k, v in rows.items()} for name, rows in hits.items()}
    columns = sorted({k for rows in table.values() for k in rows})
    mean = {k: float(np.mean([rows[k] for rows in table.values()])) for k in columns}
    by_kind = {k: float(np.mean(v)) for k, v in sorted(kinds.items())}
    if args.format == "json":
        print(
            json.dumps(
                {
                    "attacks": table,
                    "mean": mean,
                    "kinds": by_kind,
                    "found": sum(map(sum, by_source.values())),
                    "attacked": len(attacked),
                    "interval": interval(by_source),
                    "unrelated_pairs": pairs,
                    "unrelated_worth_a_look": looked,
                    "unrelated_sure": held,
                },
                indent=1,
            )
        )
        return 0
    each = 1000 * spent / (len(attacked) + len(files))
    print(f"{len(attacked)} attacked pictures among {len(files)}, {each:.0f} ms each")
    print(f"{'attack':22}" + "".join(f"{c:>12}" for c in columns))
    for name, rows in [*table.items(), ("mean", mean)]:
        print(f"{name:22}" + "".join(f"{rows[c]:12.2f}" for c in columns))
    low, high = interval(by_source)
    found_count = sum(map(sum, by_source.values()))
    print(
        f"{found_count} of {len(attacked)} found; 95 % over {len(by_source)} sources: {low:.3f} to {high:.3f}"
    )
    print("by kind: " + ", ".join(f"{k} {v:.3f}" for k, v in by_kind.items()))
    print(f"{pairs} unrelated pairs: {held} called sure, {looked} worth a look")
    return 0


if __name__ == "__main__":
    sys.exit(main())
