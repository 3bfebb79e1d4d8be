"""Text signatures and the posting index beside their peers, in one run on one core.

``python benchmarks/text_speed.py [--format json] [--documents 2000] [--index 1000000]``. Figures are
ratios to datasketch 2 measured in the same run; absolute rates depend on the machine.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[1] / ".." / "shared"))
ROUNDS = 9
BUILDS = 3
"""Times an index is built, ours and theirs; the middle one is told, and our first beside it."""
BATCH = 200
"""Texts handed over at a time, to us and to the peers."""


def rates(runs: dict[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """Documents a CPU second of each run, the best of a few rounds that take the runs in turn."""
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for label, (work, _) in runs.items():
            begun = time.process_time()
            work()
            least[label] = min(least[label], time.process_time() - begun)
    return {label: size / least[label] for label, (_, size) in runs.items()}


def documents(count: int) -> dict[str, list[str]]:
    zh = "".join(pl.read_parquet(SHARED / "texts" / "zh_cnews.parquet")["text"])
    en = " ".join(pl.read_parquet(SHARED / "texts" / "en_bbc.parquet")["text"])
    return {
        "zh 500": [zh[(n * 251) % (len(zh) - 500) :][:500] for n in range(count)],
        "en 2000": [en[(n * 997) % (len(en) - 2000) :][:2000] for n in range(count)],
    }


def signatures(count: int) -> list[dict[str, Any]]:
    import rensa
    import xxhash
    from datasketch import MinHash

    from detectors.kit.lexical import minhash, read, winnow

    told = []
    for name, texts in documents(count).items():
        some = texts[: min(count, BATCH)]
        batches = [texts[i : i + BATCH] for i in range(0, count, BATCH)]

        def shingled(texts: list[str]) -> list[list[str]]:
            return [[t[i : i + 4] for i in range(len(t) - 3)] for t in texts]

        def datasketch(hashfunc: Callable[[bytes], int] | None, texts: list[str] = some) -> object:
            byte = [[s.encode() for s in shingles] for shingles in shingled(texts)]
            return MinHash.bulk(byte, num_perm=128, **({"hashfunc": hashfunc} if hashfunc else {}))

        def xxh3(data: bytes) -> int:
            return int(xxhash.xxh3_64_intdigest(data) & 0xFFFFFFFF)

        def rensa_r(texts: list[str] = some) -> object:
            made = []
            for shingles in shingled(texts):
                one = rensa.RMinHash(num_perm=128, seed=1)
                one.update(shingles)
                made.append(one.digest())
            return made

        def signed(batches: list[list[str]] = batches) -> object:
            return [minhash(read(batch)) for batch in batches]

        def all_three(batches: list[list[str]] = batches) -> object:
            return [(winnow(found), minhash(found)) for found in map(read, batches)]

        read(some)
        found = rates(
            {
                "datasketch bulk, sha1 (its default)": (lambda: datasketch(None), len(some)),
                "datasketch bulk, xxh3": (lambda: datasketch(xxh3), len(some)),
                "rensa RMinHash (no sampling)": (rensa_r, len(some)),
                "ours: fold + shingle + 128 slots": (signed, count),
                "ours: the same + winnow + 32 bands": (all_three, count),
            }
        )
        base = next(iter(found.values()))
        told += [{"part": f"signatures {name}", "what": label, "documents_per_s": round(rate),
                  "times_datasketch": round(rate / base, 1)} for label, rate in found.items()]  # fmt: skip
    return told


def fill(built: Any, bands: Any, docs: Any) -> None:
    """Add the band keys of documents: postings without a place, all in the typed text."""
    count = bands.size
    built.add(bands.ravel(), np.repeat(docs, 32),
              np.broadcast_to(np.int32(-1), count), np.broadcast_to(np.int32(0), count))  # fmt: skip


def index(size: int) -> list[dict[str, Any]]:
    """Bands of random signatures, every tenth a copy of an earlier one; postings at 26 a document."""
    from pipeline.index.postings import PostingIndex

    draw = np.random.default_rng(5)
    bands = draw.integers(0, 2**64, (size, 32), dtype=np.uint64)
    bands[9::10] = bands[: len(bands[9::10])]
    docs = np.arange(size, dtype=np.uint32)
    told: list[dict[str, Any]] = []
    fill(PostingIndex(), bands[:100], docs[:100])
    builds = []
    for _ in range(BUILDS):
        with tempfile.TemporaryDirectory() as folder:
            built = PostingIndex(Path(folder))
            begun = time.process_time()
            fill(built, bands, docs)
            built.flush()
            builds.append(size / (time.process_time() - begun))
    ours = median(builds)
    with tempfile.TemporaryDirectory() as folder:
        built = PostingIndex(Path(folder))
        fill(built, bands, docs)
        built.flush()
        grown = PostingIndex()
        begun = time.process_time()
        for start in range(0, size, 50_000):
            fill(grown, bands[start : start + 50_000], docs[start : start + 50_000])
        grown.compact()
        in_parts = size / (time.process_time() - begun)
        del grown
        per_document = built.byte_count / size
        begun = time.process_time()
        run = built._state.disk[0]
        keys, owners = run.every_key(), run.whole("docs")
        same = np.flatnonzero(keys[1:] == keys[:-1])
        pairs = np.unique(owners[same].astype(np.uint64) << np.uint64(32) | owners[same + 1])
        joined = time.process_time() - begun
        told.append({"part": f"index of {size:,}", "what": "ours, bands", "documents_per_s": round(ours),
                     "documents_per_s_first_build": round(builds[0]),
                     "documents_per_s_in_parts_of_50000": round(in_parts), "bytes_a_document": round(per_document, 1), "self_join_s": round(joined, 2),
                     "pairs": len(pairs)})  # fmt: skip
        told.append(_looks(built, bands, size))
        del built
    with tempfile.TemporaryDirectory() as folder:
        winnowed = PostingIndex(Path(folder))
        count = size * 26
        winnowed.add(draw.integers(0, 2**64, count, dtype=np.uint64), np.repeat(docs, 26),
                     np.full(count, -1, np.int32),
                     np.tile(np.arange(26, dtype=np.int32) * 8, size))  # fmt: skip
        winnowed.flush()
        told.append({"part": f"index of {size:,}", "what": "ours, winnowed postings (26 a document)",
                     "bytes_a_document": round(winnowed.byte_count / size, 1)})  # fmt: skip
    told.append(_datasketch(min(size, 100_000), ours, per_document))
    return told


def _looks(built: Any, bands: Any, size: int) -> dict[str, Any]:
    """Single look-ups while a writer adds, flushes and compacts."""
    stop, failed = threading.Event(), 0
    adding = np.random.default_rng(6)

    def write() -> None:
        number = size
        while not stop.is_set():
            keys = adding.integers(0, 2**64, 32 * 50, dtype=np.uint64)
            built.add(keys, np.repeat(np.arange(number, number + 50, dtype=np.uint32), 32),
                      np.full(len(keys), -1, np.int32), np.zeros(len(keys), np.int32))  # fmt: skip
            number += 50
            time.sleep(0.02)

    thread = threading.Thread(target=write)
    thread.start()
    spent, worked, alone = [], [], []
    try:
        for n in range(3000):
            asked = bands[(n * 7919) % size]
            stolen = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
            begun, cpu = time.perf_counter(), time.thread_time()
            found = built.lookup(asked)
            spent.append(time.perf_counter() - begun)
            if resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw == stolen:
                alone.append(spent[-1])  # no other process was given this one's processor meanwhile
            worked.append(time.thread_time() - cpu)
            failed += not len(found.docs)
    finally:
        stop.set()
        thread.join()
    compacting = threading.Thread(target=built.compact)
    compacting.start()
    during = 0
    while compacting.is_alive():
        failed += not len(built.lookup(bands[(during * 7919) % size]).docs)
        during += 1
    compacting.join()
    p50, p99 = np.quantile(spent, [0.5, 0.99]) * 1e6
    return {"part": f"index of {size:,}", "what": "look-ups of 32 bands while a writer adds",
            "p50_us": round(float(p50)), "p99_us": round(float(p99)),
            "p99_undisturbed_us": round(float(np.quantile(alone, 0.99)) * 1e6),
            "disturbed": len(spent) - len(alone),
            "p99_cpu_us": round(float(np.quantile(worked, 0.99)) * 1e6),
            "during_compaction": during, "failed": failed}  # fmt: skip


def _datasketch(size: int, ours: float, per_document: float) -> dict[str, Any]:
    from datasketch import MinHashLSH
    from datasketch.minhash import MinHash

    draw = np.random.default_rng(5)
    rows = draw.integers(0, 2**32, (size, 128), dtype=np.uint64).astype(np.uint32)
    blank = MinHash(num_perm=128)
    import tracemalloc

    builds = []
    for _ in range(BUILDS):
        lsh = MinHashLSH(num_perm=128, params=(32, 4))
        begun = time.process_time()
        for n in range(size):
            blank.hashvalues = rows[n]
            lsh.insert(n, blank, check_duplication=False)
        builds.append(size / (time.process_time() - begun))
    theirs = median(builds)
    spent = []
    begun = time.process_time()
    for n in range(size):
        blank.hashvalues = rows[n]
        start = time.perf_counter()
        lsh.query(blank)
        spent.append(time.perf_counter() - start)
    joined = time.process_time() - begun
    tracemalloc.start()
    small = MinHashLSH(num_perm=128, params=(32, 4))
    for n in range(2000):
        blank.hashvalues = rows[n]
        small.insert(n, blank, check_duplication=False)
    weight = tracemalloc.get_traced_memory()[0] / 2000
    tracemalloc.stop()
    return {"part": "datasketch MinHashLSH", "what": f"{size:,} documents",
            "documents_per_s": round(theirs), "bytes_a_document": round(weight),
            "p50_us": round(float(np.median(spent)) * 1e6), "self_join_s": round(joined, 2),
            "our_build_times": round(ours / theirs, 1),
            "our_memory_share": round(per_document / weight, 4)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--index", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="signatures, index")
    asked = parser.parse_args()
    if not (SHARED / "texts").is_dir():
        sys.exit(f"no development data under {SHARED}: set BOUNTYGUARD_SHARED")
    parts = {
        "signatures": lambda: signatures(asked.documents),
        "index": lambda: index(asked.index),
    }
    told = [row for name, part in parts.items() if asked.only in ("", name) for row in part()]
    if asked.format == "json":
        print(json.dumps(told))
        return
    for row in told:
        print("  ".join(f"{k}={v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
