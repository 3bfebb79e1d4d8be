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
from detectors.image.features import I64
from detectors.image.prints import ANGLE_AT, HASHES, SIZE_AT, WORDS, Print, geometry
from detectors.image.vocabulary import Vocabulary, Words
from pipeline.model import frames
from pipeline.ports import Past

Key: TypeAlias = tuple[str, int]
"""Submission id and content index."""

NEAR: Final = 31
"""PDQ's own bound for "the same picture"; no false match among millions of unrelated pairs."""
VOTES_MIN: Final = 3
HASH_WEIGHT: Final = 1_000
"""A near hash outweighs any number of words: it speaks of the whole picture."""
ROWS_MAX: Final = 700_000
"""Postings read for one picture: they bound its look-up however many pictures are known."""
WORTH: Final = ((1.0, 0.3, 0.3), (0.4,), (0.25,))
"""How likely a word is the right one, by mode and by choice of centre: most copies are upright."""
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
    """Nominate what lies within NEAR bits in any of eight orientations, or as a negative.

    So few pictures are asked for at a time that the bound on answers cuts none of an honest size.
    """
    found: dict[Key, list[Nominee]] = {key: [] for key in prints}
    keys = list(prints)
    for start in range(0, len(keys), CHUNK):
        _near({key: prints[key] for key in keys[start : start + CHUNK]}, past, found)
    return found


def _near(prints: Mapping[Key, Print], past: Past, found: dict[Key, list[Nominee]]) -> None:
    asked: list[bytes] = []
    owners: list[tuple[Key, int, int]] = []
    for key, made in prints.items():
        for slot, code in enumerate(made.codes):
            variants = [*hashes.orientations(code), hashes.complement(code)]
            asked += variants
            owners += [(key, slot, orientation) for orientation in range(len(variants))]
    if not asked:
        return
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


def by_words(
    prints: Mapping[Key, Print],
    past: Past,
    vocabulary: Vocabulary,
    *,
    earlier: bool = True,
    most: int | None = None,
) -> dict[Key, list[Nominee]]:
    """Nominate what came before (or after) and shares words of like turn and scale; the best first."""
    found: dict[Key, list[Nominee]] = {key: [] for key in prints}
    keys = list(prints)
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        asked = _asked({key: prints[key] for key in chunk}, vocabulary)
        if asked.is_empty():
            continue
        told = past.votes(
            WORDS, asked, votes_min=VOTES_MIN, rows_max=ROWS_MAX, earlier=earlier, most=most
        )
        for query, sid, content, mode, part, other_part, votes, weight in told.iter_rows():
            found[chunk[query]].append(
                Nominee(
                    source=(sid, content), mode=MODES[mode], votes=votes, accused_part=part,
                    source_part=other_part, weight=weight,
                )
            )  # fmt: skip
    return found


def _asked(prints: Mapping[Key, Print], vocabulary: Vocabulary) -> pl.DataFrame:
    """Write every word that a picture's features might have, in the three modes: an ASKED frame."""
    queries, owners = [], pl.Series("submission_id", [key[0] for key in prints], pl.String())
    words, places, modes, worth = [], [], [], []
    for query, made in enumerate(prints.values()):
        for index, part in enumerate(made.parts):
            shapes = (part.features, part.features.mirrored(), part.features.inverted())
            for mode, features in enumerate(shapes):
                near = vocabulary.nearby(features.codes, PROBES[mode])
                lie = np.repeat(geometry(features, index), near.shape[1])
                once = _once(near.reshape(-1), lie)
                words.append(near.reshape(-1)[once])
                places.append(lie[once])
                queries.append(np.full(len(once), query, np.int32))
                modes.append(np.full(len(once), mode, np.int8))
                worth.append(np.tile(WORTH[mode], len(near))[once])
    if not words:
        return frames.empty(frames.ASKED)
    asked = np.concatenate(queries)
    columns = {
        "query": asked, "submission_id": owners.gather(asked), "key": np.concatenate(words),
        "place": np.concatenate(places), "mode": np.concatenate(modes),
        "worth": np.concatenate(worth),
    }  # fmt: skip
    return pl.DataFrame(columns, schema=dict(frames.ASKED))


def _once(words: Words, places: I64) -> I64:
    """Find where each word stands first in each bin of turn and size: small print says the same often.

    What repeats itself agrees with everything that repeats it, and costs a reading each time (a word
    counts once for a picture and bin: Jégou, Douze & Schmid 2009, CVPR, on burstiness).
    """
    bins = (places >> ANGLE_AT + 3 & 7) << 3 | places >> SIZE_AT + 2 & 7
    _, first = np.unique(words << np.uint64(6) ^ bins.astype(np.uint64), return_index=True)
    return np.sort(first)


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
