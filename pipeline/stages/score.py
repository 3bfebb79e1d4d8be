"""Score: apply the rulebook to what is known of submissions, and show the arithmetic."""

from typing import Final

import orjson
import polars as pl

from pipeline.model import frames
from pipeline.rulebook import Rulebook
from pipeline.rulebook.engine import Judged, judge, needed, reason_codes
from pipeline.rulebook.facts import ScoreFacts, features, standing, subjects
from pipeline.rulebook.totals import family_sums, scores

__all__ = ["SCORED", "ScoreFacts", "score"]

SCORED: Final[frames.Schema] = {
    "submission_id": pl.String(),
    "worker_id": pl.String(),
    "score": pl.Int64(),
    "reason_codes": pl.List(pl.String()),
    "rules": pl.List(pl.String()),
    "shadow": pl.List(pl.String()),
    "unknown": pl.List(pl.String()),
    "block": pl.List(pl.String()),
    "overridable_block": pl.List(pl.String()),
    "override": pl.List(pl.String()),
    "lets": pl.String(),
    "arithmetic": pl.String(),
}
"""One row a submission. ``rules`` are the ids that hit and count (hard ones too), ``shadow`` those
that hit and change nothing, ``unknown`` those that lacked a fact. ``block``, ``overridable_block``
and ``override`` are the hard conditions met; ``lets`` the outcome that an override lets through.
``arithmetic`` is canonical JSON: every rule's points, the families' sums and ceilings, the score."""


def score(facts: ScoreFacts, rulebook: Rulebook) -> pl.DataFrame:
    """Judge each submission of ``facts.submissions`` by the rulebook: a SCORED frame, same order.

    Pure: the same facts and rulebook give the same bytes, whatever else is in the batch.
    """
    _check(facts)
    columns = features(facts, rulebook.names, needed(rulebook))
    ids = facts.submissions["submission_id"]
    bearing = ids.is_in(facts.signals["submission_id"].unique().implode())
    judged = judge(columns, rulebook, facts.submissions["worker_id"], bearing=bearing)
    hits = _snoozed(judged, facts)
    counted = hits.filter(pl.col("live") & ~pl.col("snoozed"))
    rows = facts.submissions.select("submission_id", "worker_id").with_row_index("row")
    signals = (
        facts.signals.select("submission_id", "reason_code")
        .unique()
        .join(rows, on="submission_id", how="inner")
    )
    codes = reason_codes(judged.rules, counted, signals.select("row", "reason_code"))
    sums = family_sums(counted, judged.rules, rulebook)
    told = codes.group_by("row").agg(pl.col("reason_code").unique().sort().alias("reason_codes"))
    some = (  # the rows that any rule has something to say of: few, so they are joined first
        _rule_lists(judged, hits)
        .join(scores(sums), on="row", how="left")
        .join(told, on="row", how="left")
        .join(_arithmetic(judged, hits, sums, codes, rulebook), on="row", how="left")
    )
    scored = rows.join(some, on="row", how="left", maintain_order="left")
    nothing = _nothing(rulebook)
    lists = [name for name, dtype in SCORED.items() if isinstance(dtype, pl.List)]
    filled = scored.with_columns(
        pl.col("score").fill_null(0),
        pl.col("arithmetic").fill_null(nothing),
        *(pl.col(name).fill_null(pl.lit([], pl.List(pl.String()))) for name in lists),
    )
    return frames.check(frames.conform(filled, SCORED), SCORED, "score")


def _check(facts: ScoreFacts) -> None:
    frames.check(facts.submissions, frames.SUBMISSIONS, "score: submissions")
    frames.check(facts.tasks, frames.TASKS, "score: tasks")
    frames.check(facts.workers, frames.WORKERS, "score: workers")
    frames.check(facts.signals, frames.SIGNALS, "score: signals")
    frames.check(facts.abstentions, frames.ABSTENTIONS, "score: abstentions")
    if facts.submissions["submission_id"].is_duplicated().any():
        raise ValueError("score: a submission stands twice in one batch")


def _snoozed(judged: Judged, facts: ScoreFacts) -> pl.DataFrame:
    """Add ``snoozed``: a person silenced this rule for one of the submission's subjects."""
    snoozes = standing(facts.snoozes, facts.at).select("rule", "subject", "value").unique()
    if snoozes.is_empty() or judged.hits.is_empty():
        return judged.hits.with_columns(pl.lit(False).alias("snoozed"))
    ids = pl.DataFrame(
        {"rule": range(len(judged.rules)), "id": [r.id for r in judged.rules]},
        schema={"rule": pl.UInt32(), "id": pl.String()},
    )
    who = subjects(facts).with_row_index("row")
    named = who.unpivot(
        index="row", on=[c for c in who.columns if c not in ("row", "submission_id")]
    ).drop_nulls("value")
    silent = (
        snoozes.join(ids, left_on="rule", right_on="id", how="inner", suffix="_index")
        .join(named, left_on=["subject", "value"], right_on=["variable", "value"], how="inner")
        .select("row", pl.col("rule_index").alias("rule"), pl.lit(True).alias("snoozed"))
        .unique()
    )
    return (
        judged.hits.join(silent, on=["row", "rule"], how="left")
        .with_columns(pl.col("snoozed").fill_null(False))
        .sort("row", "rule")
    )


