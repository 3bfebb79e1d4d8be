"""The room over a labelled drop, trained and calibrated on the drop itself without its labels.

    python benchmarks/trajectory_market.py [--market full] [--fresh] [--draws 200] [--format json]

``--fresh`` judges without any asset, as a first installation does. ``draws`` is the share of honest workers
whose p-value is at most 1 % when a random half of the others calibrates. Reads ``market/`` beside the project.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from detectors.checks import Blind, MemoryPast, World
from detectors.checks.memory import MemoryBlobs
from detectors.trajectory import calibration, detector, model, self_train
from detectors.trajectory.automation import ALPHA, SHARE_MODEL
from detectors.trajectory.sessions import observe
from pipeline.model import frames

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[2] / "shared"))
KINDS = {
    "bot": "automated", "replay": "replayed", "travel": "impossible_travel",
    "mocked": "location_mocked", "off_site": "off_site", "pasted": "pasted", "too_fast": "too_fast",
}  # fmt: skip
LOOK_ALIKES = ("touch_few_moves", "keyboard_only", "fast_simple", "legit_paste", "office_nat")


def rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def named(value: Any) -> str | None:
    return value if isinstance(value, str) and 1 <= len(value) <= 128 else None


def instant(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False, time_zone="UTC"
    )


def load(folder: Path) -> World:
    """Read a drop, leaving out what an ingest would quarantine."""
    names = ("submission_id", "task_id", "worker_id", "claimed_at", "submitted_at", "session_id",
             "device_id", "ip", "supersedes")  # fmt: skip
    given = [
        {**{n: named(r.get(n)) for n in names}, "text": r.get("text") or "", "extra": "{}"}
        for r in rows(folder / "submissions.jsonl")
        if isinstance(r.get("text") or "", str)
    ]
    submissions = (
        pl.DataFrame(given, infer_schema_length=None)
        .with_columns(instant("claimed_at"), instant("submitted_at"))
        .drop_nulls(["submission_id", "task_id", "worker_id", "submitted_at"])
        .unique("submission_id", keep="first", maintain_order=True)
    )
    tasks = []
    for r in rows(folder / "tasks.jsonl"):
        site = r.get("site") or {}
        tasks.append(
            {
                "task_id": named(r.get("task_id")), "category": r.get("category"),
                "site_lat": site.get("lat"), "site_lon": site.get("lon"),
                "site_radius_m": site.get("radius_m"), "reference_digests": [], "extra": "{}",
            }
        )  # fmt: skip
    task_frame = pl.DataFrame(tasks, infer_schema_length=None).drop_nulls("task_id")
    events = (
        pl.read_parquet(folder / "events" / "*.parquet")
        .drop_nulls(["event_id", "at"])
        .filter(pl.col("type") != "pointer.teleport")
        .unique("event_id", keep="first", maintain_order=True)
    )
    workers = submissions.select("worker_id").unique()
    return World(
        submissions=frames.conform(submissions, frames.SUBMISSIONS),
        contents=frames.empty(frames.CONTENTS),
        tasks=frames.conform(task_frame.unique("task_id"), frames.TASKS),
        workers=frames.conform(workers, frames.WORKERS),
        events=frames.conform(events, frames.EVENTS),
        blobs=MemoryBlobs(),
        decoder=Blind(),
        assets={},
    )


def draws(world: World, honest: set[str], count: int) -> dict[str, Any]:
    """Calibrate on one random half of the honest workers, count the other half's p-values <= 1 %."""
    batch = world.batch()
    sessions = observe(batch.submissions, batch.tasks, batch.events)
    trained = model.load(world.assets[model.ASSET])
    if trained is None:
        return {}
    scores = trained.score(sessions)
    mouse = (pl.col("pointer") == "mouse") & pl.col("submission_id").is_in(list(honest))
    table = sessions.table.with_columns(
        pl.Series("score", scores.all), pl.Series("strange", scores.strange), pl.Series("judged", sessions.judged)
    ).filter(mouse & pl.col("judged"))  # fmt: skip
    rates = []
    for k in range(count):
        draw = np.random.default_rng([4, k])
        order = draw.permutation(table.height)
        each = table[order].unique("worker_id", keep="first", maintain_order=True)
        half = each.height // 2
        null = [np.sort(each[name][:half].to_numpy()) for name in ("score", "strange")]
        rest = each[half:].select("score", "strange").rows()
        p = [
            min(calibration.p_value(null[0], a) / SHARE_MODEL, calibration.p_value(null[1], b) / (1 - SHARE_MODEL))
            for a, b in rest
        ]  # fmt: skip
        rates.append(float(np.mean(np.array(p) <= ALPHA)))
    return {
        "alpha": ALPHA, "draws": count, "mean": round(float(np.mean(rates)), 5),
        "p95": round(float(np.quantile(rates, 0.95)), 5), "calibration_workers": half,
        "test_workers": each.height - half,
    }  # fmt: skip


