"""Folded texts of submissions side by side: what was handed out, what is own, what evidence shows."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.kit.lexical import Picks, Texts, weights_of
from detectors.text.bodies import BODY, Body
from detectors.text.prove import Copy

EXCERPT_CHARS: Final = 120
SPANS_MAX: Final = 8
JACCARD_UNITS_MAX: Final = 200_000

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Some bodies with their folded texts and the units that their own task handed out."""

    bodies: list[Body]
    texts: Texts
    given: Bools

    def part(self, begin: int, end: int) -> "Corpus":
        """Return the texts ``begin`` to ``end``; nothing is copied."""
        units = slice(int(self.texts.starts[begin]), int(self.texts.starts[end]))
        return Corpus(
            bodies=self.bodies[begin:end],
            texts=self.texts.part(begin, end),
            given=self.given[units],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loud:
    """Where the fingerprints of the accused texts stand, and which of them are no stock phrases.

    ``all`` and ``loud`` are sorted units, ``starts`` where each text begins.
    """

    all: npt.NDArray[np.int64]
    loud: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, both: Corpus, picks: Picks, stock: Bools) -> "Loud":
        """Place fingerprints; ``picks`` are those of the first texts of ``both``."""
        at = both.texts.starts[picks.owners] + picks.places
        return cls(all=np.sort(at), loud=np.sort(at[~stock]), starts=both.texts.starts)

    def keep(self, text: int, blocks: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Leave out blocks whose fingerprints are all stock phrases."""
        begins, ends = blocks[:, 0] + self.starts[text], blocks[:, 1] + self.starts[text]
        some = np.searchsorted(self.all, ends) - np.searchsorted(self.all, begins)
        loud = np.searchsorted(self.loud, ends) - np.searchsorted(self.loud, begins)
        kept: npt.NDArray[np.int32] = blocks[(some == 0) | (loud > 0)]
        return kept


def joined(left: Corpus, right: Corpus) -> Corpus:
    """Put two corpora end to end."""
    a, b = left.texts, right.texts
    texts = Texts(
        units=np.concatenate([a.units, b.units]),
        origins=np.concatenate([a.origins, b.origins]),
        starts=np.concatenate([a.starts, b.starts[1:] + a.starts[-1]]),
        hashes=np.concatenate([a.hashes, b.hashes]),
        lengths=np.concatenate([a.lengths, b.lengths]),
        digests=np.concatenate([a.digests, b.digests]),
        weights=np.concatenate([a.weights, b.weights]),
        classes=np.concatenate([a.classes, b.classes]),
    )
    return Corpus(
        bodies=left.bodies + right.bodies, texts=texts,
        given=np.concatenate([left.given, right.given]),
    )  # fmt: skip


def own_weights(corpus: Corpus) -> npt.NDArray[np.int64]:
    """Weigh each text without what its task handed out."""
    own = weights_of(corpus.texts)
    own[corpus.given] = 0
    sums = np.zeros(len(own) + 1, np.int64)
    np.cumsum(own, dtype=np.int64, out=sums[1:])
    weighed: npt.NDArray[np.int64] = np.diff(sums[corpus.texts.starts])
    return weighed


def quiet_picks(corpus: Corpus, picks: Picks) -> Bools:
    """Mark fingerprints of which the greater part was handed out."""
    if not corpus.given.any():
        return np.zeros(len(picks.keys), np.bool_)
    at = corpus.texts.starts[picks.owners] + picks.places
    sums = np.concatenate([[0], np.cumsum(corpus.given)])
    size = corpus.texts.lengths[at].astype(np.int64)
    marked: Bools = 2 * (sums[at + size] - sums[at]) > size
    return marked


def evidence_of(both: Corpus, text: int, source: int, copy: Copy) -> dict[str, Any]:
    """Show the shared passages in the two authors' own characters."""
    mine, theirs = both.bodies[text], both.bodies[source]
    spans: list[dict[str, Any]] = []
    for a0, a1, b0, b1, weight in sorted(copy.blocks.tolist(), key=lambda b: (-b[4], b[0])):
        if len(spans) == SPANS_MAX:
            break
        begin, end = both.texts.sources(text, a0, a1)
        other_begin, other_end = both.texts.sources(source, b0, b1)
        spans.append(
            {
                "begin": begin,
                "end": end,
                "source_begin": other_begin,
                "source_end": other_end,
                "weight": weight,
                "page": mine.page_of(begin),
                "source_page": theirs.page_of(other_begin),
                "text": mine.text[begin : min(end, begin + EXCERPT_CHARS)],
                "source_text": theirs.text[
                    other_begin : min(other_end, other_begin + EXCERPT_CHARS)
                ],
            }
        )
    return {
        "where": where(mine),
        "source_where": where(theirs),
        "share": round(copy.share, 4),
        "source_share": round(copy.source_share, 4),
        "jaccard": _jaccard(both.texts, text, source),
        "weight": round(copy.weight, 1),
        "spans": spans,
    }


def _jaccard(texts: Texts, left: int, right: int) -> float | None:
    """Share of common shingles; None for texts so long that counting them would take seconds."""
    if max(int(texts.starts[i + 1] - texts.starts[i]) for i in (left, right)) > JACCARD_UNITS_MAX:
        return None
    a, b = texts.shingles_of(left), texts.shingles_of(right)
    common = len(np.intersect1d(a, b, assume_unique=True))
    return round(common / max(len(a) + len(b) - common, 1), 4)


def where(body: Body) -> str:
    """Say in which part of a submission a text stands."""
    return "text" if body.content_index == BODY else f"file {body.content_index}: {body.name}"