def _rule_lists(judged: Judged, hits: pl.DataFrame) -> pl.DataFrame:
    """Return, a row, the ids of the rules that hit, by what they do."""
    about = pl.DataFrame(
        {
            "rule": range(len(judged.rules)),
            "id": [r.id for r in judged.rules],
            "hard": [r.hard for r in judged.rules],
            "to": [r.to for r in judged.rules],
        },
        schema={"rule": pl.UInt32(), "id": pl.String(), "hard": pl.String(), "to": pl.String()},
    )
    told = hits.join(about, on="rule", how="left", maintain_order="left")
    counts = pl.col("live") & ~pl.col("snoozed")
    ids = pl.col("id")
    lists = told.group_by("row", maintain_order=True).agg(
        ids.filter(counts).sort().alias("rules"),
        ids.filter(~pl.col("live")).sort().alias("shadow"),
        *(
            ids.filter(counts & (pl.col("hard") == kind)).sort().alias(kind)
            for kind in ("block", "overridable_block", "override")
        ),
        # two overrides may differ: the more careful one wins, and "review" sorts last
        pl.col("to").filter(counts & (pl.col("hard") == "override")).max().alias("lets"),
    )
    unknown = (
        judged.unknown.join(about, on="rule", how="left")
        .group_by("row")
        .agg(ids.sort().alias("unknown"))
    )
    return lists.join(unknown, on="row", how="full", coalesce=True)


def _arithmetic(
    judged: Judged,
    hits: pl.DataFrame,
    sums: pl.DataFrame,
    codes: pl.DataFrame,
    rulebook: Rulebook,
) -> pl.DataFrame:
    """Write out, for each row with a hit, how its score came about: canonical JSON.

    Written by the column, not by the row: what a rule or a family says is encoded once.
    """
    told = codes.group_by("row", "rule").agg(
        pl.concat_str(pl.lit('"'), "reason_code", pl.lit('"')).sort().str.join(",").alias("codes")
    )
    state = (
        pl.when(~pl.col("live"))
        .then(pl.lit("shadow"))
        .when(pl.col("snoozed"))
        .then(pl.lit("snoozed"))
        .otherwise(pl.lit("counted"))
    )
    line = pl.concat_str(
        "_opening", "points", pl.lit(',"reason_codes":['), pl.col("codes").fill_null(""),
        "_closing", state, pl.lit('"}'),
    )  # fmt: skip
    lines = (
        hits.join(told, on=["row", "rule"], how="left")
        .join(_openings(judged), on="rule", how="left")
        .sort("row", "rule")
        .group_by("row")
        .agg(line.str.join(",").alias("rules"))
    )
    names = {family: orjson.dumps(family).decode() + ":{" for family in rulebook.ceilings}
    parts = [part for name in _ADDED for part in (pl.lit(f'"{name}":'), pl.col(name), pl.lit(","))]
    family = pl.concat_str(
        pl.col("family").replace_strict(names, default=""), *parts[:-1], pl.lit("}")
    )
    families = (
        sums.sort("row", "family").group_by("row").agg(family.str.join(",").alias("families"))
    )
    whole = pl.concat_str(
        pl.lit('{"families":{'), pl.col("families").fill_null(""),
        pl.lit(f'}},"hold_at":{rulebook.hold_at},"review_at":{rulebook.review_at},"rules":['),
        pl.col("rules").fill_null(""), pl.lit('],"score":'), pl.col("score").fill_null(0), pl.lit("}"),
    )  # fmt: skip
    return (
        lines.join(families, on="row", how="left")
        .join(scores(sums), on="row", how="left")
        .select("row", whole.alias("arithmetic"))
    )


_ADDED: Final = ("ceiling_all", "ceiling_hints", "counted", "hints", "lifted", "proofs")


def _openings(judged: Judged) -> pl.DataFrame:
    """Return what each rule's line opens and closes with, around its points and reason codes."""
    said = [
        (orjson.dumps(r.family or None).decode(), r.hard or r.kind, orjson.dumps(r.id).decode())
        for r in judged.rules
    ]
    return pl.DataFrame(
        {
            "rule": range(len(said)),
            "_opening": [f'{{"family":{f},"kind":"{kind}","points":' for f, kind, _ in said],
            "_closing": [f'],"rule":{rule},"state":"' for _, _, rule in said],
        },
        schema={"rule": pl.UInt32(), "_opening": pl.String(), "_closing": pl.String()},
    )


def _nothing(rulebook: Rulebook) -> str:
    said = {
        "rules": [],
        "families": {},
        "score": 0,
        "review_at": rulebook.review_at,
        "hold_at": rulebook.hold_at,
    }
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()
