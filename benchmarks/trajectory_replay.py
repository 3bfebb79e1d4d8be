"""Replay among real strokes: recall at measured false links, with disguise and half of the strokes.

    python benchmarks/trajectory_replay.py [--format json] [--strokes 10] [--queries 300]

The library is the human mouse strokes of the traces beside the project, and their mirror images to
reach 100,000. Honest side: real sessions against all sessions of other recordings.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from detectors.kit import strokes
from detectors.trajectory import replay, signature

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[2] / "shared"))
ROWS = {
    "±5 %, 0.5 px": (0.05, 0.5, 0.0, 0.0, 0.0),
    "±15 %, 1 px, 4°, 8 %, 10 % dropped": (0.15, 1.0, 4.0, 0.08, 0.10),
    "±30 %, 2.5 px, 10°, 20 %, 25 % dropped": (0.30, 2.5, 10.0, 0.20, 0.25),
}


def people() -> strokes.Strokes:
    files = sorted((SHARED / "traces").glob("pointer_*.parquet"))
    rows = (
        pl.concat([pl.read_parquet(f) for f in files])
        .filter(pl.col("type") == "pointer.move", pl.col("label") == "human")
        .filter(pl.col("pointer_type") == "mouse", pl.col("x").is_not_null())
        .with_columns((pl.col("source") + "/" + pl.col("session_id")).alias("session"))
        .sort("session", "at", maintain_order=True)
    )
    return strokes.of_points(
        tuple(rows["session"].unique(maintain_order=True)),
        rows["session"].rle_id().to_numpy().astype(np.int64),
        *(rows[c].to_numpy().astype(np.float64) for c in ("at", "x", "y")),
    )


def disguise(
    cut: strokes.Strokes, rows: np.ndarray, how: tuple[float, ...], draw: np.random.Generator
) -> np.ndarray:
    """Signatures of the strokes played back with piecewise warp, jitter, turn, scale and loss."""
    warp, jitter, turn, scale, drop = how
    parts: list[tuple[np.ndarray, ...]] = []
    for i in rows:
        a, b = cut.start[i], cut.start[i + 1]
        t, x, y = cut.t[a:b], cut.x[a:b], cut.y[a:b]
        n = len(t)
        keep = draw.random(n) >= drop
        keep[0] = keep[-1] = True
        knots = max(1, n // 8) + 1
        factor = np.exp(draw.uniform(-1, 1, knots) * np.log1p(warp))
        spans = np.diff(t) * np.interp(np.arange(n - 1), np.linspace(0, n - 2, knots), factor)
        angle, size = np.radians(draw.uniform(-turn, turn)), 1 + draw.uniform(-scale, scale)
        c, s = np.cos(angle) * size, np.sin(angle) * size
        px = c * x - s * y + draw.normal(0, jitter, n) + draw.uniform(-200, 200)
        py = s * x + c * y + draw.normal(0, jitter, n) + draw.uniform(-200, 200)
        clock = np.concatenate([[0.0], np.cumsum(spans)])
        parts.append((clock[keep], px[keep], py[keep]))
    start = np.cumsum([0, *(len(p[0]) for p in parts)]).astype(np.int64)
    t, x, y = (np.concatenate([p[k] for p in parts]) for k in range(3))
    played = strokes.Strokes(
        ids=("a",), owner=np.zeros(len(parts), np.int64), start=start, t=t, x=x, y=y
    )
    signed, good = signature.sign(played)
    return np.asarray(signature.unpack(signature.pack(signed[good])))


class Library:
    """Sessions of so many strokes, indexed by band; mirror images of all of them beside."""

    def __init__(self, cut: strokes.Strokes, size: int) -> None:
        signed, good = signature.sign(cut)
        self.rows = np.flatnonzero(good)
        base = signature.unpack(signature.pack(signed[self.rows]))
        recording = cut.owner[self.rows]
        self.sessions: list[np.ndarray] = []
        for r in np.unique(recording):
            mine = np.flatnonzero(recording == r)
            self.sessions += list(mine[: len(mine) // size * size].reshape(-1, size))
        self.real = len(self.sessions)
        self.recording = np.array([recording[s[0]] for s in self.sessions])
        self.signed = np.concatenate([base, *(base * d for d in signature.DECOYS[:2])])
        self.all = [s + k * len(base) for k in range(3) for s in self.sessions]
        owner = np.full(len(self.signed), -1)
        for number, s in enumerate(self.all):
            owner[s] = number
        used = np.flatnonzero((owner >= 0) & signature.telling(self.signed))
        hashed = signature.keys(self.signed[used]).ravel()
        order = np.argsort(hashed, kind="stable")
        self.keys = hashed[order]
        self.owners = np.repeat(owner[used], signature.BANDS)[order]

    def best(self, signed: np.ndarray, skip: int) -> tuple[replay.Alignment | None, int]:
        """The best earlier session, as the room finds it; ``skip`` is a recording left out."""
        tells = np.flatnonzero(signature.telling(signed))
        if not len(tells):
            return None, -1
        hashed = signature.keys(signed[tells]).ravel()
        a, b = (
            np.searchsorted(self.keys, hashed, "left"),
            np.searchsorted(self.keys, hashed, "right"),
        )
        count = b - a
        if not count.sum():
            return None, -1
        ahead = np.repeat(a - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
        owners = self.owners[np.arange(count.sum()) + ahead]
        stroke = np.repeat(np.repeat(np.arange(len(tells)), signature.BANDS), count)
        both, shared = np.unique(owners * len(tells) + stroke, return_counts=True)
        names, first, hits = np.unique(both // len(tells), return_index=True, return_counts=True)
        keys = np.add.reduceat(shared, first)
        kept = (hits >= replay.HITS_MIN) | (keys >= replay.SHARED_MIN)
        kept &= self.recording[names % self.real] != skip
        names, keys = names[kept], keys[kept]
        ranked = names[np.lexsort((names, -keys))][: replay.CANDIDATES_MAX]
        found = [(replay.align(signed, self.signed[self.all[n]]), int(n)) for n in ranked]
        return max(found, key=lambda p: p[0].evidence, default=(None, -1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--strokes", type=int, default=10)
    parser.add_argument("--queries", type=int, default=300)
    options = parser.parse_args()
    if not (SHARED / "traces").is_dir():
        sys.exit("the development traces are not beside the project (BOUNTYGUARD_SHARED)")
    cut = people()
    library = Library(cut, options.strokes)
    draw = np.random.default_rng(3)
    library.best(library.signed[library.sessions[0]], -1)
    honest, clock = [], time.process_time()
    chosen = draw.permutation(library.real)[: 10 * options.queries]
    for s in chosen:
        found, _ = library.best(library.signed[library.sessions[s]], library.recording[s])
        honest.append(1.0 if found is None else replay.tail(found))
    spent = (time.process_time() - clock) / (len(chosen) * options.strokes) * 1e6
    p = np.array(honest)
    out: list[dict[str, Any]] = [
        {
            "replay": "none (honest)", "half": False, "queries": len(p),
            "worth a look": round(float((p <= replay.P_WORTH).mean()), 5),
            "sure": round(float((p <= replay.P_SURE).mean()), 5),
            "source": None, "us a stroke": round(spent),
        }
    ]  # fmt: skip
    for name, how in ROWS.items():
        for half in (False, True):
            told, right = [], 0
            clock, asked = 0.0, 0
            for s in draw.permutation(library.real)[: options.queries]:
                played = disguise(cut, library.rows[library.sessions[s]], how, draw)
                skip = -1
                if half:
                    other = int(draw.integers(library.real))
                    if library.recording[other] == library.recording[s]:
                        continue
                    own = library.signed[library.sessions[other]].copy()
                    places = np.sort(draw.permutation(options.strokes)[: options.strokes // 2])
                    places = places[places < len(played)]
                    own[places] = played[places]
                    played, skip = own, int(library.recording[other])
                began = time.process_time()
                found, number = library.best(played, skip)
                clock, asked = clock + time.process_time() - began, asked + len(played)
                told.append(1.0 if found is None else replay.tail(found))
                right += number == s
            q = np.array(told)
            out.append(
                {
                    "replay": name, "half": half, "queries": len(q),
                    "worth a look": round(float((q <= replay.P_WORTH).mean()), 4),
                    "sure": round(float((q <= replay.P_SURE).mean()), 4),
                    "source": round(right / len(q), 4),
                    "us a stroke": round(clock / asked * 1e6),
                }
            )  # fmt: skip
    if options.format == "json":
        print(json.dumps({"library": len(library.signed), "rows": out}, indent=1))
        return
    print(f"library: {len(library.signed)} strokes, sessions of {options.strokes}")
    with pl.Config(
        tbl_rows=20, tbl_width_chars=160, fmt_str_lengths=60, tbl_hide_dataframe_shape=True
    ):
        print(pl.DataFrame(out))


if __name__ == "__main__":
    main()
