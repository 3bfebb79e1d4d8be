"""Who wrote a phrase on their own: copies of one text, like texts of one worker, are one voice."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
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
    from detectors.text import kernels

    heard = carriers.sort("text", "key", "at", *_NODE).filter(
        pl.int_range(pl.len()).over("text", "key") < VOICES_MAX
    )
    groups = heard.group_by("text", "key", maintain_order=True).agg(pl.len().alias("size"))
    nodes = heard.select(_NODE).unique().sort(_NODE).with_row_index("node")
    prints = _prints(nodes, past, kind)
    muted = quiet.select("text", "key").unique().sort("text", "key")
    texts = muted["text"].to_numpy()
    counted = kernels.voices(
        _bounds(groups["size"].to_numpy()),
        np.searchsorted(texts, groups["text"].to_numpy(), "left"),
        np.searchsorted(texts, groups["text"].to_numpy(), "right"),
        heard.join(nodes, on=_NODE, how="left", maintain_order="left")["node"]
        .to_numpy().astype(np.int64),
        heard["by"].rank("dense").to_numpy().astype(np.int64),
        prints["key"].to_numpy(writable=True),
        _bounds(np.bincount(prints["node"].to_numpy(), minlength=nodes.height)),
        muted["key"].to_numpy(writable=True),
        VOICES_MAX, ALIKE,
    )  # fmt: skip
    return groups.select("text", "key", pl.Series("voices", counted, dtype=pl.Int64))


def _prints(nodes: pl.DataFrame, past: Past, kind: str) -> pl.DataFrame:
    """Return the fingerprints of numbered texts, ``node`` and ``key``, in that order, each once."""
    return (
        past.fingerprints(kind, nodes["submission_id"].unique().to_list())
        .select(*_NODE, pl.col("keys").alias("key"))
        .join(nodes, on=_NODE)
        .group_by("node")
        .agg(pl.col("key").explode(empty_as_null=True).drop_nulls().unique().sort())
        .sort("node")
        .explode("key", empty_as_null=True)
        .drop_nulls()
    )


def _bounds(sizes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Say where each of consecutive runs begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
