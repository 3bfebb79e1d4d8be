"""Look-up of pictures as what is known grows: both stages of nomination, and Hamming search by itself.

    python benchmarks/image_index.py [--sizes 10000 100000 1000000] [--queries 400] [--format json]

``--sizes`` known pictures are synthesised: words of features of real pictures (``BOUNTYGUARD_SHARED``, else drawn ones),
a tenth of the bits of each turned over, and random codes. Beside them are the real pictures; what is asked are
attacked ones, and counted is how often words still nominate the true source among the sixteen that are proved.
Milliseconds are of one core's processor, from a picture's print to its nominees; read growth and ratios.
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
import polars as pl
from image_transforms import attacks

from detectors.image import nominate, prints, views
from detectors.image.drawings import photo
from detectors.image.prints import Print
from detectors.image.vocabulary import shipped
from pipeline.index import hamming
from pipeline.index.hamming import CodeIndex
from pipeline.index.owners import Owners
from pipeline.index.postings import PostingIndex
from pipeline.index.votes import answered
from pipeline.model import frames

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", ROOT.parent / "shared"))
BANK, AT_ONCE, PROVED = 2_000_000, 100_000, 16
KEPT = 1000  # numbers of the real pictures come first


def greys(pictures: list[np.ndarray]) -> list[Print]:
    made = []
    for picture in pictures:
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        grey = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        factor = min(1.0, views.SIDE_MAX / max(grey.shape))
        size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
        made.append(prints.read([cv2.resize(grey, size, interpolation=cv2.INTER_AREA)])[0])
    return made


def codes_of(count: int) -> np.ndarray:
    """Draw random codes, a quarter of them near another."""
    draw = np.random.default_rng(0)
    codes = draw.integers(0, 256, (count, 32), dtype=np.uint8)
    near = draw.integers(0, count, count // 4)
    flips = draw.integers(0, 256, (count // 4, 32), dtype=np.uint8)
    flips &= (draw.random((count // 4, 32)) < 0.15) * draw.choice(
        [1, 2, 4, 8], (count // 4, 32)
    ).astype(np.uint8)
    codes[: count // 4] = codes[near] ^ flips
    return codes


class Bank:
    """Words of real features, each turned over a little, to make pictures of."""

    def __init__(self, made: list[Print]) -> None:
        features = [p.features for m in made for p in m.parts[:1]]
        codes = np.concatenate([f.codes[: prints.WORDS_MAX] for f in features])
        places = np.concatenate(
            [prints.geometry(f, 0)[: prints.WORDS_MAX] & ~np.int64(255) for f in features]
        )
        draw = np.random.default_rng(0)
        at = draw.integers(0, len(codes), BANK)
        self.words, self.places = np.empty(BANK, np.uint64), places[at].astype(np.int32)
        for start in range(0, BANK, 100_000):
            some = codes[at[start : start + 100_000]]
            noise = np.packbits(draw.random((len(some), 128), dtype=np.float32) < 0.1, axis=1)
            self.words[start : start + 100_000] = shipped().words(some ^ noise)

    def fill(self, index: PostingIndex, first: int, count: int) -> None:
        draw = np.random.default_rng(first)
        rows = draw.integers(0, BANK, count * prints.WORDS_MAX)
        docs = np.repeat(np.arange(first, first + count, dtype=np.uint32), prints.WORDS_MAX)
        feature = np.tile(np.arange(prints.WORDS_MAX, dtype=np.int32), count)
        nothing = np.zeros(len(rows), np.int32)
        index.add(self.words[rows], docs, nothing, self.places[rows] | feature)


class Look:
    """``Past`` as far as nomination asks it, over the very indexes that the store keeps."""

    def __init__(self, known: list[Print], bank: Bank, size: int) -> None:
        self.names = [*(f"s{i:03}" for i in range(KEPT)), *(f"d{i}" for i in range(size)), "asked"]
        times = np.arange(len(self.names), dtype=np.int64)
        self.owners = Owners.of(self.names, times)
        self.words, self.codes = PostingIndex(), CodeIndex()
        for number, made in enumerate(known):
            words, places = prints.words_of(made, shipped())
            whose = np.full(len(words), number, np.uint32)
            self.words.add(words, whose, np.zeros(len(words), np.int32), places.astype(np.int32))
            codes = np.frombuffer(b"".join(made.codes), np.uint8).reshape(-1, 32)
            self._code(codes, np.full(len(codes), number))
        for start in range(0, size, AT_ONCE):
            bank.fill(self.words, KEPT + start, min(AT_ONCE, size - start))
        self.words.compact()
        self._code(codes_of(size), np.arange(KEPT, KEPT + size))

    def _code(self, codes: np.ndarray, docs: np.ndarray) -> None:
        none = np.zeros(len(codes), np.int32)
        self.codes.add(codes, docs.astype(np.uint32), none, none)

    def votes(self, kind: str, asked: pl.DataFrame, **how: Any) -> pl.DataFrame:
        return answered(self.words, asked, self.owners, **how)

    def nearest(self, kind: str, codes: Any, *, distance_max: int, limit: int) -> pl.DataFrame:
        hits = self.codes.nearest(codes, distance_max, limit)
        told = {
            "query": hits.query, "submission_id": [self.names[d] for d in hits.doc.tolist()],
            "content_index": hits.content, "slot": hits.slot, "distance": hits.distance,
        }  # fmt: skip
        return pl.DataFrame(told, schema=dict(frames.NEIGHBOURS))


def lookups(look: Look, asked: list[tuple[int, Print]]) -> dict[str, float]:
    """Nominate every asked picture, each by itself; tell times and how many sources came up."""
    spent, found = [], []
    for turn in range(2):  # the first maps pages and compiles
        spent, found = [], []
        for source, made in asked if turn else asked[:40]:
            mine = {("asked", 0): made}
            start = time.process_time()
            near = nominate.by_hash(mine, look)
            between = time.process_time()
            alike = nominate.by_words(mine, look, shipped(), most=64)[("asked", 0)]
            spent.append((between - start, time.process_time() - between))
            del near
            best = list(dict.fromkeys(n.source[0] for n in alike))[:PROVED]
            found.append(f"s{source:03}" in best)
    each = 1000 * np.array(spent)
    both = each.sum(axis=1)
    return {
        "hash ms": float(each[:, 0].mean()), "words ms": float(each[:, 1].mean()),
        "both p50": float(np.quantile(both, 0.5)), "both p99": float(np.quantile(both, 0.99)),
        "source of 16": float(np.mean(found)),
    }  # fmt: skip


def searches(size: int) -> dict[str, float]:
    """Time Hamming search alone: plain numpy, the compiled scan, buckets; all find the same."""
    codes, none = codes_of(size), np.zeros(size, np.int32)
    asked = codes[np.random.default_rng(1).integers(0, size, 90)]
    index = CodeIndex()
    index.add(codes, np.arange(size, dtype=np.uint32), none, none)
    row, found = {}, set()
    usual = hamming.COMPILED_FROM, hamming.BUCKETS_FROM
    for name, compiled_from, buckets_from in (
        ("numpy", 10**18, 10**18), ("scan", 0, 10**18), ("buckets", 0, 0),
    ):  # fmt: skip
        hamming.COMPILED_FROM, hamming.BUCKETS_FROM = compiled_from, buckets_from
        for radius in (31, 47):
            if name == "buckets" and radius > hamming.BUCKET_RADIUS_MAX:
                continue
            index.nearest(asked[:1], radius)
            start = time.process_time()
            told = index.nearest(asked, radius, limit=10**7)
            row[f"{name} r{radius}"] = 1000 * (time.process_time() - start) / len(asked)
            found.add((radius, len(told.doc)))
    hamming.COMPILED_FROM, hamming.BUCKETS_FROM = usual
    assert len(found) == 2, "the paths differ in what they find"
    return row


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    ask.add_argument("--queries", type=int, default=400)
    ask.add_argument("--format", choices=["table", "json"], default="table")
    args = ask.parse_args()
    files = sorted(p for p in (SHARED / "photos").glob("*") if p.suffix in {".jpg", ".png"})
    pictures = [cv2.imread(str(p)) for p in files] or [photo(s) for s in range(120)]
    known = greys(pictures)
    chosen = np.random.default_rng(2).permutation(len(pictures))[: max(1, args.queries // 41 + 1)]
    asked = []
    for at in sorted(chosen.tolist()):
        others = [pictures[(at + 57 * k) % len(pictures)] for k in (1, 2, 3)]
        made = attacks(pictures[at], others, np.random.default_rng(at))
        asked += [(at, made_print) for made_print in greys(list(made.values()))]
    bank, rows = Bank(known), []
    for size in args.sizes:
        look = Look(known, bank, size)
        row = {"pictures": size, "bytes a picture": (look.words.byte_count + 44 * size) / size}
        row |= lookups(look, asked) | searches(size)
        rows.append(row)
        del look
    if args.format == "json":
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{len(asked)} attacked pictures of {len(chosen)} sources; ms of processor")
    for name in rows[0]:
        print(f"{name:18}" + "".join(f"{row[name]:14.3f}" for row in rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
