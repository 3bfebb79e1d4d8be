"""How the search for crews grows: 0.1, 1 and 5 million meetings, full and incremental, beside peeling.

    python benchmarks/graph_speed.py [--sizes 0.1 1 5] [--format json]

Made-up meetings: log-normal activity of workers, Zipf popularity of publishers, a daily rhythm over 28
days, one worker for five meetings and one publisher for fifty. A crew of 40 workers and 5 new publishers
comes at the end, inside the incremental batch; ``ring_found`` says what share of it was seen. Times
are CPU seconds of the one core that is used; compilation is not counted.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterable

import numpy as np
from graph_rings import DAY, HOUR, WIDTHS

from detectors.kit.graph.incidence import Block, incidence
from detectors.kit.graph.peel import peel
from detectors.kit.graph.scan import Meetings, scan
from detectors.kit.graph.standing import Standing

DELTA = 10_000


def meetings(edges: int, rng: np.random.Generator) -> Meetings:
    n_w, n_p = max(50, edges // 5), max(20, edges // 50)
    activity = rng.lognormal(0.0, 1.0, n_w)
    popularity = 1.0 / (np.arange(n_p) + 20.0)
    worker = rng.choice(n_w, edges, p=activity / activity.sum()).astype(np.int32)
    publisher = rng.choice(n_p, edges, p=popularity / popularity.sum()).astype(np.int32)
    hour = np.clip(rng.normal(14, 4, edges), 0, 23.99)
    at = np.sort(rng.integers(0, 28, edges) * DAY + (hour * HOUR).astype(np.int64))
    crew = np.sort(rng.choice(n_w, 40, replace=False))
    worker[-200:] = np.repeat(crew, 5)
    publisher[-200:] = np.tile(np.arange(n_p, n_p + 5), 40)
    return Meetings(worker=worker, met={"publisher": publisher}, at=at, workers=n_w)


def measure(edges: int) -> dict[str, float]:
    rng = np.random.default_rng(5)
    whole = meetings(edges, rng)
    began = time.process_time()
    found = scan(whole, WIDTHS)
    crew = set(whole.worker[-200:].tolist())
    full = time.process_time() - began
    standing = Standing.of(cut(whole, edges - DELTA), WIDTHS)
    began = time.process_time()
    late = standing.add(
        whole.worker[-DELTA:], {"publisher": whole.met["publisher"][-DELTA:]}, whole.at[-DELTA:]
    )
    added = time.process_time() - began
    graph = incidence(
        whole.worker, whole.met["publisher"], workers=whole.workers,
        cells=int(whole.met["publisher"].max()) + 1,
    )  # fmt: skip
    began = time.process_time()
    peel(graph)
    peeled = time.process_time() - began
    return {
        "edges": edges,
        "full_s": round(full, 2),
        "incremental_10k_s": round(added, 3),
        "peel_one_block_s": round(peeled, 2),
        "blocks": len(found),
        "ring_found": round(len(crew & members(f.block for f in found)) / 40, 2),
        "ring_found_late": round(len(crew & members(b for _, b in late)) / 40, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def members(blocks: Iterable[Block]) -> set[int]:
    return {int(w) for block in blocks for w in block.workers}


def cut(whole: Meetings, n: int) -> Meetings:
    return Meetings(
        worker=whole.worker[:n], met={k: v[:n] for k, v in whole.met.items()}, at=whole.at[:n],
        workers=whole.workers,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="*", default=[0.1, 1, 5], help="millions")
    parser.add_argument("--format", default="table", choices=["table", "json"])
    given = parser.parse_args()
    measure(20_000)
    rows = []
    for size in given.sizes:
        rows.append(measure(int(size * 1e6)))
        if given.format == "table":
            print("  ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    if given.format == "json":
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
