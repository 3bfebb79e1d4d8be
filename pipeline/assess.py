"""Assess: detect → score → decide. What the command line, the API and the flows all call.

One batch in, findings and decisions out; nothing is written. ``pipeline.rounds`` drives it over
everything that waits.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from pipeline.model import frames
from pipeline.ports import Batch, Detector, Past
from pipeline.rulebook import Rulebook
from pipeline.rulebook.backtest import JUDGED
from pipeline.rulebook.facts import slices
from pipeline.rulebook.risk import Promise
from pipeline.stages.decide import decide
from pipeline.stages.detect import Found, detect, first_and_second
from pipeline.stages.score import ScoreFacts, score


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Who judges: the detectors, the rulebook, and what the rules may ask beside the findings.

    ``circumstances`` gives credit standing, velocity counters and lists for a batch; ``promise`` is
    the promise of few false holds that was made for this rulebook, if one was.
    """

    detectors: tuple[Detector, ...]
    rulebook: Rulebook
    circumstances: Callable[[Batch, pl.DataFrame], Mapping[str, Any]]
    promise: Promise | None = None

    @property
    def versions(self) -> dict[str, str]:
        """Return the version of each detector."""
        return {d.spec.name: d.spec.version for d in self.detectors}


def assess(
    batch: Batch, past: Past, bench: Bench, kept: Found | None = None
) -> tuple[Found, pl.DataFrame]:
    """Detect, score and decide: return what was found and an ASSESSMENTS frame without time.

    ``kept`` is what the first detectors found already; then only those that read others' signals
    are asked. One submission is a batch of one.
    """
    first, second = first_and_second(bench.detectors)
    found = detect(batch, past, first) if kept is None else kept
    found += detect(with_signals(batch, found.signals), past, second)
    facts = ScoreFacts(
        submissions=batch.submissions,
        tasks=batch.tasks,
        workers=batch.workers,
        signals=found.signals,
        abstentions=found.abstentions,
        **bench.circumstances(batch, found.signals),
    )
    scored = score(facts, bench.rulebook)
    decided = decide(
        scored,
        _considered(batch, found, bench),
        bench.rulebook,
        abstentions=found.abstentions,
        promise=bench.promise,
        slices=slices(facts, bench.rulebook.names, bench.rulebook.slices)
        if bench.promise
        else None,
    )
    return found, _written(found, scored, decided, bench)


def rejudge(facts: ScoreFacts, rulebook: Rulebook) -> pl.DataFrame:
    """Score and decide by another rulebook what was found already: a JUDGED frame for backtests."""
    scored = score(facts, rulebook)
    looked = facts.submissions.select(
        "submission_id",
        pl.lit("all").alias("detector"),
        pl.lit(True).alias("applied"),
        pl.lit(True).alias("ran"),
    )
    decided = decide(scored, looked, rulebook, abstentions=facts.abstentions)
    rules = scored.select("submission_id", "rules", "shadow")
    return decided.join(rules, on="submission_id", maintain_order="left").select(list(JUDGED))


def _considered(batch: Batch, found: Found, bench: Bench) -> pl.DataFrame:
    """Say for every registered detector whether it has looked at each submission."""
    expected = pl.DataFrame({"detector": sorted(bench.versions)}, schema={"detector": pl.String})
    looked = found.ran.select("submission_id", "detector", pl.lit(True).alias("ran"))
    return (
        batch.submissions.select("submission_id")
        .join(expected, how="cross")
        .join(looked, on=["submission_id", "detector"], how="left")
        .select(
            "submission_id",
            "detector",
            pl.lit(True).alias("applied"),
            pl.col("ran").fill_null(False),
        )
    )


def _written(
    found: Found, scored: pl.DataFrame, decided: pl.DataFrame, bench: Bench
) -> pl.DataFrame:
    """Write decisions out as an ASSESSMENTS frame; what they rest on is in ``input_digest``."""
    signals = _by_submission(found.signals)
    abstentions = _by_submission(found.abstentions)
    arithmetic = dict(scored.select("submission_id", "arithmetic").iter_rows())
    versions = _canonical(bench.versions)
    rows = []
    for row in decided.iter_rows(named=True):
        sid = row["submission_id"]
        written = row | {
            "signals": _canonical(signals.get(sid, [])),
            "abstentions": _canonical(abstentions.get(sid, [])),
            "arithmetic": arithmetic[sid],
            "ruleset_digest": bench.rulebook.digest,
            "detector_versions": versions,
        }
        digest = hashlib.sha256(_canonical(written).encode()).hexdigest()
        rows.append(written | {"input_digest": digest, "evaluation_status": "new"})
    return pl.DataFrame(rows, schema=dict(frames.ASSESSMENTS))


def _by_submission(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in frame.sort(frame.columns, nulls_last=True).iter_rows(named=True):
        if "evidence" in row:
            row["evidence"] = orjson.loads(row["evidence"])
        grouped.setdefault(row.pop("submission_id"), []).append(row)
    return grouped


def _canonical(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def with_signals(batch: Batch, signals: pl.DataFrame) -> Batch:
    """Return the batch beside what was found about it."""
    return Batch(
        submissions=batch.submissions,
        contents=batch.contents,
        tasks=batch.tasks,
        workers=batch.workers,
        events=batch.events,
        blobs=batch.blobs,
        decoder=batch.decoder,
        signals=signals,
    )
