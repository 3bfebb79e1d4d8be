"""Who wrote a phrase on their own: copies of one text, like texts of one worker, are one voice."""

from typing import Final

import polars as pl

from pipeline.ports import Past

VOICES_MAX: Final = 16
"""Of the earliest carriers of a phrase so many are listened to."""
ALIKE: Final = 0.6
"""Texts that share this part of the shorter one's fingerprints, beyond what their task handed out."""

_NODE: Final = ["submission_id", "content_index"]


def voices(carriers: pl.DataFrame, quiet: pl.DataFrame, past: Past, kind: str) -> pl.DataFrame:
    """Count the independent writers of phrases: ``text``, ``key``, ``voices``.

    ``carriers`` has a row for each text that carries a key of an accused ``text``: ``text``, ``key``,
    ``submission_id``, ``content_index``, ``by``, ``at``; ``quiet`` (``text``, ``key``) is what the
    accused text's task handed out. A passage that one thief after another took from one source has one
    voice; a greeting has many.
    """
    heard = carriers.sort("text", "key", "at", *_NODE).filter(
        pl.int_range(pl.len()).over("text", "key") < VOICES_MAX
    )
    alike = _alike(heard, quiet, past, kind)
    counted = [
        (text, key, _groups(group.select(*_NODE, "by").rows(), alike.get(text, ())))
        for (text, key), group in heard.group_by("text", "key", maintain_order=True)
    ]
    schema: dict[str, pl.DataType] = {
        "text": carriers["text"].dtype, "key": carriers["key"].dtype, "voices": pl.Int64(),
    }  # fmt: skip
    return pl.DataFrame(counted, schema=schema, orient="row")


_Node = tuple[str, int]


def _alike(
    heard: pl.DataFrame, quiet: pl.DataFrame, past: Past, kind: str
) -> dict[object, set[tuple[_Node, _Node]]]:
    """Name pairs of carriers that are copies of one another, by accused text."""
    ids = heard["submission_id"].unique().sort().to_list()
    prints = (
        past.fingerprints(kind, ids)
        .select(*_NODE, pl.col("keys").alias("key"))
        .explode("key", empty_as_null=True)
        .unique()
    )
    owned = (
        heard.select("text", *_NODE).unique().join(prints, on=_NODE)
        .join(quiet, on=["text", "key"], how="anti")
        .with_columns(pl.len().over("text", *_NODE).alias("size"))
    )  # fmt: skip
    first, second = pl.struct(_NODE), pl.struct(*(f"{c}_right" for c in _NODE))
    pairs = (
        owned.join(owned, on=["text", "key"])
        .filter(
            (pl.col("submission_id") < pl.col("submission_id_right"))
            | (
                (pl.col("submission_id") == pl.col("submission_id_right"))
                & (pl.col("content_index") < pl.col("content_index_right"))
            )
        )
        .group_by("text", first.alias("one"), second.alias("other"))
        .agg(
            pl.len().alias("shared"),
            pl.min_horizontal("size", "size_right").first().alias("least"),
        )
        .filter(pl.col("shared") >= ALIKE * pl.col("least"))
    )
    found: dict[object, set[tuple[_Node, _Node]]] = {}
    for text, one, other in pairs.select("text", "one", "other").iter_rows():
        found.setdefault(text, set()).add((tuple(one.values()), tuple(other.values())))
    return found


def _groups(
    carriers: list[tuple[str, int, str]], alike: set[tuple[_Node, _Node]] | tuple[()]
) -> int:
    """Count carriers, those of one worker and those alike taken together."""
    group = list(range(len(carriers)))
    for i, (sid, content, by) in enumerate(carriers):
        for j, (other, place, who) in enumerate(carriers[:i]):
            one, two = sorted([(sid, content), (other, place)])
            if by == who or (one, two) in alike:
                merged = group[j]
                group = [merged if g == group[i] else g for g in group]
    return len(set(group))
