"""What a rulebook would have done: money held and released, people touched, hits won and lost.

Pure functions over frames. The caller hands over facts as they stood then (signals found by then,
counters by ``counters.count`` over what had happened by then); nothing here looks past them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from pipeline.model import frames
from pipeline.model.decisions import HOLDS
from pipeline.model.shares import Share
from pipeline.rulebook.book import Rulebook
from pipeline.rulebook.facts import ScoreFacts

Judge = Callable[[ScoreFacts, Rulebook], pl.DataFrame]
"""Scores and decides: a JUDGED frame. The caller composes it of the stages score and decide."""

JUDGED: Final[frames.Schema] = {
    "submission_id": pl.String(),
    "score": pl.Int64(),
    "risk_level": pl.String(),
    "outcome": pl.String(),
    "reason_codes": pl.List(pl.String()),
    "rules": pl.List(pl.String()),
    "shadow": pl.List(pl.String()),
}

LABELS: Final[frames.Schema] = {"submission_id": pl.String(), "label": pl.String()}
"""``honest`` or ``fraud``, from people's final decisions or a truth file; others have no row."""

RECORD: Final[frames.Schema] = {
    "rule": pl.String(),
    "decided": pl.Int64(),
    "overturned": pl.Int64(),
}
"""How the cases that each rule led to were decided so far."""

EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """What a rulebook would have done in a window.

    ``cases``: one row a submission (JUDGED, with ``worker_id``, ``amount_minor``, ``currency``,
    ``label``). ``money``: a row for each currency and outcome. ``rules``: a row for each rule that
    hit, in shadow too. ``precision`` and ``recall`` are about holds against labels, ``false_holds``
    the share of honest submissions held.
    """

    digest: str
    cases: pl.DataFrame
    money: pl.DataFrame
    rules: pl.DataFrame
    submissions: int
    workers: int
    workers_held: int
    honest_workers_held: int
    precision: Share
    recall: Share
    false_holds: Share
    overturns_predicted: float


