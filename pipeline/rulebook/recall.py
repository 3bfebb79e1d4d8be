"""Undoing one bad revision: which of its decisions would be others now, with the money and the people.

This is the preview; the ledger does the undoing, by further transfers and entries. A decision that a
person made since stands: people outrank rulebooks, whichever way they decided.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.model import frames
from pipeline.model.decisions import HOLDS

DECISIONS: Final[frames.Schema] = {
    "decision_id": pl.String(),
    "submission_id": pl.String(),
    "worker_id": pl.String(),
    "ruleset_digest": pl.String(),
    "outcome": pl.String(),
    "amount_minor": pl.Int64(),
    "currency": pl.String(),
    "by_person": pl.Boolean(),
}
"""The decision that was acted upon, one row a payout; ``by_person`` where a person settled it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What recalling a revision does.

    ``actions``: submission_id, decision_id, worker_id, was, now, action, amount_minor, currency,
    where ``action`` is ``release`` (held and should not be), ``hold`` (paid and should not be: a case
    is opened, the money is not taken back), ``restate`` (other words, same money). ``kept``: decisions
    that people made since and that stay. ``workers`` touched; ``released_minor``, ``held_minor`` by
    currency.
    """

    digest: str
    actions: pl.DataFrame
    kept: pl.DataFrame
    workers: int
    released_minor: dict[str, int]
    held_minor: dict[str, int]


def recall(digest: str, decisions: pl.DataFrame, corrected: pl.DataFrame) -> Recall:
    """Work out what it takes to undo a revision.

    ``decisions`` is a DECISIONS frame; ``corrected`` has ``submission_id`` and ``outcome`` under the
    rulebook that replaces it. Decisions whose outcome stays are left alone.
    """
    frames.check(decisions, DECISIONS, "recall: decisions")
    made = decisions.filter(pl.col("ruleset_digest") == digest)
    new = corrected.select("submission_id", pl.col("outcome").alias("now"))
    compared = made.join(new, on="submission_id", how="inner").filter(
        pl.col("outcome") != pl.col("now")
    )
    kept = compared.filter(pl.col("by_person")).sort("submission_id")
    changed = compared.filter(~pl.col("by_person"))
    holds = sorted(HOLDS)
    was_held, is_held = pl.col("outcome").is_in(holds), pl.col("now").is_in(holds)
    actions = changed.select(
        "submission_id",
        "decision_id",
        "worker_id",
        pl.col("outcome").alias("was"),
        "now",
        pl.when(was_held & ~is_held)
        .then(pl.lit("release"))
        .when(~was_held & is_held)
        .then(pl.lit("hold"))
        .otherwise(pl.lit("restate"))
        .alias("action"),
        "amount_minor",
        "currency",
    ).sort("submission_id")
    return Recall(
        digest=digest,
        actions=actions,
        kept=kept,
        workers=actions["worker_id"].n_unique(),
        released_minor=_sums(actions, "release"),
        held_minor=_sums(actions, "hold"),
    )


def _sums(actions: pl.DataFrame, action: str) -> dict[str, int]:
    chosen = actions.filter(pl.col("action") == action)
    sums = chosen.group_by("currency").agg(pl.col("amount_minor").sum()).sort("currency")
    return dict(sums.iter_rows())
