"""Hamming search as it grows: milliseconds a query of the flat scan, the buckets, and plain numpy.

    python benchmarks/image_index.py [--sizes 10000 100000 1000000] [--format json]

Codes are random, a quarter of them near another. Read ratios, not milliseconds.
"""

import argparse
import json
import sys
import time

import numpy as np

from pipeline.index import hamming
from pipeline.index.hamming import CodeIndex

QUERIES = 90  # ten pictures in nine variants


def codes_of(count: int) -> np.ndarray:
    draw = np.random.default_rng(0)
    codes = draw.integers(0, 256, (count, 32), dtype=np.uint8)
    near = draw.integers(0, count, count // 4)
    flips = draw.integers(0, 256, (count // 4, 32), dtype=np.uint8)
    flips &= (draw.random((count // 4, 32)) < 0.15) * draw.choice(
        [1, 2, 4, 8], (count // 4, 32)
    ).astype(np.uint8)
    codes[: count // 4] = codes[near] ^ flips
    return codes


def timed(index: CodeIndex, asked: np.ndarray, radius: int) -> tuple[float, int]:
    index.nearest(asked[:1], radius)
    start = time.process_time()
    found = index.nearest(asked, radius, limit=10**7)
    return 1000 * (time.process_time() - start) / len(asked), len(found.doc)


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    ask.add_argument("--format", choices=["table", "json"], default="table")
    args = ask.parse_args()
    rows = []
    for size in args.sizes:
        codes = codes_of(size)
        asked = codes[np.random.default_rng(1).integers(0, size, QUERIES)]
        at = np.arange(size)
        index = CodeIndex()
        index.add(codes, at.astype(np.uint32), np.zeros(size, np.int32), np.zeros(size, np.int32))
        row: dict[str, float] = {"codes": size}
        found = set()
        for name, compiled_from, buckets_from in (
            ("numpy", 10**18, 10**18), ("scan", 0, 10**18), ("buckets", 0, 0),
        ):  # fmt: skip
            hamming.COMPILED_FROM, hamming.BUCKETS_FROM = compiled_from, buckets_from
            for radius in (31, 47):
                if name == "buckets" and radius > hamming.BUCKET_RADIUS_MAX:
                    continue
                row[f"{name} r{radius}"], count = timed(index, asked, radius)
                found.add((radius, count))
        assert len(found) == 2, "the paths differ in what they find"
        rows.append(row)
    if args.format == "json":
        print(json.dumps(rows, indent=1))
        return 0
    columns = [c for c in rows[0] if c != "codes"]
    print(f"{'codes':>10}" + "".join(f"{c + ' ms':>16}" for c in columns))
    for row in rows:
        print(f"{int(row['codes']):10}" + "".join(f"{row[c]:16.3f}" for c in columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
