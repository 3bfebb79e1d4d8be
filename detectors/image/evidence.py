"""Evidence that a person can be shown: which region of which picture, laid how over which other."""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import numpy as np

from detectors.image.compare import BLOCK, textured
from detectors.image.geometry import F64, Alignment, apply
from detectors.image.hashes import Grey
from detectors.image.known import Known
from detectors.image.nominate import Key
from detectors.image.pages import narrow_share
from detectors.image.prints import Part
from detectors.image.proof import Proof
from detectors.image.verdict import Verdict
from detectors.kit.order import Submitter

OWN_GROUND_MIN: Final = 0.4
"""Share of a page around a picture that a narrow range of greys fills."""
Edges: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def evidence(key: Key, chosen: Verdict, source: Submitter, known: Known) -> dict[str, Any]:
    """Write the matched regions as shares of each picture (0 to 1), the transform and the figures.

    ``transform`` maps shares of the source picture to shares of the accused one, row by row, a mirrored
    copy's flip included: what a side-by-side or a blink overlay needs.
    """
    found = chosen.proof
    nominee, laid, alignment = found.nominee, found.comparison, found.alignment
    our_piece = known.piece(key, nominee.accused_part)
    their_piece = known.piece(nominee.source, found.source_part)
    our_part, their_part = our_piece.part, their_piece.part
    ours, theirs = our_piece.canvas.shape, their_piece.canvas.shape
    shares = _into_frame(our_part, ours, alignment.mirrored) @ alignment.transform
    shares = shares @ np.linalg.inv(_into_frame(their_part, theirs, False))
    told: dict[str, Any] = {
        "content_index": key[1],
        "matched_content_index": nominee.source[1],
        "frame": our_part.frame,
        "matched_frame": their_part.frame,
        "mirrored": alignment.mirrored,
        "inverted": alignment.inverted,
        "transform": [[round(float(v), 5) for v in row] for row in shares / shares[2, 2]],
        "turn_degrees": round(alignment.turn_degrees, 1),
        "scale": round(alignment.scale, 3),
        "region": region_of(found, ours, our_part.origin),
        "matched_region": _source_region(found, ours, theirs, their_part.origin),
        "features_agreeing": alignment.inliers,
        "features_by_chance_log10": round(alignment.chance_log10, 1),
        "blocks_compared": found.count,
        "blocks_agreeing": round(found.agreement, 3),
        "overlap": round(laid.overlap, 3),
        "source_shown": round(laid.source_share, 3),
        "kind": "page" if found.page else "photo",
        "first_submitted_at": source.submitted_at.isoformat(),
    }
    if nominee.distance <= 256 and nominee.orientation >= 0:
        told["hash_distance_bits"] = nominee.distance
    if found.given.any():
        told["handed_out_share"] = round(float(found.given.mean()), 3)
    if chosen.variable is not None:
        told["peers"] = chosen.variable.peers
        told["variable_blocks"] = chosen.variable.blocks
        told["variable_blocks_agreeing"] = round(chosen.variable.agreement, 3)
        told["variable_blocks_lead"] = round(chosen.variable.lead, 3)
    return told


def _bounds(found: Proof) -> tuple[int, int, int, int] | None:
    laid = found.comparison
    rows, columns = np.nonzero(laid.matched & laid.known & ~found.given)
    if not len(rows):
        return None
    return (
        int(columns.min()) * BLOCK, int(rows.min()) * BLOCK,
        int(columns.max() + 1) * BLOCK, int(rows.max() + 1) * BLOCK,
    )  # fmt: skip


def own_content(frame: Grey, shared: Edges, panels: Iterable[Edges]) -> tuple[int, float]:
    """Count a page's blocks with texture outside what it shares (shares), and their share of all.

    ``panels`` do not count, nor does anything where the rest is no page: the other cells of a
    collage are no screen's own.
    """
    blocks, rest = textured(frame), np.ones(frame.shape, np.bool_)
    total = int(blocks.sum())
    for left, top, right, bottom in (shared, *panels):
        for mask in (blocks, rest):
            height, width = mask.shape
            rows = slice(round(top * height), round(bottom * height))
            mask[rows, round(left * width) : round(right * width)] = False
    if not rest.any() or narrow_share(frame[rest]) < OWN_GROUND_MIN:
        return 0, 0.0
    own = int(blocks.sum())
    return own, own / max(total, 1)


def shares_of(shape: tuple[int, ...]) -> F64:
    """Map pixels, counted at their centres, to shares of the picture."""
    height, width = shape[:2]
    return np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1.0]])


def _into_frame(part: Part, shape: tuple[int, ...], mirrored: bool) -> F64:
    """Map pixels of a part's small picture (flipped, where mirrored) to shares of its frame."""
    left, top, right, bottom = part.origin
    scale = shares_of(shape)
    flip = np.array([[-1.0, 0, 1], [0, 1, 0], [0, 0, 1]]) if mirrored else np.eye(3)
    place = np.array([[right - left, 0, left], [0, bottom - top, top], [0, 0, 1.0]])
    return np.asarray(place @ flip @ scale, np.float64)


def region_of(found: Proof, shape: tuple[int, ...], origin: Edges) -> Edges | None:
    """Return left, top, right, bottom of what matched in the accused frame, as shares."""
    box = _bounds(found)
    if box is None:
        return None
    left, top, right, bottom = box
    if found.alignment.mirrored:
        left, right = shape[1] - right, shape[1] - left
    return _shares((left, top, right, bottom), shape, origin)


def agreeing_region(found: Alignment, accused: Part) -> Edges:
    """Return left, top, right, bottom of the features that agree in the accused frame, as shares."""
    wide, high = accused.features.width, accused.features.height
    (left, top), (right, bottom) = found.points.min(axis=0), found.points.max(axis=0)
    if found.mirrored:
        left, right = wide - right, wide - left
    return _shares((left, top, right, bottom), (high, wide), accused.origin)


def _source_region(
    found: Proof, shape: tuple[int, ...], source_shape: tuple[int, ...], origin: Edges
) -> Edges | None:
    """Return the same region's bounds in the source frame, as shares."""
    box = _bounds(found)
    if box is None:
        return None
    left, top, right, bottom = box
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    back = apply(np.asarray(np.linalg.inv(found.alignment.transform), np.float64), corners)
    low, high = back.min(axis=0), back.max(axis=0)
    return _shares((low[0], low[1], high[0], high[1]), source_shape, origin)


def _shares(box: Edges, shape: tuple[int, ...], origin: Edges) -> Edges:
    """Turn pixels of a part's small picture into shares of its frame."""
    left, top, right, bottom = (
        min(1.0, max(0.0, float(edge) / shape[1 - i % 2])) for i, edge in enumerate(box)
    )
    wide, high = origin[2] - origin[0], origin[3] - origin[1]
    return (
        round(origin[0] + left * wide, 4), round(origin[1] + top * high, 4),
        round(origin[0] + right * wide, 4), round(origin[1] + bottom * high, 4),
    )  # fmt: skip
