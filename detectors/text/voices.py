"""Who wrote a phrase on their own: copies of one text, like texts of one worker, are one voice."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.model.carriers import Sketches

VOICES_MAX: Final = 16
"""Of the earliest carriers of a phrase so many are listened to."""
ALIKE: Final = 0.6
"""Texts that share this part of the shorter one's fingerprints, beyond what their task handed out."""

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """Phrases of accused texts, and who carries them.

    Phrase p stands in the text ``texts[p]``; its carriers are ``members[bounds[p]]`` to
    ``members[bounds[p + 1]]``, at most VOICES_MAX: numbers of the texts whose ``workers`` these are.
    """

    texts: Ints
    bounds: Ints
    members: Ints
    workers: Keys


def voices(
    phrases: Phrases, sketches: Sketches, prints: Callable[[Ints], tuple[Ints, Keys]],
    quiet: tuple[Ints, Keys],
) -> Ints:  # fmt: skip
    """Count the independent writers of phrases, (phrases,).

    ``sketches`` of the carriers tell most of them apart (size 0: there is none); ``prints`` is asked for
    bounds and sorted keys of the others. ``quiet`` (texts, keys, sorted) is what the accused texts' tasks
    handed out. A passage that one thief after another took from one source has one voice; a greeting has
    many.
    """
    from detectors.text import kernels

    muted, keys = quiet
    lows = np.searchsorted(muted, phrases.texts, "left")
    highs = np.searchsorted(muted, phrases.texts, "right")
    _, by = np.unique(phrases.workers, return_inverse=True)
    by = by[phrases.members].astype(np.int64)
    pairs: Ints = kernels.doubtful(
        phrases.bounds, highs - lows, phrases.members, by, *sketches, ALIKE
    )
    if len(pairs):
        asked, texts = np.unique(phrases.members[pairs[:, 1:]], return_inverse=True)
        bounds, owned = prints(asked)
        named = np.column_stack([pairs[:, 0], texts.reshape(-1, 2)]).astype(np.int64)
        pairs = pairs[kernels.likeness(named, lows, highs, owned, bounds, keys, ALIKE)]
    counted: Ints = kernels.speakers(phrases.bounds, by, pairs, VOICES_MAX)
    return counted
