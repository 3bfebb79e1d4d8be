"""Nomination: which earlier pictures might this one be made from? Cheap, and never a finding.

Hashes find pictures that are whole (in eight orientations, and as a negative); words find parts. A
word counts once for each feature, and only together with others that turn and scale alike.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import polars as pl

from detectors.image import hashes
from detectors.image.prints import HASHES, WORDS, Print, geometry
from detectors.image.vocabulary import Vocabulary
from pipeline.ports import Past

Key: TypeAlias = tuple[str, int]
"""Submission id and content index."""

NEAR: Final = 31
"""PDQ's own bound for "the same picture"; no false match among millions of unrelated pairs."""
VOTES_MIN: Final = 3
HASH_WEIGHT: Final = 1_000
"""A near hash outweighs any number of words: it speaks of the whole picture."""
DF_MAX: Final = 5_000
POSTINGS_MAX: Final = 4_000_000
NEIGHBOURS_MAX: Final = 1_000_000
CHUNK: Final = 48
MODES: Final = ("upright", "mirrored", "inverted")
PROBES: Final = (2, 1, 1)
"""Centres tried for each half of a code, by mode: most copies are upright."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominee:
    """A picture to prove against: how it came up, and in which mode it should be compared.

    ``weight`` ranks nominees: votes of rare words count more than those of an app's or gallery's own.
    ``orientation`` (0 to 7, or −1 for words) and ``slots`` name the hashes that met.
    """

    source: Key
    mode: str
    votes: int
    accused_part: int
    source_part: int
    orientation: int = -1
    slots: tuple[int, int] = (0, 0)
    distance: int = 256
    weight: float = 0.0


_REFLECTED: Final = (False, True, True, False, True, False, False, True)
"""Whether the orientation of that number mirrors, in the order of ``hashes.orientations``."""


def by_hash(prints: Mapping[Key, Print], past: Past) -> dict[Key, list[Nominee]]:
    """Nominate what lies within NEAR bits in any of eight orientations, or as a negative."""
    asked: list[bytes] = []
    owners: list[tuple[Key, int, int]] = []
    for key, made in prints.items():
        for slot, code in enumerate(made.codes):
            variants = [*hashes.orientations(code), hashes.complement(code)]
            asked += variants
            owners += [(key, slot, orientation) for orientation in range(len(variants))]
    found: dict[Key, list[Nominee]] = {key: [] for key in prints}
    if not asked:
        return found
    near = past.nearest(HASHES, asked, distance_max=NEAR, limit=NEIGHBOURS_MAX)
    for query, sid, index, slot, distance in near.iter_rows():
        key, own_slot, orientation = owners[query]
        if sid == key[0]:
            continue
        negative = orientation == 8
        mode = "inverted" if negative else MODES[_REFLECTED[orientation]]
        nominee = Nominee(
            source=(sid, index), mode=mode, votes=256 - distance, source_part=-1,
            accused_part=prints[key].slot(own_slot)[0], distance=distance,
            orientation=0 if negative else orientation, slots=(own_slot, slot),
            weight=float(HASH_WEIGHT - distance),
        )  # fmt: skip
        found[key].append(nominee)
    return found


def by_words(
    prints: Mapping[Key, Print], past: Past, vocabulary: Vocabulary, *, votes_min: int = VOTES_MIN
) -> dict[Key, list[Nominee]]:
    """Nominate what shares words of like turn and scale; the most votes first."""
    found: dict[Key, list[Nominee]] = {key: [] for key in prints}
    keys = list(prints)
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        asked = _asked({key: prints[key] for key in chunk}, vocabulary)
        if asked.is_empty():
            continue
        unique = asked["key"].unique()
        hits = past.postings(WORDS, unique, df_max=DF_MAX, limit=POSTINGS_MAX)
        votes = _votes(asked, hits, pl.Series("sid", [key[0] for key in chunk]), votes_min)
        for row in votes.iter_rows(named=True):
            found[chunk[row["picture"]]].append(
                Nominee(
                    source=(row["submission_id"], row["content_index"]),
                    mode=MODES[row["mode"]], votes=row["votes"],
                    accused_part=row["part"], source_part=row["other_part"],
                    weight=row["weight"],
                )
            )  # fmt: skip
    return found


def _asked(prints: Mapping[Key, Print], vocabulary: Vocabulary) -> pl.DataFrame:
    """Write every word that a picture's features might have, in the three modes, as rows."""
    keys, pictures, modes, places = [], [], [], []
    for picture, made in enumerate(prints.values()):
        for index, part in enumerate(made.parts):
            shapes = (part.features, part.features.mirrored(), part.features.inverted())
            for mode, features in enumerate(shapes):
                words = vocabulary.nearby(features.codes, PROBES[mode])
                keys.append(words.reshape(-1))
                places.append(np.repeat(geometry(features, index), words.shape[1]))
                pictures.append(np.full(words.size, picture, np.int32))
                modes.append(np.full(words.size, mode, np.int8))
    if not keys:
        return pl.DataFrame(schema={"key": pl.UInt64()})
    return pl.DataFrame(
        {
            "key": np.concatenate(keys), "picture": np.concatenate(pictures),
            "mode": np.concatenate(modes), "place": np.concatenate(places).astype(np.int32),
        }
    )  # fmt: skip


