"""What one text says of itself: hidden characters, nothing but the brief, a planted phrase."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from detectors.kit.lexical import Texts, read
from detectors.kit.lexical.shapes import BIDI, DISGUISED, INVISIBLE, MIXED, SHINGLE_UNITS
from detectors.kit.lexical.table import fold_table

CLASS_NAMES: Final = {
    INVISIBLE: "invisible",
    BIDI: "directional",
    DISGUISED: "look_alike",
    MIXED: "other_script",
}
HIDDEN_MIN: Final = 3
HIDDEN_SHARE_MIN: Final = 0.005
TEMPLATE_WEIGHT_MIN: Final = 36
TEMPLATE_SHARE_MAX: Final = 0.15
TEMPLATE_REVIEW_MAX: Final = 0.25
TEMPLATE_OWN_MAX: Final = 24
CANARY_UNITS_MIN: Final = 6
NAMED_MAX: Final = 12

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A finding about one text alone."""

    code: str
    strength: float
    evidence: dict[str, Any]


def hidden_characters(
    text: str, classes: npt.NDArray[np.int32], unit_count: int, *, copied: bool
) -> Surface | None:
    """Name the invisible and look-alike characters, where there are too many for an accident.

    Sure only where a copy was found behind them (``copied``); else at most worth a look.
    """
    counts = {name: int(classes[kind]) for kind, name in CLASS_NAMES.items() if classes[kind]}
    total = sum(counts.values())
    if total < HIDDEN_MIN or total < HIDDEN_SHARE_MIN * unit_count:
        return None
    share = total / max(unit_count, 1)
    alone = min(0.45, 0.2 + 2.0 * share)
    strength = min(1.0, 0.6 + 2.0 * share) if copied else alone
    named = list(_named(text))
    return Surface(
        code="text.hidden_characters",
        strength=round(strength, 4),
        evidence={"counts": counts, "share": round(share, 4), "characters": named},
    )


def _named(text: str) -> Iterator[dict[str, Any]]:
    """Name each such character once, with how often it stands there and where first."""
    traits = fold_table().traits
    points = np.frombuffer(bytearray(text.encode("utf-32-le", "surrogatepass")), np.uint32)
    kinds = traits[points] >> 2
    found, first, counts = np.unique(
        points[np.isin(kinds, list(CLASS_NAMES))], return_index=True, return_counts=True
    )
    places = np.flatnonzero(np.isin(kinds, list(CLASS_NAMES)))
    order = np.argsort(-counts, kind="stable")[:NAMED_MAX]
    for at in order.tolist():
        point = int(found[at])
        yield {
            "code_point": f"U+{point:04X}",
            "name": unicodedata.name(chr(point), "unnamed"),
            "kind": CLASS_NAMES[int(traits[point] >> 2)],
            "count": int(counts[at]),
            "first_at": int(places[first[at]]),
        }


def template_only(weights: npt.NDArray[np.uint8], given: Bools, answer: bool) -> Surface | None:
    """Say whether hardly anything stands in a text beyond what the task handed out.

    ``answer`` is false for files: a form handed back beside an answer is no fault. Pieces between
    handed-out passages that are shorter than a shingle are seams, not words.
    """
    total = int(weights.sum())
    if not answer or total < TEMPLATE_WEIGHT_MIN or 2 * int(given.sum()) < len(given):
        return None
    begins = np.flatnonzero(~given & np.concatenate([[True], given[:-1]]))
    pieces = np.add.reduceat(np.where(given, 0, weights), begins, dtype=np.int64)
    own = int(pieces[pieces >= SHINGLE_UNITS].sum()) if len(begins) else 0
    share = own / total
    if share > TEMPLATE_REVIEW_MAX or own > 2 * TEMPLATE_OWN_MAX:
        return None
    sure = share <= TEMPLATE_SHARE_MAX and own <= TEMPLATE_OWN_MAX
    strength = 1.0 - 2.0 * share if sure else 0.3
    return Surface(
        code="text.template_only",
        strength=round(strength, 4),
        evidence={"own_share": round(share, 4), "own_weight": own, "weight": total},
    )


def canaries_of(extra: str | None) -> list[str]:
    """Read the phrases that a task plants: ``canaries``, a list of strings among its own columns."""
    try:
        told = orjson.loads(extra or "{}")
    except orjson.JSONDecodeError:
        return []
    phrases = told.get("canaries") if isinstance(told, dict) else None
    if isinstance(phrases, str):
        phrases = [phrases]
    if not isinstance(phrases, list):
        return []
    return [p for p in phrases if isinstance(p, str) and p.strip()]


def canary(texts: Texts, index: int, phrases: Sequence[str], given: Bools) -> Surface | None:
    """Find a planted phrase that stands alone, not inside a quotation of the brief itself."""
    folded, quiet = texts.folded(index), given.tobytes()
    for phrase in phrases:
        plain = read([phrase])
        wanted = plain.folded(0)
        if len(wanted) < 2 or int(plain.weights[0]) < CANARY_UNITS_MIN:
            continue
        at = folded.find(wanted)
        while at >= 0:
            end = at + len(wanted)
            around = quiet[max(at - 4, 0) : at], quiet[end : end + 4]
            if not any(side and 0 not in side for side in around):
                begin, stop = texts.sources(index, at, end)
                return Surface(
                    code="text.canary",
                    strength=0.95,
                    evidence={"phrase": phrase, "begin": begin, "end": stop},
                )
            at = folded.find(wanted, at + 1)
    return None
