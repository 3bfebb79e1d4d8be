"""What the text room finds: attacks on real texts, independent texts under one brief, essays, drops.

``python benchmarks/text_quality.py [--format json] [--sources 300] [--market full]``. Needs the
development data that lies beside the project (BOUNTYGUARD_SHARED). The attacks here were not used to
set a threshold; drops and essays are development data.
"""

import argparse
import itertools
import json
import os
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from text_attacks import ATTACKS

from detectors.checks.memory import MemoryBlobs, MemoryPast, World
from detectors.text import detector
from pipeline.decode import open_decoder
from pipeline.model import frames, rows
from pipeline.model.errors import RowError
from pipeline.ports import Decoder

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[1] / ".." / "shared"))
START = datetime(2026, 1, 1, tzinfo=UTC)
SURE, LOOK = 0.5, 0.2


def wilson(hits: int, of: int) -> tuple[float, float]:
    if not of:
        return (0.0, 1.0)
    z, p = 1.96, hits / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    wide = z * np.sqrt(p * (1 - p) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return (max(0.0, float(middle - wide)), min(1.0, float(middle + wide)))


def frame(given: list[dict[str, Any]], schema: frames.Schema) -> pl.DataFrame:
    return pl.DataFrame([{k: r.get(k) for k in schema} for r in given], schema=dict(schema))


def world(texts: list[tuple[str, str]], decoder: Decoder, brief: str = "") -> World:
    """One submission a text (id, text), a minute and a worker apart, in the order given."""
    submissions = [
        {"submission_id": sid, "task_id": "t", "worker_id": f"w{sid}", "text": text, "extra": "{}",
         "submitted_at": START + timedelta(minutes=n)} for n, (sid, text) in enumerate(texts)
    ]  # fmt: skip
    tasks = [{"task_id": "t", "brief": brief, "reference_digests": [], "extra": "{}"}]
    return World(
        submissions=frame(submissions, frames.SUBMISSIONS), contents=frames.empty(frames.CONTENTS),
        tasks=frame(tasks, frames.TASKS), workers=frames.empty(frames.WORKERS),
        events=frames.empty(frames.EVENTS), blobs=MemoryBlobs(), decoder=decoder, assets={},
    )  # fmt: skip


def judged(here: World) -> pl.DataFrame:
    return detector.detect(here.batch(), MemoryPast.of(here, [detector])).signals


def corpora() -> dict[str, list[str]]:
    texts = SHARED / "texts"
    hotel = pl.read_parquet(texts / "zh_hotel_reviews.parquet").filter(
        pl.col("origin") == "ChnSentiCorp_htl_all"
    )["text"]
    news = pl.read_parquet(texts / "zh_cnews.parquet")["text"].str.slice(0, 800)
    bbc = pl.read_parquet(texts / "en_bbc.parquet")["text"].str.slice(0, 2000)
    zh = [t for t in [*hotel.unique(maintain_order=True), *news] if len(t) >= 80]
    return {"zh": zh, "en": [t for t in bbc if len(t) >= 300]}


def attacks(sources: int, decoder: Decoder) -> list[dict[str, Any]]:
    """Index sources among bystanders; attack each source once a kind; own words are others'."""
    told = []
    for language, texts in corpora().items():
        draw = np.random.default_rng(7)
        order = draw.permutation(len(texts))
        cut = min(len(order) - 400, 3 * sources + 1500)
        stock = [texts[i] for i in order[:cut]]
        others = [texts[i] for i in order[cut:]]
        first = [(f"a{n:05d}", text) for n, text in enumerate(stock)]
        made: list[tuple[str, str]] = []
        for kind, attack in ATTACKS.items():
            if kind == "traditional" and language == "en":
                continue
            for n in range(sources):
                seeded = np.random.default_rng([11, len(kind), n])
                made.append((f"z{kind}:{n}", attack(stock[n], seeded, others)))
        for n in range(sources):
            parts = [stock[(n + k * sources) % cut] for k in range(3)]
            made.append((f"zmerge_3:{n}", "".join(p[: len(p) // 3 + 20] for p in parts)))
        signals = judged(world(first + made, decoder))
        best: dict[str, float] = {}
        right: set[str] = set()
        for sid, strength, source in signals.select(
            "submission_id", "strength", "matched_submission_id"
        ).iter_rows():
            if not sid.startswith("z") or source is None:
                continue
            kind, n = sid[1:].split(":")
            wanted = {f"a{int(n):05d}"}
            if kind == "merge_3":
                wanted = {f"a{(int(n) + k * sources) % cut:05d}" for k in range(3)}
            later = source.startswith("z") and source.split(":")[1] == n
            if source in wanted or later:
                best[sid] = max(best.get(sid, 0.0), strength)
                right |= {sid} if source in wanted else set()
        for kind in [*ATTACKS, "merge_3"]:
            mine = [f"z{kind}:{n}" for n in range(sources)]
            if kind == "traditional" and language == "en":
                continue
            sure = sum(best.get(s, 0.0) >= SURE for s in mine)
            look = sum(best.get(s, 0.0) >= LOOK for s in mine)
            named = sum(s in right for s in mine)
            told.append(
                {"part": "attack", "language": language, "kind": kind, "n": sources, "sure": sure,
                 "found": look, "recall": look / sources, "interval": wilson(look, sources),
                 "named_right": named}
            )  # fmt: skip
        stood = signals.filter(pl.col("submission_id").str.starts_with("a"))
        told.append(
            {"part": "bystanders", "language": language, "kind": "reposts included", "n": cut}
            | {name: stood.filter(pl.col("strength") >= least)["submission_id"].n_unique()
               for name, least in (("sure", SURE), ("found", LOOK))}
        )  # fmt: skip
    return told


BRIEFS = {
    "zh": "请围绕本店写一段真实体验，语言自然，必须原创。文中须原样引用：山河远阔，人间值得，把每一次出发都写成值得回味的故事，我们在下一站等你。",
    "en": "Write about what you saw. Quote our promise word for word: every guest is a neighbour who "
    "has come a long way, and nobody leaves our table hungry or without a story to tell at home.",
}


def shared_brief(decoder: Decoder) -> list[dict[str, Any]]:
    """Independent texts that all open with the brief: who is flagged because of it."""
    told = []
    for language, texts in corpora().items():
        draw = np.random.default_rng(13)
        some = [texts[i] for i in draw.permutation(len(texts))[:1000]]
        plain = [(f"s{n:04d}", t) for n, t in enumerate(some)]
        opened = [(sid, BRIEFS[language] + t) for sid, t in plain]
        without = judged(world(plain, decoder, BRIEFS[language]))
        within = judged(world(opened, decoder, BRIEFS[language]))
        for name, least in (("sure", SURE), ("look", LOOK)):
            before = set(without.filter(pl.col("strength") >= least)["submission_id"])
            after = set(within.filter(pl.col("strength") >= least)["submission_id"])
            told.append({"part": "one brief", "language": language, "kind": name, "n": len(some),
                         "flagged": len(after), "flagged_without_brief": len(before),
                         "because_of_it": len(after - before)})  # fmt: skip
    return told


def essays(decoder: Decoder) -> list[dict[str, Any]]:
    """Pairs of answers written without the source, one question each (Clough and Stevenson)."""
    table = pl.read_parquet(SHARED / "texts" / "clough_stevenson.parquet")
    pairs, sure, look = 0, 0, 0
    for _, group in table.filter(pl.col("level") == "non").group_by("task"):
        for (i, a), (j, b) in itertools.combinations(enumerate(group["text"]), 2):
            signals = judged(world([(f"s{i}", a), (f"s{j}", b)], decoder))
            best = max(signals["strength"], default=0.0)
            pairs, sure, look = pairs + 1, sure + (best >= SURE), look + (best >= LOOK)
    told = [{"part": "essays", "kind": "honest pairs", "n": pairs, "sure": sure, "look": look}]
    for level in ("cut", "light", "heavy"):
        rows_ = table.filter(pl.col("level") == level)
        found = []
        for text, source in rows_.select("text", "source_text").iter_rows():
            signals = judged(world([("s0", source), ("s1", text)], decoder))
            found.append(max(signals["strength"], default=0.0))
        told.append({"part": "essays", "kind": f"{level} (recall)", "n": len(found),
                     "sure": sum(f >= SURE for f in found), "look": sum(f >= LOOK for f in found)})  # fmt: skip
    return told


def honest_news(decoder: Decoder) -> list[dict[str, Any]]:
    """All pairs of real texts of one kind at once: how many pairs are called sure."""
    told = []
    for language, texts in corpora().items():
        some = texts[:2000]
        signals = judged(world([(f"s{n:04d}", t) for n, t in enumerate(some)], decoder))
        sure = signals.filter(pl.col("strength") >= SURE).height
        told.append({"part": "pairs", "language": language, "kind": "reposts included",
                     "n": len(some) * (len(some) - 1) // 2, "sure": sure})  # fmt: skip
    return told


def drop(name: str, decoder: Decoder) -> list[dict[str, Any]]:
    root = SHARED / "market" / name
    tables: dict[str, list[dict[str, Any]]] = {}
    for table, key in rows.KEYS.items():
        known: dict[str, dict[str, Any]] = {}
        for line in (root / "drop" / f"{table}.jsonl").read_bytes().splitlines():
            try:
                row = rows.CHECKS[table](rows.decode_json(line))
            except RowError:
                continue
            known.setdefault(row[key], row)
        tables[table] = list(known.values())
    for task in tables["tasks"]:
        task["reference_digests"] = []
    here = World(
        submissions=frame(tables["submissions"], frames.SUBMISSIONS),
        contents=frames.empty(frames.CONTENTS), tasks=frame(tables["tasks"], frames.TASKS),
        workers=frame(tables["workers"], frames.WORKERS), events=frames.empty(frames.EVENTS),
        blobs=MemoryBlobs(), decoder=decoder, assets={},
    )  # fmt: skip
    begun = time.process_time()
    signals = judged(here)
    seconds = time.process_time() - begun
    truth = {
        t["submission_id"]: t
        for t in map(json.loads, (root / "truth.jsonl").read_bytes().splitlines())
    }
    best: dict[str, float] = {}
    named: dict[str, set[str]] = {}
    for sid, strength, source in signals.select(
        "submission_id", "strength", "matched_submission_id"
    ).iter_rows():
        best[sid] = max(best.get(sid, 0.0), strength)
        if source and strength >= LOOK:
            named.setdefault(sid, set()).add(source)
    table: dict[str, Counter[str]] = {}
    for sid, t in truth.items():
        if t.get("ambiguous"):
            continue
        kind = t["scheme"] if t["label"] == "fraud" else "honest"
        if t["label"] == "fraud" and not kind.startswith("text."):
            continue
        count = table.setdefault(kind, Counter())
        count["n"] += 1
        count["sure"] += best.get(sid, 0.0) >= SURE
        count["found"] += best.get(sid, 0.0) >= LOOK
        rightly = {t["source_submission_id"], *(t.get("source_submission_ids") or [])}
        alike = {
            s for s in named.get(sid, ()) if truth.get(s, {}).get("alike_group") == t["alike_group"]
        }
        count["attributed"] += bool(named.get(sid, set()) & rightly or alike)
    told: list[dict[str, Any]] = [
        {"part": f"market/{name}", "kind": kind, **count} for kind, count in sorted(table.items())
    ]
    told.append({"part": f"market/{name}", "kind": "cpu seconds", "n": here.submissions.height,
                 "sure": round(seconds, 2)})  # fmt: skip
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--sources", type=int, default=150)
    parser.add_argument("--market", default="full")
    parser.add_argument("--only", default="", help="attacks, brief, essays, pairs, drop")
    asked = parser.parse_args()
    if not (SHARED / "texts").is_dir():
        sys.exit(f"no development data under {SHARED}: set BOUNTYGUARD_SHARED")
    with open_decoder() as decoder:
        parts = {
            "attacks": lambda: attacks(asked.sources, decoder),
            "brief": lambda: shared_brief(decoder),
            "essays": lambda: essays(decoder),
            "pairs": lambda: honest_news(decoder),
            "drop": lambda: drop(asked.market, decoder),
        }
        told = [row for name, part in parts.items() if asked.only in ("", name) for row in part()]
    if asked.format == "json":
        print(json.dumps(told))
        return
    for row in told:
        print(
            "  ".join(
                f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()
            )
        )


if __name__ == "__main__":
    main()
