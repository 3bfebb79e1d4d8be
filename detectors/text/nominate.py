"""Nominating sources: who earlier shares fingerprints with a text, stock phrases left out.

A fingerprint counts as *stock* where enough people wrote it in texts that are otherwise unlike this
one and one another: a greeting, a closing formula, a turn that everyone uses. A passage whose carriers
share much of the text, or are copies of one source, is a copy however often it was copied.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from detectors.kit.lexical import Picks
from detectors.text.voices import voices
from pipeline.ports import Past

WINNOW: Final = "text.winnow"
WHOLE: Final = "text.whole"
BAND: Final = "text.band"
DF_MAX: Final = 5_000
"""A fingerprint that more submissions carry nominates nobody; equal texts still find each other."""
CARRIERS_MAX: Final = 64
"""Of the carriers of one fingerprint the earliest so many are looked at."""
CANDIDATES_MAX: Final = 16
LIGHT_SHARE: Final = 0.35
LIGHT_WEIGHT: Final = 90
"""Sharing at most this share and this weight (30 ideographs) of a text leaves two texts unlike."""
STOCK_WORKERS: Final = 3
STOCK_OWN: Final = 2
ROWS_MAX: Final = 50_000_000
BANDS_MIN: Final = 2

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominees:
    """Candidates by text: ``pairs`` has ``text`` (index), ``submission_id``, ``content_index``.

    ``stock`` (picks,) marks the fingerprints that are stock phrases.
    """

    pairs: pl.DataFrame
    stock: Bools


def nominate(
    asked: pl.DataFrame,
    picks: Picks,
    quiet: Bools,
    digests: npt.NDArray[np.uint64],
    bands: npt.NDArray[np.uint64],
    past: Past,
) -> Nominees:
    """Find the candidates of some texts.

    ``asked`` has a row a text: ``text``, ``submission_id``, ``worker_id``, ``submitted_at``, ``weight``;
    ``quiet`` (picks,) marks fingerprints of what everyone was given; ``digests`` and ``bands`` are of
    the texts.
    """
    every = pl.DataFrame(
        {"text": picks.owners, "key": picks.keys, "pick": np.arange(len(picks.keys))}
    )
    keyed, muted = every.filter(~pl.Series(quiet)), every.filter(pl.Series(quiet))
    found = postings(past, WINNOW, keyed["key"])
    whole = pl.DataFrame({"text": asked["text"], "key": digests})
    alike = postings(past, WHOLE, whole["key"], capped=False)
    banded = pl.DataFrame(
        {"text": np.repeat(asked["text"].to_numpy(), bands.shape[1]), "key": bands.ravel()}
    )
    near = postings(past, BAND, banded["key"])
    ids = pl.concat([f["submission_id"] for f in (found, alike, near)]).unique().to_list()
    who = (
        past.submissions(ids, columns=("submission_id", "worker_id", "submitted_at"))
        .rename({"worker_id": "by", "submitted_at": "at"})
        .with_row_index("number")
    )
    shared = _earlier(keyed, _earliest(found, who), asked)
    hits, stock = _weigh(shared, keyed, muted, asked, past, len(picks.keys))
    equal = _earlier(whole, _earliest(alike, who), asked)
    similar = (
        _earlier(banded, _earliest(near, who), asked)
        .group_by("text", "submission_id", "content_index")
        .agg(pl.len().alias("hits"), pl.col("at").first())
        .filter(pl.col("hits") >= BANDS_MIN)
    )
    return Nominees(pairs=_choose(hits, equal, similar), stock=stock)


def postings(past: Past, kind: str, keys: pl.Series, *, capped: bool = True) -> pl.DataFrame:
    """Ask who carried keys first, without the keys that too many carry."""
    return past.postings(
        kind,
        keys.unique(),
        df_max=DF_MAX if capped else None,
        earliest=CARRIERS_MAX,
        limit=ROWS_MAX,
    )


def _earliest(found: pl.DataFrame, who: pl.DataFrame) -> pl.DataFrame:
    """Keep the earliest carriers of each key, each text of theirs once.

    Postings come by key and then in order of submission, so what is the same stands together.
    """
    texts = found.drop("position")
    again = pl.all_horizontal(pl.all() == pl.all().shift(1)).fill_null(False)
    once = texts.filter(~again).with_columns(pl.int_range(pl.len()).over("key").alias("place"))
    kept = once.filter(pl.col("place") < CARRIERS_MAX).drop("place")
    return kept.join(who, on="submission_id", maintain_order="left")


def _earlier(keyed: pl.DataFrame, found: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Join texts with the carriers of their keys that came before them."""
    mine = asked.select(
        "text",
        pl.col("submission_id").alias("own_id"),
        pl.col("worker_id").alias("own"),
        pl.col("submitted_at").alias("own_at"),
    )
    return (
        keyed.join(found, on="key")
        .join(mine, on="text")
        .filter(
            (pl.col("at") < pl.col("own_at"))
            | ((pl.col("at") == pl.col("own_at")) & (pl.col("submission_id") < pl.col("own_id")))
        )
    )


