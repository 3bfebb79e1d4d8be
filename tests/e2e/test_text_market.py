"""The text room on a labelled drop: nearly all copies are found, and no honest worker is called sure."""

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from detectors.checks.memory import MemoryBlobs, MemoryPast, World
from detectors.text import detector
from pipeline.decode import open_decoder
from pipeline.model import frames, rows
from pipeline.model.errors import RowError

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[2] / ".." / "shared"))
MARKET = SHARED / "market" / os.environ.get("BOUNTYGUARD_MARKET", "small")


def table(name: str) -> list[dict[str, Any]]:
    known: dict[str, dict[str, Any]] = {}
    for line in (MARKET / "drop" / f"{name}.jsonl").read_bytes().splitlines():
        try:
            row = rows.CHECKS[name](rows.decode_json(line))
        except RowError:
            continue
        known.setdefault(row[rows.KEYS[name]], {"reference_digests": [], **row})
    return list(known.values())


def frame(given: list[dict[str, Any]], schema: frames.Schema) -> pl.DataFrame:
    return pl.DataFrame([{k: r.get(k) for k in schema} for r in given], schema=dict(schema))


@pytest.mark.market
@pytest.mark.skipif(not MARKET.is_dir(), reason=f"no labelled drop at {MARKET}")
def test_text_room_on_a_labelled_drop() -> None:
    with open_decoder() as decoder:
        world = World(
            submissions=frame(table("submissions"), frames.SUBMISSIONS),
            contents=frames.empty(frames.CONTENTS),
            tasks=frame(table("tasks"), frames.TASKS),
            workers=frame(table("workers"), frames.WORKERS),
            events=frames.empty(frames.EVENTS),
            blobs=MemoryBlobs(),
            decoder=decoder,
            assets={},
        )
        signals = detector.detect(world.batch(), MemoryPast.of(world, [detector])).signals
    best = dict(signals.group_by("submission_id").agg(pl.col("strength").max()).iter_rows())
    truth = [json.loads(line) for line in (MARKET / "truth.jsonl").read_bytes().splitlines()]
    frauds = [t["submission_id"] for t in truth if (t["scheme"] or "").startswith("text.")]
    honest = [
        t["submission_id"] for t in truth if t["label"] == "honest" and not t.get("ambiguous")
    ]
    found = sum(best.get(sid, 0.0) >= 0.2 for sid in frauds)
    assert found >= 0.95 * len(frauds)
    assert [sid for sid in honest if best.get(sid, 0.0) >= 0.5] == []
