"""Stroke features: events a second of processor time, beside plain Python of equal numbers.

python benchmarks/trajectory_features.py [--format json] [--events 1000000]
"""

import argparse
import json
import math
import statistics
import time

import numpy as np

from detectors.kit import strokes

COMPARED = ("path_log", "duration_log", "straightness", "step_spread", "interval_spread",
            "interval_entropy", "small_steps")  # fmt: skip


def plain(t: list[float], x: list[float], y: list[float]) -> list[float]:
    step = [math.dist((x[i], y[i]), (x[i + 1], y[i + 1])) for i in range(len(t) - 1)]
    dt = [max(t[i + 1] - t[i], 0.25) for i in range(len(t) - 1)]
    path, mean, gap = sum(step), statistics.fmean(step), statistics.fmean(dt)
    counts: dict[int, int] = {}
    for d in dt:
        whole = min(64, int(d + 0.5))
        counts[whole] = counts.get(whole, 0) + 1
    n = len(dt)
    return [
        math.log(path), math.log(sum(dt)), math.dist((x[0], y[0]), (x[-1], y[-1])) / path,
        math.sqrt(sum((s - mean) ** 2 for s in step) / n) / mean,
        math.sqrt(sum((d - gap) ** 2 for d in dt) / n) / gap,
        -sum(c / n * math.log(c / n) for c in counts.values()),
        sum(s <= 1.5 for s in step) / n,
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--events", type=int, default=1_000_000)
    count = parser.parse_args().events
    draw = np.random.default_rng(0)
    t = np.cumsum(draw.choice([8.0, 16.0, 17.0, 900.0], count, p=[0.3, 0.4, 0.27, 0.03]))
    x = np.cumsum(draw.normal(0.3, 5.0, count)).round()
    y = np.cumsum(draw.normal(0.1, 5.0, count)).round()
    owner = np.repeat(np.arange(count // 500 + 1), 500)[:count]
    ids = tuple(str(i) for i in range(count // 500 + 1))
    strokes.describe(strokes.of_points(ids, owner[:500], t[:500], x[:500], y[:500]))
    best = math.inf
    for _ in range(5):
        began = time.process_time()
        cut = strokes.of_points(ids, owner, t, x, y)
        described, good = strokes.describe(cut)
        best = min(best, time.process_time() - began)
    some = np.flatnonzero(good)[: max(1, int(good.sum()) // 10)]
    columns = [list(strokes.STROKE_FEATURES).index(name) for name in COMPARED]
    spans = [slice(int(cut.start[i]), int(cut.start[i + 1])) for i in some]
    lists = [(cut.t[s].tolist(), cut.x[s].tolist(), cut.y[s].tolist()) for s in spans]
    began = time.process_time()
    told = np.array([plain(*one) for one in lists])
    slow = time.process_time() - began
    np.testing.assert_allclose(told, described[some][:, columns], rtol=1e-9, atol=1e-9)
    kernel, python = count / best, sum(len(one[0]) for one in lists) / slow
    row = {
        "events": count, "features": strokes.FEATURE_COUNT, "kernel_events_s": round(kernel),
        "python_features": len(COMPARED), "python_events_s": round(python),
        "ratio": round(kernel / python, 1),
    }  # fmt: skip
    print(json.dumps(row) if parser.parse_args().format == "json" else row)


if __name__ == "__main__":
    main()