def _stock(told: pl.DataFrame, muted: pl.DataFrame, past: Past) -> pl.DataFrame:
    """Name the keys of each text that are turns which several people, or the worker twice, use."""
    other, light = pl.col("by") != pl.col("own"), pl.col("light")
    used = (
        told.group_by("text", "key")
        .agg(
            pl.col("by").filter(light & other).n_unique().alias("workers"),
            pl.col("submission_id").filter(light & ~other).n_unique().alias("own"),
        )
        .with_columns((STOCK_WORKERS - pl.col("own").clip(0, 1)).alias("needed"))
    )
    style = used.filter(pl.col("own") >= STOCK_OWN)
    common = used.filter(pl.col("own") < STOCK_OWN, pl.col("workers") >= pl.col("needed"))
    carriers = told.filter(light & other).join(common, on=["text", "key"], how="semi")
    counted = voices(carriers, muted, past, WINNOW)
    common = common.join(counted, on=["text", "key"]).filter(pl.col("voices") >= pl.col("needed"))
    return pl.concat([style.select("text", "key"), common.select("text", "key")])


def _weigh(
    shared: pl.DataFrame, keyed: pl.DataFrame, muted: pl.DataFrame, asked: pl.DataFrame,
    past: Past, count: int,
) -> tuple[pl.DataFrame, Bools]:  # fmt: skip
    """Count what each pair shares beyond stock phrases, and mark these."""
    pair = ["text", "number", "content_index"]  # numbers are grouped sooner than names
    sizes = (
        keyed.group_by("text")
        .agg(pl.col("key").n_unique().alias("size"))
        .join(asked.select("text", "weight"), on="text")
    )
    told = (
        shared.with_columns(pl.col("key").n_unique().over(pair).alias("hits"))
        .join(sizes, on="text")
        .with_columns((pl.col("hits") / pl.col("size")).alias("part"))
        .with_columns(
            (
                (pl.col("part") <= LIGHT_SHARE)
                & (pl.col("part") * pl.col("weight") <= LIGHT_WEIGHT)
            ).alias("light")
        )
    )
    stock = _stock(told, muted, past)
    hits = (
        told.join(stock, on=["text", "key"], how="anti")
        .group_by(pair)
        .agg(
            pl.col("key").n_unique().alias("hits"),
            pl.col("submission_id", "at", "size").first(),
        )
    )
    marked = np.zeros(count, np.bool_)
    marked[keyed.join(stock, on=["text", "key"], how="semi")["pick"].to_numpy()] = True
    return hits, marked


def _choose(hits: pl.DataFrame, equal: pl.DataFrame, similar: pl.DataFrame) -> pl.DataFrame:
    """Take the best candidates of each text, the earliest of the good ones always among them."""
    good = hits
    columns = ["text", "submission_id", "content_index"]
    best = (
        good.sort("text", "hits", "at", "submission_id", "content_index",
                  descending=[False, True, False, False, False])
        .filter(pl.int_range(pl.len()).over("text") < CANDIDATES_MAX)
    )  # fmt: skip
    rivals = good.filter(pl.col("hits") >= 0.6 * pl.col("hits").max().over("text"))
    parts: Sequence[pl.DataFrame] = (rivals, equal, similar)
    first = [
        part.sort("text", "at", "submission_id", "content_index")
        .filter(pl.int_range(pl.len()).over("text") < 4)
        .select(columns)
        for part in parts
    ]
    return pl.concat([best.select(columns), *first]).unique().sort(columns)