def backtest(
    facts: ScoreFacts,
    rulebook: Rulebook,
    judge: Judge,
    *,
    labels: pl.DataFrame | None = None,
    record: pl.DataFrame | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Backtest:
    """Judge the submissions of [since, until) by a rulebook and add up money and people.

    Overturns are predicted from labels where these are known, and elsewhere from each rule's own
    record, (overturned + ½) / (decided + 1), taking the least overturned rule that hit. The same
    arguments give the same result, bit for bit.
    """
    window = within(facts, since, until)
    cases = _cases(window, judge(window, rulebook), labels)
    held = cases.filter(pl.col("outcome").is_in(sorted(HOLDS)))
    honest, fraud = pl.col("label") == "honest", pl.col("label") == "fraud"
    known = held.filter(honest | fraud)
    return Backtest(
        digest=rulebook.digest,
        cases=cases,
        money=_money(cases),
        rules=_rules(cases),
        submissions=cases.height,
        workers=cases["worker_id"].n_unique(),
        workers_held=held["worker_id"].n_unique(),
        honest_workers_held=held.filter(honest)["worker_id"].n_unique(),
        precision=Share(hits=known.filter(fraud).height, of=known.height),
        recall=Share(hits=known.filter(fraud).height, of=cases.filter(fraud).height),
        false_holds=Share(hits=known.filter(honest).height, of=cases.filter(honest).height),
        overturns_predicted=_overturns(held, record),
    )


def within(facts: ScoreFacts, since: datetime | None, until: datetime | None) -> ScoreFacts:
    """Return the facts about the submissions of [since, until) alone."""
    at = pl.col("submitted_at")
    keep = pl.lit(True)
    if since is not None:
        keep = keep & (at >= since)
    if until is not None:
        keep = keep & (at < until)
    submissions = facts.submissions.filter(keep).sort("submitted_at", "submission_id")
    return _with_submissions(facts, submissions)


def _with_submissions(facts: ScoreFacts, submissions: pl.DataFrame) -> ScoreFacts:
    mine = submissions.select("submission_id")
    parts = {
        name: getattr(facts, name).join(mine, on="submission_id", how="semi", maintain_order="left")
        for name in ("signals", "abstentions", "counters", "contents")
    }
    return ScoreFacts(
        submissions=submissions,
        tasks=facts.tasks,
        workers=facts.workers,
        credit=facts.credit,
        lists=facts.lists,
        paid=facts.paid,
        snoozes=facts.snoozes,
        at=facts.at,
        **parts,
    )


def _cases(facts: ScoreFacts, judged: pl.DataFrame, labels: pl.DataFrame | None) -> pl.DataFrame:
    frames.check(judged, JUDGED, "backtest: judged")
    known = labels if labels is not None else frames.empty(LABELS)
    tasks = facts.tasks.select("task_id", pl.col("bounty_minor").alias("amount_minor"), "currency")
    about = facts.submissions.select("submission_id", "worker_id", "task_id", "submitted_at")
    return (
        about.join(tasks.unique("task_id"), on="task_id", how="left")
        .join(judged, on="submission_id", how="inner")
        .join(known.select(list(LABELS)).unique("submission_id"), on="submission_id", how="left")
        .with_columns(pl.col("amount_minor").fill_null(0), pl.col("currency").fill_null("unknown"))
        .sort("submitted_at", "submission_id")
    )


def _money(cases: pl.DataFrame) -> pl.DataFrame:
    """Return currency, outcome, submissions, workers, amount_minor, and the same for honest, fraud."""
    amount, label = pl.col("amount_minor"), pl.col("label")
    return (
        cases.group_by("currency", "outcome")
        .agg(
            pl.len().cast(pl.Int64).alias("submissions"),
            pl.col("worker_id").n_unique().cast(pl.Int64).alias("workers"),
            amount.sum().alias("amount_minor"),
            *(
                expression
                for kind in ("honest", "fraud")
                for expression in (
                    (label == kind).sum().cast(pl.Int64).alias(kind),
                    amount.filter(label == kind).sum().alias(f"{kind}_minor"),
                )
            ),
        )
        .sort("currency", "outcome")
    )


def _rules(cases: pl.DataFrame) -> pl.DataFrame:
    """Return rule, counts, hits, workers, held, honest, fraud, held_minor of each rule that hit."""
    parts = []
    for column, counts in (("rules", True), ("shadow", False)):
        parts.append(
            cases.select(
                "submission_id", "worker_id", "outcome", "amount_minor", "label",
                pl.col(column).alias("rule"), pl.lit(counts).alias("counts"),
            ).explode("rule").drop_nulls("rule")
        )  # fmt: skip
    held = pl.col("outcome").is_in(sorted(HOLDS))
    return (
        pl.concat(parts)
        .group_by("rule", "counts")
        .agg(
            pl.len().cast(pl.Int64).alias("hits"),
            pl.col("worker_id").n_unique().cast(pl.Int64).alias("workers"),
            held.sum().cast(pl.Int64).alias("held"),
            pl.col("amount_minor").filter(held).sum().alias("held_minor"),
            (pl.col("label") == "honest").sum().cast(pl.Int64).alias("honest"),
            (pl.col("label") == "fraud").sum().cast(pl.Int64).alias("fraud"),
        )
        .sort("rule")
    )


def _overturns(held: pl.DataFrame, record: pl.DataFrame | None) -> float:
    labelled = held.filter(pl.col("label") == "honest").height
    open_cases = held.filter(pl.col("label").is_null())
    if record is None or open_cases.is_empty():
        return float(labelled)
    rate = record.select(
        "rule", ((pl.col("overturned") + 0.5) / (pl.col("decided") + 1.0)).alias("rate")
    )
    least = (
        open_cases.select("submission_id", "rules")
        .explode("rules")
        .join(rate, left_on="rules", right_on="rule", how="left")
        .group_by("submission_id")
        .agg(pl.col("rate").fill_null(0.5).min())
        .sort("submission_id")
    )
    return float(labelled) + float(least["rate"].sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What changes from one rulebook to another over the same submissions.

    ``moves``: currency, was, now, submissions, workers, amount_minor, honest, fraud. ``hits``: rule,
    new, lost, and examples of each (submission ids). ``changed`` the submissions whose outcome
    changes. Money: ``newly_held_minor`` and ``released_minor`` by currency.
    """

    before: str
    after: str
    moves: pl.DataFrame
    hits: pl.DataFrame
    changed: pl.DataFrame
    newly_held_minor: dict[str, int]
    released_minor: dict[str, int]
    workers_newly_held: int
    workers_released: int


def diff(before: Backtest, after: Backtest) -> Diff:
    """Compare two backtests of the same submissions.

    Raises ``ValueError`` where these differ.
    """
    was = before.cases
    now = after.cases.select("submission_id", *(pl.col(c).alias(f"{c}_now") for c in _SHOWN))
    if before.cases["submission_id"].to_list() != after.cases["submission_id"].to_list():
        raise ValueError("diff: the two backtests judged different submissions")
    both = was.join(now, on="submission_id", how="inner", maintain_order="left")
    changed = both.filter(pl.col("outcome") != pl.col("outcome_now"))
    holds = sorted(HOLDS)
    held = changed.filter(pl.col("outcome_now").is_in(holds) & ~pl.col("outcome").is_in(holds))
    freed = changed.filter(pl.col("outcome").is_in(holds) & ~pl.col("outcome_now").is_in(holds))
    moves = (
        changed.group_by(
            "currency", pl.col("outcome").alias("was"), pl.col("outcome_now").alias("now")
        )
        .agg(
            pl.len().cast(pl.Int64).alias("submissions"),
            pl.col("worker_id").n_unique().cast(pl.Int64).alias("workers"),
            pl.col("amount_minor").sum(),
            (pl.col("label") == "honest").sum().cast(pl.Int64).alias("honest"),
            (pl.col("label") == "fraud").sum().cast(pl.Int64).alias("fraud"),
        )
        .sort("currency", "was", "now")
    )
    return Diff(
        before=before.digest,
        after=after.digest,
        moves=moves,
        hits=_hit_changes(both),
        changed=changed,
        newly_held_minor=_by_currency(held),
        released_minor=_by_currency(freed),
        workers_newly_held=held["worker_id"].n_unique(),
        workers_released=freed["worker_id"].n_unique(),
    )


_SHOWN: Final = ("outcome", "score", "rules")


def _hit_changes(both: pl.DataFrame) -> pl.DataFrame:
    def exploded(keep: str, drop: str) -> pl.DataFrame:
        only = pl.col(keep).list.set_difference(pl.col(drop))
        return (
            both.select("submission_id", only.alias("rule"))
            .explode("rule")
            .drop_nulls("rule")
            .group_by("rule")
            .agg(
                pl.len().cast(pl.Int64).alias("hits"),
                pl.col("submission_id").sort().head(EXAMPLES).alias("examples"),
            )
        )

    new = exploded("rules_now", "rules").rename({"hits": "new", "examples": "new_examples"})
    lost = exploded("rules", "rules_now").rename({"hits": "lost", "examples": "lost_examples"})
    nobody = pl.lit([], pl.List(pl.String()))
    return (
        new.join(lost, on="rule", how="full", coalesce=True)
        .select(
            "rule",
            pl.col("new").fill_null(0),
            pl.col("lost").fill_null(0),
            pl.col("new_examples").fill_null(nobody),
            pl.col("lost_examples").fill_null(nobody),
        )
        .sort("rule")
    )


def _by_currency(cases: pl.DataFrame) -> dict[str, int]:
    sums = cases.group_by("currency").agg(pl.col("amount_minor").sum()).sort("currency")
    return dict(sums.iter_rows())