def judge(market: Path, fresh: bool, count: int) -> dict[str, Any]:
    world = load(market / "drop")
    truth = pl.read_ndjson(market / "truth.jsonl", infer_schema_length=None)
    batch = world.batch()
    clock = [time.process_time()]
    if not fresh:
        assets = self_train(batch.submissions, batch.tasks, batch.events)
        world = replace(world, assets=assets)
        batch = world.batch()
    clock.append(time.process_time())
    past = MemoryPast.of(world, [detector])
    clock.append(time.process_time())
    findings = detector.detect(batch, past)
    clock.append(time.process_time())
    signals = findings.signals
    table = []
    for scheme, finding in KINDS.items():
        ids = truth.filter(pl.col("scheme") == f"trajectory.{scheme}")["submission_id"].to_list()
        mine = signals.filter(
            pl.col("submission_id").is_in(ids), pl.col("reason_code") == f"trajectory.{finding}"
        )
        sure = mine.filter(pl.col("strength") >= 0.5)
        table.append(
            {
                "scheme": f"trajectory.{scheme}", "n": len(ids),
                "found": mine["submission_id"].n_unique(), "sure": sure["submission_id"].n_unique(),
            }
        )  # fmt: skip
    certain = (pl.col("label") == "honest") & ~pl.col("ambiguous").fill_null(False)
    honest = truth.filter(certain).select("submission_id", "confounder")
    accused = signals.join(honest, on="submission_id")
    people = []
    for name in (None, *LOOK_ALIKES):
        here = pl.lit(True) if name is None else pl.col("confounder") == name
        mine = accused.filter(here)
        people.append(
            {
                "honest": name or "all", "n": honest.filter(here).height,
                "worth a look": mine["submission_id"].n_unique(),
                "sure": mine.filter(pl.col("strength") >= 0.5)["submission_id"].n_unique(),
            }
        )  # fmt: skip
    steps = ("train", "fingerprint", "detect")
    seconds = {s: round(b - a, 2) for s, a, b in zip(steps, clock, clock[1:], strict=False)}
    return {
        "fraud": table, "honest": people, "seconds": seconds, "events": batch.events.height,
        "abstentions": findings.abstentions.height,
        "draws": {} if fresh or model.ASSET not in world.assets else draws(world, set(honest["submission_id"]), count),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--market", default="full", choices=["mini", "small", "full"])
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args()
    market = SHARED / "market" / options.market
    if not market.is_dir():
        sys.exit("the labelled drops are not beside the project (BOUNTYGUARD_SHARED)")
    told = judge(market, options.fresh, options.draws)
    if options.format == "json":
        print(json.dumps(told, indent=1))
        return
    with pl.Config(tbl_rows=20, tbl_hide_dataframe_shape=True):
        print(pl.DataFrame(told["fraud"]))
        print(pl.DataFrame(told["honest"]))
    print(f"draws {told['draws']}")
    print(
        f"processor seconds {told['seconds']}, {told['events']} events, {told['abstentions']} abstentions"
    )


if __name__ == "__main__":
    main()
