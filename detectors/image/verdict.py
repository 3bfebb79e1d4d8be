"""The verdict on one proved pair: which reason code, how strong, or nothing.

The bounds were set on pairs of honest pictures (docs/image.md): rooms and landmarks seen by two people
reach .37 agreement, receipts of one shop .51, unrelated pictures .30; copies start where these end.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.image.compare import BLOCK
from detectors.image.lookalike import PEERS_MIN, VARIABLE_FIRM, Variable
from detectors.image.proof import Proof, inliers_outside

SURE_STRENGTH: Final = 0.5
INLIERS_MIN: Final = 8
COUNT_MIN: Final = 12
SURE_AGREEMENT: Final = 0.8
SURE_COUNT: Final = 20
HULL_AGREEMENT: Final = 0.9
HULL_COUNT: Final = 30
HULL_INLIERS: Final = 12
HULL_WHOLE_AGREEMENT: Final = 0.4
SPREAD_MIN: Final = 0.08
"""Deviation of the agreeing features across their narrower direction, as a share of the longer side: one
line of writing that a camera or app puts on everybody's photographs is no copied part."""
LOOK_AGREEMENT: Final = 0.5
LOOK_HULL_AGREEMENT: Final = 0.8
LOOK_HULL_COUNT: Final = 16
PAGE_LOOK_AGREEMENT: Final = 0.85
PAGE_SURE_AGREEMENT: Final = 0.97
PAGE_SURE_COUNT: Final = 60
PAGE_LOOK_COUNT: Final = 20
LAID_OVER_INLIERS: Final = 20
LAID_OVER_COUNT: Final = 40
LAID_OVER_SHARE: Final = 0.5
"""Share of the blocks with texture in either picture that have some in both."""
LAID_OVER_AGREEMENT: Final = 0.78
LAID_OVER_STRENGTH: Final = 0.3
VARIABLE_SURE: Final = 0.85
VARIABLE_LOOK: Final = 0.6
LEAD_AGREEMENT: Final = 0.985
LEAD_SURE: Final = 0.3
LEAD_LOOK: Final = 0.2
LEAD_CLEAR: Final = 0.15
WHOLE_BLOCKS: Final = 15
"""By how much the source must lead where enough peers are known, unless the page agrees all over and so
much of it varies: where a peer copied the same page too, nobody leads."""
LEAD_PEERS: Final = 6
LEAD_BLOCKS: Final = 30
"""A page that agrees all over, and in what varies stands clear of every peer: honest pages of drawn apps
led by .15 at most, copies that were resampled or cropped by .22 to .7."""
SCENE_INLIERS: Final = 14
SCENE_HULL_AGREEMENT: Final = 0.35
SCENE_AGREEMENT: Final = 0.22
SCENE_STRENGTH: Final = 0.2
SHOWN_ON_BOTH_MAX: Final = 0.4
SHOWS_LITTLE_SHARE: Final = 0.15
SHOWS_LITTLE_INLIERS: Final = 20
SHOWS_LITTLE_MAX: Final = 0.49
GIVEN_SHARE_MAX: Final = 0.3
OWN_COUNT_MAX: Final = 140
OWN_SHARE_MAX: Final = 0.3
"""A page with more of its own around what it shares shows that thing, as everybody may."""
WHOLE_SHARE: Final = 0.7
PEERS_WORTH_ASKING: Final = 0.55
"""Agreement of a page from which its task's other submitters are asked what varies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A reason code with its strength, and the figures behind it."""

    reason_code: str
    strength: float
    proof: Proof
    variable: Variable | None = None

    @property
    def rank(self) -> tuple[int, float]:
        """Order by grade, then by agreement; pages without peers also by pixels that are the same."""
        told = self.proof.agreement
        if self.variable is not None and self.variable.known:
            told = max(self.variable.agreement, 2 * self.variable.lead)
        elif self.proof.page:
            told = (told + self.proof.agreement_shared) / 2
        return (int(self.strength >= 0.5) + int(self.strength > SCENE_STRENGTH), told)


def judge(proof: Proof, variable: Variable | None) -> Verdict | None:
    """Decide one pair. ``variable`` is given for pages, where the whole is never evidence."""
    if proof.count < COUNT_MIN:
        return None
    inliers = inliers_outside(proof)
    hashed = proof.alignment.inliers == 0
    if not hashed and inliers < INLIERS_MIN:
        return None
    if proof.page:
        strength = _page_strength(proof, variable)
        if proof.source_panel and proof.accused_page:
            strength = min(strength, SHOWN_ON_BOTH_MAX)
    else:
        strength = _photo_strength(proof, inliers, hashed=hashed)
        if _shown_on_both(proof) or proof.given.mean() >= GIVEN_SHARE_MAX:
            strength = min(strength, SHOWN_ON_BOTH_MAX)
        if _shows_little(proof, inliers):
            strength = min(strength, SHOWS_LITTLE_MAX)
    if proof.own_count > OWN_COUNT_MAX and proof.own_share > OWN_SHARE_MAX:
        strength = min(strength, SHOWN_ON_BOTH_MAX)
    if strength > 0:
        return Verdict(reason_code=_code(proof), strength=strength, proof=proof, variable=variable)
    if _is_scene(proof, inliers):
        return Verdict(
            reason_code="image.same_scene", strength=SCENE_STRENGTH, proof=proof, variable=variable
        )
    return None


