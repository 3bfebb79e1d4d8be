"""The image room on a labelled market drop: recall by attack, attribution, honest pictures accused.

    python benchmarks/image_market.py --drop full [--format json] [--misses]

The drops lie beside the project (``BOUNTYGUARD_SHARED``); everything here is a development figure.
"""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from detectors.checks.memory import MemoryBlobs, MemoryPast, World
from detectors.image import detector
from pipeline.decode.inline import InlineDecoder
from pipeline.index.hamming import CodeIndex
from pipeline.model import frames
from pipeline.model.errors import ContentError

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", ROOT.parent / "shared"))
SURE, LOOK = 0.5, 0.2
NOT_TEXT = {"reference_digests", "content_index", "byte_count", "width", "height"}


def _lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def load(drop: Path) -> World:
    """Read the pictures of a drop, leniently: what cannot be read is left out, as ingest would."""
    blobs, decoder, known = MemoryBlobs(), InlineDecoder(), {}

    def put(path: str) -> str | None:
        target = (drop / path).resolve()
        if path not in known:
            inside = target.is_relative_to(drop.resolve()) and target.is_file()
            known[path] = blobs.put(target.read_bytes()) if inside else None
        return known[path]

    tasks = [
        {**row, "reference_digests": [d for p in row.get("reference_paths") or () if (d := put(p))],
         "extra": "{}"}
        for row in _lines(drop / "tasks.jsonl") if isinstance(row.get("task_id"), str)
    ]  # fmt: skip
    submissions, contents = {}, []
    for row in _lines(drop / "submissions.jsonl"):
        sid = row.get("submission_id")
        usable = (
            isinstance(sid, str) and 0 < len(sid) <= 128 and isinstance(row.get("task_id"), str)
        )
        if not usable or sid in submissions or not isinstance(row.get("submitted_at"), str):
            continue
        submissions[sid] = {**row, "text": row.get("text") or "", "extra": "{}"}
        for index, attached in enumerate(row.get("attachments") or ()):
            if not isinstance(attached, dict) or not isinstance(attached.get("path"), str):
                continue
            digest = put(attached["path"])
            if digest is None:
                continue
            try:
                probe = decoder.probe(blobs.get(digest), attached.get("media_type"))
            except ContentError:
                continue
            contents.append({
                "submission_id": sid, "content_index": index, "digest": digest,
                "media_type": probe.media_type, "path": attached["path"],
                "byte_count": len(blobs.get(digest)), "width": probe.width, "height": probe.height,
            })  # fmt: skip
    return World(
        submissions=_frame(list(submissions.values()), frames.SUBMISSIONS),
        contents=_frame(contents, frames.CONTENTS),
        tasks=_frame(tasks, frames.TASKS),
        workers=frames.empty(frames.WORKERS),
        events=frames.empty(frames.EVENTS),
        blobs=blobs, decoder=decoder, assets={},
    )  # fmt: skip


def _frame(rows: list[dict[str, Any]], schema: frames.Schema) -> pl.DataFrame:
    times = {name for name, dtype in schema.items() if dtype == frames.UTC}
    plain = {n: (pl.String() if n in times else t) for n, t in schema.items()}
    known = [
        {
            n: v
            for n, v in row.items()
            if (plain.get(n) == pl.String() and isinstance(v, str)) or n in NOT_TEXT
        }
        for row in rows
    ]
    frame = pl.DataFrame(known, schema=plain)
    parsed = [
        pl.col(n).str.to_datetime(time_unit="us", time_zone="UTC", strict=False) for n in times
    ]
    frame = frame.with_columns(parsed)
    return (
        frame.filter(pl.col("submitted_at").is_not_null())
        if "submitted_at" in frame.columns
        else frame
    )


class QuickPast(MemoryPast):
    """The world in memory with the real Hamming index and a hashed postings table."""

    def __init__(self, world: World, fingerprints: pl.DataFrame) -> None:
        super().__init__(world, fingerprints)
        self._names = sorted(set(fingerprints["submission_id"]))
        self._number = {name: i for i, name in enumerate(self._names)}
        self._codes: dict[str, CodeIndex] = {}
        self._words: dict[str, pl.DataFrame] = {}
        self._rows = {
            key[0]: frame for key, frame in fingerprints.group_by("kind", maintain_order=True)
        }

    def nearest(
        self, kind: str, codes: Any, *, distance_max: int, limit: int = 10_000
    ) -> pl.DataFrame:
        if kind not in self._codes:
            index = CodeIndex()
            for row in self._rows.get(kind, frames.empty(frames.FINGERPRINTS)).iter_rows(
                named=True
            ):
                code = np.frombuffer(row["value"], np.uint8).reshape(-1, 32)
                n = len(code)
                index.add(
                    code,
                    np.full(n, self._number[row["submission_id"]], np.uint32),
                    np.full(n, row["content_index"], np.int32),
                    np.arange(n, dtype=np.int32),
                )
            self._codes[kind] = index
        hits = self._codes[kind].nearest(codes, distance_max, limit)
        names = pl.Series(self._names, dtype=pl.String)
        return pl.DataFrame(
            {
                "query": hits.query,
                "submission_id": names.gather(hits.doc.tolist()),
                "content_index": hits.content,
                "slot": hits.slot,
                "distance": hits.distance,
            },
            schema=dict(frames.NEIGHBOURS),
        )

    def _postings(self, kind: str) -> pl.DataFrame:
        if kind not in self._words:
            self._words[kind] = super()._postings(kind)
        return self._words[kind]

    def fingerprints(self, kind: str, submission_ids: Any) -> pl.DataFrame:
        rows = self._rows.get(kind, frames.empty(frames.FINGERPRINTS))
        return rows.filter(pl.col("submission_id").is_in(list(submission_ids))).sort(
            "submission_id", "content_index"
        )


