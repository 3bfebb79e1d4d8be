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
from scipy.special import betaincinv
from text_attacks import ATTACKS, BEYOND, Attack

from detectors.checks.memory import MemoryBlobs, MemoryPast, World
from detectors.text import detector
from pipeline.decode import open_decoder
from pipeline.model import frames, rows
from pipeline.model.errors import RowError
from pipeline.ports import Decoder

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[1] / ".." / "shared"))
START = datetime(2026, 1, 1, tzinfo=UTC)
SURE, LOOK = 0.5, 0.2
ANSWER_CHARS_MIN = 30
"""Shorter answers are given alike by honest people, and are not compared at all."""


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


Told = list[dict[str, Any]]
MERGED = 3


def _kinds(language: str, listed: dict[str, Attack]) -> dict[str, Attack | None]:
    kinds: dict[str, Attack | None] = {**listed, **({"merge_3": None} if listed is ATTACKS else {})}
    return {k: v for k, v in kinds.items() if (k, language) != ("traditional", "en")}


def _found(
    world_: World, wanted: dict[str, set[str]], kinds: list[str], language: str, part: str
) -> Told:
    """Score attacks named ``z<kind>:<n>`` against the sources that are right for each."""
    best: dict[str, float] = {}
    named: dict[str, set[str]] = {}
    columns = ["submission_id", "strength", "matched_submission_id"]
    for sid, strength, source in judged(world_).select(columns).iter_rows():
        if source is not None and wanted.get(sid, set()) & {source}:
            best[sid] = max(best.get(sid, 0.0), strength)
            named.setdefault(sid, set()).add(source)
    told = []
    for kind in kinds:
        mine = [sid for sid in wanted if sid.startswith(f"z{kind}:")]
        look = sum(best.get(sid, 0.0) >= LOOK for sid in mine)
        told.append(
            {"part": part, "language": language, "kind": kind, "n": len(mine), "found": look,
             "sure": sum(best.get(sid, 0.0) >= SURE for sid in mine), "recall": look / len(mine),
             "interval": wilson(look, len(mine)),
             "every_source": sum(named.get(sid, set()) == wanted[sid] for sid in mine)}
        )  # fmt: skip
    return told


