"""Taking a behaviour log in: a million events into segments, beside row-by-row Python in the same run.

    python benchmarks/trajectory_ingest.py [--format json] [--events 1000000] [--days 3] [--form all]

A made-up log in the order of the day: sessions side by side, one event in a hundred twice, one in fifty
late. ``peak_mib`` is what the process grew to above its start, and is asked of a log of a quarter of
the size too: it must not grow with the log. The peer decodes lines with orjson, drops ids that it has
seen and writes one Parquet file a day.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

START_MS = 1_767_225_600_000.0
FORMS = ("parquet", "jsonl")


def made(events: int, days: int) -> pl.DataFrame:
    """A log of sessions of about 500 events, 40 of them at a time."""
    draw = np.random.default_rng(0)
    session = np.arange(events) // 20_000 * 40 + draw.integers(0, 40, events)
    at = START_MS + np.sort(draw.uniform(0, days * 86_400_000.0, events))
    key = draw.random(events) < 0.1
    log = pl.DataFrame(
        {
            "event_id": [f"e{i:012}" for i in range(events)],
            "session_id": [f"session-{s:08}" for s in session],
            "worker_id": [f"worker-{s % 5000:06}" for s in session],
            "submission_id": pl.Series([None] * events, dtype=pl.String),
            "type": np.where(key, "key.down", "pointer.move"),
            "at": at.round(1),
            "received_at": pl.from_epoch(pl.Series((at + draw.exponential(300, events)).astype(np.int64)), "ms"),
            "x": draw.uniform(0, 1900, events).round(1), "y": draw.uniform(0, 1000, events).round(1),
            "pointer_type": "mouse", "key_class": pl.Series(np.where(key, "character", "")).replace("", None),
            "user_agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36",
        }
    )  # fmt: skip
    log = log.with_columns(
        pl.col("received_at").dt.replace_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
    )
    late = draw.random(events) < 0.02
    twice = log.filter(pl.Series(draw.random(events) < 0.01))
    return pl.concat([log.filter(pl.Series(~late)), twice, log.filter(pl.Series(late))])


def write(log: pl.DataFrame, form: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    if form == "parquet":
        log.write_parquet(folder / "events.parquet", row_group_size=250_000)
        return
    log.with_columns(pl.col("received_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")).write_ndjson(
        folder / "events.jsonl"
    )


def peak_mib() -> int:
    """The most memory that this process ever held (Linux)."""
    status = Path("/proc/self/status").read_text()
    return (
        next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        // 1024
    )


def taken(drop: Path, home: Path) -> dict[str, Any]:
    """Ingest in this process; seconds, processor seconds, growth of the process."""
    from pipeline.bootstrap import open_house
    from pipeline.line import take_in
    from pipeline.settings import load_settings

    with open_house(load_settings(home=home)) as house:
        before = peak_mib()
        wall, cpu = time.perf_counter(), time.process_time()
        report = take_in(house, drop)
        return {
            "s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu,
            "peak_mib": peak_mib() - before,
            **report.as_json()["events"],
        }  # fmt: skip


def peer(drop: Path, out: Path) -> dict[str, Any]:
    """The same by the row in plain Python."""
    out.mkdir()
    before = peak_mib()
    wall, cpu = time.perf_counter(), time.process_time()
    known: set[str] = set()
    days: dict[int, list[dict[str, Any]]] = {}
    with (drop / "events.jsonl").open("rb") as file:
        for line in file:
            row = orjson.loads(line)
            if row["event_id"] not in known:
                known.add(row["event_id"])
                days.setdefault(int(row["at"] // 86_400_000), []).append(row)
    for day, rows in days.items():
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(out / f"{day}.parquet")
    return {
        "s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "new": len(known),
        "peak_mib": peak_mib() - before,
    }  # fmt: skip


def alone(*arguments: str) -> dict[str, Any]:
    """Run one measurement in a process of its own, so that growth is its own."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments], check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(events: int, days: int, forms: tuple[str, ...]) -> list[dict[str, Any]]:
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (events // 4, events):
            log = made(count, days)
            for form in forms:
                drop = Path(folder) / f"{form}-{count}"
                write(log, form, drop)
                told = alone("--take", str(drop), str(drop) + "-home")
                out.append({"way": form, "events": log.height, **told})
        if "jsonl" in forms:
            told = alone("--peer", str(drop), str(drop) + "-peer")
            out.append({"way": "jsonl by the row (peer)", "events": log.height, **told})
    for row in out:
        row["events_s"] = round(row["events"] / row["s"])
        row["s"], row["cpu_s"] = round(row["s"], 2), round(row["cpu_s"], 2)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--form", choices=["all", *FORMS], default="all")
    parser.add_argument("--take", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--peer", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.take or options.peer:
        print(json.dumps(taken(*options.take) if options.take else peer(*options.peer)))
        return
    forms = FORMS if options.form == "all" else (options.form,)
    told = measured(options.events, options.days, forms)
    if options.format == "json":
        print(json.dumps(told, indent=1))
        return
    with pl.Config(tbl_cols=20, tbl_width_chars=160, tbl_hide_dataframe_shape=True):
        print(pl.DataFrame(told))


if __name__ == "__main__":
    main()
