"""Adding up: points by family under their ceilings, to a score from 0 to 100."""

from typing import Final

import polars as pl

from pipeline.rulebook.book import Rule, Rulebook

TOTAL: Final = {"row": pl.UInt32(), "score": pl.Int64()}


def family_sums(hits: pl.DataFrame, rules: tuple[Rule, ...], rulebook: Rulebook) -> pl.DataFrame:
    """Return row, family, hints, proofs, counted: what each family adds after its ceilings.

    Hints of a family together add at most ``ceiling.hints``; hints and proofs at most
    ``ceiling.all``. Negative points (mitigation) are summed apart by ``lifted``.
    """
    about = pl.DataFrame(
        {
            "rule": range(len(rules)),
            "family": [r.family for r in rules],
            "proof": [r.kind == "proof" for r in rules],
            "hard": [r.hard is not None for r in rules],
        },
        schema={"rule": pl.UInt32(), "family": pl.String(), "proof": pl.Boolean(), "hard": pl.Boolean()},
    )  # fmt: skip
    ceilings = pl.DataFrame(
        {
            "family": list(rulebook.ceilings),
            "ceiling_hints": [c.hints for c in rulebook.ceilings.values()],
            "ceiling_all": [c.all for c in rulebook.ceilings.values()],
        },
        schema={"family": pl.String(), "ceiling_hints": pl.Int64(), "ceiling_all": pl.Int64()},
    )
    counted = hits.join(about, on="rule", how="left").filter(~pl.col("hard"))
    points = pl.col("points")
    sums = counted.group_by("row", "family").agg(
        points.filter((points > 0) & ~pl.col("proof")).sum().alias("hints"),
        points.filter((points > 0) & pl.col("proof")).sum().alias("proofs"),
        points.filter(points < 0).sum().alias("lifted"),
    )
    return (
        sums.join(ceilings, on="family", how="left")
        .with_columns(
            (
                pl.min_horizontal(
                    pl.min_horizontal("hints", "ceiling_hints") + pl.col("proofs"), "ceiling_all"
                )
                + pl.max_horizontal("lifted", -pl.col("ceiling_all"))
            ).alias("counted")
        )
        .sort("row", "family")
    )


def scores(sums: pl.DataFrame) -> pl.DataFrame:
    """Return row and score: the families' sum, held within 0 and 100."""
    return sums.group_by("row").agg(pl.col("counted").sum().clip(0, 100).alias("score"))
