"""Decide: from scores to outcomes. Nothing missing is ever read as clean, nor as fraud."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from pipeline.model import frames
from pipeline.model.decisions import OUTCOMES
from pipeline.model.reasons import PENDING_ANALYSIS, degraded
from pipeline.rulebook import Rulebook
from pipeline.rulebook.risk import Promise

RAN: Final[frames.Schema] = {
    "submission_id": pl.String(),
    "detector": pl.String(),
    "applied": pl.Boolean(),
    "ran": pl.Boolean(),
}
"""One row a (submission, detector) that was considered: whether it applied, and whether it answered
(a finding, nothing to find, or an abstention). A submission without a row was never analysed."""

DECIDED: Final[frames.Schema] = {
    "submission_id": pl.String(),
    "score": pl.Int64(),
    "risk_level": pl.String(),
    "outcome": pl.String(),
    "reason_codes": pl.List(pl.String()),
}

_RANK: Final[Mapping[str, int]] = {outcome: rank for rank, outcome in enumerate(OUTCOMES)}


def decide(
    scored: pl.DataFrame,
    ran: pl.DataFrame,
    rulebook: Rulebook,
    *,
    abstentions: pl.DataFrame | None = None,
    promise: Promise | None = None,
    slices: pl.Series | None = None,
) -> pl.DataFrame:
    """Turn a SCORED frame into outcomes: a DECIDED frame, same order.

    In this order: points against the thresholds; a promise of few false holds (``promise``, with
    the slice of each row in ``slices``) raises the threshold or, where the slice is too small, turns
    holds by points into review; overridable blocks hold; an override lets through what was held so
    far; a block declines; an abstention gives at least what the rulebook says for that detector
    (``review``); a detector that applied and did not run, or no analysis at all, holds with
    ``degraded.<detector>`` or ``pending.analysis`` and never declines.
    ``risk_level`` speaks of the evidence alone: what is missing does not raise it.
    """
    frames.check(ran, RAN, "decide: ran")
    hold_at = _hold_at(scored, rulebook, promise, slices)
    score = pl.col("score")
    by_points = (
        pl.when(score >= pl.col("_hold_at"))
        .then(_RANK["block_and_review"])
        .when(score >= rulebook.review_at)
        .then(_RANK["review"])
        .otherwise(_RANK["approve"])
    )
    held = pl.col("overridable_block").list.len() > 0
    judged = scored.with_columns(hold_at).with_columns(
        pl.when(held)
        .then(pl.max_horizontal(by_points, pl.lit(_RANK["block_and_review"])))
        .otherwise(by_points)
        .alias("_evidence")
    )
    let_to = pl.col("lets").replace_strict(dict(_RANK), default=None, return_dtype=pl.Int32)
    overridden = pl.when(pl.col("override").list.len() > 0).then(
        pl.min_horizontal(pl.col("_evidence"), let_to)
    ).otherwise(pl.col("_evidence"))  # fmt: skip
    judged = judged.with_columns(
        pl.when(pl.col("block").list.len() > 0)
        .then(_RANK["decline"])
        .otherwise(overridden)
        .cast(pl.Int32)
        .alias("_evidence")
    )
    missing = _missing(judged, ran, rulebook, abstentions)
    joined = judged.join(missing, on="submission_id", how="left", maintain_order="left")
    ids = {rank: outcome for outcome, rank in _RANK.items()}
    final = pl.max_horizontal(pl.col("_evidence"), pl.col("_missing").fill_null(0))
    codes = pl.concat_list(
        pl.col("reason_codes"), pl.col("_codes").fill_null(pl.lit([], pl.List(pl.String())))
    )
    return frames.check(
        joined.select(
            "submission_id",
            "score",
            pl.col("_evidence")
            .replace_strict({0: "normal", 1: "elevated", 2: "highest", 3: "highest"})
            .cast(pl.String)
            .alias("risk_level"),
            final.replace_strict(ids).cast(pl.String).alias("outcome"),
            codes.list.unique().list.sort().alias("reason_codes"),
        ),
        DECIDED,
        "decide",
    )


def _hold_at(
    scored: pl.DataFrame, rulebook: Rulebook, promise: Promise | None, slices: pl.Series | None
) -> pl.Series:
    """Return the score from which each row is held; 101 where points alone must not hold."""
    if promise is None:
        return pl.Series("_hold_at", [rulebook.hold_at], pl.Int64).new_from_index(0, scored.height)
    named = slices if slices is not None else pl.Series([""]).new_from_index(0, scored.height)
    return pl.Series(
        "_hold_at",
        [max(rulebook.hold_at, promise.threshold(name)) for name in named.to_list()],
        pl.Int64,
    )


def _missing(
    scored: pl.DataFrame, ran: pl.DataFrame, rulebook: Rulebook, abstentions: pl.DataFrame | None
) -> pl.DataFrame:
    """Return what absence alone calls for: ``_missing`` (outcome rank) and ``_codes``, a submission."""
    hold = _RANK["block_and_review"]
    shape = {"submission_id": pl.String(), "_rank": pl.Int32(), "_code": pl.String()}
    gone = ran.filter(pl.col("applied") & ~pl.col("ran")).select(
        "submission_id",
        pl.lit(hold, pl.Int32).alias("_rank"),
        (pl.lit(degraded("")) + pl.col("detector")).alias("_code"),
    )
    never = scored.join(ran, on="submission_id", how="anti").select(
        "submission_id",
        pl.lit(hold, pl.Int32).alias("_rank"),
        pl.lit(PENDING_ANALYSIS).alias("_code"),
    )
    parts = [gone, never]
    if abstentions is not None:
        rank = pl.col("detector").replace_strict(
            {d: _RANK[o] for d, o in rulebook.abstentions.items()},
            default=_RANK["review"],
            return_dtype=pl.Int32,
        )
        parts.append(
            abstentions.select(
                "submission_id",
                rank.alias("_rank"),
                (pl.lit("abstained.") + pl.col("detector")).alias("_code"),
            )
        )
    return (
        pl.concat([frames.check(p, shape, "decide") for p in parts])
        .group_by("submission_id")
        .agg(
            pl.col("_rank").max().alias("_missing"), pl.col("_code").unique().sort().alias("_codes")
        )
    )
