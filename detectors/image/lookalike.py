"""Look-alikes: of two screenshots of one app, only what *varies* among its users is evidence.

It is to pictures what subtracting the brief is to text. Blocks that at least half of the task's other
submitters share with the accused are the app's or the form's; only the others can be copied.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from detectors.image import geometry
from detectors.image.compare import F32, MATCH_MIN, Blocks, Comparison, compare
from detectors.image.proof import Piece, Proof

PEERS_MIN: Final = 3
PEER_INLIERS_MIN: Final = 10
VARIABLE_MIN: Final = 6
VARIABLE_FIRM: Final = 12
"""Varying blocks from which agreement may be sure."""
YARDSTICK_QUANTILE: Final = 0.7
VARY_MARGIN: Final = 0.1
AGREE_MARGIN: Final = 0.2
LEAD_MIN: Final = 0.06
PEER_COPY_MIN: Final = 0.9
"""Share of the varying blocks from which a peer is a copy of the same picture itself, and no null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """Agreement on the blocks that vary: of ``blocks`` such blocks, ``agreement`` match.

    ``peers`` is how many other submitters' pictures taught what varies, of ``asked`` that were
    looked at; where none of several did, the task has no template. ``lead`` is by how much more of the
    varying blocks the source agrees than the best of the peers does that is no copy itself.
    """

    peers: int
    blocks: int
    agreement: float
    asked: int
    lead: float = 0.0

    @property
    def known(self) -> bool:
        """Say whether enough peers and enough varying blocks stand behind the figure."""
        return self.peers >= PEERS_MIN and self.blocks >= VARIABLE_MIN


def lay_peer(accused: Piece, peer: Piece) -> Comparison | None:
    """Lay another submitter's picture over the accused one; None where they are not one template."""
    found = geometry.align(accused.part.features, peer.part.features)
    if found is None or found.inliers < PEER_INLIERS_MIN:
        return None
    return compare(accused.canvas, peer.canvas, found)


def variable(proof: Proof, peers: Sequence[Comparison], asked: int) -> Variable:
    """Measure agreement on the textured blocks that vary among the peers.

    How alike static blocks look in this very picture (it may be blurred or recompressed) is the
    yardstick: a block varies where half of the peers fall clearly short of it, and agrees where the
    source does not and is clearly more alike than those peers.
    """
    laid = proof.comparison
    if proof.alignment.mirrored:
        peers = [_flipped(peer) for peer in peers]
    free = laid.known & laid.textured & ~proof.given
    if not peers or not free.any():
        return Variable(
            peers=len(peers), blocks=int(free.sum()), agreement=laid.agreement(~proof.given),
            asked=asked,
        )  # fmt: skip
    told = np.stack([np.where(peer.known, _alike(peer), 0.0) for peer in peers])
    usual = np.median(told, axis=0)
    ours = _alike(laid)
    yardstick = float(np.quantile(np.maximum(ours, usual)[free], YARDSTICK_QUANTILE))
    varies = free & (usual < yardstick - VARY_MARGIN)
    agrees = varies & (ours >= np.maximum(yardstick - AGREE_MARGIN, usual + LEAD_MIN))
    blocks = int(varies.sum())
    return Variable(
        peers=len(peers), blocks=blocks, agreement=int(agrees.sum()) / max(blocks, 1), asked=asked,
        lead=_lead(ours, told, usual, varies),
    )  # fmt: skip


def _lead(ours: F32, told: F32, usual: F32, varies: Blocks) -> float:
    """Say by how much more of the varying blocks the source agrees than the best of the peers.

    By a bar that does not rise with the yardstick: resampling blurs small letters and lowers every
    correlation, the peers' as much. Honest people's own pages are the null.
    """
    bar = np.maximum(MATCH_MIN, usual + LEAD_MIN)
    blocks = max(int(varies.sum()), 1)
    mine = float((ours >= bar)[varies].sum() / blocks)
    theirs = (told >= bar)[:, varies].sum(axis=1) / blocks
    return mine - float(theirs[theirs < PEER_COPY_MIN].max(initial=0.0))


def _alike(laid: Comparison) -> F32:
    even = laid.matched.astype(np.float32)
    return np.asarray(np.where(laid.textured, laid.likeness, even), np.float32)


def _flipped(laid: Comparison) -> Comparison:
    return replace(
        laid, known=laid.known[:, ::-1], matched=laid.matched[:, ::-1],
        textured=laid.textured[:, ::-1], shared=laid.shared[:, ::-1], likeness=laid.likeness[:, ::-1],
    )  # fmt: skip
