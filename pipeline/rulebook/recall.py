"""Undoing one bad revision: which decisions it made, what they moved, and the entries that set it right.

Nothing is updated in place: a mistake is answered by another entry. A decision that a person made
since stands: people outrank rulebooks, whichever way they decided.
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
"""The decision that stands for each submission; ``by_person`` where a person settled it."""

ENTRIES: Final[frames.Schema] = {
    "entry_id": pl.String(),
    "ledger": pl.String(),
    "account": pl.String(),
    "unit": pl.String(),
    "amount": pl.Int64(),
    "decision_id": pl.String(),
    "reverses": pl.String(),
}
"""Entries of all ledgers as signed whole numbers: ``ledger`` money or credit, ``unit`` a currency or
``r_milli``, ``s_milli``. ``reverses`` names the entry that one takes back; each is taken back once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What recalling a revision does: a preview first, and the same frames to carry it out.

    ``actions``: submission_id, decision_id, worker_id, was, now, action, amount_minor, currency,
    where ``action`` is ``release`` (held and should not be), ``hold`` (let through and should not
    be: only where money has not left), ``restate`` (other words, same money). ``reversals``: ENTRIES
    to post, one for each entry of those decisions that stands. ``kept`` the decisions that people
    made since and that stay. ``workers`` touched; ``released_minor``, ``held_minor`` by currency.
    """

    digest: str
    actions: pl.DataFrame
    reversals: pl.DataFrame
    kept: pl.DataFrame
    workers: int
    released_minor: dict[str, int]
    held_minor: dict[str, int]


def recall(
    digest: str, decisions: pl.DataFrame, entries: pl.DataFrame, corrected: pl.DataFrame
) -> Recall:
    """Work out what it takes to undo a revision.

    ``decisions`` is a DECISIONS, ``entries`` an ENTRIES frame; ``corrected`` has ``submission_id``
    and ``outcome`` under the rulebook that replaces it. Entries of a decision whose outcome stays are
    left alone. Posting ``reversals`` and then what the corrected outcomes call for leaves every
    balance where it would have stood; doing it twice changes nothing, since ids are derived.
    """
    frames.check(decisions, DECISIONS, "recall: decisions")
    frames.check(entries, ENTRIES, "recall: entries")
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
        reversals=_reversals(entries, changed),
        kept=kept,
        workers=actions["worker_id"].n_unique(),
        released_minor=_sums(actions, "release"),
        held_minor=_sums(actions, "hold"),
    )


def _reversals(entries: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    taken_back = entries.select(pl.col("reverses").alias("entry_id")).drop_nulls()
    standing = (
        entries.filter(pl.col("reverses").is_null())
        .join(changed.select("decision_id"), on="decision_id", how="semi")
        .join(taken_back, on="entry_id", how="anti")
    )
    return frames.check(
        standing.select(
            (pl.lit("recall:") + pl.col("entry_id")).alias("entry_id"),
            "ledger",
            "account",
            "unit",
            (-pl.col("amount")).alias("amount"),
            "decision_id",
            pl.col("entry_id").alias("reverses"),
        ).sort("entry_id"),
        ENTRIES,
        "recall: reversals",
    )


def _sums(actions: pl.DataFrame, action: str) -> dict[str, int]:
    chosen = actions.filter(pl.col("action") == action)
    sums = chosen.group_by("currency").agg(pl.col("amount_minor").sum()).sort("currency")
    return dict(sums.iter_rows())
