"""Proving copies: shared passages of two texts, what they weigh, and which sources explain a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.kit.lexical import Alignments
from pipeline.model.reasons import REASONS

CHANCE: Final = 9
FULL_WEIGHT: Final = 60
"""A passage of so much weight (20 ideographs, 60 letters) counts whole; shorter ones less chance."""
WEIGHT_MIN: Final = 24
SOURCES_MAX: Final = 5
AS_GOOD: Final = 0.8
"""Of sources that explain at least so much of what the best one explains, the earliest is named."""
GAIN_MIN: Final = AS_GOOD * WEIGHT_MIN
"""A source that explains less is chosen neither as the best nor as the earliest of those as good."""
STRENGTHS: Final = ((0.05, 0.1), (0.15, 0.25), (0.25, 0.5), (1.0, 1.0))
"""Share of a text's own weight that stands in an earlier text, and what strength it gives."""
CAPS: Final = ((30, 0.1), (45, 0.19), (60, 0.35), (75, 0.5), (90, 0.6), (150, 1.0))
"""Weight shared, and the most that it can prove."""
OWN_SHARE_MIN: Final = 0.6
"""Below this share a worker's own earlier text is style, not copying."""
NEAR: Final = 0.5
PASSAGE_MIN: Final = 75
"""Sure needs one passage of so much weight, or half of the text, or much in all: else it is style."""
SCATTERED_WEIGHT: Final = 150
SCATTERED_MAX: Final = 0.45
SOURCE_SHARE_MIN: Final = 0.8
SOURCE_WEIGHT_MIN: Final = 150

Blocks = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One source of a text: ``index`` of the pair, blocks that count, shares, strength and code."""

    pair: int
    blocks: Blocks
    weight: float
    share: float
    source_share: float
    strength: float
    code: str


def effective(blocks: Blocks) -> npt.NDArray[np.float64]:
    """Weigh blocks: a long passage counts whole, a short one less what chance gives."""
    equal = blocks[:, 4].astype(np.float64)
    return np.where(equal >= FULL_WEIGHT, equal, np.maximum(equal - CHANCE, 0.0))


def gains(found: Alignments) -> npt.NDArray[np.float64]:
    """Weigh the blocks of each pair of an alignment, (pairs,)."""
    equal = found.blocks[:, : int(found.counts.max(initial=0)), 4]
    some = np.arange(equal.shape[1]) < found.counts[:, None]
    weighed = np.where(equal >= FULL_WEIGHT, equal, np.maximum(equal - CHANCE, 0))
    summed: npt.NDArray[np.float64] = np.where(some, weighed, 0).sum(axis=1).astype(np.float64)
    return summed


def strength_of(
    share: float, source_share: float, weight: float, longest: int, *, own_work: bool
) -> float:
    """Turn shares and weight into strength: 0.5 and more is sure, 0.2 to 0.5 worth a look.

    ``share`` is that of the accused text; a source that stands whole in a longer text counts too.
    """
    if weight < WEIGHT_MIN or (own_work and share < OWN_SHARE_MIN):
        return 0.0
    stolen = share
    if source_share >= SOURCE_SHARE_MIN and weight >= SOURCE_WEIGHT_MIN:
        stolen = max(stolen, 0.25 * source_share)
    xs, ys = zip(*STRENGTHS, strict=True)
    by_share = float(np.interp(stolen, xs, ys, left=0.0))
    xs, ys = zip(*CAPS, strict=True)
    strength = min(by_share, float(np.interp(weight, xs, ys, left=0.0)))
    if longest < PASSAGE_MIN and share < NEAR and weight < SCATTERED_WEIGHT:
        strength = min(strength, SCATTERED_MAX)
    return round(strength, 4)


def explain(
    candidates: Sequence[tuple[int, Blocks]],
    weight: float,
    source_weights: Sequence[float],
    own_work: Sequence[bool],
) -> list[Copy]:
    """Choose the sources of one text, best first, each for what the earlier chosen leave unexplained.

    ``candidates`` are (pair, blocks) in order of submission; ``weight`` is what the text weighs of its
    own, ``source_weights`` and ``own_work`` run beside the candidates.
    """
    copies: list[Copy] = []
    left = list(range(len(candidates)))
    taken: list[tuple[int, int]] = []
    while left and len(copies) < SOURCES_MAX:
        fresh = {c: _beyond(candidates[c][1], taken) for c in left}
        gains = {c: float(effective(fresh[c]).sum()) for c in left}
        best = max(gains.values())
        if best < WEIGHT_MIN:
            break
        chosen = min(c for c in left if gains[c] >= AS_GOOD * best)
        left.remove(chosen)
        pair, blocks = candidates[chosen]
        shown = blocks if not copies else fresh[chosen]
        gained = float(effective(shown).sum())
        share = min(1.0, gained / max(weight, 1.0))
        of_source = min(1.0, gained / max(source_weights[chosen], 1.0))
        longest = int(shown[:, 4].max())
        strength = strength_of(share, of_source, gained, longest, own_work=own_work[chosen])
        taken += [(int(b[0]), int(b[1])) for b in shown]
        if strength <= 0.0:
            continue
        near = share >= NEAR and of_source >= NEAR
        code = "text.near_duplicate" if near else "text.contained"
        assert code in REASONS
        copies.append(
            Copy(
                pair=pair, blocks=shown, weight=gained, share=share, source_share=of_source,
                strength=strength, code=code,
            )
        )  # fmt: skip
    return copies


def _beyond(blocks: Blocks, taken: Sequence[tuple[int, int]]) -> Blocks:
    """Return the parts of blocks that lie outside ranges that are explained already."""
    if not taken or not len(blocks):
        return blocks
    rows = []
    for a0, a1, b0, _, equal in blocks.tolist():
        for begin, end in _free(a0, a1, taken):
            part = int(equal * (end - begin) / max(a1 - a0, 1))
            rows.append((begin, end, b0 + begin - a0, b0 + end - a0, part))
    return np.array(rows, np.int32).reshape(-1, 5)


def _free(begin: int, end: int, taken: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    free = [(begin, end)]
    for low, high in taken:
        cut = []
        for a, b in free:
            if high <= a or b <= low:
                cut.append((a, b))
                continue
            if a < low:
                cut.append((a, low))
            if high < b:
                cut.append((high, b))
        free = cut
    return free
