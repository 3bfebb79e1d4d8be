"""Automation on real pointer traces: unseen families, real bots, calibration by worker, other people.

    python benchmarks/trajectory_traces.py [--format json] [--draws 200] [--only heldout|real|draws|shift]

Sessions of ten strokes; people split by a hash of their id into training (half), calibration and test;
one score a worker calibrates. ``recall`` and ``honest`` follow the room's rule (p at the level, and more
like a script than a hand); ``p_only`` is what the p-value alone flags at ``level``; ``native`` and
``borrowed`` are the recall where all strokes have a script's timing, and where all have a person's.
``shift`` trains and calibrates on one source, where each session counts as a worker of its own, and takes
both files to another: what is accused there, and what still is once the calibration has been held
against its people. Reads the development traces beside the project.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xxhash

from detectors.kit import strokes
from detectors.trajectory import (
    automation,
    calibration,
    forest,
    generators,
    model,
    shift,
    training,
)
from detectors.trajectory.calibration import p_value
from detectors.trajectory.sessions import observe
from pipeline.model import frames

SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", Path(__file__).parents[2] / "shared"))
STROKES = 10
UNSEEN = 3000
ALPHA = 0.01
SHARE = 0.8


def load(source: str) -> tuple[strokes.Strokes, list[str], list[str]]:
    """Strokes of a source; for each owner the worker and the label."""
    rows = (
        pl.read_parquet(SHARED / "traces" / f"pointer_{source}.parquet")
        .filter(pl.col("type") == "pointer.move", pl.col("x").is_not_null())
        .filter(pl.col("pointer_type") == "mouse")
        .sort("session_id", "at", maintain_order=True)
    )
    owner = rows["session_id"].rle_id().to_numpy().astype(np.int64)
    heads = rows.unique("session_id", keep="first", maintain_order=True)
    cut = strokes.of_points(
        tuple(heads["session_id"]), owner,
        *(rows[c].to_numpy().astype(np.float64) for c in ("at", "x", "y")),
    )  # fmt: skip
    return cut, heads["worker_id"].to_list(), heads["label"].to_list()


def part(worker: str) -> str:
    return ("train", "train", "calibrate", "test")[xxhash.xxh3_64_intdigest(worker.encode()) % 4]


def sessions_of(scores: np.ndarray, groups: np.ndarray) -> dict[Any, np.ndarray]:
    """Mean score of each run of ten strokes, by group."""
    out = {}
    for name in np.unique(groups):
        mine = scores[groups == name]
        whole = mine[: len(mine) // STROKES * STROKES].reshape(-1, STROKES)
        out[name] = whole.sum(axis=1) / (STROKES + model.SHRINK)
    return out


def judge(boosted: forest.Forest, alone: forest.Forest, features: np.ndarray) -> np.ndarray:
    clipped = np.clip(boosted.score(features), -model.LOGIT_MAX, model.LOGIT_MAX)
    return np.stack([clipped, alone.score(features)], axis=1)


def fused(null: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """p-values (n,) of session scores (n, 2) against calibration scores (workers, 2)."""
    a, b = np.sort(null[:, 0]), np.sort(null[:, 1])
    return np.array(
        [min(1.0, p_value(a, x) / SHARE, p_value(b, y) / (1 - SHARE)) for x, y in scores]
    )


def pair(scores: np.ndarray, groups: np.ndarray) -> dict[Any, np.ndarray]:
    first, second = (sessions_of(scores[:, k], groups) for k in (0, 1))
    return {g: np.stack([first[g], second[g]], axis=1) for g in first if len(first[g])}


def auc(people: np.ndarray, bots: np.ndarray) -> float:
    order = np.concatenate([people, bots])
    ranks = pl.Series(order).rank("average").to_numpy()
    n, m = len(people), len(bots)
    return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))


def interval(k: int, n: int) -> str:
    """Wilson interval, 95 %."""
    if n == 0:
        return "-"
    z, p = 1.96, k / n
    mid, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return f"{(mid - half) / (1 + z * z / n):.3f}-{(mid + half) / (1 + z * z / n):.3f}"


class Bench:
    """Human strokes of SapiMouse, described once."""

    def __init__(self) -> None:
        self.cut, workers, _ = load("sapimouse")
        self.features, self.good = strokes.describe(self.cut)
        self.worker = np.array(workers)[self.cut.owner]
        self.part = np.array([part(w) for w in workers])[self.cut.owner]

        hand = generators.borrow(self.cut, self.rows("train"))
        self.bots, self.family = training._bots(
            hand, training.GENERATED, training.SEED, generators.ALL
        )

    def rows(self, *parts: str) -> np.ndarray:
        return np.flatnonzero(self.good & np.isin(self.part, parts))

    def null(self, scores: np.ndarray, workers: np.ndarray, seed: int) -> np.ndarray:
        """One session a calibration worker, drawn."""
        draw = np.random.default_rng(seed)
        by = pair(scores, workers)
        return np.array([s[draw.integers(len(s))] for s in by.values()])

    def grow(
        self, people: np.ndarray, bots: np.ndarray, known: np.ndarray
    ) -> tuple[forest.Forest, forest.Forest]:
        return training._grow(people, bots, known, rough=False), training._isolate(people)

    def heldout(self, name: str) -> list[dict[str, Any]]:
        """Train without one family; flag the unseen and the people."""
        train = self.rows("train")
        bots = self.bots[self.family != generators.ALL.index(name)]
        boosted, alone = self.grow(self.features[train], bots, np.zeros((0, bots.shape[1])))
        unseen_hand = generators.borrow(self.cut, self.rows("test"))
        row: dict[str, Any] = {}
        usual = generators.HUMAN_TIMING
        for column, timing in (("native", 0.0), ("borrowed", 1.0), ("", usual)):
            generators.HUMAN_TIMING = timing  # type: ignore[misc]
            unseen, _ = training._bots(unseen_hand, UNSEEN, 77, (name,))
            told = self.report(name, boosted, alone, unseen)
            row |= {column: told["recall"]} if column else told
        return [row]

    def report(
        self, name: str, boosted: forest.Forest, alone: forest.Forest, unseen: np.ndarray
    ) -> dict[str, Any]:
        """Calibrate on all people that the training has not seen but the one judged (leave one out)."""
        rows = self.rows("calibrate", "test")
        scores = judge(boosted, alone, self.features[rows])
        people = pair(scores, self.worker[rows])
        null = self.null(scores, self.worker[rows], 5)
        names = list(people)
        told = [fused(np.delete(null, i, axis=0), people[w]) for i, w in enumerate(names)]
        honest = np.concatenate(told)
        bot = judge(boosted, alone, unseen)
        bot_sessions = pair(bot, np.zeros(len(bot), np.int64))[0]
        p = fused(null, bot_sessions)
        floor = 1.0 / (len(null) + 1) / SHARE
        level = max(ALPHA, floor)
        # One worker fewer calibrates the people: their least p-value is that much greater.
        own = max(ALPHA, 1.0 / len(null) / SHARE)
        scores_of = np.concatenate([people[w][:, 0] for w in names])
        told_to_people = honest <= own + 1e-12
        room = told_to_people & (scores_of >= automation.SCORE_MIN)
        hit = (p <= level + 1e-12) & (bot_sessions[:, 0] >= automation.SCORE_MIN)
        worst = max(float((t <= own + 1e-12).mean()) for t in told)
        both = np.concatenate(list(people.values()))
        mean, spread = both.mean(axis=0), both.std(axis=0)
        curve = [((s - mean) / spread * (1.0, 0.8)).max(axis=1) for s in (both, bot_sessions)]
        return {
            "unseen": name, "auc": round(auc(*curve), 4),
            "recall": round(float(hit.mean()), 4), "bots": len(p),
            "recall_95": interval(int(hit.sum()), len(p)),
            "p_only": round(float(told_to_people.mean()), 4), "level": round(own, 4),
            "honest": round(float(room.mean()), 4), "people": len(honest),
            "honest_95": interval(int(room.sum()), len(honest)),
            "worst_worker": round(worst, 3), "workers": len(null),
        }  # fmt: skip

    def real(self) -> list[dict[str, Any]]:
        """DELBOT's programs, unseen and (all but the tested half) seen."""
        cut, _, labels = load("delbot")
        described, good = strokes.describe(cut)
        label = np.array(labels)[cut.owner]
        half = np.array([xxhash.xxh3_64_intdigest(s.encode()) % 2 for s in cut.ids])[cut.owner]
        train = self.rows("train")
        bots = self.bots
        out = []
        for name in ("bot:gan", "bot:pynput", "bot:pyhm"):
            others = described[good & np.char.startswith(label, "bot") & (label != name)]
            test = described[good & (label == name) & (half == 1)]
            seen = described[good & (label == name) & (half == 0)]
            for known, told in ((others, "unseen"), (np.concatenate([others, seen]), "seen")):
                grown, alone = self.grow(self.features[train], bots, known)
                row = self.report(f"{name} {told}", grown, alone, test)
                out.append(row)
        return out

    def draws(self, count: int) -> list[dict[str, Any]]:
        """Honest flag rate over random draws of calibration workers, at nominal levels."""
        train = self.rows("train")
        bots = self.bots
        boosted, alone = self.grow(self.features[train], bots, np.zeros((0, bots.shape[1])))
        rows = self.rows("calibrate", "test")
        people = pair(judge(boosted, alone, self.features[rows]), self.worker[rows])
        names = sorted(people)
        out = []
        for alpha in (0.05, 0.1, 0.2):
            rates = []
            for k in range(count):
                draw = np.random.default_rng([9, k])
                order = draw.permutation(len(names))
                cal, test = order[: 2 * len(order) // 3], order[2 * len(order) // 3 :]
                null = np.array(
                    [people[names[i]][draw.integers(len(people[names[i]]))] for i in cal]
                )
                one = np.array(
                    [people[names[i]][draw.integers(len(people[names[i]]))] for i in test]
                )
                rates.append(float((fused(null, one) <= alpha).mean()))
            out.append(
                {
                    "alpha": alpha, "draws": count, "mean": round(float(np.mean(rates)), 4),
                    "p95": round(float(np.quantile(rates, 0.95)), 4),
                    "calibration_workers": len(cal), "test_workers": len(test),
                }
            )  # fmt: skip
        return out


def platform(source: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """People's strokes of a source as submissions of ten strokes, each of a worker of its own."""
    cut, workers, labels = load(source)
    human = np.array([label == "human" for label in labels])
    _, good = strokes.describe(cut)
    group = np.array(workers if source == "delbot" else cut.ids)[cut.owner]
    names = np.full(len(cut), "", dtype=object)
    for one in np.unique(group):
        mine = np.flatnonzero(good & human[cut.owner] & (group == one))
        for n in range(len(mine) // STROKES):
            names[mine[n * STROKES : (n + 1) * STROKES]] = f"{source}/{one}/{n}"
    stroke = np.repeat(np.arange(len(cut)), np.diff(cut.start))
    rows = pl.DataFrame(
        {
            "submission_id": names[stroke].astype(str),
            "stroke": stroke,
            "t": cut.t,
            "x": cut.x,
            "y": cut.y,
        }
    ).filter(pl.col("submission_id") != "")
    since = pl.col("t") - pl.col("t").min().over("stroke")
    sid = pl.col("submission_id")
    events = rows.with_row_index().select(
        pl.col("index").cast(pl.String).alias("event_id"), sid, sid.alias("session_id"),
        sid.alias("worker_id"), pl.lit("pointer.move").alias("type"), pl.lit("mouse").alias("pointer_type"),
        (1.7e12 + 10_000.0 * pl.col("stroke") + since).alias("at"), "x", "y",
    )  # fmt: skip
    heads = rows.select("submission_id").unique(maintain_order=True)
    submissions = heads.select(
        sid, sid.alias("worker_id"), pl.lit("t").alias("task_id"), sid.alias("session_id"),
        pl.lit("").alias("text"), pl.lit("{}").alias("extra"),
    )  # fmt: skip
    return frames.conform(submissions, frames.SUBMISSIONS), frames.conform(events, frames.EVENTS)


def accused(assets: dict[str, bytes], source: str) -> dict[str, int]:
    """How many honest sessions of a source abstain, are worth a look, are sure."""
    submissions, events = platform(source)
    sessions = observe(submissions, TASKS, events)
    trained, norm = model.load(assets[model.ASSET]), calibration.load(assets.get(calibration.ASSET))
    cases = [automation.Case() for _ in range(sessions.table.height)]
    silent = automation._modelled(sessions, trained, norm, cases)
    strengths = [case.verdict()[0] for case in cases]
    return {
        "sessions": len(cases), "abstains": len(silent),
        "worth a look": sum(0.0 < s < 0.5 for s in strengths), "sure": sum(s >= 0.5 for s in strengths),
    }  # fmt: skip


def elsewhere() -> list[dict[str, Any]]:
    """Assets made on SapiMouse, at home and taken to Balabit and DELBOT's people."""
    submissions, events = platform("sapimouse")
    assets = dict(training.self_train(submissions, TASKS, events))
    out: list[dict[str, Any]] = []
    for source in ("sapimouse", "balabit", "delbot"):
        there = platform(source)
        alone = {model.ASSET: assets[model.ASSET]}
        left = shift.withdraw(assets, there[0], TASKS, there[1])
        watched = assets if left is None else {**assets, calibration.ASSET: left}
        for carried, files in (("model", alone), ("both", assets), ("both, watched", watched)):
            out.append({"people": source, "carried": carried, **accused(files, source)})
    return out


TASKS = frames.conform(
    pl.DataFrame([{"task_id": "t", "category": "c", "reference_digests": [], "extra": "{}"}]),
    frames.TASKS,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--only", choices=["heldout", "real", "draws", "shift"])
    options = parser.parse_args()
    if not (SHARED / "traces").is_dir():
        sys.exit("the development traces are not beside the project (BOUNTYGUARD_SHARED)")
    bench = Bench()
    tables: dict[str, list[dict[str, Any]]] = {}
    if options.only in (None, "heldout"):
        tables["heldout"] = [row for name in generators.ALL for row in bench.heldout(name)]
    if options.only in (None, "real"):
        tables["real"] = bench.real()
    if options.only in (None, "draws"):
        tables["draws"] = bench.draws(options.draws)
    if options.only in (None, "shift"):
        tables["shift"] = elsewhere()
    if options.format == "json":
        print(json.dumps(tables, indent=1))
        return
    with pl.Config(tbl_cols=20, tbl_rows=40, tbl_width_chars=180, tbl_hide_dataframe_shape=True):
        for name, rows in tables.items():
            print(name)
            print(pl.DataFrame(rows))


if __name__ == "__main__":
    main()
