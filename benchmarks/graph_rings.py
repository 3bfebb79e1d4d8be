"""Rings injected into real graphs: this project's block search beside FRAUDAR peeling and components.

    python benchmarks/graph_rings.py [--graph yelpchi|bitcoin_alpha] [--seeds 3] [--format json]

Honest material is the graph as it is; what it already holds of real crews counts as honest here. The
graphs have no publisher times (YelpChi) or only days (Bitcoin Alpha): honest meetings are placed at
random, with a daily rhythm, over ``--days`` days; the ring acts in 30 of them. Searched is what the
room searches: windows of ``--window`` days that overlap by half. The default, all
of YelpChi within one window, is the hardest case for a ring that takes 30 days. "new"
publishers have no other work, "old" ones are drawn uniformly from the graph. Camouflage ×k adds to
each member k honest-looking edges for every real one, drawn by popularity.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import rustworkx as rx
from scipy.sparse import csr_matrix

from detectors.collusion.crews import HALF
from detectors.collusion.room import STRENGTH_MIN
from detectors.kit.graph.incidence import incidence
from detectors.kit.graph.peel import peel
from detectors.kit.graph.scan import Meetings, Width, scan

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[1] / ".." / "shared"))
DAY = 86_400_000_000
HOUR = DAY // 24
RINGS = ((8, 4, 1.0), (25, 5, 1.0), (50, 5, 1.0), (100, 20, 0.3))
WIDTHS = (
    Width(name="publisher", by="publisher"),
    Width(name="day", by="publisher", span=timedelta(days=1), phases=2),
    Width(name="hours", by="publisher", span=timedelta(hours=2), phases=2),
    Width(name="minutes", by="publisher", span=timedelta(minutes=15), phases=2),
)


def honest(graph: str, days: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Workers, publishers and times (microseconds) of the untouched graph."""
    frame = pl.read_parquet(SHARED / "graphs" / f"{graph}.parquet")
    pair = ("user", "product") if graph == "yelpchi" else ("source", "target")
    worker, publisher = (
        (frame[c].rank("dense").cast(pl.Int32) - 1).to_numpy().copy() for c in pair
    )
    if graph == "yelpchi":
        at = rng.integers(0, days, len(worker)) * DAY
    else:
        at = (frame["time"].dt.timestamp("us") // DAY * DAY).to_numpy()
        at = at - at.min()
    hour = np.clip(rng.normal(14, 4, len(worker)), 0, 23.99)
    return worker, publisher, at + (hour * HOUR).astype(np.int64)


def inject(
    base: tuple[np.ndarray, ...], rng: np.random.Generator, *, members: int, publishers: int,
    density: float, new: bool, camouflage: int, lockstep: bool,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Add one ring; its members are the workers from the old count on."""
    worker, publisher, at = base
    n_w, n_p = int(worker.max()) + 1, int(publisher.max()) + 1
    popularity = np.bincount(publisher, minlength=n_p) / len(publisher)
    ring = np.arange(n_p, n_p + publishers) if new else rng.choice(n_p, publishers, replace=False)
    span = int(at.max()) // DAY + 1
    day0 = int(rng.integers(0, max(1, span - 30)))
    hits = np.sort(rng.integers(0, 30 * 24, publishers)) * HOUR + day0 * DAY
    extra: list[tuple[int, int, int]] = []
    for m in range(members):
        own = publishers if density >= 1 else max(2, int(rng.binomial(publishers, density)))
        for k in rng.choice(publishers, own, replace=False):
            moment = hits[k] + rng.integers(0, HOUR // 4) if lockstep else _any(rng, day0)
            extra.append((n_w + m, int(ring[k]), int(moment)))
        if camouflage:
            many = min(own * camouflage, n_p // 2)
            for p in rng.choice(n_p, many, replace=False, p=popularity):
                extra.append((n_w + m, int(p), _any(rng, day0)))
    more = np.array(extra, np.int64)
    return (
        np.concatenate([worker, more[:, 0].astype(np.int32)]),
        np.concatenate([publisher, more[:, 1].astype(np.int32)]),
        np.concatenate([at, more[:, 2]]),
    )


def _any(rng: np.random.Generator, day0: int) -> int:
    return int((day0 + rng.integers(0, 30)) * DAY + rng.integers(0, DAY))


def ours(data: tuple[np.ndarray, ...], window: int) -> set[int]:
    """Members of any block that the room would report, in any window of a grid like its own."""
    worker, publisher, at = data
    order = np.argsort(at, kind="stable")
    worker, publisher, at = worker[order], publisher[order], at[order]
    flagged: set[int] = set()
    stride = window * DAY // 2
    for since in range(-stride, int(at[-1]) + 1, stride):
        a, b = np.searchsorted(at, [since, since + 2 * stride])
        if b - a < 10:
            continue
        names, index = np.unique(worker[a:b], return_inverse=True)
        _, met = np.unique(publisher[a:b], return_inverse=True)
        meetings = Meetings(
            worker=index.astype(np.int32), met={"publisher": met.astype(np.int32)},
            at=at[a:b], workers=len(names),
            pad=timedelta(days=45 if window > 100 else 3),
        )  # fmt: skip
        for found in scan(meetings, WIDTHS):
            if found.log_e / (found.log_e + HALF[found.width.name]) >= STRENGTH_MIN:
                flagged |= set(names[found.block.workers].tolist())
    return flagged


def peeled(data: tuple[np.ndarray, ...], count: int = 3) -> list[set[int]]:
    """Peel ``count`` blocks, each after the edges of the former are removed."""
    worker, publisher, _ = data
    n_w, n_p = int(worker.max()) + 1, int(publisher.max()) + 1
    out = []
    for _ in range(count):
        graph = incidence(worker, publisher, workers=n_w, cells=n_p)
        block = peel(graph)
        out.append(set(block.workers.tolist()))
        inside = np.isin(worker, block.workers) & np.isin(publisher, block.cells)
        worker, publisher = worker[~inside], publisher[~inside]
    return out


def linked(data: tuple[np.ndarray, ...], shared_min: int = 3) -> set[int]:
    """Plain connected components of workers that share three publishers and more."""
    worker, publisher, _ = data
    n_w, n_p = int(worker.max()) + 1, int(publisher.max()) + 1
    graph = incidence(worker, publisher, workers=n_w, cells=n_p)
    rows = csr_matrix(
        (np.ones(len(graph.cell_of), np.int32), graph.cell_of, graph.cell_start), shape=(n_w, n_p)
    )
    busy = np.flatnonzero(np.diff(graph.cell_start) >= shared_min)
    both = (rows[busy] @ rows[busy].T).tocoo()
    keep = (both.data >= shared_min) & (both.row < both.col)
    net = rx.PyGraph()
    net.add_nodes_from(range(len(busy)))
    net.add_edges_from_no_data(
        list(zip(both.row[keep].tolist(), both.col[keep].tolist(), strict=True))
    )
    return {int(busy[i]) for part in rx.connected_components(net) if len(part) >= 3 for i in part}


def f1(flagged: set[int], first: int, members: int) -> float:
    tp = sum(w >= first for w in flagged)
    return 2 * tp / (len(flagged) + members) if flagged else 0.0


def interval(values: list[float]) -> tuple[float, float]:
    """95 % of the means of resampled seeds (percentile bootstrap)."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (2_000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return round(float(low), 3), round(float(high), 3)


def settings() -> Iterator[dict[str, object]]:
    for members, publishers, density in RINGS:
        for new in (True, False):
            for camouflage in (0, 1, 3):
                for lockstep in (True, False):
                    yield {
                        "members": members, "publishers": publishers, "density": density,
                        "new": new, "camouflage": camouflage, "lockstep": lockstep,
                    }  # fmt: skip


def run(graph: str, days: int, window: int, seeds: int, peers: bool) -> list[dict[str, object]]:
    rows = []
    for setting in settings():
        scores: dict[str, list[float]] = {"ours": [], "honest": [], "fraudar": [], "linked": []}
        took = 0.0
        for seed in range(seeds):
            rng = np.random.default_rng(1_000 + seed)
            base = honest(graph, days, rng)
            first, members = int(base[0].max()) + 1, int(str(setting["members"]))
            data = inject(base, rng, **setting)  # type: ignore[arg-type]
            began = time.perf_counter()
            flagged = ours(data, window)
            took += time.perf_counter() - began
            scores["ours"].append(f1(flagged, first, members))
            scores["honest"].append(sum(w < first for w in flagged))
            if peers and seed == 0:
                scores["fraudar"].append(max(f1(b, first, members) for b in peeled(data)))
                scores["linked"].append(f1(linked(data), first, members))
        rows.append(
            setting
            | {
                "f1": round(float(np.mean(scores["ours"])), 3),
                "f1_min": round(float(np.min(scores["ours"])), 3),
                "f1_interval": interval(scores["ours"]),
                "honest_flagged": round(float(np.mean(scores["honest"])), 2),
                "honest_share": float(np.mean(scores["honest"])) / first,
                "fraudar_f1": round(float(np.mean(scores["fraudar"])), 3) if peers else None,
                "components_f1": round(float(np.mean(scores["linked"])), 3) if peers else None,
                "seconds": round(took / seeds, 2),
            }
        )
        if PRINT:
            show(rows[-1])
    return rows


def show(row: dict[str, object]) -> None:
    size = f"{row['members']}x{row['publishers']}" + ("" if row["density"] == 1 else " 30%")
    print(
        f"{size:>11} {'new' if row['new'] else 'old'} camouflage x{row['camouflage']} "
        f"{'lockstep' if row['lockstep'] else '30 days '}  F1 {row['f1']:.2f} "
        f"{row['f1_interval']} (worst {row['f1_min']:.2f})  honest {row['honest_flagged']:.1f} "
        f"({row['honest_share']:.3%})  FRAUDAR {row['fraudar_f1']}  "
        f"components {row['components_f1']}  {row['seconds']} s",
        flush=True,
    )


PRINT = True


def main() -> None:
    global PRINT
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", default="yelpchi", choices=["yelpchi", "bitcoin_alpha"])
    parser.add_argument("--days", type=int, default=30, help="YelpChi is laid over so many days")
    parser.add_argument("--window", type=int, default=32, help="days; the room uses 28 and 364")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--format", default="table", choices=["table", "json"])
    given = parser.parse_args()
    PRINT = given.format == "table"
    rows = run(given.graph, given.days, given.window, given.seeds, not given.no_peers)
    if not PRINT:
        print(json.dumps(rows))
    else:
        clean = ours(honest(given.graph, given.days, np.random.default_rng(7)), given.window)
        print(f"untouched graph: {len(clean)} flagged")


if __name__ == "__main__":
    main()