def _votes(
    asked: pl.DataFrame, hits: pl.DataFrame, owners: pl.Series, votes_min: int
) -> pl.DataFrame:
    """Count, for each pair of parts and mode, the features that agree in turn and scale."""
    place, other = pl.col("place"), pl.col("position")
    pair = ["picture", "submission_id", "content_index", "mode", "part", "other_part"]
    named = pl.DataFrame({"picture": range(len(owners)), "owner": owners}).cast(
        {"picture": pl.Int32}
    )
    rare = pl.len().over("key").cast(pl.Float64).log(2).add(1).pow(-1).alias("rare")
    met = (
        asked.join(hits.with_columns(rare), on="key")
        .join(named, on="picture")
        .filter(pl.col("owner") != pl.col("submission_id"))
        .with_columns(
            (place // 2**19).alias("part"),
            (other // 2**19).alias("other_part"),
            (place % 256).alias("feature"),
            (other % 256).alias("other_feature"),
            ((place // 2**13 % 64) - (other // 2**13 % 64) + 64).alias("turn"),
            ((place // 2**8 % 32) - (other // 2**8 % 32)).alias("grow"),
        )
        .filter(pl.col("feature").n_unique().over(pair) >= votes_min)
    )
    counted = [
        met.with_columns(
            ((pl.col("turn") + shift) % 64 // 8).alias("turn_bin"),
            ((pl.col("grow") + 64 + 2 * (shift > 0)) // 4).alias("grow_bin"),
        )
        .group_by([*pair, "turn_bin", "grow_bin"])
        .agg(
            pl.min_horizontal(
                pl.col("feature").n_unique(), pl.col("other_feature").n_unique()
            ).alias("votes"),
            pl.col("rare").mean(),
        )
        .with_columns((pl.col("votes") * pl.col("rare")).round(6).alias("weight"))
        for shift in (0, 4)
    ]
    return (
        pl.concat(counted)
        .group_by(pair)
        .agg(pl.col("votes").max().cast(pl.Int64), pl.col("weight").max())
        .filter(pl.col("votes") >= votes_min)
        .sort(["picture", "votes", *pair[1:]], descending=[False, True, *[False] * 5])
    )


def merged(parts: Iterable[Mapping[Key, list[Nominee]]]) -> dict[Key, list[Nominee]]:
    """Join nominations, one for each pair of parts and mode, the best first."""
    best: dict[Key, dict[tuple[object, ...], Nominee]] = {}
    for part in parts:
        for key, nominees in part.items():
            mine = best.setdefault(key, {})
            for nominee in nominees:
                name = (nominee.source, nominee.mode, nominee.accused_part, nominee.source_part)
                if name not in mine or nominee.weight > mine[name].weight:
                    mine[name] = nominee
    order = {
        key: sorted(mine.values(), key=lambda n: (-n.weight, n.source, n.mode, n.source_part))
        for key, mine in best.items()
    }
    return order