def judge(world: World, truth: list[dict[str, Any]]) -> tuple[dict[str, Any], pl.DataFrame]:
    """Run the room over the whole world and hold its findings against the truth."""
    start = time.process_time()
    made = detector.fingerprint(world.batch())
    printed = time.process_time() - start
    past = QuickPast(world, frames.check(made, frames.FINGERPRINTS, "image"))
    start = time.process_time()
    findings = detector.detect(world.batch(), past)
    judged = time.process_time() - start
    count = world.contents.height
    best = (
        findings.signals.sort("strength", descending=True)
        .unique("submission_id", keep="first", maintain_order=True)
    )  # fmt: skip
    found = {r["submission_id"]: r for r in best.iter_rows(named=True)}
    with_picture = set(world.contents["submission_id"])
    kinds: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    honest: dict[str, list[float]] = defaultdict(list)
    group = {r["submission_id"]: r.get("alike_group", r["submission_id"]) for r in truth}
    rows = []
    for r in truth:
        sid = r["submission_id"]
        if sid not in with_picture or r.get("ambiguous"):
            continue
        hit = found.get(sid)
        strength = hit["strength"] if hit else 0.0
        right = bool(hit) and group.get(hit["matched_submission_id"]) == group[sid]
        image = "image" in (r.get("families") or ()) and "image" in str(r.get("kinds"))
        if image:
            kinds[str(r.get("scheme"))].append((strength, right))
        elif r["label"] == "honest":
            honest[str(r.get("confounder"))].append(strength)
        rows.append({
            "submission_id": sid, "label": r["label"],
            "scheme": r.get("scheme"), "param": str(r.get("param")),
            "confounder": r.get("confounder"), "strength": strength, "right": right, "image": image,
            "code": hit["reason_code"] if hit else None, "evidence": hit["evidence"] if hit else None,
            "matched": hit["matched_submission_id"] if hit else None,
            "source": r.get("source_submission_id"),
        })  # fmt: skip
    table = {
        "pictures": count,
        "fingerprint_ms": 1000 * printed / max(count, 1),
        "detect_ms": 1000 * judged / max(count, 1),
        "fraud": {k: _fraud(v) for k, v in sorted(kinds.items())},
        "all_fraud": _fraud([x for v in kinds.values() for x in v]),
        "honest": {k: _honest(v) for k, v in sorted(honest.items())},
        "all_honest": _honest([x for v in honest.values() for x in v]),
    }
    return table, pl.DataFrame(rows, infer_schema_length=None)


def _fraud(values: list[tuple[float, bool]]) -> dict[str, float]:
    n = len(values)
    return {
        "n": n,
        "found": sum(s >= LOOK for s, _ in values) / n,
        "sure": sum(s >= SURE for s, _ in values) / n,
        "attributed": sum(s >= LOOK and r for s, r in values) / max(1, sum(s >= LOOK for s, _ in values)),
    }  # fmt: skip


def _honest(values: list[float]) -> dict[str, float]:
    return {
        "n": len(values),
        "look": sum(LOOK <= s < SURE for s in values),
        "sure": sum(s >= SURE for s in values),
    }


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--drop", default="small")
    ask.add_argument("--format", choices=["table", "json"], default="table")
    ask.add_argument("--misses", action="store_true")
    args = ask.parse_args()
    folder = SHARED / "market" / args.drop
    if not (folder / "truth.jsonl").exists():
        print(f"no labelled drop at {folder}: set BOUNTYGUARD_SHARED", file=sys.stderr)
        return 2
    table, rows = judge(load(folder / "drop"), _lines(folder / "truth.jsonl"))
    if args.format == "json":
        print(json.dumps(table, indent=1))
        return 0
    print(
        f"{table['pictures']} pictures, fingerprint {table['fingerprint_ms']:.1f} ms, "
        f"detect {table['detect_ms']:.1f} ms each"
    )
    for kind, v in [*table["fraud"].items(), ("all image fraud", table["all_fraud"])]:
        print(
            f"{kind:24} n {v['n']:4}  found {v['found']:.3f}  sure {v['sure']:.3f}  "
            f"attributed {v['attributed']:.3f}"
        )
    for kind, v in [*table["honest"].items(), ("all honest", table["all_honest"])]:
        print(f"{kind:24} n {v['n']:4}  worth a look {v['look']:3}  sure {v['sure']:3}")
    if args.misses:
        with pl.Config(tbl_rows=200, tbl_cols=20, fmt_str_lengths=40, tbl_width_chars=300):
            print(
                rows.filter(
                    pl.col("image") & ((pl.col("strength") < SURE) | ~pl.col("right"))
                ).drop("evidence")
            )
            print(rows.filter(~pl.col("image") & (pl.col("strength") >= LOOK)).drop("evidence"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