def _attacked(sources: int, decoder: Decoder, listed: dict[str, Attack], part: str) -> Told:
    """Attack each source once, every kind its own sources; all earlier texts are bystanders."""
    told = []
    for language, texts in corpora().items():
        kinds = _kinds(language, listed)
        order = np.random.default_rng(7).permutation(len(texts))
        per = min(sources, (len(order) - 400) // len(kinds))
        stock = [texts[i] for i in order[: per * len(kinds)]]
        others = [texts[i] for i in order[per * len(kinds) :]]
        first = [(f"a{n:05d}", text) for n, text in enumerate(stock)]
        made: list[tuple[str, str]] = []
        wanted: dict[str, set[str]] = {}
        for at, (kind, attack) in enumerate(kinds.items()):
            for n in range(at * per, (at + 1) * per):
                sid = f"z{kind}:{n}"
                sources_ = [n] if attack else [(n + k * per) % len(stock) for k in range(MERGED)]
                wanted[sid] = {f"a{k:05d}" for k in sources_}
                if attack:
                    made.append((sid, attack(stock[n], np.random.default_rng([11, at, n]), others)))
                else:
                    pieces = [stock[k][: len(stock[k]) // MERGED + 20] for k in sources_]
                    made.append((sid, "".join(pieces)))
        told += _found(world(first + made, decoder), wanted, list(kinds), language, part)
    return told


def attacks(sources: int, decoder: Decoder) -> Told:
    """The evasions that the room promises to see through: one thief a source."""
    return _attacked(sources, decoder, ATTACKS, "attack")


def beyond(sources: int, decoder: Decoder) -> Told:
    """Evasions that it does not promise."""
    return _attacked(sources, decoder, BEYOND, "beyond")


def crowd(sources: int, decoder: Decoder) -> Told:
    """All kinds on the same few sources: twelve thieves and more a source."""
    told = []
    for language, texts in corpora().items():
        kinds = {k: v for k, v in _kinds(language, ATTACKS).items() if v}
        order = np.random.default_rng(17).permutation(len(texts))
        stock, others = [texts[i] for i in order[:-400]][:1200], [texts[i] for i in order[-400:]]
        wanted, made = {}, []
        for at, (kind, attack) in enumerate(kinds.items()):
            for n in range(sources // 3):
                sid = f"z{kind}:{n}"
                made.append((sid, attack(stock[n], np.random.default_rng([12, at, n]), others)))
                wanted[sid] = {f"a{n:05d}"}
        first = [(f"a{n:05d}", text) for n, text in enumerate(stock)]
        told += _found(world(first + made, decoder), wanted, list(kinds), language, "crowd")
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


def one_topic(decoder: Decoder) -> Told:
    """Pairs of real texts on one topic, reposts and stories of one event among them: who is accused."""
    folder = SHARED / "texts"
    hotel = pl.read_parquet(folder / "zh_hotel_reviews.parquet").filter(
        pl.col("origin") == "ChnSentiCorp_htl_all", pl.col("text").str.len_chars() >= 80
    )["text"]
    bbc = pl.read_parquet(folder / "en_bbc.parquet").filter(pl.col("text").str.len_chars() >= 300)
    topics = {
        "zh": [("hotel", text) for text in hotel.unique(maintain_order=True)[:2000]],
        "en": list(zip(bbc["category"], bbc["text"].str.slice(0, 2000), strict=True)),
    }
    told = []
    for language, texts in topics.items():
        topic = {f"s{n:04d}": kind for n, (kind, _) in enumerate(texts)}
        named = judged(world(list(zip(topic, (t for _, t in texts), strict=True)), decoder)).select(
            "submission_id", "matched_submission_id", "strength"
        )
        best = [s for mine, source, s in named.iter_rows() if topic[mine] == topic.get(source)]
        pairs = sum(n * (n - 1) // 2 for n in Counter(topic.values()).values())
        hits = sum(strength >= SURE for strength in best)
        told.append({"part": "one topic", "language": language, "kind": "reposts included", "n": pairs,
                     "sure": hits, "look": sum(strength >= LOOK for strength in best),
                     "sure_at_most_1_in": round(1 / upper(hits, pairs))})  # fmt: skip
    return told


def market(name: str, decoder: Decoder) -> tuple[World, dict[str, dict[str, Any]]]:
    """Read a labelled drop without its files: the world, and the truth by submission."""
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
    lines = (root / "truth.jsonl").read_bytes().splitlines()
    return here, {t["submission_id"]: t for t in map(json.loads, lines)}


def one_task(decoder: Decoder) -> Told:
    """Pairs of honest answers of two workers to one task of the labelled drops: who is accused."""
    pairs, sure, look = 0, 0, 0
    for name in ("small", "full"):
        here, truth = market(name, decoder)
        honest = {s for s, t in truth.items() if t["label"] == "honest" and not t.get("ambiguous")}
        told = here.submissions.filter(
            pl.col("submission_id").is_in(honest),
            pl.col("text").str.len_chars() >= ANSWER_CHARS_MIN,
        )
        answers, own = (
            told.group_by(of).len().select((pl.col("len") * (pl.col("len") - 1) // 2).sum()).item()
            for of in (["task_id"], ["task_id", "worker_id"])
        )
        pairs += answers - own
        who = told.select("submission_id", "task_id", "worker_id")
        met = (
            judged(here)
            .join(who, on="submission_id")
            .join(who, left_on="matched_submission_id", right_on="submission_id", suffix="_source")
            .filter(
                pl.col("task_id") == pl.col("task_id_source"),
                pl.col("worker_id") != pl.col("worker_id_source"),
            )
        )
        sure += met.filter(pl.col("strength") >= SURE).height
        look += met.filter(pl.col("strength") >= LOOK).height
    return [{"part": "one task", "kind": "honest pairs", "n": pairs, "sure": sure, "look": look,
             "sure_at_most_1_in": round(1 / upper(sure, pairs)),
             "look_at_most_1_in": round(1 / upper(look, pairs))}]  # fmt: skip


def upper(hits: int, of: int) -> float:
    """The one-sided 95 % bound of Clopper and Pearson."""
    return float(betaincinv(hits + 1, of - hits, 0.95))


def drop(name: str, decoder: Decoder) -> Told:
    here, truth = market(name, decoder)
    begun = time.process_time()
    signals = judged(here)
    seconds = time.process_time() - begun
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
    parser.add_argument(
        "--only", default="", help="attacks, beyond, crowd, brief, essays, pairs, task, drop"
    )
    asked = parser.parse_args()
    if not (SHARED / "texts").is_dir():
        sys.exit(f"no development data under {SHARED}: set BOUNTYGUARD_SHARED")
    with open_decoder() as decoder:
        parts = {
            "attacks": lambda: attacks(asked.sources, decoder),
            "beyond": lambda: beyond(asked.sources, decoder),
            "crowd": lambda: crowd(asked.sources, decoder),
            "brief": lambda: shared_brief(decoder),
            "essays": lambda: essays(decoder),
            "pairs": lambda: one_topic(decoder),
            "task": lambda: one_task(decoder),
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
