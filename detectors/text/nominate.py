"""Nominating sources: who earlier shares fingerprints with a text, stock phrases left out.

A fingerprint counts as *stock* where enough people wrote it in texts that are otherwise unlike this
one and one another: a greeting, a closing formula, a turn that everyone uses. A passage whose carriers
share much of the text, or are copies of one source, is a copy however often it was copied.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from detectors.kit.lexical import Picks
from detectors.text.bodies import BODY
from detectors.text.voices import VOICES_MAX, Phrases, voices
from pipeline.model.carriers import Carriers
from pipeline.ports import Past

WINNOW: Final = "text.winnow"
WHOLE: Final = "text.whole"
BAND: Final = "text.band"
DF_MAX: Final = 5_000
"""A fingerprint that more submissions carry nominates nobody; equal texts still find each other."""
CARRIERS_MAX: Final = 64
"""Of the carriers of one fingerprint the earliest so many are looked at."""
CANDIDATES_MAX: Final = 16
EARLIEST_MAX: Final = 4
"""Of candidates nearly as good as the best, of equal and of similar texts, the earliest so many."""
RIVAL: Final = 0.6
LIGHT_SHARE: Final = 0.35
LIGHT_WEIGHT: Final = 90
"""Sharing at most this share and this weight (30 ideographs) of a text leaves two texts unlike."""
STOCK_WORKERS: Final = 3
STOCK_OWN: Final = 2
ROWS_MAX: Final = 50_000_000
BANDS_MIN: Final = 2

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominees:
    """Candidates by text: ``pairs`` has ``text`` (index), ``submission_id``, ``content_index``, ``own``.

    Each text's stand in order of submission; ``own`` says that its own worker handed the source in.
    ``stock`` (picks,) marks the fingerprints that are stock phrases.
    """

    pairs: pl.DataFrame
    stock: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """Keys of texts and who carries them: what the compiled loops read.

    Text t has the keys ``cuts[t]`` to ``cuts[t + 1]``; that of slot s has the rows ``begins[s]`` to
    ``ends[s]`` of ``nodes`` (texts of others by number, in order of submission). ``places`` and
    ``contents`` say of each node whose it is and which of theirs; ``own`` where each text stands.
    """

    cuts: Ints
    begins: Ints
    ends: Ints
    nodes: Ints
    places: Ints
    contents: npt.NDArray[np.int32]
    workers: Keys
    own: Ints
    documents: npt.NDArray[np.uint32]


def nominate(
    asked: pl.DataFrame, picks: Picks, quiet: Bools, digests: Keys, bands: Keys, past: Past
) -> Nominees:
    """Find the candidates of some texts.

    ``asked`` has a row a text: ``text`` (0 to n − 1), ``submission_id``, ``weight``; ``quiet`` (picks,)
    marks fingerprints of what everyone was given; ``digests`` and ``bands`` are of the texts.
    """
    from detectors.text import kernels

    texts, slots = _distinct(picks.owners[~quiet], picks.keys[~quiet])
    shared = _carried(past, WINNOW, asked, texts, slots)
    weights = asked["weight"].to_numpy().astype(np.float64)
    muted = _distinct(picks.owners[quiet], picks.keys[quiet])
    stock = _stock(shared, weights, muted, past)
    none = np.zeros(0, np.bool_)
    every = np.arange(len(asked))
    parts = [_chosen(shared, stock, past, hits_min=1, best=CANDIDATES_MAX, part=RIVAL)]
    whole = _carried(past, WHOLE, asked, every, digests, capped=False)
    parts.append(_chosen(whole, none, past, hits_min=1, best=0, part=0.0))
    near = _carried(past, BAND, asked, np.repeat(every, bands.shape[1]), bands.ravel())
    parts.append(_chosen(near, none, past, hits_min=BANDS_MIN, best=0, part=0.0))
    marked = np.zeros(len(picks.keys), np.bool_)
    marked[~quiet] = kernels.among(
        picks.owners[~quiet], picks.keys[~quiet], texts[stock], slots[stock], len(asked)
    )
    pairs = pl.concat(parts).unique(["text", "submission_id", "content_index"])
    return Nominees(
        pairs=pairs.sort("text", "submitted_at", "submission_id", "content_index"), stock=marked
    )


def _distinct(texts: Ints, keys: Keys) -> tuple[Ints, Keys]:
    """Sort by text and key, each pair once."""
    order = np.lexsort((keys, texts))
    texts, keys = texts[order], keys[order]
    fresh = np.ones(len(texts), np.bool_)
    fresh[1:] = (texts[1:] != texts[:-1]) | (keys[1:] != keys[:-1])
    return texts[fresh], keys[fresh]


def _numbered(values: Ints, below: int) -> tuple[Ints, Ints]:
    """Return the distinct values, which are below so much, and the place of each value among them."""
    seen = np.zeros(below, np.bool_)
    seen[values] = True
    distinct = np.flatnonzero(seen)
    number: Ints = np.empty(below, np.int64)
    number[distinct] = np.arange(len(distinct))
    return distinct, number[values]


def _carried(
    past: Past, kind: str, asked: pl.DataFrame, texts: Ints, keys: Keys, *, capped: bool = True
) -> _Shared:
    """Ask who carried keys first, without the keys that too many carry. ``texts`` are ascending."""
    owners = asked["submission_id"].to_list()
    told: Carriers = past.carriers(
        kind, pl.Series(keys, dtype=pl.UInt64), owners, df_max=DF_MAX if capped else None,
        earliest=CARRIERS_MAX,
    )  # fmt: skip
    texts_each = int(told.contents.max(initial=BODY)) + 2
    nodes, back = _numbered(
        told.places * texts_each + told.contents + 1, texts_each * len(told.documents)
    )
    at = np.searchsorted(told.keys, keys)
    at[at == len(told.keys)] = 0
    known = told.keys[at] == keys if len(told.keys) else np.zeros(len(keys), np.bool_)
    bounds = told.bounds if len(told.keys) else np.zeros(2, np.int64)
    places = nodes // texts_each
    return _Shared(
        cuts=np.searchsorted(texts, np.arange(len(asked) + 1)).astype(np.int64),
        begins=np.where(known, bounds[at], 0), ends=np.where(known, bounds[at + 1], 0),
        nodes=back, places=places,
        contents=(nodes % texts_each - 1).astype(np.int32), workers=told.workers,
        own=told.beside, documents=told.documents,
    )  # fmt: skip


def _stock(
    shared: _Shared, weights: npt.NDArray[np.float64], muted: tuple[Ints, Keys], past: Past
) -> Bools:
    """Mark the slots whose keys are turns that several people, or the worker twice, use."""
    from detectors.text import kernels

    slots, needed, sizes, members, stock = kernels.common(
        shared.cuts, shared.begins, shared.ends, shared.nodes, shared.places, shared.workers,
        shared.own, weights, LIGHT_SHARE, LIGHT_WEIGHT, STOCK_WORKERS, STOCK_OWN, VOICES_MAX,
    )  # fmt: skip
    if not len(slots):
        return stock
    nodes, members = _numbered(members, len(shared.places))
    documents, contents = shared.documents[shared.places[nodes]], shared.contents[nodes]
    phrases = Phrases(
        texts=np.searchsorted(shared.cuts, slots, "right") - 1,
        bounds=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        members=members, workers=shared.workers[shared.places[nodes]],
    )  # fmt: skip
    sketches = past.sketches(WINNOW, documents)
    sketches.sizes[contents != BODY] = 0
    counted = voices(
        phrases, sketches, lambda some: past.prints(WINNOW, documents[some], contents[some]), muted
    )
    stock[slots[counted >= needed]] = True
    return stock


def _chosen(
    shared: _Shared, stock: Bools, past: Past, *, hits_min: int, best: int, part: float
) -> pl.DataFrame:
    """Take the best candidates of each text, the earliest of the good ones always among them."""
    from detectors.text import kernels

    texts, nodes = kernels.choose(
        shared.cuts, shared.begins, shared.ends, shared.nodes, shared.places, shared.own, stock,
        hits_min, best, part, EARLIEST_MAX,
    )  # fmt: skip
    places = shared.places[nodes]
    once, back = np.unique(places, return_inverse=True)
    named = past.named(shared.documents[once])
    found = pl.DataFrame(
        {
            "text": texts,
            "content_index": shared.contents[nodes],
            "own": shared.workers[places] == shared.workers[shared.own[texts]],
        }
    )
    return found.hstack(named[back])
