"""How well the promise of few false holds is kept: 500 random splits of honest scores.

python benchmarks/rulebook_promise.py [--scores FILE.parquet] [--format json]

Without a file the honest scores are drawn (seeded) as they usually fall: most 0, some hints, a thin
tail. A file needs a column ``score`` of honest submissions. Each split calibrates on one part and
counts holds on the rest, which the threshold has not seen.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.rulebook.risk import hold_threshold, sample_min


def drawn(size: int = 6_000, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kind = rng.random(size)
    scores = np.where((kind >= 0.85) & (kind < 0.97), rng.integers(20, 45, size), 0)
    tail = kind >= 0.97
    scores[tail] = rng.integers(45, 100, int(tail.sum()))
    return scores.astype(np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--splits", type=int, default=500)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    given = parser.parse_args()
    scores = pl.read_parquet(given.scores)["score"].to_numpy() if given.scores else drawn()
    rng = np.random.default_rng(2026)
    table = []
    for alpha in (0.005, 0.01, 0.05):
        for size in (250, 500, 1_000, 3_000):
            if size >= scores.size:
                continue
            rates, never = [], 0
            for _ in range(given.splits):
                order = rng.permutation(scores.size)
                found = hold_threshold(scores[order[:size]], alpha)
                never += found.hold_at > 100
                rates.append(float((scores[order[size:]] >= found.hold_at).mean()))
            got = np.array(rates)
            above = got[got > alpha]
            table.append(
                {
                    "alpha": alpha,
                    "calibrated_on": size,
                    "smallest_sample": sample_min(alpha),
                    "mean": round(float(got.mean()), 5),
                    "kept": bool(got.mean() <= alpha),
                    "splits_above": round(above.size / got.size, 3),
                    "above_by_median": round(float(np.median(above) - alpha), 5)
                    if above.size
                    else 0.0,
                    "above_by_most": round(float(got.max() - alpha), 5) if above.size else 0.0,
                    "never_holds": round(never / given.splits, 3),
                }
            )
    if given.format == "json":
        print(json.dumps(table))
        return
    print(f"{scores.size:,} honest scores, {given.splits} splits each")
    for row in table:
        print("  ".join(f"{k}={v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