def _shown_on_both(proof: Proof) -> bool:
    """Say whether two compositions show one picture, as two screenshots of one news page do."""
    return proof.source_panel or (proof.accused_page and proof.source_page)


def _shows_little(proof: Proof, inliers: int) -> bool:
    """Say whether nearly all that is shared is even, and few features agree: a stock ground, a sky."""
    compared = int((proof.comparison.known & ~proof.given).sum())
    return inliers < SHOWS_LITTLE_INLIERS and proof.count < SHOWS_LITTLE_SHARE * compared


def _is_scene(proof: Proof, inliers: int) -> bool:
    """Say whether two photographs agree in more than a logo or a line of text."""
    return (
        not (proof.page or proof.accused_page or proof.source_page or proof.given.any())
        and inliers >= SCENE_INLIERS
        and proof.count_hull >= LOOK_HULL_COUNT
        and proof.agreement_hull >= SCENE_HULL_AGREEMENT
        and proof.agreement >= SCENE_AGREEMENT
    )


def _photo_strength(proof: Proof, inliers: int, *, hashed: bool) -> float:
    agreement, hull = proof.agreement, proof.agreement_hull
    wide = hashed or _spread(proof) >= SPREAD_MIN
    if agreement >= SURE_AGREEMENT and proof.count >= SURE_COUNT and wide:
        return 0.5 + 0.5 * _part(agreement, SURE_AGREEMENT, 1.0)
    if hashed:
        return 0.3 if agreement >= LOOK_AGREEMENT else 0.0
    if (
        hull >= HULL_AGREEMENT
        and proof.count_hull >= HULL_COUNT
        and inliers >= HULL_INLIERS
        and agreement >= HULL_WHOLE_AGREEMENT
        and not proof.accused_page
        and wide
    ):
        return 0.5 + 0.3 * _part(hull, HULL_AGREEMENT, 1.0)
    if agreement >= LOOK_AGREEMENT or (
        hull >= LOOK_HULL_AGREEMENT and proof.count_hull >= LOOK_HULL_COUNT and agreement >= 0.3
    ):
        return 0.25 + 0.24 * _part(agreement, 0.3, SURE_AGREEMENT)
    return 0.0


def _spread(proof: Proof) -> float:
    points = proof.alignment.points.astype(np.float64)
    across = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[-1]
    return float(across / np.sqrt(len(points)) / (BLOCK * max(proof.comparison.known.shape)))


def _page_strength(proof: Proof, variable: Variable | None) -> float:
    if variable is not None and variable.known:
        return _varying_strength(proof, variable)
    unlike = variable is not None and variable.peers == 0 and variable.asked >= PEERS_MIN
    if unlike and proof.agreement >= PAGE_SURE_AGREEMENT and proof.count >= PAGE_SURE_COUNT:
        return 0.5 + 0.3 * _part(proof.agreement, PAGE_SURE_AGREEMENT, 1.0)
    if proof.agreement >= PAGE_LOOK_AGREEMENT and proof.count >= PAGE_LOOK_COUNT:
        return 0.35 + 0.14 * _part(proof.agreement, PAGE_LOOK_AGREEMENT, 1.0)
    return LAID_OVER_STRENGTH if _laid_over(proof) else 0.0


def _laid_over(proof: Proof) -> bool:
    """Say whether a page may be the source with something laid over it, or washed out in places.

    A sticker or a caption hides what it covers, and what it leaves is the same to the pixel. Honest pages
    of one shop or app differ where both show something.
    """
    return (
        proof.alignment.inliers >= LAID_OVER_INLIERS
        and proof.count_shared >= max(LAID_OVER_COUNT, LAID_OVER_SHARE * proof.count)
        and proof.agreement_shared >= LAID_OVER_AGREEMENT
    )


def _varying_strength(proof: Proof, variable: Variable) -> float:
    """Judge by what varies: how much of it agrees, and how far that leads what honest peers reach."""
    alike = proof.agreement >= LEAD_AGREEMENT
    whole = alike and variable.blocks >= WHOLE_BLOCKS
    if variable.peers >= LEAD_PEERS and variable.lead < LEAD_CLEAR and not whole:
        return 0.0
    if variable.agreement >= VARIABLE_SURE and variable.blocks >= VARIABLE_FIRM:
        return 0.5 + 0.5 * _part(variable.agreement, VARIABLE_SURE, 1.0)
    led = variable.peers >= LEAD_PEERS and variable.blocks >= LEAD_BLOCKS and alike
    if led and variable.lead >= LEAD_SURE:
        return 0.5 + 0.3 * _part(variable.lead, LEAD_SURE, 0.7)
    if variable.agreement >= VARIABLE_LOOK:
        return 0.25 + 0.2 * _part(variable.agreement, VARIABLE_LOOK, VARIABLE_SURE)
    if led and variable.lead >= LEAD_LOOK:
        return 0.25 + 0.2 * _part(variable.lead, LEAD_LOOK, LEAD_SURE)
    return 0.0


def _code(proof: Proof) -> str:
    whole = proof.comparison.overlap >= WHOLE_SHARE and proof.comparison.source_share >= WHOLE_SHARE
    return "image.near_duplicate" if whole else "image.region_reused"


def _part(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))
