"""Proof of one pair of pictures: align, lay over, and say how much agrees that was not given.

Nothing here decides; ``verdict`` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from detectors.image import geometry
from detectors.image.compare import CLOSE_MIN, Blocks, Comparison, compare
from detectors.image.features import Features
from detectors.image.geometry import F64, Alignment
from detectors.image.hashes import Grey
from detectors.image.nominate import Nominee
from detectors.image.prints import Part, Print

HASHED_TEXTURE_MIN: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One part of a known file, with its small picture."""

    part: Part
    canvas: Grey


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A pair laid over each other. ``given`` marks blocks that the task handed out.

    ``page`` says that what is compared is a page; ``accused_page`` and ``source_page`` that the frame
    around it is one. ``own_count`` blocks with texture, ``own_share`` of its frame's, lie outside what
    the accused page shares with the source.
    """

    nominee: Nominee
    alignment: Alignment
    comparison: Comparison
    given: Blocks
    page: bool
    accused_page: bool = False
    source_page: bool = False
    source_panel: bool = False
    source_part: int = 0
    own_count: int = 0
    own_share: float = 0.0

    @property
    def agreement(self) -> float:
        """Share of the textured blocks, not handed out, that match."""
        return self.comparison.agreement(~self.given)

    @property
    def count(self) -> int:
        """How many textured blocks there are that were not handed out."""
        return self.comparison.count(~self.given)

    @property
    def count_shared(self) -> int:
        """How many such blocks have texture in both pictures."""
        return int((self.comparison.shared & ~self.given).sum())

    @property
    def agreement_shared(self) -> float:
        """The share of these that are the same pixels, coded anew."""
        shared = self.comparison.shared & ~self.given
        close = (self.comparison.likeness >= CLOSE_MIN) & shared
        return float(close.sum() / max(int(shared.sum()), 1))

    @property
    def agreement_hull(self) -> float:
        """The same, inside the hull of the features that agree."""
        return self.comparison.agreement(self.comparison.hull & ~self.given)

    @property
    def count_hull(self) -> int:
        """How many such blocks the hull holds."""
        return self.comparison.count(self.comparison.hull & ~self.given)


def align(
    nominee: Nominee, accused: Part, source: Part, prints: tuple[Print, Print], shown: Features
) -> Alignment | None:
    """Align by features in the nominee's mode (``shown``), else by how the hashes met."""
    mirrored, inverted = nominee.mode == "mirrored", nominee.mode == "inverted"
    found = geometry.align(shown, source.features)
    if found is not None:
        return replace(found, mirrored=mirrored, inverted=inverted)
    if nominee.orientation >= 0:
        return _by_orientation(nominee, accused, prints, mirrored=mirrored, inverted=inverted)
    return None


def shown_in(mode: str, features: Features) -> Features:
    """Return the features of the picture as it is, mirrored or as a negative."""
    if mode == "mirrored":
        return features.mirrored()
    return features.inverted() if mode == "inverted" else features


def lay(
    nominee: Nominee,
    found: Alignment,
    accused: Piece,
    source: Piece,
    prints: tuple[Print, Print],
    source_part: int = 0,
) -> Proof | None:
    """Lay the source over the accused; None where hashes alone met and too little can be compared."""
    laid = compare(accused.canvas, source.canvas, found)
    if found.inliers == 0 and laid.count() < HASHED_TEXTURE_MIN:
        return None
    return Proof(
        nominee=nominee, alignment=found, comparison=laid, page=source.part.page,
        accused_page=prints[0].on_page(nominee.accused_part),
        source_page=prints[1].on_page(source_part),
        source_panel=source.part.origin != (0.0, 0.0, 1.0, 1.0), source_part=source_part,
        given=np.zeros(laid.known.shape, np.bool_),
    )  # fmt: skip


def prove(
    nominee: Nominee, accused: Piece, source: Piece, prints: tuple[Print, Print]
) -> Proof | None:
    """Align and lay over."""
    shown = shown_in(nominee.mode, accused.part.features)
    found = align(nominee, accused.part, source.part, prints, shown)
    return None if found is None else lay(nominee, found, accused, source, prints)


def _by_orientation(
    nominee: Nominee,
    accused: Part,
    prints: tuple[Print, Print],
    *,
    mirrored: bool,
    inverted: bool,
) -> Alignment:
    """Map one hashed box onto the other as the orientation says."""
    ours, theirs = prints[0].slot(nominee.slots[0])[1], prints[1].slot(nominee.slots[1])[1]
    unit = _TO_ACCUSED[nominee.orientation]
    left, top, right, bottom = theirs
    into_unit = np.array(
        [[1 / (right - left), 0, -left / (right - left)],
         [0, 1 / (bottom - top), -top / (bottom - top)], [0, 0, 1]]
    )  # fmt: skip
    left, top, right, bottom = ours
    out_of_unit = np.array([[right - left, 0, left], [0, bottom - top, top], [0, 0, 1.0]])
    transform = out_of_unit @ unit @ into_unit
    if mirrored:
        flip = np.array([[-1.0, 0, accused.features.width], [0, 1, 0], [0, 0, 1]])
        transform = flip @ transform
    none = np.empty((0, 2), np.float32)
    return Alignment(
        transform=transform, inliers=0, points=none, sources=none, mirrored=mirrored,
        inverted=inverted,
    )  # fmt: skip


def _unit(a: tuple[float, float, float], b: tuple[float, float, float]) -> F64:
    return np.array([a, b, (0, 0, 1)], np.float64)


_TO_ACCUSED: Final = (
    _unit((1, 0, 0), (0, 1, 0)),
    _unit((-1, 0, 1), (0, 1, 0)),
    _unit((1, 0, 0), (0, -1, 1)),
    _unit((-1, 0, 1), (0, -1, 1)),
    _unit((0, 1, 0), (1, 0, 0)),
    _unit((0, 1, 0), (-1, 0, 1)),
    _unit((0, -1, 1), (1, 0, 0)),
    _unit((0, -1, 1), (-1, 0, 1)),
)
"""Where a point of the source, both sides one long, lies in the accused, by orientation number."""


def without_given(proof: Proof, accused: Piece, handed_out: Sequence[Piece]) -> Proof:
    """Mark the blocks of the accused picture that a reference picture explains."""
    given = proof.given.copy()
    features = accused.part.features
    mirrored, inverted = proof.alignment.mirrored, proof.alignment.inverted
    features = features.mirrored() if mirrored else features
    features = features.inverted() if inverted else features
    for reference in handed_out:
        found = geometry.align(features, reference.part.features)
        if found is None:
            continue
        found = replace(found, mirrored=mirrored, inverted=inverted)
        laid = compare(accused.canvas, reference.canvas, found)
        given |= laid.known & (laid.matched | laid.hull)
    return replace(proof, given=given)


def inliers_outside(proof: Proof) -> int:
    """Count agreeing features that lie outside what the task handed out."""
    if not proof.given.any():
        return proof.alignment.inliers
    rows, columns = proof.given.shape
    at = (proof.alignment.points / 12).astype(np.int64)
    inside = (at[:, 1] < rows) & (at[:, 0] < columns)
    free = ~proof.given[at[inside, 1].clip(0), at[inside, 0].clip(0)]
    return min(proof.alignment.inliers, int(free.sum()) + int((~inside).sum()))
